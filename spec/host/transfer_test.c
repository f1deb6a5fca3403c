/* Plain data from state to state: what arrives, what is refused, and what happens when the target
 * runs out of memory in the middle. */
#include <lua.h>
#include <lualib.h>
#include <lauxlib.h>

#include "script/limits.h"
#include "script/transfer.h"
#include "script/value.h"
#include "test.h"

static lua_State *from, *to;

static void open_states(void)
{
	from = luaL_newstate();
	to = luaL_newstate();
	luaL_openlibs(from);
	value_open(from);
	value_open(to);
	value_open_json(from);
	lua_setglobal(from, "json");
	transfer_push_raw_key(from);
	lua_setglobal(from, "bytes");
}

static void close_states(void)
{
	lua_close(from);
	lua_close(to);
}

static int l_copy(lua_State *L)
{
	transfer_value(lua_touserdata(L, 1), -1, L, (enum transfer_kind)lua_tointeger(L, 2), "the value");
	if (!value_is_null(L, -1) && lua_isnil(L, -1))
		value_push_null(L);
	struct buffer *out = lua_touserdata(L, 3);
	value_to_json(L, -1, out, 0);
	return 0;
}

/* What arrives of this Lua expression, as JSON; or the error. Valid until the next call. */
static const char *copy_of(const char *expression, enum transfer_kind kind)
{
	static struct buffer out;
	char code[2000];
	buffer_deinit(&out);
	buffer_init(&out, 1 << 20);
	snprintf(code, sizeof code, "return %s", expression);
	lua_settop(from, 0);
	if (luaL_dostring(from, code) != LUA_OK)
		FAIL("%s", lua_tostring(from, -1));
	lua_pushcfunction(to, l_copy);
	lua_pushlightuserdata(to, from);
	lua_pushinteger(to, kind);
	lua_pushlightuserdata(to, &out);
	if (lua_pcall(to, 3, 0, 0) != LUA_OK) {
		buffer_clear(&out);
		buffer_add_text(&out, lua_tostring(to, -1));
		lua_pop(to, 1);
	} else {
		CHECK_INT(lua_gettop(from), ==, 1);
	}
	return buffer_text(&out);
}

TEST(plain_data_arrives_as_it_is)
{
	open_states();
	CHECK_TEXT(copy_of("{a = {1, 2.5, 'x', true, json.null}, b = {}, c = json.array{}, d = 9007199254740993}", TRANSFER_RESULT),
		"{\"a\":[1,2.5,\"x\",true,null],\"b\":{},\"c\":[],\"d\":9007199254740993}");
	CHECK_TEXT(copy_of("nil", TRANSFER_RESULT), "null");
	CHECK_TEXT(copy_of("'a\\0b'", TRANSFER_RESULT), "\"a\\u0000b\"");
	CHECK_TEXT(copy_of("(function() local t = {} for i = 1, 500 do t['k' .. i] = {i} end local n = 0 for _ in pairs(t) do n = n + 1 end return n end)()", TRANSFER_RESULT), "500");
	close_states();
}

TEST(raw_leaves_are_decoded_in_the_target)
{
	open_states();
	CHECK_TEXT(copy_of("{object = {[bytes] = '{\"a\":[]}'}, list = {{[bytes] = '1'}, {[bytes] = 'null'}}}", TRANSFER_ARGUMENT),
		"{\"list\":[1,null],\"object\":{\"a\":[]}}");
	CHECK_TEXT(copy_of("{object = {x = {[bytes] = '{\"a\":'}}}", TRANSFER_ARGUMENT),
		"the value.object.x: JSON, byte 5: the document ends too early");
	CHECK_CONTAINS(copy_of("{object = {[bytes] = '1'}}", TRANSFER_RESULT), "the value.object: a table has a key");
	lua_settop(from, 0);
	lua_pushstring(from, "[1]");
	transfer_push_raw(from, 1);
	transfer_push_raw_key(from);
	CHECK_INT(lua_rawget(from, 2), ==, LUA_TSTRING);
	CHECK(lua_tostring(from, -1) == lua_tostring(from, 1));
	close_states();
}

TEST(what_is_no_plain_data_is_told_with_its_path)
{
	open_states();
	CHECK_TEXT(copy_of("{spec = {ports = {1, print}}}", TRANSFER_RESULT), "the value.spec.ports[2]: a function is no plain data");
	CHECK_TEXT(copy_of("print", TRANSFER_ARGUMENT), "the value: a function is no plain data");
	CHECK_TEXT(copy_of("{a = {[{}] = 1}}", TRANSFER_ARGUMENT), "the value.a: a table has a table as a key");
	CHECK_CONTAINS(copy_of("{{1, 2, [4] = 4}}", TRANSFER_RESULT), "the value[1]: an array has holes");
	CHECK_CONTAINS(copy_of("{a = setmetatable({}, {__index = {}})}", TRANSFER_RESULT), "the value.a: a table with a metatable");
	CHECK_CONTAINS(copy_of("{a = {['\\xff'] = 1}}", TRANSFER_RESULT), "the value.a: a text is not UTF-8");
	CHECK_CONTAINS(copy_of("(function() local t = {} t[1] = t return t end)()", TRANSFER_ARGUMENT), "nested more than 64 deep");
	CHECK_CONTAINS(copy_of("(function() local t = {} for i = 1, 40 do t = {t, t} end return t end)()", TRANSFER_ARGUMENT), "more than 500000 values");
	CHECK_CONTAINS(copy_of("(function() local t, s = {}, ('x'):rep(1 << 20) for i = 1, 20 do t[i] = s end return t end)()", TRANSFER_ARGUMENT), "more than 16 MiB of text");
	close_states();
}

TEST(describing_names_functions_and_looks_through_metatables)
{
	open_states();
	CHECK_TEXT(copy_of("{f = print, t = setmetatable({1}, {}), u = io.stdout}", TRANSFER_DESCRIBE), "{\"f\":\"function\",\"t\":[1],\"u\":\"userdata\"}");
	close_states();
}

static int l_copy_only(lua_State *L)
{
	value_open(L);
	transfer_value(lua_touserdata(L, 1), 1, L, TRANSFER_ARGUMENT, "");
	return 1;
}

/* With one more kilobyte each time: it fails cleanly until it succeeds, and the source is whole. */
TEST(a_target_without_memory_fails_cleanly_wherever_it_happens)
{
	open_states();
	CHECK_INT(luaL_dostring(from, "local t = {} for i = 1, 100 do t[i] = {name = 'n' .. i, list = {1, 2, 3}, "
		"raw = {[bytes] = '{\"a\":[1,\"text\\\\n\"]}'}} end return t"), ==, LUA_OK);
	int failures = 0, status;
	size_t memory = 4 << 10;
	do {
		struct limits l;
		lua_State *L = limits_open(&l, memory);
		status = -1;
		if (L != NULL) {
			lua_pushcfunction(L, l_copy_only);
			lua_pushlightuserdata(L, from);
			status = lua_pcall(L, 1, 1, 0);
			CHECK(status == LUA_OK || status == LUA_ERRMEM || l.killed == SCRIPT_MEMORY);
		}
		limits_close(&l);
		lua_settop(from, 1);
		failures += status != LUA_OK;
		memory += 1 << 10;
	} while (status != LUA_OK);
	CHECK_INT(failures, >, 30);
	close_states();
}

TEST_MAIN(T(plain_data_arrives_as_it_is), T(raw_leaves_are_decoded_in_the_target), T(what_is_no_plain_data_is_told_with_its_path),
	T(describing_names_functions_and_looks_through_metatables), T(a_target_without_memory_fails_cleanly_wherever_it_happens))
