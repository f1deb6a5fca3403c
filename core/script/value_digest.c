/* A hash of a value in which some names do not count.
 *
 * The checker asks of every object whether it has seen one like it, but for times, UIDs and the like. To write the value out
 * without them and hash the text costs ten times as much; here nothing is written, and the order of a table's
 * names does not matter because their hashes are added. */
#include "script/value.h"

#include <string.h>

#include <lauxlib.h>

#include "base/map.h"

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 33);
}

static uint64_t of_text(uint64_t so_far, lua_State *L, int index)
{
	size_t len;
	const char *text = lua_tolstring(L, index, &len);
	return map_hash64(so_far, text, len);
}

static uint64_t of_value(lua_State *L, int index, int mask, int depth);

/* What `mask` says of the name at `name`: leaves true in *left_out, or a hash that stands for the value on top. */
static bool is_masked(lua_State *L, int name, int mask, bool *left_out, uint64_t *hash)
{
	lua_pushvalue(L, name);
	int type = lua_rawget(L, mask);
	bool masked = type != LUA_TNIL;
	*left_out = type == LUA_TBOOLEAN;
	*hash = 1;
	if (type == LUA_TNUMBER && lua_isinteger(L, -2) && lua_tointeger(L, -2) < lua_tointeger(L, -1))
		masked = false; /* capped, and below the cap */
	lua_pop(L, 1);
	return masked;
}

static uint64_t of_table(lua_State *L, int index, int mask, int depth)
{
	if (depth > VALUE_DEPTH_MAX)
		return (uint64_t)luaL_error(L, "digest.masked: tables are nested more than %d deep", VALUE_DEPTH_MAX);
	luaL_checkstack(L, 8, "digest.masked");
	uint64_t sum = 7;
	for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
		int key = lua_gettop(L) - 1;
		bool left_out = false;
		uint64_t hash = 0;
		if (lua_isinteger(L, key)) {
			sum += mix(of_value(L, key + 1, mask, depth + 1) + (uint64_t)lua_tointeger(L, key) * 0x9e3779b97f4a7c15u);
			continue;
		}
		if (lua_type(L, key) != LUA_TSTRING) { /* bytes for a policy: {[policy.bytes] = text} */
			sum += mix(of_value(L, key + 1, mask, depth + 1) + 29);
			continue;
		}
		bool masked = is_masked(L, key, mask, &left_out, &hash);
		if (!left_out)
			sum += mix(of_text(masked ? hash : of_value(L, key + 1, mask, depth + 1), L, key));
	}
	return mix(sum);
}

static uint64_t of_value(lua_State *L, int index, int mask, int depth)
{
	switch (lua_type(L, index)) {
	case LUA_TTABLE:
		return of_table(L, index, mask, depth);
	case LUA_TSTRING:
		return of_text(3, L, index);
	case LUA_TBOOLEAN:
		return lua_toboolean(L, index) ? 11 : 13;
	case LUA_TNUMBER:
		if (lua_isinteger(L, index))
			return mix((uint64_t)lua_tointeger(L, index) + 17);
		lua_Number n = lua_tonumber(L, index);
		return map_hash64(19, &n, sizeof n);
	default:
		return 23;
	}
}

int value_masked(lua_State *L)
{
	luaL_checkany(L, 1);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	lua_pushinteger(L, (lua_Integer)of_value(L, 1, 2, 0));
	return 1;
}
