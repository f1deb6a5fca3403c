/* typed: what the simulated API server does with every object, in C.
 *
 * A body is decoded into the Go type of its kind: unknown fields are dropped, zeros vanish or stay, empty structs appear
 * (lua/sandbox/schema/decode.lua is the whole of it, with the errors). Here is the part of it that well-formed
 * objects need, straight from the text and at a sixth of the cost. Whatever is out of the ordinary (a wrong type, a null in a
 * list, a member twice, a time in another zone) is left to Lua: the answer is nil then, and the slow way says what is
 * wrong. So there is one place that knows the rules of refusal, and a spec holds the two ways against each other. */
#include "script/bind.h"

#include <string.h>

#include "script/limits.h"
#include "script/typed_node.h"
#include "script/typed_shape.h"
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

/* RFC 3339 as the server writes it back, for the first 28 days of a month. */
static bool is_plain_time(const char *t, size_t len)
{
	static const char form[] = "0000-00-00T00:00:00Z";
	if (len != sizeof form - 1)
		return false;
	for (size_t i = 0; i < len; i++)
		if (form[i] == '0' ? t[i] < '0' || t[i] > '9' : t[i] != form[i])
			return false;
	return memcmp(t + 5, "01", 2) >= 0 && memcmp(t + 5, "12", 2) <= 0 && memcmp(t + 8, "01", 2) >= 0 && memcmp(t + 8, "28", 2) <= 0 &&
		memcmp(t + 11, "23", 2) <= 0 && t[14] <= '5' && t[17] <= '5';
}

static bool is_base64(const char *text, size_t len)
{
	if (len % 4 != 0)
		return false;
	for (int padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++)
		len--;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
			return false;
	}
	return true;
}

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
		if (d->v.r.has_escapes || !is_plain_time(text.at, text.len))
			return false;
		break;
	case TYPED_BYTES:
		if (d->v.r.has_escapes || !is_base64(text.at, text.len))
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

/* Stack: `count` names and values above `table`, which is made if it is nil still. */
static void flush_members(lua_State *L, int table, int count)
{
	if (lua_isnil(L, table)) {
		lua_createtable(L, 0, count);
		lua_replace(L, table);
	}
	for (int i = 0; i < count; i++) {
		lua_pushvalue(L, table + 1 + 2 * i);
		lua_pushvalue(L, table + 2 + 2 * i);
		lua_rawset(L, table);
	}
	lua_settop(L, table);
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
			flush_members(L, table, count);
			count = 0;
		}
	}
	flush_members(L, table, count);
	d->is_zero = is_empty;
	return token == JSON_OBJECT_END;
}

/* --- structs --- */

/* A set of field numbers. */
struct fields {
	uint64_t bits[TYPED_FIELDS_MAX / 64];
};

static bool is_in(const struct fields *f, int field)
{
	return (f->bits[field / 64] >> (field % 64) & 1) != 0;
}

static void put_in(struct fields *f, int field)
{
	f->bits[field / 64] |= (uint64_t)1 << (field % 64);
}

static bool push_empty(lua_State *L, const struct typed_node *n);

/* Push name and value of what is written always and not `given`; how many, or -1. */
static int push_written(lua_State *L, const struct typed_node *n, int texts, const struct fields *given)
{
	int count = 0;
	for (int i = 0; i < n->written_count; i++) {
		const struct typed_written *w = &n->written[i];
		if (is_in(given, w->field))
			continue;
		lua_rawgeti(L, texts, w->field + 1);
		if (w->node == NULL)
			lua_rawgeti(L, texts, n->field_count + i + 1);
		else if (!push_empty(L, w->node))
			return -1;
		count++;
	}
	return count;
}

/* A struct that nobody gave. */
static bool push_empty(lua_State *L, const struct typed_node *n)
{
	static const struct fields none;
	luaL_checkstack(L, 2 * TYPED_FIELDS_MAX + 8, "a struct");
	if (n->kind == TYPED_MAP || n->kind == TYPED_ANY_OBJECT) {
		lua_newtable(L);
		return true;
	}
	if (n->kind != TYPED_STRUCT)
		return false;
	typed_push_texts(L, n);
	int texts = lua_gettop(L);
	lua_pushnil(L);
	int count = push_written(L, n, texts, &none);
	if (count < 0)
		return false;
	flush_members(L, texts + 1, count);
	lua_remove(L, texts);
	return true;
}

static bool read_struct(struct reader *d, const struct typed_node *n)
{
	lua_State *L = d->v.L;
	luaL_checkstack(L, GATHER_MAX + 16, "a JSON text");
	struct fields met = {0}, given = {0};
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
		if (is_in(&met, field))
			return false;
		put_in(&met, field);
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
		put_in(&given, field);
		count++;
	}
	int more = token == JSON_OBJECT_END ? push_written(L, n, texts, &given) : -1;
	if (more < 0)
		return false;
	flush_members(L, texts + 1, count + more);
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

/* (node, text, canonical) -> value | nil */
static int l_decode(lua_State *L)
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

static int l_frozen(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	value_freeze(L, 1);
	return 1;
}

static const luaL_Reg functions[] = {
	{"decode", l_decode},
	{"shape", typed_shape},
	{"frozen", l_frozen},
	{NULL, NULL},
};

int bind_open_typed(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
