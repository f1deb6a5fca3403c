/* From the bytes of an object to an entry.
 *
 * The bytes are walked once for the head (json_read_outline) and once for the projection; nothing is built in between. Texts are decoded straight into a head, which has the
 * layout of an entry's front part, so that making the entry is one allocation and two copies.
 *
 * kind and apiVersion are dropped with managedFields: items of a list have none and watched
 * objects do, and the kept bytes of the same object must be the same however it came. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache_internal.h"

#define SCRATCH_KEPT (64u << 10) /* a larger scratch buffer is given back after use */

/* --- reading an entry --- */

static char *text_of(const struct entry *e)
{
	return (char *)(uintptr_t)(e->links + e->link_count);
}

size_t entry_size(const struct entry *e)
{
	return sizeof *e + e->link_count * sizeof e->links[0] + e->bytes_at + e->packed_len;
}

const char *entry_key(const struct entry *e)
{
	return text_of(e);
}

const char *entry_uid(const struct entry *e)
{
	return text_of(e) + e->uid_at;
}

const char *entry_version(const struct entry *e)
{
	return text_of(e) + e->version_at;
}

const char *entry_value(const struct entry *e, size_t index)
{
	return index < CACHE_INDEXES_MAX && e->value_at[index] != 0 ? text_of(e) + e->value_at[index] : NULL;
}

void entry_show(struct entry *e, struct cache_object *o)
{
	*o = (struct cache_object){
		.key = entry_key(e),
		.uid = entry_uid(e),
		.resource_version = entry_version(e),
		.generation = e->generation,
		.deleting = e->deleting,
		.ours = e->ours,
		.entry = e,
	};
	for (size_t i = 0; i < CACHE_INDEXES_MAX; i++)
		o->index_values[i] = entry_value(e, i);
}

/* The reading buffer, empty but for `len` bytes to write. No object is too large for it. */
static char *reading_room(struct cache *c, size_t len)
{
	if (c->reading.capacity > SCRATCH_KEPT)
		buffer_deinit(&c->reading);
	buffer_clear(&c->reading);
	char *room = buffer_room(&c->reading, len);
	if (room == NULL)
		abort();
	return room;
}

const char *cache_read(struct cache *c, const struct cache_object *o, size_t *len)
{
	const struct entry *e = o->entry;
	if (c->o.unpacked) {
		*len = e->len;
		return text_of(e) + e->bytes_at;
	}
	char *text = reading_room(c, e->len);
	if (!pack_open(e->packed_with, text_of(e) + e->bytes_at, e->packed_len, text, e->len))
		abort(); /* we packed it */
	*len = e->len;
	return text;
}

/* --- reading an object --- */

/* Append the decoded text and a NUL; its place, or 0 when it is absent, too long or has a NUL in
 * it. (Place 0 is the key's.) */
static uint16_t add_text(struct head *h, struct json_span text, size_t max)
{
	if (text.at == NULL || text.len > max)
		return 0;
	size_t at = h->len, len = json_unescape(text, h->text + at);
	if (memchr(h->text + at, '\0', len) != NULL)
		return 0;
	h->text[at + len] = '\0';
	h->len = at + len + 1;
	return (uint16_t)at;
}

struct metadata {
	struct json_span name, namespace_, uid, version, owners;
	int64_t generation;
	bool deleting;
};

static int64_t integer_of(struct json_span value)
{
	char digits[24];
	if (value.len == 0 || value.len >= sizeof digits)
		return 0;
	memcpy(digits, value.at, value.len);
	digits[value.len] = '\0';
	char *end;
	errno = 0;
	long long n = strtoll(digits, &end, 10);
	return errno == 0 && *end == '\0' && n > 0 ? n : 0;
}

#define MEMBER(members, name) json_member((members), name, sizeof name - 1)

static void read_metadata(const struct json_members *from, struct metadata *m)
{
	m->name = json_string(MEMBER(from, "name"));
	m->namespace_ = json_string(MEMBER(from, "namespace"));
	m->uid = json_string(MEMBER(from, "uid"));
	m->version = json_string(MEMBER(from, "resourceVersion"));
	m->generation = integer_of(MEMBER(from, "generation"));
	m->deleting = json_string(MEMBER(from, "deletionTimestamp")).len != 0;
	m->owners = MEMBER(from, "ownerReferences");
}

/* "namespace/name" or "name". A slash inside either would make two objects one. */
static int add_key(struct head *h, const struct metadata *m)
{
	if (m->name.len == 0 || m->name.len > CACHE_NAME_MAX || m->namespace_.len > CACHE_NAME_MAX)
		return ERR_INVALID;
	size_t at = 0;
	if (m->namespace_.len != 0) {
		at = json_unescape(m->namespace_, h->text);
		if (memchr(h->text, '\0', at) != NULL || memchr(h->text, '/', at) != NULL)
			return ERR_INVALID;
		h->text[at++] = '/';
	}
	size_t len = json_unescape(m->name, h->text + at);
	if (memchr(h->text + at, '\0', len) != NULL || memchr(h->text + at, '/', len) != NULL)
		return ERR_INVALID;
	h->text[at + len] = '\0';
	h->len = at + len + 1;
	return 0;
}

/* --- index values --- */

/* One step off the front of a path ("name", "*", "[name.with.dots]", as json_project reads them);
 * what follows it. */
static const char *next_step(const char *path, struct json_span *step)
{
	if (*path == '[') {
		size_t len = strcspn(path, "]");
		*step = (struct json_span){path + 1, len - 1};
		path += len + (path[len] == ']');
	} else {
		*step = (struct json_span){path, strcspn(path, ".[")};
		path += step->len;
	}
	return *path == '.' ? path + 1 : path;
}

static bool step_matches(const struct json_reader *key, struct json_span step)
{
	char name[256];
	if (step.len == 1 && *step.at == '*')
		return true;
	if (!key->has_escapes)
		return key->text.len == step.len && memcmp(key->text.at, step.at, step.len) == 0;
	if (step.len >= sizeof name)
		return false;
	memcpy(name, step.at, step.len);
	name[step.len] = '\0';
	return json_text_is(key, name);
}

/* The number, true or false that `value` is; {NULL, 0} for every other. */
static struct json_span plain_of(struct json_span value)
{
	bool plain = value.at != NULL && value.len != 0 && strchr("-0123456789tf", *value.at) != NULL;
	return plain ? value : (struct json_span){NULL, 0};
}

/* The first text that is not empty (or, with `plain`, number, true or false) at `path` in `value`, which has been read before
 * (so that it holds no errors and is not too deep). */
static struct json_span find_value(struct json_span value, bool known, const char *path, bool plain)
{
	static const struct json_span none = {NULL, 0};
	struct json_span step, child, found;
	struct json_reader r, key;
	if (*path == '\0') {
		found = json_string(value);
		if (found.len == 0 && plain)
			found = plain_of(value);
		return found.len ? found : none;
	}
	path = next_step(path, &step);
	json_reader_init_known(&r, value, known);
	enum json_token t = json_next(&r);
	if (t != JSON_OBJECT_BEGIN && t != JSON_ARRAY_BEGIN)
		return none;
	bool any = step.len == 1 && *step.at == '*';
	if (t == JSON_ARRAY_BEGIN && !any)
		return none;
	for (;;) {
		if (t == JSON_OBJECT_BEGIN && json_next(&r) != JSON_KEY)
			return none;
		key = r;
		if (!json_skip_value(&r, &child))
			return none;
		if (t == JSON_ARRAY_BEGIN || step_matches(&key, step)) {
			found = find_value(child, known, path, plain);
			if (found.at != NULL)
				return found;
		}
	}
}

/* The same below an object whose members are known. */
static struct json_span find_in(const struct json_members *m, bool known, const char *path, bool plain)
{
	struct json_span step;
	const char *rest = next_step(path, &step);
	if (m->object.at == NULL || (step.len == 1 && *step.at == '*'))
		return m->object.at != NULL ? find_value(m->object, known, path, plain) : m->object;
	struct json_span value = json_member(m, step.at, step.len);
	return value.at != NULL ? find_value(value, known, rest, plain) : value;
}

static struct json_span find_owner(struct json_span owners)
{
	struct json_span one, uid, controller;
	struct json_reader r;
	json_reader_init(&r, owners.at, owners.len);
	if (owners.at == NULL || json_next(&r) != JSON_ARRAY_BEGIN)
		return (struct json_span){NULL, 0};
	while (json_skip_value(&r, &one)) {
		enum json_token t;
		if (json_find(one.at, one.len, &controller, &t, "controller", NULL) && t == JSON_TRUE &&
		    json_find(one.at, one.len, &uid, &t, "uid", NULL) && t == JSON_STRING && uid.len != 0)
			return uid;
	}
	return (struct json_span){NULL, 0};
}

static void add_values(const struct cache *c, struct head *h, const struct json_outline *object, struct json_span owners)
{
	static const char front[] = "metadata.";
	for (size_t i = 0; i < c->o.index_count; i++) {
		struct json_span found = {NULL, 0};
		for (const char *const *at = c->o.indexes[i].paths; *at != NULL && found.at == NULL; at++) {
			bool plain = **at == '=';
			const char *path = *at + plain;
			if (strcmp(path, "@owner") == 0)
				found = find_owner(owners);
			else if (strncmp(path, front, strlen(front)) == 0)
				found = find_in(&object->metadata, object->known, path + strlen(front), plain);
			else
				found = find_in(&object->own, object->known, path, plain);
		}
		h->value_at[i] = add_text(h, found, CACHE_VALUE_MAX);
	}
}

int head_read(const struct cache *c, const struct json_outline *object, struct head *h, struct err *e)
{
	struct metadata m = {0};
	if (object->own.object.at == NULL)
		return err_set(e, ERR_INVALID, "an object of %s cannot be read: an object was expected", c->name);
	h->spec = MEMBER(&object->own, "spec");
	read_metadata(&object->metadata, &m);
	if (add_key(h, &m) != 0)
		return err_set(e, ERR_INVALID, "an object of %s has no usable metadata.name or namespace; it is left out",
			c->name);
	static const struct json_span empty = {"", 0};
	h->uid_at = add_text(h, m.uid.at ? m.uid : empty, CACHE_NAME_MAX);
	h->version_at = add_text(h, m.version.at ? m.version : empty, CACHE_RESOURCE_VERSION_MAX);
	if (h->uid_at == 0 || h->version_at == 0)
		return err_set(e, ERR_INVALID, "%s %s has a malformed uid or resourceVersion; it is left out", c->name,
			h->text);
	h->generation = m.generation;
	h->deleting = m.deleting;
	memset(h->value_at, 0, sizeof h->value_at);
	add_values(c, h, object, m.owners);
	return 0;
}

int object_read(const struct cache *c, const char *bytes, size_t len, struct json_outline *o, struct err *e)
{
	struct json_reader r;
	json_reader_init(&r, bytes, len);
	if (json_read_outline(&r, o) && json_next(&r) == JSON_END)
		return 0;
	int rc = json_error(&r, e);
	return err_prefix(e, "an object of %s cannot be read", c->name), rc;
}

/* --- making one --- */

int entry_make(struct cache *c, const struct head *h, const struct json_outline *object, struct entry **made,
	struct err *e)
{
	buffer_clear(&c->scratch);
	int rc = json_project_known(object->bytes, object->known, &c->o.keep, &c->scratch, e);
	if (rc != 0)
		return err_prefix(e, "%s %s", c->name, h->text), rc;
	struct pack_dictionary *with = NULL;
	const char *packed = buffer_text(&c->scratch); /* with a NUL behind it */
	size_t packed_len = c->scratch.len + 1;
	if (!c->o.unpacked) {
		char *room = reading_room(c, pack_bound(c->scratch.len));
		packed_len = pack(&c->packer, packed, c->scratch.len, room, &with);
		packed = room;
	}
	size_t links = c->o.index_count;
	struct entry *n = xmalloc(sizeof *n + links * sizeof n->links[0] + h->len + packed_len);
	*n = (struct entry){
		.generation = h->generation,
		.hash = map_hash(h->text, strlen(h->text)),
		.bytes_at = (uint32_t)h->len,
		.packed_len = (uint32_t)packed_len,
		.len = (uint32_t)c->scratch.len,
		.packed_with = with,
		.seen = c->list_number,
		.uid_at = h->uid_at,
		.version_at = h->version_at,
		.deleting = h->deleting,
		.link_count = (uint8_t)links,
	};
	memcpy(n->value_at, h->value_at, sizeof n->value_at);
	memcpy(text_of(n), h->text, h->len);
	memcpy(text_of(n) + h->len, packed, packed_len);
	if (c->scratch.capacity > SCRATCH_KEPT)
		buffer_deinit(&c->scratch);
	*made = n;
	return 0;
}

void entry_free(struct cache *c, struct entry *e)
{
	if (e != NULL)
		pack_release(&c->packer, e->packed_with);
	free(e);
}

struct entry *entry_make_tombstone(const struct entry *of)
{
	size_t key = strlen(entry_key(of)) + 1, uid = strlen(entry_uid(of)) + 1, version = strlen(entry_version(of)) + 1;
	struct entry *n = xcalloc(1, sizeof *n + key + uid + version + 1);
	n->hash = of->hash;
	n->uid_at = (uint16_t)key;
	n->version_at = (uint16_t)(key + uid);
	n->bytes_at = (uint32_t)(key + uid + version);
	n->ours = n->hides = true;
	memcpy(text_of(n), entry_key(of), key);
	memcpy(text_of(n) + n->uid_at, entry_uid(of), uid);
	memcpy(text_of(n) + n->version_at, entry_version(of), version);
	return n;
}
