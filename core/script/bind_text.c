/* yaml, digest and json.cut: texts in, texts out. (The rest of json, and quantity, are value.c's.) */
#include "base/digest.h"
#include "base/json.h"
#include "base/map.h"
#include "base/yaml.h"
#include "script/bind.h"
#include "script/value.h"

#define YAML_JSON_MAX (16u << 20)

static int l_yaml_decode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len), *name = luaL_optstring(L, 2, "YAML");
	struct buffer *json = bind_scratch(L, YAML_JSON_MAX);
	struct err e = {0};
	if (yaml_to_json(text, len, name, json, &e) != 0)
		return bind_fail(L, &e);
	value_from_json(L, buffer_text(json), json->len);
	buffer_deinit(json);
	return 1;
}

static int l_yaml_encode(lua_State *L)
{
	luaL_checkany(L, 1);
	struct buffer *json = bind_scratch(L, YAML_JSON_MAX), *out = bind_scratch(L, YAML_JSON_MAX);
	struct err e = {0};
	value_to_json(L, 1, json, 0);
	if (yaml_from_json(buffer_text(json), json->len, out, &e) != 0)
		luaL_error(L, "%s", e.text);
	lua_pushlstring(L, buffer_text(out), out->len);
	buffer_deinit(json);
	buffer_deinit(out);
	return 1;
}

static const luaL_Reg yaml_functions[] = {
	{"decode", l_yaml_decode},
	{"encode", l_yaml_encode},
	{NULL, NULL},
};

int bind_open_yaml(lua_State *L)
{
	luaL_newlib(L, yaml_functions);
	return 1;
}

static int l_sha256(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	char hex[DIGEST_HEX_SIZE];
	digest_sha256(text, len, hex);
	lua_pushstring(L, hex);
	return 1;
}

static int l_quick(lua_State *L)
{
	luaL_checkany(L, 1);
	struct buffer *b = bind_scratch(L, VALUE_TEXT_MAX);
	value_to_json(L, 1, b, 0);
	lua_pushinteger(L, (lua_Integer)map_hash64(0, buffer_text(b), b->len));
	buffer_deinit(b);
	return 1;
}

static const luaL_Reg digest_functions[] = {
	{"sha256", l_sha256},
	{"quick", l_quick},
	{"masked", value_masked},
	{NULL, NULL},
};

int bind_open_digest(lua_State *L)
{
	luaL_newlib(L, digest_functions);
	return 1;
}

int bind_cut(lua_State *L, const char *text, size_t len, int at)
{
	luaL_checktype(L, at, LUA_TTABLE);
	size_t count = lua_rawlen(L, at);
	luaL_argcheck(L, count <= JSON_PATHS_MAX, at, "too many paths");
	const char *paths[JSON_PATHS_MAX];
	for (size_t i = 0; i < count; i++) {
		if (lua_rawgeti(L, at, (lua_Integer)i + 1) != LUA_TSTRING)
			luaL_argerror(L, at, "an array of paths was expected");
		paths[i] = lua_tostring(L, -1); /* the table holds it */
		lua_pop(L, 1);
	}
	lua_Integer most = luaL_optinteger(L, at + 1, VALUE_TEXT_MAX);
	luaL_argcheck(L, most > 0 && most <= (lua_Integer)VALUE_TEXT_MAX, at + 1, "a number of bytes up to 64 MiB was expected");
	struct buffer *out = bind_scratch(L, (size_t)most);
	struct json_projection p = {.keep = paths, .keep_count = count};
	struct err e = {0};
	if (json_project(text, len, &p, out, &e) != 0)
		return bind_fail(L, &e);
	int ok = value_try_json(L, buffer_text(out), out->len);
	buffer_deinit(out);
	if (ok)
		return 1;
	lua_pushnil(L);
	lua_insert(L, -2);
	return 2;
}

/* (text, paths, most) */
static int l_json_cut(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	return bind_cut(L, text, len, 2);
}

int bind_open_json(lua_State *L)
{
	value_open_json(L);
	lua_pushcfunction(L, l_json_cut);
	lua_setfield(L, -2, "cut");
	return 1;
}
