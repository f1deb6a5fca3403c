/* The environment of policies: see sandbox.h.
 *
 * The stock libraries are opened once in the fresh state, the functions of the white lists are
 * taken out of them, and the rest is forgotten. A library that a policy sees is an empty table
 * whose metatable reads from the real one and refuses writes, for handing out the real `string`
 * lets one policy change what `("x"):rep` means for all others. */
#include "base/base64.h"
#include "base/digest.h"
#include "script/sandbox.h"

#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "script/limits.h"
#include "script/pattern.h"
#include "script/value.h"

#define BASE64_INPUT_MAX (1u << 20)

static const char environment_key, globals_key;

/* --- refusing --- */

/* Why a name that stock Lua has is not here. */
static const char *hint_for(const char *name)
{
	static const char *const hints[][2] = {
		{"os", "a policy has no clock and no machine: the time is seen.now"},
		{"io", "a policy does no I/O: declare an input"},
		{"print", "a policy prints nothing: put it in the decision's trace, or raise it with error()"},
		{"coroutine", "a policy is one call from begin to end"},
		{"debug", "a policy cannot look at itself"},
		{"load", "a policy is text in its files"}, {"loadstring", "a policy is text in its files"},
		{"loadfile", "use require"}, {"dofile", "use require"}, {"package", "use require"},
		{"collectgarbage", "memory is the host's matter"},
		{"xpcall", "use pcall"},
		{"getmetatable", "metatables cannot be read here"},
		{"rawset", "plain assignment does"}, {"rawget", "plain indexing does"},
		{"_G", "there is no table of globals"},
	};
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
		if (strcmp(hints[i][0], name) == 0)
			return hints[i][1];
	return "write \"local\" in front of its first use, or correct its spelling";
}

/* Arguments: the table, the key. */
static int l_undeclared(lua_State *L)
{
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "a global is read by a %s", luaL_typename(L, 2));
	const char *name = lua_tostring(L, 2);
	return luaL_error(L, "the variable \"%s\" is not declared (%s)", name, hint_for(name));
}

static int l_global_write(lua_State *L)
{
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "a global is written by a %s", luaL_typename(L, 2));
	return luaL_error(L, "the global \"%s\" is written; write \"local\" in front of its first use "
		"(a policy must keep nothing)", lua_tostring(L, 2));
}

/* Upvalue: the library's name. */
static int l_library_write(lua_State *L)
{
	const char *field = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	return luaL_error(L, "\"%s.%s\" is written, but it belongs to all policies",
		lua_tostring(L, lua_upvalueindex(1)), field);
}

/* --- base functions --- */

void sandbox_push_text(lua_State *L, int index)
{
	index = lua_absindex(L, index);
	int type = lua_type(L, index);
	if (type == LUA_TTABLE && luaL_getmetafield(L, index, "__tostring") != LUA_TNIL) {
		lua_pushvalue(L, index);
		lua_call(L, 1, 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "'__tostring' must return a string");
	} else if (value_is_null(L, index)) {
		lua_pushliteral(L, "null");
	} else if (type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TLIGHTUSERDATA) {
		lua_pushstring(L, lua_typename(L, type)); /* an address would differ from run to run */
	} else {
		luaL_tolstring(L, index, NULL);
	}
}

static int l_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	sandbox_push_text(L, 1);
	return 1;
}

/* A policy that is past a limit cannot catch that. */
static int l_pcall(lua_State *L)
{
	luaL_checkany(L, 1);
	limits_charge(L, 20);
	int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
	const struct limits *limits = limits_of(L);
	if (status == LUA_ERRMEM)
		limits_kill(L, SCRIPT_MEMORY);
	if (limits->killed != SCRIPT_OK)
		limits_raise(L);
	if (status != LUA_OK)
		limits_charge(L, 100); /* unwinding */
	lua_pushboolean(L, status == LUA_OK);
	lua_insert(L, 1);
	return lua_gettop(L);
}

/* __gc and __close would run where hooks are off or an error is under way; __mode lets the
 * collector decide what a table holds. */
static int l_setmetatable(lua_State *L)
{
	static const char *const refused[] = {"__gc", "__close", "__mode", "__metatable"};
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table");
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	for (size_t i = 0; lua_istable(L, 2) && i < sizeof refused / sizeof *refused; i++) {
		lua_pushstring(L, refused[i]);
		if (lua_rawget(L, 2) != LUA_TNIL)
			return luaL_error(L, "a policy's metatable cannot have %s", refused[i]);
		lua_pop(L, 1);
	}
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

static const luaL_Reg base_own[] = {
	{"tostring", l_tostring}, {"pcall", l_pcall}, {"setmetatable", l_setmetatable}, {NULL, NULL},
};

/* --- putting it together --- */

/* Stack: stock library; target. Take the named functions as they are. */
static void take(lua_State *L, const char *const *names)
{
	for (; *names != NULL; names++) {
		lua_getfield(L, -2, *names);
		lua_setfield(L, -2, *names);
	}
}

/* Stack: stock library; target. */
static void take_wrapped(lua_State *L, const luaL_Reg *wrapped)
{
	for (; wrapped->name != NULL; wrapped++) {
		lua_getfield(L, -2, wrapped->name);
		lua_pushcclosure(L, wrapped->func, 1);
		lua_setfield(L, -2, wrapped->name);
	}
}

/* Put a read-only table in place of the one on top of the stack. */
static void protect(lua_State *L, const char *name, lua_CFunction refuse)
{
	lua_newtable(L);
	lua_createtable(L, 0, 3);
	lua_rotate(L, -3, -1); /* proxy, metatable, table */
	lua_setfield(L, -2, "__index");
	lua_pushstring(L, name);
	lua_pushcclosure(L, refuse, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
}

/* Stack: a library's real table; it is declared under this name, protected. */
static void declare_library(lua_State *L, const char *name)
{
	protect(L, name, l_library_write);
	sandbox_declare(L, name);
}

static void open_base(lua_State *L)
{
	static const char *const plain[] = {"assert", "error", "ipairs", "rawequal", "rawlen", "select", "type", NULL};
	static const luaL_Reg charged[] = {{"tonumber", sandbox_charged}, {NULL, NULL}};
	lua_pushglobaltable(L);
	sandbox_push_globals(L);
	take(L, plain);
	take_wrapped(L, charged);
	luaL_setfuncs(L, base_own, 0);
	luaL_setfuncs(L, sandbox_order_own, 0);
	lua_pop(L, 2);
}

static void open_string(lua_State *L)
{
	static const char *const plain[] = {"char", "len", "lower", "reverse", "sub", "upper", NULL};
	lua_getglobal(L, "string");
	lua_newtable(L);
	take(L, plain);
	take_wrapped(L, sandbox_string_wrapped);
	luaL_setfuncs(L, pattern_functions, 0);
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index"); /* the real table: nothing writes through ("x").y */
	lua_pop(L, 2);
	declare_library(L, "string");
	lua_pop(L, 1);
}

static void open_table(lua_State *L)
{
	static const char *const plain[] = {"pack", NULL};
	lua_getglobal(L, "table");
	lua_newtable(L);
	take(L, plain);
	take_wrapped(L, sandbox_table_wrapped);
	luaL_setfuncs(L, sandbox_table_own, 0);
	declare_library(L, "table");
	lua_pop(L, 1);
}

static void open_utf8(lua_State *L)
{
	static const char *const plain[] = {"char", "charpattern", "codes", NULL};
	static const luaL_Reg charged[] = {{"codepoint", sandbox_charged}, {"len", sandbox_charged},
		{"offset", sandbox_charged}, {NULL, NULL}};
	lua_getglobal(L, "utf8");
	lua_newtable(L);
	take(L, plain);
	take_wrapped(L, charged);
	declare_library(L, "utf8");
	lua_pop(L, 1);
}

/* All of math but chance. */
static void open_math(lua_State *L)
{
	lua_getglobal(L, "math");
	lua_pushnil(L);
	lua_setfield(L, -2, "random");
	lua_pushnil(L);
	lua_setfield(L, -2, "randomseed");
	declare_library(L, "math");
}

static void open_stock(lua_State *L)
{
	static const luaL_Reg libraries[] = {
		{"_G", luaopen_base}, {"string", luaopen_string}, {"table", luaopen_table},
		{"math", luaopen_math}, {"utf8", luaopen_utf8}, {NULL, NULL},
	};
	for (const luaL_Reg *l = libraries; l->name != NULL; l++) {
		luaL_requiref(L, l->name, l->func, 1);
		lua_pop(L, 1);
	}
}

/* Nothing refers to what the white lists left over. */
static void forget_stock(lua_State *L)
{
	lua_newtable(L);
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_pushnil(L);
	lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}

static void make_environment(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, l_undeclared);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &globals_key);
	protect(L, "_ENV", l_global_write);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &environment_key);
}

void sandbox_push_environment(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &environment_key);
}

void sandbox_push_globals(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &globals_key);
}

void sandbox_declare(lua_State *L, const char *name)
{
	sandbox_push_globals(L);
	lua_pushstring(L, name);
	lua_rotate(L, -3, -1); /* globals, name, value */
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

/* A hash runs long inside C: a step for every 8 bytes. */
static int l_sha256(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	char hex[DIGEST_HEX_SIZE];
	limits_charge(L, 1 + len / 8);
	digest_sha256(text, len, hex);
	lua_pushstring(L, hex);
	return 1;
}

/* Arguments: a password; any text that the salt is made of, so that the same decision makes the same hash. */
static int l_htpasswd(lua_State *L)
{
	size_t len, salt_len;
	const char *password = luaL_checklstring(L, 1, &len), *salt_of = luaL_checklstring(L, 2, &salt_len);
	char hex[DIGEST_HEX_SIZE], hash[DIGEST_SSHA_SIZE];
	unsigned char salt[DIGEST_SALT_SIZE];
	limits_charge(L, 2 + (len + salt_len) / 8);
	digest_sha256(salt_of, salt_len, hex);
	for (int i = 0; i < DIGEST_SALT_SIZE; i++) {
		char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
		salt[i] = (unsigned char)strtoul(pair, NULL, 16);
	}
	digest_ssha(password, len, salt, hash);
	lua_pushstring(L, hash);
	return 1;
}

static void open_digest(lua_State *L)
{
	static const luaL_Reg functions[] = {{"sha256", l_sha256}, {"htpasswd", l_htpasswd}, {NULL, NULL}};
	luaL_newlib(L, functions);
}

/* Base64 of a text (RFC 4648, padded): ENGINE_PREDICTOR wants it, and in Lua it was a third of a decision. */
static int l_base64_encode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	luaL_argcheck(L, len <= BASE64_INPUT_MAX, 1, "is larger than 1 MiB");
	limits_charge(L, 1 + len / 8);
	char *out = lua_newuserdatauv(L, base64_encoded_size(len), 0);
	lua_pushlstring(L, out, base64_encode_to(text, len, out));
	return 1;
}

static void open_base64(lua_State *L)
{
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, l_base64_encode);
	lua_setfield(L, -2, "encode");
}

void sandbox_open(lua_State *L)
{
	luaL_checkstack(L, 20, "sandbox");
	open_stock(L);
	make_environment(L);
	open_base(L);
	open_string(L);
	open_table(L);
	open_utf8(L);
	open_math(L);
	value_open_json(L);
	declare_library(L, "json");
	value_open_quantity(L);
	declare_library(L, "quantity");
	open_digest(L);
	declare_library(L, "digest");
	open_base64(L);
	declare_library(L, "base64");
	forget_stock(L);
}
