/* Comparing JSON values, and keeping the text of one that will not change. */
#include "script/value.h"

#include <stdbool.h>

#include <lauxlib.h>

#include "base/buffer.h"
#include "script/limits.h"

static const char frozen_key; /* registry: texts of frozen tables (weak keys); it is also the metatable that tells them */

static int equal(lua_State *L, int a, int b, int depth);

/* Every member of `a` is in `b` and equal; *count of them. */
static int members_equal(lua_State *L, int a, int b, int depth, size_t *count)
{
	for (lua_pushnil(L); lua_next(L, a) != 0; lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_rawget(L, b);
		int same = equal(L, lua_gettop(L) - 1, lua_gettop(L), depth + 1);
		lua_pop(L, 1);
		if (!same) {
			lua_pop(L, 2);
			return 0;
		}
		++*count;
	}
	return 1;
}

static int tables_equal(lua_State *L, int a, int b, int depth)
{
	if (depth > VALUE_DEPTH_MAX)
		return luaL_error(L, "json.equal: tables are nested more than %d deep (or hold themselves)", VALUE_DEPTH_MAX);
	limits_check_stack(L, 8);
	size_t count = 0;
	if (!members_equal(L, a, b, depth, &count))
		return 0;
	limits_charge(L, 4 + count);
	if (count == 0 && value_is_array(L, a) != value_is_array(L, b))
		return 0;
	for (lua_pushnil(L); lua_next(L, b) != 0; lua_pop(L, 1))
		if (count-- == 0)
			return lua_pop(L, 2), 0;
	return 1;
}

static int equal(lua_State *L, int a, int b, int depth)
{
	if (lua_rawequal(L, a, b))
		return 1;
	return lua_type(L, a) == LUA_TTABLE && lua_type(L, b) == LUA_TTABLE && tables_equal(L, a, b, depth);
}

int value_equal(lua_State *L, int a, int b)
{
	return equal(L, lua_absindex(L, a), lua_absindex(L, b), 0);
}

/* --- frozen tables --- */

/* Push the table of texts. */
static void push_texts(lua_State *L)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &frozen_key) == LUA_TTABLE)
		return;
	lua_pop(L, 1);
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &frozen_key);
}

bool value_push_frozen(lua_State *L, int index)
{
	index = lua_absindex(L, index);
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &frozen_key) != LUA_TTABLE)
		return lua_pop(L, 1), false;
	lua_pushvalue(L, index);
	if (lua_rawget(L, -2) != LUA_TSTRING)
		return lua_pop(L, 2), false;
	lua_remove(L, -2);
	return true;
}

static int free_text(lua_State *L)
{
	buffer_deinit(lua_touserdata(L, 1));
	return 0;
}

void value_freeze(lua_State *L, int index)
{
	index = lua_absindex(L, index);
	luaL_checkstack(L, 8, "a frozen table");
	struct buffer *text = lua_newuserdatauv(L, sizeof *text, 0);
	buffer_init(text, VALUE_TEXT_MAX);
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, free_text);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	value_to_json(L, index, text, 0);
	push_texts(L);
	lua_pushvalue(L, index);
	lua_pushlstring(L, buffer_text(text), text->len);
	lua_rawset(L, -3);
	lua_setmetatable(L, index);
	buffer_deinit(text);
	lua_pop(L, 1);
}
