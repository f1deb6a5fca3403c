/* See typed_parts.h. */
#include "script/typed_parts.h"

#include <string.h>

#include <lauxlib.h>

bool typed_is_time(const char *t, size_t len)
{
	static const char form[] = "0000-00-00T00:00:00Z";
	if (len != sizeof form - 1)
		return false;
	for (size_t i = 0; i < len; i++)
		if (form[i] == '0' ? t[i] < '0' || t[i] > '9' : t[i] != form[i])
			return false;
	return memcmp(t + 5, "01", 2) >= 0 && memcmp(t + 5, "12", 2) <= 0 && memcmp(t + 8, "01", 2) >= 0 && memcmp(t + 8, "28", 2) <= 0 &&
		memcmp(t + 11, "23", 2) <= 0 && t[14] <= '5' && t[17] <= '5';
}

bool typed_is_base64(const char *text, size_t len)
{
	if (len % 4 != 0)
		return false;
	for (int padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++)
		len--;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
			return false;
	}
	return true;
}

void typed_set_members(lua_State *L, int table, int count)
{
	if (lua_isnil(L, table)) {
		lua_createtable(L, 0, count);
		lua_replace(L, table);
	}
	for (int i = 0; i < count; i++) {
		lua_pushvalue(L, table + 1 + 2 * i);
		lua_pushvalue(L, table + 2 + 2 * i);
		lua_rawset(L, table);
	}
	lua_settop(L, table);
}

static bool push_empty(lua_State *L, const struct typed_node *n);

int typed_push_written(lua_State *L, const struct typed_node *n, int texts, const struct typed_fields *given)
{
	int count = 0;
	for (int i = 0; i < n->written_count; i++) {
		const struct typed_written *w = &n->written[i];
		if (typed_is_in(given, w->field))
			continue;
		lua_rawgeti(L, texts, w->field + 1);
		if (w->node == NULL)
			lua_rawgeti(L, texts, n->field_count + i + 1);
		else if (!push_empty(L, w->node))
			return -1;
		count++;
	}
	return count;
}

/* A struct that nobody gave. */
static bool push_empty(lua_State *L, const struct typed_node *n)
{
	static const struct typed_fields none;
	luaL_checkstack(L, 2 * TYPED_FIELDS_MAX + 8, "a struct");
	if (n->kind == TYPED_MAP || n->kind == TYPED_ANY_OBJECT) {
		lua_newtable(L);
		return true;
	}
	if (n->kind != TYPED_STRUCT)
		return false;
	typed_push_texts(L, n);
	int texts = lua_gettop(L);
	lua_pushnil(L);
	int count = typed_push_written(L, n, texts, &none);
	if (count < 0)
		return false;
	typed_set_members(L, texts + 1, count);
	lua_remove(L, texts);
	return true;
}
