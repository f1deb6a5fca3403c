/* Whether an object says something else than last time: see cache_content.
 *
 * A Deployment's status changes ten times for each change of its spec, and comparing the spec with the wanted one
 * costs a hundred times what hashing its bytes costs. The kept bytes are minified and keep the server's order of
 * members, which is the same each time, so equal content is equal bytes. */
#include "base/map.h"
#include "kube/cache_internal.h"

static uint64_t hash_member(uint64_t h, const struct json_reader *name, struct json_span value)
{
	h = map_hash64(h, name->text.at, name->text.len);
	return map_hash64(h, value.at, value.len);
}

static bool is_one_of(const struct json_reader *name, const char *const *names)
{
	for (; *names != NULL; names++)
		if (json_text_is(name, *names))
			return true;
	return false;
}

/* Every member of an object but `skipped`; the one called `inner` goes without `skipped_inside`. */
static uint64_t hash_object(uint64_t h, struct json_span object, const char *const *skipped, const char *inner,
	const char *const *skipped_inside)
{
	struct json_reader r;
	struct json_span value;
	json_reader_init(&r, object.at, object.len);
	if (json_next(&r) != JSON_OBJECT_BEGIN)
		return h;
	while (json_next(&r) == JSON_KEY) {
		struct json_reader name = r;
		if (!json_skip_value(&r, &value))
			break;
		if (inner != NULL && json_text_is(&name, inner))
			h = hash_object(h, value, skipped_inside, NULL, NULL);
		else if (!is_one_of(&name, skipped))
			h = hash_member(h, &name, value);
	}
	return h;
}

uint64_t cache_content(struct cache *c, const struct cache_object *o)
{
	static const char *const of_object[] = {"status", NULL};
	static const char *const of_metadata[] = {"resourceVersion", "generation", NULL};
	if (o->entry->content == 0) {
		struct json_span text;
		text.at = cache_read(c, o, &text.len);
		uint64_t h = hash_object(1, text, of_object, "metadata", of_metadata);
		o->entry->content = h != 0 ? h : 1;
	}
	return o->entry->content;
}
