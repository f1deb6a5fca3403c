/* Plain data from one Lua state into another: see transfer.h.
 *
 * Every call on `from` in this file is one of those that raise nothing on valid arguments
 * (type, next, rawlen, rawgetp, tolstring of a string, getmetatable, checkstack, settop). A copy is
 * made at its final size: what is no small object is walked twice, first to learn size and shape. */
#include "script/transfer.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "script/limits.h"
#include "script/value.h"
#include "script/value_path.h"

#define GATHER_MAX 32 /* members on the stack before the table is made */

static const char raw_key;

struct transfer {
	lua_State *from, *to;
	enum transfer_kind kind;
	struct limits *limits; /* of the target, if it has some */
	size_t values, bytes;
	int depth;
};

void transfer_push_raw_key(lua_State *L)
{
	lua_pushlightuserdata(L, (void *)&raw_key);
}

void transfer_push_raw(lua_State *L, int index)
{
	luaL_checktype(L, index, LUA_TSTRING);
	index = lua_absindex(L, index);
	lua_createtable(L, 0, 1);
	lua_pushvalue(L, index);
	lua_rawsetp(L, -2, &raw_key);
}

static void copy_string(struct transfer *t, const struct value_path *path, int index)
{
	size_t len;
	const char *text = lua_tolstring(t->from, index, &len);
	t->bytes += len;
	if (t->bytes > TRANSFER_BYTES_MAX)
		value_path_error(t->to, path, "more than %u MiB of text in one value", TRANSFER_BYTES_MAX >> 20);
	if (t->kind == TRANSFER_RESULT && value_utf8_check(text, len) != len)
		value_path_error(t->to, path, "a text is not UTF-8");
	if (t->limits != NULL)
		limits_add_input(t->limits, len);
	lua_pushlstring(t->to, text, len);
}

/* Integers stay integers. A result must be a number that JSON has. */
static void copy_number(struct transfer *t, const struct value_path *path, int index)
{
	if (lua_isinteger(t->from, index)) {
		lua_pushinteger(t->to, lua_tointeger(t->from, index));
		return;
	}
	lua_Number number = lua_tonumber(t->from, index);
	if (t->kind == TRANSFER_RESULT && !isfinite(number))
		value_path_error(t->to, path, "%s is no plain data", isnan(number) ? "not-a-number" : "infinity");
	lua_pushnumber(t->to, number);
}

/* {[policy.bytes] = text}: decode it in the target. */
static bool copy_raw(struct transfer *t, const struct value_path *path, int index)
{
	if (t->kind != TRANSFER_ARGUMENT)
		return false;
	if (lua_rawgetp(t->from, index, &raw_key) != LUA_TSTRING) {
		lua_pop(t->from, 1);
		return false;
	}
	size_t len;
	const char *text = lua_tolstring(t->from, -1, &len);
	if (t->limits != NULL)
		limits_add_input(t->limits, len);
	if (!value_try_json(t->to, text, len))
		value_path_error(t->to, path, "%s", lua_tostring(t->to, -1));
	lua_pop(t->from, 1); /* the table still holds the text */
	return true;
}

static void check_metatable(struct transfer *t, const struct value_path *path, int index, bool marked)
{
	if (t->kind != TRANSFER_RESULT || marked || !lua_getmetatable(t->from, index))
		return;
	lua_pop(t->from, 1);
	value_path_error(t->to, path, "a table with a metatable is no plain data; copy its fields into a new table");
}

/* How many positions and names; a result must be an array or an object. */
static struct value_shape shape_of(struct transfer *t, const struct value_path *path, int index, bool marked)
{
	struct value_shape shape;
	const char *why;
	if (!value_shape(t->from, index, &shape, &why) && t->kind == TRANSFER_RESULT)
		value_path_error(t->to, path, "%s", why);
	if (marked && shape.names != 0 && t->kind == TRANSFER_RESULT)
		value_path_error(t->to, path, "an array has names");
	return shape;
}

static void copy_value(struct transfer *t, const struct value_path *path, int index);

/* The key at `index`; what is no key of plain data is told with the path of its table. */
static struct value_path copy_key(struct transfer *t, const struct value_path *path, int index)
{
	struct value_path step = {.up = path};
	if (lua_type(t->from, index) == LUA_TSTRING) {
		step.name = lua_tolstring(t->from, index, &step.name_len);
		copy_string(t, path, index);
	} else if (lua_isinteger(t->from, index)) {
		step.position = lua_tointeger(t->from, index);
		lua_pushinteger(t->to, step.position);
	} else if (lua_type(t->from, index) == LUA_TNUMBER) {
		lua_pushnumber(t->to, lua_tonumber(t->from, index));
	} else {
		value_path_error(t->to, path, "a table has a %s as a key", lua_typename(t->to, lua_type(t->from, index)));
	}
	return step;
}

/* Make the table at `table` of the target's stack and put the `count` pairs above it in. */
static void make_table(lua_State *to, int table, size_t positions, size_t names, int count)
{
	lua_createtable(to, (int)positions, (int)names);
	lua_replace(to, table);
	while (count-- > 0)
		lua_rawset(to, table);
}

/* Most tables are small objects: their members are gathered on the stack until the size is known. Others
 * are measured first. Whether it is an array by its shape (of a result; other shapes are free). */
static bool copy_fields(struct transfer *t, const struct value_path *path, int index, bool marked)
{
	lua_State *from = t->from, *to = t->to;
	bool is_made = false, is_array = marked;
	int count = 0, table;
	limits_check_stack(to, 2 * GATHER_MAX + 10);
	lua_pushnil(to);
	table = lua_gettop(to);
	for (lua_pushnil(from); lua_next(from, index) != 0; lua_pop(from, 1)) {
		int key = lua_gettop(from) - 1;
		if (!is_made && (count == GATHER_MAX || marked || lua_type(from, key) != LUA_TSTRING)) {
			struct value_shape shape = shape_of(t, path, index, marked);
			make_table(to, table, shape.positions, shape.names, count);
			is_made = true;
			is_array = marked || (t->kind == TRANSFER_RESULT && shape.positions != 0);
		}
		struct value_path step = copy_key(t, path, key);
		copy_value(t, &step, key + 1);
		if (is_made)
			lua_rawset(to, table);
		else
			count++;
	}
	if (!is_made)
		make_table(to, table, 0, (size_t)count, count);
	return is_array;
}

static void copy_table(struct transfer *t, const struct value_path *path, int index)
{
	index = lua_absindex(t->from, index);
	if (++t->depth > VALUE_DEPTH_MAX)
		value_path_error(t->to, path, "tables are nested more than %d deep (or hold themselves)", VALUE_DEPTH_MAX);
	if (!lua_checkstack(t->from, 10))
		value_path_error(t->to, path, "there is no memory to read it");
	if (!copy_raw(t, path, index)) {
		bool marked = value_is_array(t->from, index);
		check_metatable(t, path, index, marked);
		if (copy_fields(t, path, index, marked))
			value_mark_array(t->to, -1);
	}
	t->depth--;
}

static void copy_other(struct transfer *t, const struct value_path *path, int index)
{
	if (value_is_null(t->from, index))
		value_push_null(t->to);
	else if (t->kind == TRANSFER_DESCRIBE)
		lua_pushstring(t->to, lua_typename(t->to, lua_type(t->from, index)));
	else
		value_path_error(t->to, path, "a %s is no plain data", lua_typename(t->to, lua_type(t->from, index)));
}

static void copy_value(struct transfer *t, const struct value_path *path, int index)
{
	if (++t->values > TRANSFER_VALUES_MAX)
		value_path_error(t->to, path, "more than %u values in one value", TRANSFER_VALUES_MAX);
	switch (lua_type(t->from, index)) {
	case LUA_TNIL:
		lua_pushnil(t->to);
		break;
	case LUA_TBOOLEAN:
		lua_pushboolean(t->to, lua_toboolean(t->from, index));
		break;
	case LUA_TNUMBER:
		copy_number(t, path, index);
		break;
	case LUA_TSTRING:
		copy_string(t, path, index);
		break;
	case LUA_TTABLE:
		copy_table(t, path, index);
		break;
	default:
		copy_other(t, path, index);
	}
}

void transfer_value(lua_State *from, int index, lua_State *to, enum transfer_kind kind, const char *name)
{
	struct transfer t = {.from = from, .to = to, .kind = kind, .limits = limits_of(to)};
	struct value_path root = {.name = name, .name_len = strlen(name)};
	if (!lua_checkstack(from, 10))
		luaL_error(to, "there is no memory to read a value");
	limits_check_stack(to, 10);
	copy_value(&t, &root, lua_absindex(from, index));
}
