/* JSON text to Lua values, and what JSON needs that Lua lacks: null and the array mark.
 *
 * The reader hands out tokens; values are built straight from them. Elements and members are
 * gathered on the Lua stack first and the table is made when its size is known: it is never
 * rehashed while it grows and has no slack, which halves the time and a third of the memory.
 * Only long ones are made early and filled in pieces. */
#include "script/value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/json.h"
#include "script/limits.h"
#include "script/value_path.h"
#include "script/value_read.h"

static const char array_key; /* its address names the metatable in the registry */

#define GATHER_MAX 64 /* members or elements on the stack before the table is made */

void value_open(lua_State *L)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key) == LUA_TNIL) {
		lua_newtable(L);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
	}
	lua_pop(L, 1);
}

void value_push_null(lua_State *L)
{
	lua_pushlightuserdata(L, NULL);
}

int value_is_null(lua_State *L, int index)
{
	return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL;
}

void value_push_mark(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
}

void value_mark_array(lua_State *L, int index)
{
	index = lua_absindex(L, index);
	value_push_mark(L);
	lua_setmetatable(L, index);
}

/* Raises nothing: a source state may be asked. */
int value_is_array(lua_State *L, int index)
{
	if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
		return 0;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
	int same = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return same;
}

bool value_integer(const char *at, size_t len, lua_Integer *out)
{
	bool minus = *at == '-';
	uint64_t limit = (uint64_t)INT64_MAX + minus, value = 0;
	for (size_t i = minus; i < len; i++) {
		unsigned digit = (unsigned)(at[i] - '0');
		if (digit > 9 || value > (limit - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = (lua_Integer)(minus ? 0 - value : value);
	return true;
}

static bool push_number(struct value_reader *d)
{
	lua_State *L = d->L;
	struct json_span text = d->r.text;
	lua_Integer integer;
	if (value_integer(text.at, text.len, &integer)) {
		lua_pushinteger(L, integer);
		return true;
	}
	/* strtod wants a NUL behind it, and the text need not have one. */
	char small[64];
	const char *copy = small;
	if (text.len < sizeof small) {
		memcpy(small, text.at, text.len);
		small[text.len] = '\0';
	} else {
		copy = lua_pushlstring(L, text.at, text.len);
	}
	double number = strtod(copy, NULL);
	if (copy != small)
		lua_pop(L, 1);
	if (number > 1.7976931348623157e308 || number < -1.7976931348623157e308) {
		d->r.error = "the number is too large";
		return false;
	}
	lua_pushnumber(L, number);
	return true;
}

void value_push_text(struct value_reader *d)
{
	struct json_span text = d->r.text;
	if (!d->r.has_escapes) {
		lua_pushlstring(d->L, text.at, text.len);
		return;
	}
	luaL_Buffer b;
	char *out = luaL_buffinitsize(d->L, &b, text.len);
	luaL_pushresultsize(&b, json_unescape(text, out));
}

/* Stack: `count` elements above the place of their table, which is made with the first ones. */
static void flush_array(struct value_reader *d, int table, lua_Integer before, int count)
{
	lua_State *L = d->L;
	if (before == 0) {
		lua_createtable(L, count, 0);
		lua_pushvalue(L, d->mark);
		lua_setmetatable(L, -2);
		lua_replace(L, table);
	}
	for (int i = count; i > 0; i--)
		lua_rawseti(L, table, before + i);
}

static bool push_array(struct value_reader *d)
{
	lua_State *L = d->L;
	int table, count = 0;
	lua_Integer before = 0;
	enum json_token token;
	limits_check_stack(L, GATHER_MAX + 8);
	lua_pushnil(L);
	table = lua_gettop(L);
	while ((token = json_next(&d->r)) != JSON_ARRAY_END) {
		if (!value_push_token(d, token))
			return false;
		if (++count == GATHER_MAX) {
			flush_array(d, table, before, count);
			before += count;
			count = 0;
		}
	}
	flush_array(d, table, before, count);
	return true;
}

/* Stack: `count` names and values in turn above the place of their table. Set in order, so that of
 * members with the same name the last one counts, as for Go. */
static void flush_object(struct value_reader *d, int table, int count)
{
	lua_State *L = d->L;
	int first = table + 1;
	if (lua_isnil(L, table)) {
		lua_createtable(L, 0, count);
		lua_replace(L, table);
	}
	for (int i = 0; i < count; i++) {
		lua_pushvalue(L, first + 2 * i);
		lua_pushvalue(L, first + 2 * i + 1);
		lua_rawset(L, table);
	}
	lua_settop(L, table);
}

static bool push_object(struct value_reader *d)
{
	int table, count = 0;
	enum json_token token;
	limits_check_stack(d->L, 2 * GATHER_MAX + 8);
	lua_pushnil(d->L);
	table = lua_gettop(d->L);
	while ((token = json_next(&d->r)) != JSON_OBJECT_END) {
		if (token == JSON_ERROR)
			return false;
		value_push_text(d);
		if (!value_push_token(d, json_next(&d->r)))
			return false;
		if (++count == GATHER_MAX) {
			flush_object(d, table, count);
			count = 0;
		}
	}
	flush_object(d, table, count);
	return true;
}

/* Recursion is bounded by the reader's depth. */
bool value_push_token(struct value_reader *d, enum json_token token)
{
	switch (token) {
	case JSON_NULL:
		value_push_null(d->L);
		return true;
	case JSON_FALSE:
	case JSON_TRUE:
		lua_pushboolean(d->L, token == JSON_TRUE);
		return true;
	case JSON_NUMBER:
		return push_number(d);
	case JSON_STRING:
		value_push_text(d);
		return true;
	case JSON_ARRAY_BEGIN:
		return push_array(d);
	case JSON_OBJECT_BEGIN:
		return push_object(d);
	default:
		return false;
	}
}

int value_try_json(lua_State *L, const char *text, size_t len)
{
	struct value_reader d = {.L = L, .mark = lua_gettop(L) + 1};
	if (len > VALUE_TEXT_MAX) {
		lua_pushfstring(L, "JSON: the text has more than %d MiB", (int)(VALUE_TEXT_MAX >> 20));
		return 0;
	}
	limits_check_stack(L, 8);
	value_push_mark(L);
	json_reader_init(&d.r, text, len);
	if (value_push_token(&d, json_next(&d.r)) && json_next(&d.r) == JSON_END) {
		lua_replace(L, d.mark);
		lua_settop(L, d.mark);
		return 1;
	}
	lua_settop(L, d.mark - 1);
	lua_pushfstring(L, "JSON, byte %I: %s", (lua_Integer)json_error_offset(&d.r),
		d.r.error != NULL ? d.r.error : "a value is missing");
	return 0;
}

void value_from_json(lua_State *L, const char *text, size_t len)
{
	if (!value_try_json(L, text, len))
		luaL_error(L, "%s", lua_tostring(L, -1));
}
