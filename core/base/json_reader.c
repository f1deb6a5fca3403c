/* The JSON reader: one token at a time, strictly, without allocating (see json.h).
 *
 * The problem is to be strict at the speed of a disk: a cluster's first list is tens of megabytes, all of which pass
 * here. Nearly all of it lies inside strings, which json_text.h runs over in large steps; only a byte that is not plain
 * (a quote, a backslash, a control character, the start of a longer UTF-8 sequence) is looked at by itself. Everything
 * else is a small state machine: what may come next (`state`) and, as one bit per level, whether we are in an object. */
#include "base/json.h"

#include <string.h>

#include "base/json_text.h"

enum { VALUE, FIRST_ELEMENT, FIRST_MEMBER, AFTER_VALUE, BROKEN };

static const char too_deep[] = "arrays and objects are nested too deeply";
static const char ends_early[] = "the document ends too early";

static enum json_token fail(struct json_reader *r, const char *at, const char *why)
{
	r->at = at;
	r->error = why;
	r->state = BROKEN;
	return JSON_ERROR;
}

void json_reader_init(struct json_reader *r, const void *bytes, size_t len)
{
	const char *start = len != 0 ? bytes : "";
	*r = (struct json_reader){.start = start, .at = start, .end = start + len, .state = VALUE};
}

void json_reader_init_known(struct json_reader *r, struct json_span bytes, bool known)
{
	json_reader_init(r, bytes.at, bytes.len);
	r->known = known;
}

size_t json_error_offset(const struct json_reader *r)
{
	return (size_t)(r->at - r->start);
}

int json_error(const struct json_reader *r, struct err *e)
{
	return err_set(e, r->error == too_deep ? ERR_TOO_LARGE : ERR_INVALID, "JSON is broken at byte %zu: %s",
		json_error_offset(r), r->error != NULL ? r->error : "the value has another type than expected");
}

static inline void skip_space(struct json_reader *r)
{
	const char *p = r->at;
	if (p == r->end || (unsigned char)*p > ' ')
		return;
	while (p < r->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	r->has_space |= p != r->at;
	r->at = p;
}

/* From the opening quote to behind the closing one. */
static inline bool read_string(struct json_reader *r)
{
	const char *start = r->at + 1, *p = start;
	r->has_escapes = false;
	for (;;) {
		p = json_text_plain(p, r->end);
		if (p == r->end)
			return fail(r, p, "a string does not end"), false;
		if (*p == '"')
			break;
		unsigned code;
		size_t len = 0;
		const char *why = "a string holds a control character";
		if (*p == '\\') {
			len = json_text_escape(p, r->end, &code);
			why = "a string holds a wrong escape or half a surrogate pair";
			r->has_escapes = true;
		} else if ((unsigned char)*p >= 0x80) {
			len = json_utf8_length(p, r->end);
			why = "a string is not UTF-8";
		}
		if (len == 0)
			return fail(r, p, why), false;
		p += len;
	}
	r->text = (struct json_span){start, (size_t)(p - start)};
	r->at = p + 1;
	return true;
}

static inline const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static enum json_token read_number(struct json_reader *r)
{
	static const char why[] = "a number is malformed";
	const char *p = r->at, *end = r->end, *from;
	if (*p == '-')
		p++;
	from = p;
	p = digits(p, end);
	if (p == from || (*from == '0' && p - from > 1))
		return fail(r, p, why);
	if (p < end && *p == '.') {
		from = ++p;
		p = digits(p, end);
		if (p == from)
			return fail(r, p, why);
	}
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		from = p;
		p = digits(p, end);
		if (p == from)
			return fail(r, p, why);
	}
	r->text = (struct json_span){r->at, (size_t)(p - r->at)};
	r->at = p;
	return JSON_NUMBER;
}

static enum json_token read_literal(struct json_reader *r, const char *word, enum json_token token)
{
	size_t len = strlen(word);
	if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
		return fail(r, r->at, "a value is neither null, true, false, a number, a string, an array nor an object");
	r->text = (struct json_span){r->at, len};
	r->at += len;
	return token;
}

static enum json_token open_level(struct json_reader *r, enum json_token token)
{
	if (r->depth == JSON_DEPTH_MAX)
		return fail(r, r->at, too_deep);
	uint64_t bit = (uint64_t)1 << r->depth++;
	r->is_object = token == JSON_OBJECT_BEGIN ? r->is_object | bit : r->is_object & ~bit;
	r->state = token == JSON_OBJECT_BEGIN ? FIRST_MEMBER : FIRST_ELEMENT;
	r->text = (struct json_span){r->at++, 1};
	return token;
}

static inline enum json_token close_level(struct json_reader *r, enum json_token token)
{
	r->depth--;
	r->state = AFTER_VALUE;
	r->text = (struct json_span){r->at++, 1};
	return token;
}

static inline enum json_token read_value(struct json_reader *r)
{
	if (r->at == r->end)
		return fail(r, r->at, ends_early);
	r->state = AFTER_VALUE;
	switch (*r->at) {
	case '"':
		return read_string(r) ? JSON_STRING : JSON_ERROR;
	case '{':
		return open_level(r, JSON_OBJECT_BEGIN);
	case '[':
		return open_level(r, JSON_ARRAY_BEGIN);
	case 't':
		return read_literal(r, "true", JSON_TRUE);
	case 'f':
		return read_literal(r, "false", JSON_FALSE);
	case '-': case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return read_number(r);
	default:
		return read_literal(r, "null", JSON_NULL);
	}
}

static inline enum json_token read_key(struct json_reader *r)
{
	if (r->at == r->end)
		return fail(r, r->at, ends_early);
	if (*r->at != '"')
		return fail(r, r->at, "a member's name is missing");
	if (!read_string(r))
		return JSON_ERROR;
	skip_space(r);
	if (r->at == r->end || *r->at != ':')
		return fail(r, r->at, r->at == r->end ? ends_early : "a colon is missing");
	r->at++;
	r->state = VALUE;
	return JSON_KEY;
}

/* Behind a value: a comma and what follows it, the end of the level, or the end of all. */
static inline enum json_token go_on(struct json_reader *r)
{
	if (r->depth == 0)
		return r->at == r->end ? JSON_END : fail(r, r->at, "text follows the document");
	if (r->at == r->end)
		return fail(r, r->at, ends_early);
	bool in_object = r->is_object >> (r->depth - 1) & 1;
	if (*r->at == ',') {
		r->at++;
		skip_space(r);
		return in_object ? read_key(r) : read_value(r);
	}
	if (*r->at == (in_object ? '}' : ']'))
		return close_level(r, in_object ? JSON_OBJECT_END : JSON_ARRAY_END);
	return fail(r, r->at, in_object ? "a comma or } is missing" : "a comma or ] is missing");
}

static inline enum json_token next(struct json_reader *r)
{
	skip_space(r);
	switch (r->state) {
	case AFTER_VALUE:
		return go_on(r);
	case VALUE:
		return read_value(r);
	case FIRST_MEMBER:
		return r->at < r->end && *r->at == '}' ? close_level(r, JSON_OBJECT_END) : read_key(r);
	case FIRST_ELEMENT:
		return r->at < r->end && *r->at == ']' ? close_level(r, JSON_ARRAY_END) : read_value(r);
	default:
		return JSON_ERROR;
	}
}

enum json_token json_next(struct json_reader *r)
{
	return next(r);
}

bool json_leave_level(struct json_reader *r)
{
	const char *p = r->at, *end = r->end;
	for (int depth = 1; p < end; p++) {
		int c = (unsigned char)*p;
		if (c == '"') {
			p = json_text_end(p + 1, end) - 1;
		} else if ((c | 0x20) == '{') { /* [ and { differ in this bit, as ] and } do */
			depth++;
		} else if ((c | 0x20) == '}' && --depth == 0) {
			r->at = p;
			close_level(r, *p == ']' ? JSON_ARRAY_END : JSON_OBJECT_END);
			return true;
		}
	}
	return fail(r, end, ends_early), false;
}

bool json_skip_value(struct json_reader *r, struct json_span *value)
{
	int depth = r->depth;
	enum json_token token = next(r);
	switch (token) {
	case JSON_KEY:
		fail(r, r->at, "a value was expected");
		return false;
	case JSON_ERROR: case JSON_END: case JSON_ARRAY_END: case JSON_OBJECT_END:
		return false;
	default:
		break;
	}
	const char *from = r->text.at - (token == JSON_STRING);
	if (r->known && r->depth > depth && !json_leave_level(r))
		return false;
	while (r->depth > depth)
		if (next(r) == JSON_ERROR)
			return false;
	*value = (struct json_span){from, (size_t)(r->at - from)};
	return true;
}
