/* Reading options, and the few things that every binding pushes. */
#include <math.h>
#include <string.h>

#include "script/bind.h"

#define SCRATCH_CLASS "moonphase.scratch"
#define MS_MAX 1e13

void bind_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
	if (!luaL_newmetatable(L, name)) {
		lua_pop(L, 1);
		return;
	}
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	if (gc) {
		lua_pushcfunction(L, gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_pop(L, 1);
}

static int index_fields(lua_State *L)
{
	lua_settop(L, 2);
	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
		return 1;
	if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE)
		return 0;
	lua_pushvalue(L, 2);
	lua_rawget(L, -2);
	return 1;
}

void bind_class_with_fields(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
	bind_class(L, name, methods, gc);
	luaL_getmetatable(L, name);
	lua_getfield(L, -1, "__index");
	lua_pushcclosure(L, index_fields, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

/* --- options --- */

static bool is_listed(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

void opt_check(lua_State *L, int index, const char *what, const char *const *names)
{
	luaL_checktype(L, index, LUA_TTABLE);
	index = lua_absindex(L, index);
	lua_pushnil(L);
	while (lua_next(L, index)) {
		lua_pop(L, 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "%s: its options are names, not positions", what);
		if (!is_listed(names, lua_tostring(L, -1)))
			luaL_error(L, "%s: there is no option \"%s\"", what, lua_tostring(L, -1));
	}
}

static int field(lua_State *L, int index, const char *name)
{
	index = lua_absindex(L, index);
	lua_pushstring(L, name);
	return lua_rawget(L, index);
}

static void wrong(lua_State *L, const char *name, const char *expected)
{
	luaL_error(L, "option \"%s\": %s was expected, not %s", name, expected, luaL_typename(L, -1));
}

const char *opt_bytes(lua_State *L, int index, const char *name, size_t *len)
{
	int type = field(L, index, name);
	const char *text = NULL;
	*len = 0;
	if (type == LUA_TSTRING)
		text = lua_tolstring(L, -1, len);
	else if (type != LUA_TNIL)
		wrong(L, name, "a text");
	lua_pop(L, 1);
	return text;
}

const char *opt_text(lua_State *L, int index, const char *name, const char *otherwise)
{
	size_t len;
	const char *text = opt_bytes(L, index, name, &len);
	if (text && strlen(text) != len)
		luaL_error(L, "option \"%s\": the text holds a NUL byte", name);
	return text ? text : otherwise;
}

const char *need_text(lua_State *L, int index, const char *name)
{
	const char *text = opt_text(L, index, name, NULL);
	if (!text)
		luaL_error(L, "option \"%s\" is missing", name);
	return text;
}

bool opt_bool(lua_State *L, int index, const char *name)
{
	int type = field(L, index, name);
	if (type != LUA_TNIL && type != LUA_TBOOLEAN)
		wrong(L, name, "true or false");
	bool value = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

static uint64_t to_ms(lua_State *L, lua_Number seconds)
{
	if (isnan(seconds))
		luaL_error(L, "a time in seconds was expected, not NaN");
	lua_Number ms = ceil(seconds * 1000);
	return ms <= 0 ? 0 : ms > MS_MAX ? (uint64_t)MS_MAX : (uint64_t)ms;
}

uint64_t opt_ms(lua_State *L, int index, const char *name, uint64_t otherwise)
{
	int type = field(L, index, name);
	uint64_t ms = otherwise;
	if (type == LUA_TNUMBER)
		ms = to_ms(L, lua_tonumber(L, -1));
	else if (type != LUA_TNIL)
		wrong(L, name, "a number of seconds");
	lua_pop(L, 1);
	return ms;
}

uint64_t arg_ms(lua_State *L, int index, uint64_t otherwise)
{
	return lua_isnoneornil(L, index) ? otherwise : to_ms(L, luaL_checknumber(L, index));
}

int64_t opt_integer(lua_State *L, int index, const char *name, int64_t otherwise)
{
	int whole = 1, type = field(L, index, name);
	int64_t value = otherwise;
	if (type == LUA_TNUMBER)
		value = lua_tointegerx(L, -1, &whole);
	if ((type != LUA_TNUMBER && type != LUA_TNIL) || !whole)
		wrong(L, name, "a whole number");
	lua_pop(L, 1);
	return value;
}

bool opt_function(lua_State *L, int index, const char *name)
{
	int type = field(L, index, name);
	if (type != LUA_TNIL && type != LUA_TFUNCTION)
		wrong(L, name, "a function");
	return type == LUA_TFUNCTION;
}

int opt_reference(lua_State *L, int index, const char *name)
{
	if (opt_function(L, index, name))
		return luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pop(L, 1);
	return LUA_NOREF;
}

void bind_unref(lua_State *L, int *ref)
{
	luaL_unref(L, LUA_REGISTRYINDEX, *ref);
	*ref = LUA_NOREF;
}

const char **opt_list(lua_State *L, int index, const char *name, size_t *count)
{
	*count = 0;
	int type = field(L, index, name);
	if (type == LUA_TNIL)
		return NULL;
	if (type != LUA_TTABLE)
		wrong(L, name, "an array of texts");
	size_t n = lua_rawlen(L, -1);
	const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
	for (size_t i = 0; i < n; i++) {
		if (lua_rawgeti(L, -2, (lua_Integer)i + 1) != LUA_TSTRING)
			wrong(L, name, "an array of texts");
		list[i] = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	list[n] = NULL;
	*count = n;
	lua_remove(L, -2);
	return list;
}

/* --- pushing --- */

static int scratch_collect(lua_State *L)
{
	buffer_deinit(lua_touserdata(L, 1));
	return 0;
}

struct buffer *bind_scratch(lua_State *L, size_t max)
{
	static const luaL_Reg none[] = {{NULL, NULL}};
	struct buffer *b = lua_newuserdatauv(L, sizeof *b, 0);
	buffer_init(b, max);
	bind_class(L, SCRATCH_CLASS, none, scratch_collect);
	luaL_setmetatable(L, SCRATCH_CLASS);
	return b;
}

int bind_fail(lua_State *L, const struct err *e)
{
	lua_pushnil(L);
	lua_pushstring(L, e->text);
	return 2;
}

void set_text(lua_State *L, const char *name, const char *value)
{
	if (!value)
		return;
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

void set_integer(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

void set_bool(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}
