/* The modules `json` and `quantity` as Lua sees them, in host and policy states alike. */
#include "script/value.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/err.h"
#include "base/quantity.h"
#include "script/limits.h"

static int l_decode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	limits_charge(L, 4 * (uint64_t)len); /* "[[[[": a table every byte */
	if (value_try_json(L, text, len))
		return 1;
	luaL_pushfail(L);
	lua_insert(L, -2);
	return 2;
}

/* The bytes lie in a userdata that frees them, because writing may raise. */
static int l_free_buffer(lua_State *L)
{
	buffer_deinit(lua_touserdata(L, 1));
	return 0;
}

static struct buffer *new_buffer(lua_State *L, size_t max)
{
	struct buffer *b = lua_newuserdatauv(L, sizeof *b, 0);
	buffer_init(b, max);
	if (luaL_newmetatable(L, "moonphase.buffer")) {
		lua_pushcfunction(L, l_free_buffer);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	return b;
}

static int l_encode(lua_State *L)
{
	static const char *const styles[] = {"compact", "pretty", NULL};
	luaL_checkany(L, 1);
	int pretty = luaL_checkoption(L, 2, "compact", styles);
	const struct limits *limits = limits_of(L);
	struct buffer *b = new_buffer(L, limits != NULL ? limits->memory_max / 4 : VALUE_TEXT_MAX);
	value_to_json(L, 1, b, pretty ? 2 : 0);
	limits_charge(L, b->len / 8);
	lua_pushlstring(L, buffer_text(b), b->len);
	buffer_deinit(b);
	return 1;
}

static int l_array(lua_State *L)
{
	if (lua_isnoneornil(L, 1)) {
		lua_settop(L, 0);
		lua_newtable(L);
	}
	luaL_checktype(L, 1, LUA_TTABLE);
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "json.array: this table cannot be changed");
	value_mark_array(L, 1);
	lua_settop(L, 1);
	return 1;
}

static int l_is_array(lua_State *L)
{
	lua_pushboolean(L, value_is_array(L, 1));
	return 1;
}

static int l_equal(lua_State *L)
{
	luaL_checkany(L, 1);
	luaL_checkany(L, 2);
	lua_pushboolean(L, value_equal(L, 1, 2));
	return 1;
}

static int l_copy(lua_State *L)
{
	luaL_checkany(L, 1);
	value_copy(L, 1);
	return 1;
}

int value_open_json(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"decode", l_decode}, {"encode", l_encode}, {"array", l_array},
		{"is_array", l_is_array}, {"equal", l_equal}, {"copy", l_copy}, {NULL, NULL},
	};
	value_open(L);
	luaL_newlib(L, functions);
	value_push_null(L);
	lua_setfield(L, -2, "null");
	return 1;
}

/* A quantity stands in JSON as text or as a number (`cpu: 2`). False: nil and a text are pushed. */
static int read_quantity(lua_State *L, int index, struct quantity *q)
{
	struct err e = {0};
	size_t len = 0;
	int type = lua_type(L, index);
	if (type == LUA_TSTRING || type == LUA_TNUMBER) {
		lua_pushvalue(L, index); /* tolstring changes a number in place */
		const char *text = lua_tolstring(L, -1, &len);
		limits_charge(L, 1 + len); /* long division, digit by digit */
		int rc = quantity_parse(text, len, q, &e);
		lua_pop(L, 1);
		if (rc == 0)
			return 1;
	} else {
		err_set(&e, ERR_INVALID, "a %s is no quantity", luaL_typename(L, index));
	}
	luaL_pushfail(L);
	lua_pushstring(L, e.text);
	return 0;
}

static int read_two(lua_State *L, struct quantity *a, struct quantity *b)
{
	return read_quantity(L, 1, a) && read_quantity(L, 2, b);
}

static int push_quantity(lua_State *L, struct quantity q)
{
	char text[64];
	quantity_format(q, text, sizeof text);
	lua_pushstring(L, text);
	return 1;
}

static int l_compare(lua_State *L)
{
	struct quantity a, b;
	if (!read_two(L, &a, &b))
		return 2;
	lua_pushinteger(L, quantity_compare(a, b));
	return 1;
}

static int l_add(lua_State *L)
{
	struct quantity a, b;
	return read_two(L, &a, &b) ? push_quantity(L, quantity_add(a, b)) : 2;
}

static int l_sub(lua_State *L)
{
	struct quantity a, b;
	return read_two(L, &a, &b) ? push_quantity(L, quantity_sub(a, b)) : 2;
}

static int l_milli(lua_State *L)
{
	struct quantity q;
	if (!read_quantity(L, 1, &q))
		return 2;
	lua_pushinteger(L, quantity_milli(q));
	return 1;
}

static int l_units(lua_State *L)
{
	struct quantity q;
	if (!read_quantity(L, 1, &q))
		return 2;
	lua_pushinteger(L, quantity_units(q));
	return 1;
}

int value_open_quantity(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"compare", l_compare}, {"add", l_add}, {"sub", l_sub},
		{"milli", l_milli}, {"units", l_units}, {NULL, NULL},
	};
	luaL_newlib(L, functions);
	return 1;
}
