/* json.copy: a value with tables of its own, all the way down.
 *
 * Specs decide on copies of their worlds, as the host does, and in Lua the copying took longer than the deciding. Each
 * table is walked twice, first for its size, so that none grows while it is filled. What is no table is the same in both. */
#include "script/value.h"

#include <lauxlib.h>

#include "script/limits.h"

static void copy(lua_State *L, int index, int depth);

static void copy_members(lua_State *L, int from, int to, int depth)
{
	for (lua_pushnil(L); lua_next(L, from) != 0; lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		copy(L, lua_gettop(L) - 1, depth + 1);
		lua_rawset(L, to);
	}
}

/* Push a copy of the value at `index`, which is absolute. */
static void copy(lua_State *L, int index, int depth)
{
	if (lua_type(L, index) != LUA_TTABLE) {
		lua_pushvalue(L, index);
		return;
	}
	if (depth > VALUE_DEPTH_MAX) {
		luaL_error(L, "json.copy: tables are nested more than %d deep (or hold themselves)", VALUE_DEPTH_MAX);
		return;
	}
	limits_check_stack(L, 8);
	size_t count = 0, positions = lua_rawlen(L, index);
	for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
		count++;
	limits_charge(L, 4 + count);
	lua_createtable(L, (int)positions, count > positions ? (int)(count - positions) : 0);
	if (value_is_array(L, index))
		value_mark_array(L, -1);
	copy_members(L, index, lua_gettop(L), depth);
}

void value_copy(lua_State *L, int index)
{
	copy(L, lua_absindex(L, index), 0);
}
