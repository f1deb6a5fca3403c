/* Any bytes as JSON into Lua values and back, beside cJSON: what we accept cJSON accepts, with the
 * same meaning; what we wrote we read again as an equal value, and write again as the same bytes.
 * Skipped: NUL inside texts (cJSON ends there) and duplicate names (it keeps both). */
#include <lua.h>
#include <lauxlib.h>
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "script/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int has_duplicates(const cJSON *value)
{
	for (const cJSON *a = value->child; a != NULL; a = a->next) {
		if (has_duplicates(a))
			return 1;
		for (const cJSON *b = a->next; b != NULL && a->string != NULL; b = b->next)
			if (strcmp(a->string, b->string) == 0)
				return 1;
	}
	return 0;
}

static void compare_with_cjson(const char *text, size_t len, const struct buffer *ours)
{
	if (memmem(text, len, "\\u0000", 6) != NULL)
		return;
	cJSON *a = cJSON_ParseWithLength(text, len), *b = cJSON_ParseWithLength(ours->data, ours->len);
	if (a == NULL || b == NULL)
		abort();
	if (!has_duplicates(a) && !cJSON_Compare(a, b, 1))
		abort();
	cJSON_Delete(a);
	cJSON_Delete(b);
}

static int round_trip(lua_State *L)
{
	struct buffer *out = lua_touserdata(L, 1), *again = lua_touserdata(L, 2);
	const char *text = lua_touserdata(L, 3);
	size_t len = (size_t)lua_tointeger(L, 4);
	if (!value_try_json(L, text, len))
		return 0;
	value_to_json(L, -1, out, 0);
	compare_with_cjson(text, len, out);
	value_from_json(L, out->data, out->len);
	if (!value_equal(L, -1, -2))
		abort();
	value_to_json(L, -1, again, 0);
	if (again->len != out->len || memcmp(again->data, out->data, out->len) != 0)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static lua_State *L;
	struct buffer out, again;
	if (L == NULL) {
		L = luaL_newstate();
		value_open(L);
	}
	buffer_init(&out, 16 << 20);
	buffer_init(&again, 16 << 20);
	lua_pushcfunction(L, round_trip);
	lua_pushlightuserdata(L, &out);
	lua_pushlightuserdata(L, &again);
	lua_pushlightuserdata(L, (void *)(uintptr_t)data);
	lua_pushinteger(L, (lua_Integer)size);
	if (lua_pcall(L, 4, 0, 0) != LUA_OK)
		abort(); /* what was read can be written */
	lua_settop(L, 0);
	buffer_deinit(&out);
	buffer_deinit(&again);
	return 0;
}
