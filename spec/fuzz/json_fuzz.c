/* Any bytes as JSON: walking and skipping agree, what a projection writes is JSON again and
 * does not change when it is written once more, and strings decode into the room promised. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

static bool walk(const char *bytes, size_t len)
{
	struct json_reader r;
	enum json_token token;
	char *text = xmalloc(len);
	json_reader_init(&r, bytes, len);
	do {
		token = json_next(&r);
		if (token == JSON_STRING || token == JSON_KEY) {
			size_t n = json_unescape(r.text, text);
			MUST(n <= r.text.len && (r.has_escapes || n == r.text.len));
			for (size_t i = 0; i < n; i += json_utf8_length(text + i, text + n))
				MUST(json_utf8_length(text + i, text + n) != 0);
		}
	} while (token != JSON_END && token != JSON_ERROR);
	MUST(json_error_offset(&r) <= len);
	free(text);
	return token == JSON_END;
}

static void project(const char *bytes, size_t len, const struct json_projection *p, bool good)
{
	struct buffer once, twice;
	buffer_init(&once, 1 << 20);
	buffer_init(&twice, 1 << 20);
	int rc = json_project(bytes, len, p, &once, NULL);
	MUST((rc == 0) == good);
	if (rc == 0) {
		MUST(walk(once.data, once.len) && once.len <= len);
		MUST(json_project(once.data, once.len, p, &twice, NULL) == 0);
		MUST(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	}
	buffer_deinit(&once);
	buffer_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keep[] = {"metadata.name", "a.*.b", "*.c", "[x.y]", "spec"};
	static const char *const drop[] = {"metadata.managedFields", "*.*.d", "b", "spec.*.e"};
	struct json_projection both = {keep, 5, drop, 4}, dropping = {NULL, 0, drop, 4};
	struct json_reader r;
	struct json_span span;
	static struct json_outline outline;
	char *bytes = xmalloc(size);
	if (size != 0)
		memcpy(bytes, data, size);
	bool good = walk(bytes, size);
	json_reader_init(&r, bytes, size);
	MUST((json_skip_value(&r, &span) && json_next(&r) == JSON_END) == good);
	json_reader_init(&r, bytes, size);
	MUST((json_read_outline(&r, &outline) && json_next(&r) == JSON_END) == good);
	if (good) {
		json_reader_init_known(&r, outline.bytes, !r.has_space);
		MUST(json_skip_value(&r, &span) && json_next(&r) == JSON_END);
		json_member(&outline.metadata, "name", 4);
	}
	project(bytes, size, NULL, good);
	project(bytes, size, &both, good);
	project(bytes, size, &dropping, good);
	free(json_find_string(bytes, size, "metadata", "name", NULL));
	json_find_integer(bytes, size, 0, "a", NULL);
	free(bytes);
	return 0;
}
