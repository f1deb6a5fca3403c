/* Where the members of an object lie, and those of its metadata: see json_outline in json.h.
 *
 * Whoever keeps an object asks a dozen things of it (its name, its version, its owner, what it is indexed by). Each would be
 * a walk over all of its bytes; this is one walk for all of them. */
#include "base/json.h"

#include <string.h>

/* The members up to the end of the object that was just opened. `inside` (NULL: nobody's) takes those of "metadata". */
static bool read_members(struct json_reader *r, struct json_members *m, struct json_members *inside)
{
	enum json_token token;
	m->count = 0;
	while ((token = json_next(r)) == JSON_KEY) {
		struct json_member skipped, *one = m->count < JSON_MEMBERS_MAX ? &m->of[m->count] : &skipped;
		bool is_metadata = inside != NULL && json_text_is(r, "metadata");
		one->name = r->text;
		m->count++;
		struct json_reader before = *r;
		if (is_metadata && json_next(r) == JSON_OBJECT_BEGIN) {
			const char *from = r->text.at;
			if (!read_members(r, inside, NULL))
				return false;
			one->value = (struct json_span){from, (size_t)(r->at - from)};
			inside->object = one->value;
			continue;
		}
		if (is_metadata) {
			*r = before;
			*inside = (struct json_members){.object = {NULL, 0}};
		}
		if (!json_skip_value(r, &one->value))
			return false;
	}
	return token == JSON_OBJECT_END;
}

bool json_read_outline(struct json_reader *r, struct json_outline *o)
{
	struct json_reader before = *r;
	o->own.object = o->metadata.object = (struct json_span){NULL, 0};
	o->own.count = o->metadata.count = 0;
	if (json_next(r) != JSON_OBJECT_BEGIN) {
		*r = before;
		return json_skip_value(r, &o->bytes);
	}
	const char *from = r->text.at;
	if (!read_members(r, &o->own, &o->metadata))
		return false;
	o->bytes = o->own.object = (struct json_span){from, (size_t)(r->at - from)};
	o->known = !r->has_space;
	return true;
}

bool json_span_is(struct json_span text, const char *wanted, size_t len)
{
	char plain[256];
	if (memchr(text.at, '\\', text.len) == NULL)
		return text.len == len && memcmp(text.at, wanted, len) == 0;
	return text.len <= sizeof plain && json_unescape(text, plain) == len && memcmp(plain, wanted, len) == 0;
}

struct json_span json_member(const struct json_members *m, const char *name, size_t len)
{
	struct json_span found = {NULL, 0};
	struct json_reader r;
	if (m->count <= JSON_MEMBERS_MAX) {
		for (size_t i = m->count; i > 0; i--)
			if (json_span_is(m->of[i - 1].name, name, len))
				return m->of[i - 1].value;
		return found;
	}
	json_reader_init(&r, m->object.at, m->object.len);
	json_next(&r);
	while (json_next(&r) == JSON_KEY) {
		struct json_span key = r.text, value;
		if (!json_skip_value(&r, &value))
			break;
		if (json_span_is(key, name, len))
			found = value;
	}
	return found;
}

struct json_span json_string(struct json_span value)
{
	if (value.at == NULL || value.len < 2 || *value.at != '"')
		return (struct json_span){NULL, 0};
	return (struct json_span){value.at + 1, value.len - 2};
}
