/* A JSON text as the value of a typed kind, in one go.
 *
 * Tokens become values as they come, so the object as the client wrote it is never built. What is out of the ordinary (see
 * bind_typed.c) ends it. */
#include "script/typed_parts.h"

#include <string.h>

#include <lauxlib.h>

#include "script/value.h"
#include "script/value_read.h"

#define GATHER_MAX (2 * TYPED_FIELDS_MAX)

struct reader {
	struct value_reader v;
	int canonical; /* stack index of a function: the canonical text of a quantity, or nil */
	bool is_zero;  /* the value that was just pushed is its type's zero */
};

static bool read_value(struct reader *d, const struct typed_node *n, enum json_token token);

/* --- texts and numbers --- */

static bool push_quantity(struct reader *d)
{
	lua_State *L = d->v.L;
	lua_pushvalue(L, d->canonical);
	value_push_text(&d->v);
	lua_call(L, 1, 1);
	return lua_type(L, -1) == LUA_TSTRING;
}

static bool read_text(struct reader *d, const struct typed_node *n)
{
	struct json_span text = d->v.r.text;
	d->is_zero = text.len == 0;
	switch (n->format) {
	case TYPED_ODD:
		return false;
	case TYPED_QUANTITY:
		return push_quantity(d);
	case TYPED_TIME:
		if (d->v.r.has_escapes || !typed_is_time(text.at, text.len))
			return false;
		break;
	case TYPED_BYTES:
		if (d->v.r.has_escapes || !typed_is_base64(text.at, text.len))
			return false;
		break;
	default:
		break;
	}
	value_push_text(&d->v);
	return true;
}

static bool read_whole(struct reader *d, bool is_int32)
{
	lua_Integer value;
	if (!value_integer(d->v.r.text.at, d->v.r.text.len, &value) || (is_int32 && (value > INT32_MAX || value < INT32_MIN)))
		return false;
	d->is_zero = value == 0;
	lua_pushinteger(d->v.L, value);
	return true;
}

/* Any JSON, as it stands. */
static bool read_any(struct reader *d, enum json_token token)
{
	lua_State *L = d->v.L;
	if (!value_push_token(&d->v, token))
		return false;
	switch (lua_type(L, -1)) {
	case LUA_TSTRING:
		d->is_zero = lua_rawlen(L, -1) == 0;
		return true;
	case LUA_TNUMBER:
		d->is_zero = lua_tonumber(L, -1) == 0;
		return true;
	case LUA_TBOOLEAN:
		d->is_zero = !lua_toboolean(L, -1);
		return true;
	case LUA_TTABLE:
		lua_pushnil(L);
		d->is_zero = lua_next(L, -2) == 0;
		if (!d->is_zero)
			lua_pop(L, 2);
		return true;
	default:
		d->is_zero = false;
		return true;
	}
}

/* --- lists and maps --- */

/* Stack: `count` values above `table`, which is made if it is nil still. */
static void flush_list(struct reader *d, int table, lua_Integer before, int count)
{
	lua_State *L = d->v.L;
	if (lua_isnil(L, table)) {
		lua_createtable(L, count, 0);
		lua_pushvalue(L, d->v.mark);
		lua_setmetatable(L, -2);
		lua_replace(L, table);
	}
	for (int i = count; i > 0; i--)
		lua_rawseti(L, table, before + i);
}

static bool read_list(struct reader *d, const struct typed_node *items)
{
	lua_State *L = d->v.L;
	luaL_checkstack(L, GATHER_MAX + 16, "a JSON text");
	enum json_token token;
	lua_Integer before = 0;
	int count = 0;
	lua_pushnil(L);
	int table = lua_gettop(L);
	while ((token = json_next(&d->v.r)) != JSON_ARRAY_END) {
		if (token == JSON_NULL || !read_value(d, items, token))
			return false;
		if (++count == GATHER_MAX) {
			flush_list(d, table, before, count);
			before += count;
			count = 0;
		}
	}
	flush_list(d, table, before, count);
	d->is_zero = before + count == 0;
	return true;
}

static bool read_map(struct reader *d, const struct typed_node *items)
{
	lua_State *L = d->v.L;
	luaL_checkstack(L, GATHER_MAX + 16, "a JSON text");
	enum json_token token;
	int count = 0;
	bool is_empty = true;
	lua_pushnil(L);
	int table = lua_gettop(L);
	while ((token = json_next(&d->v.r)) == JSON_KEY) {
		value_push_text(&d->v);
		token = json_next(&d->v.r);
		if (token == JSON_NULL || !read_value(d, items, token))
			return false;
		is_empty = false;
		if (++count == GATHER_MAX / 2) {
			typed_set_members(L, table, count);
			count = 0;
		}
	}
	typed_set_members(L, table, count);
	d->is_zero = is_empty;
	return token == JSON_OBJECT_END;
}

/* --- structs --- */

static bool read_struct(struct reader *d, const struct typed_node *n)
{
	lua_State *L = d->v.L;
	luaL_checkstack(L, GATHER_MAX + 16, "a JSON text");
	struct typed_fields met = {0}, given = {0};
	enum json_token token;
	int count = 0;
	typed_push_texts(L, n);
	int texts = lua_gettop(L);
	lua_pushnil(L);
	while ((token = json_next(&d->v.r)) == JSON_KEY) {
		struct json_span ignored;
		if (d->v.r.has_escapes)
			return false;
		int field = typed_field_of(n, d->v.r.text.at, d->v.r.text.len);
		if (field < 0) {
			if (!json_skip_value(&d->v.r, &ignored))
				return false;
			continue;
		}
		if (typed_is_in(&met, field))
			return false;
		typed_put_in(&met, field);
		token = json_next(&d->v.r);
		if (token == JSON_NULL)
			continue;
		lua_rawgeti(L, texts, field + 1);
		if (!read_value(d, n->fields[field].node, token))
			return false;
		if (n->fields[field].omit && d->is_zero) {
			lua_pop(L, 2);
			continue;
		}
		typed_put_in(&given, field);
		count++;
	}
	int more = token == JSON_OBJECT_END ? typed_push_written(L, n, texts, &given) : -1;
	if (more < 0)
		return false;
	typed_set_members(L, texts + 1, count + more);
	lua_remove(L, texts);
	d->is_zero = false;
	return true;
}

/* Push one value. False: it is not what is usual, and there may be leftovers on the stack. */
static bool read_value(struct reader *d, const struct typed_node *n, enum json_token token)
{
	switch (n->kind) {
	case TYPED_STRUCT:
		return token == JSON_OBJECT_BEGIN && read_struct(d, n);
	case TYPED_MAP:
		return token == JSON_OBJECT_BEGIN && read_map(d, n->items);
	case TYPED_LIST:
		return token == JSON_ARRAY_BEGIN && read_list(d, n->items);
	case TYPED_TEXT:
		return token == JSON_STRING && read_text(d, n);
	case TYPED_WHOLE:
		return token == JSON_NUMBER && read_whole(d, n->format == TYPED_INT32);
	case TYPED_EITHER:
		return token == JSON_STRING ? read_text(d, n) : token == JSON_NUMBER && read_whole(d, true);
	case TYPED_TRUTH:
		return (token == JSON_TRUE || token == JSON_FALSE) && read_any(d, token);
	case TYPED_REAL:
		return token == JSON_NUMBER && read_any(d, token);
	case TYPED_ANY_OBJECT:
		return token == JSON_OBJECT_BEGIN && read_any(d, token);
	case TYPED_ANY:
		return read_any(d, token);
	default:
		return false;
	}
}

int typed_decode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	const struct typed_node *n = typed_node_of(L, 1);
	if (len > VALUE_TEXT_MAX)
		return luaL_pushfail(L), 1;
	lua_settop(L, 3);
	value_push_mark(L);
	struct reader d = {.v = {.L = L, .mark = 4}, .canonical = 3};
	json_reader_init(&d.v.r, text, len);
	enum json_token first = json_next(&d.v.r);
	if (!read_value(&d, n, first) || json_next(&d.v.r) != JSON_END) {
		lua_settop(L, 0);
		luaL_pushfail(L);
	}
	return 1;
}
