/* Any bytes as YAML, and any JSON written as YAML: what is accepted survives a round trip. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xalloc.h"
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) do { if (!(condition)) abort(); } while (0)
#define ROOM ((size_t)32 << 20)

/* JSON that YAML was read as, written as YAML and read again, is the same but for one more
 * array around it. */
static void there_and_back(const struct buffer *json)
{
	struct buffer yaml, again;
	struct err e;
	buffer_init(&yaml, ROOM);
	buffer_init(&again, ROOM);
	MUST(yaml_from_json(json->data, json->len, &yaml, &e) == 0);
	int rc = yaml_to_json(yaml.data, yaml.len, "again", &again, &e);
	MUST(rc == 0 || rc == ERR_TOO_LARGE); /* one level deeper than before */
	if (rc == 0)
		MUST(again.len == json->len + 2 && memcmp(again.data + 1, json->data, json->len) == 0);
	buffer_deinit(&yaml);
	buffer_deinit(&again);
}

static void from_json(const char *bytes, size_t size)
{
	struct buffer yaml, json;
	struct err e;
	buffer_init(&yaml, ROOM);
	buffer_init(&json, ROOM);
	if (yaml_from_json(bytes, size, &yaml, &e) == 0 && yaml_to_json(yaml.data, yaml.len, "written", &json, &e) != 0)
		MUST(e.code == ERR_TOO_LARGE || strstr(e.text, "stands twice") != NULL || strstr(e.text, "NUL character") != NULL);
	buffer_deinit(&yaml);
	buffer_deinit(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer json;
	cJSON *documents;
	char *bytes = xmalloc(size);
	if (size != 0)
		memcpy(bytes, data, size);
	buffer_init(&json, ROOM);
	int rc = yaml_to_json(bytes, size, "fuzz", &json, NULL);
	if (rc == 0)
		there_and_back(&json);
	MUST(yaml_parse(bytes, size, "fuzz", &documents, NULL) == rc);
	cJSON_Delete(documents);
	buffer_deinit(&json);
	from_json(bytes, size);
	free(bytes);
	return 0;
}
