/* Whether an object says something else than last time: see cache_content.
 *
 * A Deployment's status changes ten times for each change of its spec, and comparing the spec with the wanted one
 * costs a hundred times what hashing its bytes costs. The kept bytes are minified and keep the server's order of
 * members, which is the same each time, so equal content is equal bytes. */
#include "base/map.h"
#include "kube/cache.h"

static uint64_t hash_member(uint64_t h, const struct json_reader *name, struct json_span value)
{
	h = map_hash64(h, name->text.at, name->text.len);
	return map_hash64(h, value.at, value.len);
}

static uint64_t hash_metadata(uint64_t h, struct json_span metadata)
{
	struct json_reader r;
	struct json_span value;
	json_reader_init(&r, metadata.at, metadata.len);
	if (json_next(&r) != JSON_OBJECT_BEGIN)
		return h;
	while (json_next(&r) == JSON_KEY) {
		struct json_reader name = r;
		if (!json_skip_value(&r, &value))
			break;
		if (!json_text_is(&name, "resourceVersion") && !json_text_is(&name, "generation"))
			h = hash_member(h, &name, value);
	}
	return h;
}

uint64_t cache_content(const struct cache_object *o)
{
	struct json_reader r;
	struct json_span value;
	uint64_t h = 1;
	json_reader_init(&r, o->bytes, o->len);
	if (json_next(&r) != JSON_OBJECT_BEGIN)
		return h;
	while (json_next(&r) == JSON_KEY) {
		struct json_reader name = r;
		if (!json_skip_value(&r, &value))
			break;
		if (json_text_is(&name, "metadata"))
			h = hash_metadata(h, value);
		else if (!json_text_is(&name, "status"))
			h = hash_member(h, &name, value);
	}
	return h != 0 ? h : 1;
}
