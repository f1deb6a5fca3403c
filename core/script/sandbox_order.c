/* pairs and next in a fixed order: numbers ascending, then texts bytewise, then false and true.
 *
 * The order of Lua's tables follows addresses and a random seed; a policy that walks one would
 * decide differently in two processes. `pairs` takes the keys when it is called: what is added
 * meanwhile is not visited, what is removed is skipped. A table keyed by tables or functions has
 * no order and is refused.
 *
 * Specs may have it the other way round (limits.h): what a policy decides then and not otherwise hangs on an order that
 * nobody gave. Positions of a list keep theirs. */
#include "script/sandbox.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "script/limits.h"

#define KEYS_INLINE 48

struct key {
	enum { NUMBER, TEXT, BOOLEAN } kind;
	bool is_integer;
	lua_Integer integer; /* and booleans */
	lua_Number number;
	const char *text; /* its table holds it */
	size_t len;
};

static int compare_numbers(const struct key *x, const struct key *y)
{
	if (x->is_integer && y->is_integer)
		return (x->integer > y->integer) - (x->integer < y->integer);
	lua_Number a = x->is_integer ? (lua_Number)x->integer : x->number;
	lua_Number b = y->is_integer ? (lua_Number)y->integer : y->number;
	return a != b ? (a > b) - (a < b) : (int)x->is_integer - (int)y->is_integer;
}

static int compare(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	if (x->kind != y->kind)
		return (int)x->kind - (int)y->kind;
	if (x->kind == TEXT) {
		int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
		return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
	}
	return compare_numbers(x, y);
}

static struct key read_key(lua_State *L, int index)
{
	struct key k = {.is_integer = true};
	switch (lua_type(L, index)) {
	case LUA_TSTRING:
		k.kind = TEXT;
		k.text = lua_tolstring(L, index, &k.len);
		break;
	case LUA_TNUMBER:
		k.kind = NUMBER;
		k.is_integer = lua_isinteger(L, index);
		k.integer = lua_tointeger(L, index);
		k.number = lua_tonumber(L, index);
		break;
	case LUA_TBOOLEAN:
		k.kind = BOOLEAN;
		k.integer = lua_toboolean(L, index);
		break;
	default:
		luaL_error(L, "this table has a %s as a key, so there is no order to walk it in", luaL_typename(L, index));
	}
	return k;
}

static void push_key(lua_State *L, const struct key *k)
{
	if (k->kind == TEXT)
		lua_pushlstring(L, k->text, k->len);
	else if (k->kind == BOOLEAN)
		lua_pushboolean(L, (int)k->integer);
	else if (k->is_integer)
		lua_pushinteger(L, k->integer);
	else
		lua_pushnumber(L, k->number);
}

static void sort_keys(struct key *keys, size_t count)
{
	if (count > 12) {
		qsort(keys, count, sizeof *keys, compare);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct key one = keys[i];
		size_t j = i;
		for (; j > 0 && compare(&keys[j - 1], &one) > 0; j--)
			keys[j] = keys[j - 1];
		keys[j] = one;
	}
}

/* Upvalues: the keys in order (false: the positions 1..n), and how many were given. */
static int l_step(lua_State *L)
{
	lua_Integer at = lua_tointeger(L, lua_upvalueindex(2));
	luaL_checktype(L, 1, LUA_TTABLE);
	for (;;) {
		lua_settop(L, 1);
		at++;
		if (lua_toboolean(L, lua_upvalueindex(1)))
			lua_rawgeti(L, lua_upvalueindex(1), at);
		else if ((lua_Unsigned)at <= lua_rawlen(L, 1))
			lua_pushinteger(L, at);
		else
			lua_pushnil(L);
		if (lua_isnil(L, 2))
			return 1;
		lua_pushvalue(L, 2);
		if (lua_rawget(L, 1) != LUA_TNIL)
			break; /* else it was removed meanwhile */
	}
	lua_pushinteger(L, at);
	lua_replace(L, lua_upvalueindex(2));
	return 2;
}

/* The keys of the table at 1, counted; *only_positions if they are exactly 1..n. */
static size_t count_keys(lua_State *L, bool *only_positions)
{
	size_t count = 0, positions = 0;
	lua_Unsigned n = lua_rawlen(L, 1);
	for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1), count++)
		positions += lua_isinteger(L, -2) && (lua_Unsigned)lua_tointeger(L, -2) - 1 < n;
	*only_positions = positions == count && n == count;
	return count;
}

static void push_keys(lua_State *L, size_t count)
{
	struct key few[KEYS_INLINE], *keys = few;
	if (count > KEYS_INLINE)
		keys = lua_newuserdatauv(L, count * sizeof *keys, 0);
	size_t i = 0;
	for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1))
		keys[i++] = read_key(L, -2);
	sort_keys(keys, count);
	bool backwards = limits_of(L)->walks_backwards;
	lua_createtable(L, (int)count, 0);
	for (i = 0; i < count; i++) {
		push_key(L, &keys[backwards ? count - 1 - i : i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

static int l_pairs(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	bool only_positions;
	size_t count = count_keys(L, &only_positions);
	limits_charge(L, 4 + count * 4);
	if (only_positions)
		lua_pushboolean(L, 0);
	else
		push_keys(L, count);
	lua_pushinteger(L, 0);
	lua_pushcclosure(L, l_step, 2);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* The smallest key behind the given one. Meant for `next(t) == nil`; a walk by it is quadratic,
 * and charged so. */
static int l_next(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	bool any = false, from = !lua_isnil(L, 2);
	int sign = limits_of(L)->walks_backwards ? -1 : 1;
	struct key best = {0}, behind = {0}, k;
	if (from)
		behind = read_key(L, 2);
	uint64_t seen = 0;
	for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1), seen++) {
		k = read_key(L, -2);
		if ((!from || sign * compare(&k, &behind) > 0) && (!any || sign * compare(&k, &best) < 0)) {
			best = k;
			any = true;
		}
	}
	limits_charge(L, 1 + seen);
	if (!any) {
		lua_pushnil(L);
		return 1;
	}
	push_key(L, &best);
	lua_pushvalue(L, -1);
	lua_rawget(L, 1);
	return 2;
}

const luaL_Reg sandbox_order_own[] = {{"pairs", l_pairs}, {"next", l_next}, {NULL, NULL}};
