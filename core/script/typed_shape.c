/* Hashing what a field set depends on: see typed_shape.h. The walk is that of lua/sandbox/typed/compare.lua, along the atoms
 * of lua/sandbox/typed/atoms.lua, whose kinds have these numbers. */
#include "script/typed_shape.h"

#include <stdbool.h>
#include <stdint.h>

#include <lauxlib.h>

#include "base/map.h"
#include "script/value.h"

enum atom_kind { ATOM_SCALAR = 1, ATOM_UNTYPED, ATOM_ATOMIC_MAP, ATOM_ATOMIC_LIST, ATOM_MAP, ATOM_SET, ATOM_KEYED, ATOM_DEDUCED };
enum mark { LEAF = 1, NO_MAP, EMPTY_MAP, MAP_OVER, NO_LIST, LIST, NO_KEY };

#define DEPTH_MAX 64

/* What is mixed comes from the seeded hash of texts. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ (b + 0x9E3779B97F4A7C15u)) * 0xBF58476D1CE4E5B9u;
	b = (a ^ a >> 29 ^ b << 32) * 0x94D049BB133111EBu;
	return b ^ b >> 32;
}

/* A scalar by its type and value. False: it is none. */
static bool hash_scalar(lua_State *L, int index, uint64_t *hash)
{
	size_t len;
	const char *text;
	lua_Integer integer;
	lua_Number number;
	switch (lua_type(L, index)) {
	case LUA_TSTRING:
		text = lua_tolstring(L, index, &len);
		*hash = map_hash64(LUA_TSTRING, text, len);
		return true;
	case LUA_TNUMBER:
		if (lua_isinteger(L, index)) {
			integer = lua_tointeger(L, index);
			*hash = map_hash64(100, &integer, sizeof integer);
		} else {
			number = lua_tonumber(L, index);
			*hash = map_hash64(101, &number, sizeof number);
		}
		return true;
	case LUA_TBOOLEAN:
		*hash = 200 + (uint64_t)lua_toboolean(L, index);
		return true;
	case LUA_TLIGHTUSERDATA:
		*hash = 202;
		return true;
	default:
		return false;
	}
}

static bool shape_of(lua_State *L, int value, int live, int atom, int depth, uint64_t *hash);

/* Push the atom of a field: its own, else that of all others. False: there is none (the caller's UNTYPED). */
static bool push_atom(lua_State *L, int atom, int fields, int name)
{
	if (lua_istable(L, fields)) {
		lua_pushvalue(L, name);
		if (lua_rawget(L, fields) == LUA_TTABLE)
			return true;
		lua_pop(L, 1);
		lua_pushvalue(L, name);
		if (lua_gettable(L, fields) == LUA_TTABLE) /* made on first need */
			return true;
		lua_pop(L, 1);
	}
	return lua_getfield(L, atom, "element") == LUA_TTABLE;
}

/* One member: name at top - 1, value on top; they stay. live 0: there is nothing to compare with. */
static bool shape_of_member(lua_State *L, int live, int atom, int fields, int depth, uint64_t *hash)
{
	int value = lua_gettop(L), name = value - 1, was = 0;
	if (live != 0) {
		lua_pushvalue(L, name);
		if (lua_rawget(L, live) != LUA_TNIL)
			was = lua_gettop(L);
	}
	bool ok = true;
	*hash = LEAF;
	if (lua_istable(L, value)) {
		bool has_atom = push_atom(L, atom, fields, name);
		if (has_atom)
			ok = shape_of(L, value, was, lua_gettop(L), depth + 1, hash);
		else
			ok = was == 0;
	} else if (was != 0) {
		ok = !lua_istable(L, was) && hash_scalar(L, value, hash);
	}
	lua_settop(L, value);
	return ok;
}

/* The order of members does not count. */
static bool shape_of_map(lua_State *L, int value, int live, int atom, int depth, uint64_t *hash)
{
	uint64_t sum = 0, count = 0, one;
	if (value_is_array(L, value)) {
		*hash = NO_MAP;
		return live == 0;
	}
	if (live != 0 && !lua_istable(L, live))
		live = 0; /* null */
	else if (live != 0 && value_is_array(L, live))
		return false;
	lua_getfield(L, atom, "fields");
	int fields = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, value) != 0; lua_pop(L, 1), count++) {
		size_t len;
		if (lua_type(L, -2) != LUA_TSTRING || !shape_of_member(L, live, atom, fields, depth, &one))
			return false;
		const char *name = lua_tolstring(L, -2, &len);
		sum += mix(map_hash64(0, name, len), one);
	}
	lua_pop(L, 1);
	*hash = count == 0 ? EMPTY_MAP : mix(sum + count, MAP_OVER);
	return true;
}

/* The key of a list's item, which is on top. */
static bool key_of(lua_State *L, int keys, uint64_t *hash)
{
	int item = lua_gettop(L);
	uint64_t h = 0, one;
	if (!lua_istable(L, item) || value_is_array(L, item))
		return false;
	for (lua_Integer i = 1; lua_rawgeti(L, keys, i) != LUA_TNIL; i++) {
		one = NO_KEY;
		if (lua_rawget(L, item) != LUA_TNIL && !hash_scalar(L, -1, &one))
			return false;
		h = mix(h, one);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	*hash = h;
	return true;
}

static bool shape_of_list(lua_State *L, int value, int live, int atom, bool is_keyed, int depth, uint64_t *hash)
{
	uint64_t h = LIST, key, below;
	if (live != 0 && lua_istable(L, live))
		return false;
	if (!value_is_array(L, value)) {
		*hash = NO_LIST;
		return live == 0;
	}
	lua_getfield(L, atom, "item");
	int item_atom = lua_gettop(L);
	lua_getfield(L, atom, "keys");
	for (lua_Integer i = 1; lua_rawgeti(L, value, i) != LUA_TNIL; i++) {
		if (is_keyed ? !key_of(L, item_atom + 1, &key) : !hash_scalar(L, -1, &key))
			return false;
		below = LEAF;
		if (is_keyed && !shape_of(L, lua_gettop(L), 0, item_atom, depth + 1, &below))
			return false;
		h = mix(mix(h, key), below);
		lua_pop(L, 1);
	}
	lua_settop(L, item_atom - 1);
	*hash = h;
	return true;
}

/* A table at `value`; live 0: absent. Leaves the stack as it was if it succeeds. */
static bool shape_of(lua_State *L, int value, int live, int atom, int depth, uint64_t *hash)
{
	luaL_checkstack(L, 16, "an object");
	if (depth > DEPTH_MAX || (live != 0 && lua_rawequal(L, value, live)))
		return false;
	lua_getfield(L, atom, "kind");
	int kind = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
	switch (kind) {
	case ATOM_DEDUCED:
		if (live != 0 && (!lua_istable(L, live) || value_is_array(L, live) || value_is_array(L, value)))
			return false;
		return shape_of_map(L, value, live, atom, depth, hash);
	case ATOM_MAP:
		return shape_of_map(L, value, live, atom, depth, hash);
	case ATOM_SET: case ATOM_KEYED:
		return shape_of_list(L, value, live, atom, kind == ATOM_KEYED, depth, hash);
	default:
		*hash = LEAF;
		return live == 0 || !lua_istable(L, live);
	}
}

int typed_shape(lua_State *L)
{
	uint64_t hash;
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TTABLE);
	lua_settop(L, 3);
	if (shape_of(L, 1, lua_isnil(L, 2) ? 0 : 2, 3, 0, &hash))
		lua_pushinteger(L, (lua_Integer)hash);
	else
		luaL_pushfail(L);
	return 1;
}
