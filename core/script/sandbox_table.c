/* The table library, bounded.
 *
 * The stock functions loop over counts that the caller names, or that a __len gives, without
 * executing an instruction. Here they take plain tables, and the count is charged before the
 * loop. `sort` is our own: the stock one picks pivots by the clock when a comparator is unfair, so
 * two runs could differ; a merge sort is stable, repeatable and never worse than n log n. */
#include "script/sandbox.h"

#include <stdint.h>

#include "script/limits.h"

static int call_stock(lua_State *L)
{
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static lua_Integer check_plain(lua_State *L, int index, const char *function)
{
	static const char *const refused[] = {"__index", "__newindex", "__len"};
	luaL_checktype(L, index, LUA_TTABLE);
	for (int i = 0; i < 3; i++)
		if (luaL_getmetafield(L, index, refused[i]) != LUA_TNIL)
			luaL_error(L, "table.%s takes plain tables, and this one has a metatable with %s", function, refused[i]);
	return (lua_Integer)lua_rawlen(L, index);
}

/* Both ends belong to the range. */
static void charge_range(lua_State *L, lua_Integer from, lua_Integer to)
{
	limits_charge(L, 1);
	if (from <= to)
		limits_charge(L, (uint64_t)to - (uint64_t)from);
}

static int l_insert(lua_State *L)
{
	lua_Integer n = check_plain(L, 1, "insert");
	if (lua_gettop(L) == 3)
		charge_range(L, luaL_checkinteger(L, 2), n);
	return call_stock(L);
}

static int l_remove(lua_State *L)
{
	lua_Integer n = check_plain(L, 1, "remove");
	charge_range(L, luaL_optinteger(L, 2, n), n);
	return call_stock(L);
}

static int l_concat(lua_State *L)
{
	lua_Integer n = check_plain(L, 1, "concat");
	charge_range(L, luaL_optinteger(L, 3, 1), luaL_optinteger(L, 4, n));
	return call_stock(L);
}

static int l_unpack(lua_State *L)
{
	lua_Integer n = check_plain(L, 1, "unpack");
	charge_range(L, luaL_optinteger(L, 2, 1), luaL_optinteger(L, 3, n));
	return call_stock(L);
}

static int l_move(lua_State *L)
{
	check_plain(L, 1, "move");
	if (!lua_isnoneornil(L, 5))
		check_plain(L, 5, "move");
	charge_range(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
	return call_stock(L);
}

const luaL_Reg sandbox_table_wrapped[] = {
	{"insert", l_insert}, {"remove", l_remove}, {"concat", l_concat}, {"unpack", l_unpack},
	{"move", l_move}, {NULL, NULL},
};

/* --- sort --- */

enum { TABLE = 1, COMPARE, FROM, TO };

/* Whether the value on top of the stack goes before the one below it. Leaves both. */
static int goes_before(lua_State *L)
{
	limits_charge(L, 2);
	if (lua_isnil(L, COMPARE))
		return lua_compare(L, -1, -2, LUA_OPLT);
	lua_pushvalue(L, COMPARE);
	lua_pushvalue(L, -2);
	lua_pushvalue(L, -4);
	lua_call(L, 2, 1);
	int before = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return before;
}

/* Merge the runs [low, middle) and [middle, high) of `from` into `to`. */
static void merge(lua_State *L, int from, int to, lua_Integer low, lua_Integer middle, lua_Integer high)
{
	lua_Integer left = low, right = middle, at = low;
	while (left < middle && right < high) {
		lua_rawgeti(L, from, left);
		lua_rawgeti(L, from, right);
		if (goes_before(L)) {
			lua_rawseti(L, to, at++);
			lua_pop(L, 1);
			right++;
		} else {
			lua_pop(L, 1);
			lua_rawseti(L, to, at++);
			left++;
		}
	}
	for (; left < middle; left++) {
		lua_rawgeti(L, from, left);
		lua_rawseti(L, to, at++);
	}
	for (; right < high; right++) {
		lua_rawgeti(L, from, right);
		lua_rawseti(L, to, at++);
	}
}

static void copy(lua_State *L, int from, int to, lua_Integer n)
{
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, from, i);
		lua_rawseti(L, to, i);
	}
}

static int l_sort(lua_State *L)
{
	lua_Integer n = check_plain(L, 1, "sort");
	if (!lua_isnoneornil(L, 2))
		luaL_checktype(L, 2, LUA_TFUNCTION);
	if (n < 2)
		return 0;
	limits_charge(L, 4 * (uint64_t)n);
	lua_settop(L, COMPARE);
	lua_createtable(L, (int)n, 0);
	lua_createtable(L, (int)n, 0);
	copy(L, TABLE, FROM, n);
	int from = FROM, to = TO;
	for (lua_Integer width = 1; width < n; width *= 2) {
		limits_charge(L, (uint64_t)n);
		for (lua_Integer low = 1; low <= n; low += 2 * width) {
			lua_Integer middle = low + width < n + 1 ? low + width : n + 1;
			lua_Integer high = middle + width < n + 1 ? middle + width : n + 1;
			merge(L, from, to, low, middle, high);
		}
		int swap = from;
		from = to;
		to = swap;
	}
	copy(L, from, TABLE, n);
	return 0;
}

const luaL_Reg sandbox_table_own[] = {{"sort", l_sort}, {NULL, NULL}};
