/* typed.clone: a table that shares what is in it with another.
 *
 * What is stored is never modified, so each change makes new tables from the root to what it changes: a dozen of them
 * for a write. In Lua such a copy grows as it is filled; here its size is known before it is made. */
#include "script/typed_parts.h"

#include <lauxlib.h>

#include "script/value.h"

#define GATHER_MAX 48 /* members on the stack before the table is made */

/* The usual: few members. False: there are more, and the stack is as it was. */
static bool clone_small(lua_State *L, int room)
{
	int count = 0, table;
	lua_pushnil(L);
	table = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, 1) != 0; count++) {
		if (count == GATHER_MAX) {
			lua_settop(L, table - 1);
			return false;
		}
		lua_pushvalue(L, -2); /* name and value stay, the name goes on */
	}
	lua_createtable(L, 0, count + room);
	lua_replace(L, table);
	while (count-- > 0)
		lua_rawset(L, table);
	return true;
}

int typed_clone(lua_State *L)
{
	lua_Integer room = luaL_optinteger(L, 2, 0);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argcheck(L, room >= 0 && room <= 1000, 2, "0 to 1000 names");
	lua_settop(L, 1);
	luaL_checkstack(L, 2 * GATHER_MAX + 10, "a table");
	lua_Integer positions = (lua_Integer)lua_rawlen(L, 1);
	if (positions == 0 && clone_small(L, (int)room)) {
		if (value_is_array(L, 1))
			value_mark_array(L, -1);
		return 1;
	}
	lua_createtable(L, (int)(positions < INT32_MAX ? positions : 0), (int)room);
	for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_pushvalue(L, -2);
		lua_rawset(L, 2);
	}
	if (value_is_array(L, 1))
		value_mark_array(L, -1);
	return 1;
}
