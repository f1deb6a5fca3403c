/* A value of Lua's as the value of a typed kind: a cleaned deep copy.
 *
 * What a patch made and what a controller made comes as tables. The rules are those of typed_decode.c; what is frozen
 * is shared, since nobody may change it. */
#include "script/typed_parts.h"

#include <string.h>

#include <lauxlib.h>

#include "script/value.h"
#include "script/value_read.h"

#define DEPTH_MAX VALUE_DEPTH_MAX

struct cleaner {
	lua_State *L;
	int canonical, mark; /* stack indices: as in typed_decode.c */
	int depth;
	bool is_zero; /* the value that was just pushed is its type's zero */
};

/* Push the clean form of the value at `index`, an absolute one. False: it is not what is usual, and there may be leftovers. */
static bool clean(struct cleaner *c, const struct typed_node *n, int index);

static bool clean_text(struct cleaner *c, const struct typed_node *n, int index)
{
	lua_State *L = c->L;
	size_t len;
	if (lua_type(L, index) != LUA_TSTRING)
		return false;
	const char *text = lua_tolstring(L, index, &len);
	c->is_zero = len == 0;
	if (n->format == TYPED_ODD || (n->format == TYPED_TIME && !typed_is_time(text, len)) ||
	    (n->format == TYPED_BYTES && !typed_is_base64(text, len)))
		return false;
	if (n->format != TYPED_QUANTITY) {
		lua_pushvalue(L, index);
		return true;
	}
	lua_pushvalue(L, c->canonical);
	lua_pushvalue(L, index);
	lua_call(L, 1, 1);
	return lua_type(L, -1) == LUA_TSTRING;
}

static bool clean_whole(struct cleaner *c, bool is_int32, int index)
{
	lua_State *L = c->L;
	if (!lua_isinteger(L, index))
		return false;
	lua_Integer value = lua_tointeger(L, index);
	if (is_int32 && (value > INT32_MAX || value < INT32_MIN))
		return false;
	c->is_zero = value == 0;
	lua_pushinteger(L, value);
	return true;
}

/* Any JSON: a copy of what can be changed. */
static bool copy(struct cleaner *c, int index)
{
	lua_State *L = c->L;
	if (lua_type(L, index) != LUA_TTABLE) {
		c->is_zero = lua_isstring(L, index) ? lua_type(L, index) == LUA_TSTRING ? lua_rawlen(L, index) == 0 : lua_tonumber(L, index) == 0 :
			lua_isboolean(L, index) && !lua_toboolean(L, index);
		lua_pushvalue(L, index);
		return true;
	}
	luaL_checkstack(L, 16, "an object");
	bool is_empty = true, has_mark = lua_getmetatable(L, index);
	if (has_mark && !lua_rawequal(L, -1, c->mark) && value_push_frozen(L, index)) {
		lua_pop(L, 2);
		lua_pushvalue(L, index);
		c->is_zero = false;
		return true;
	}
	if (++c->depth > DEPTH_MAX)
		return false;
	lua_newtable(L);
	int new = lua_gettop(L);
	if (has_mark) {
		lua_rotate(L, -2, 1);
		lua_setmetatable(L, --new);
	}
	for (lua_pushnil(L); lua_next(L, index) != 0; is_empty = false) {
		lua_pushvalue(L, -2);
		if (!copy(c, lua_gettop(L) - 1))
			return false;
		lua_rawset(L, new);
		lua_pop(L, 1);
	}
	c->depth--;
	c->is_zero = is_empty;
	return true;
}

static bool clean_list(struct cleaner *c, const struct typed_node *items, int index)
{
	lua_State *L = c->L;
	if (!value_is_array(L, index))
		return false;
	lua_Integer count = (lua_Integer)lua_rawlen(L, index);
	lua_createtable(L, (int)(count < 1000 ? count : 1000), 0);
	lua_pushvalue(L, c->mark);
	lua_setmetatable(L, -2);
	for (lua_Integer i = 1; i <= count; i++) {
		if (lua_rawgeti(L, index, i) == LUA_TNIL || value_is_null(L, -1) || !clean(c, items, lua_gettop(L)))
			return false;
		lua_rawseti(L, -3, i);
		lua_pop(L, 1);
	}
	c->is_zero = count == 0;
	return true;
}

static bool clean_map(struct cleaner *c, const struct typed_node *items, int index)
{
	lua_State *L = c->L;
	bool is_empty = true;
	lua_newtable(L);
	int new = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, index) != 0; is_empty = false) {
		if (lua_type(L, -2) != LUA_TSTRING || value_is_null(L, -1))
			return false;
		lua_pushvalue(L, -2);
		if (!clean(c, items, new + 2))
			return false;
		lua_rawset(L, new);
		lua_pop(L, 1);
	}
	c->is_zero = is_empty;
	return true;
}

/* One member of a struct: its name at `name` and its value behind it, which is popped. */
static bool clean_member(struct cleaner *c, const struct typed_node *n, int new, struct typed_fields *given)
{
	lua_State *L = c->L;
	size_t len;
	int name = new + 1, field = -1;
	if (lua_type(L, name) == LUA_TSTRING) {
		const char *text = lua_tolstring(L, name, &len);
		field = typed_field_of(n, text, len);
	}
	if (field >= 0 && !value_is_null(L, name + 1)) {
		lua_pushvalue(L, name);
		if (!clean(c, n->fields[field].node, name + 1))
			return false;
		if (!n->fields[field].omit || !c->is_zero) {
			lua_rawset(L, new);
			typed_put_in(given, field);
		}
	}
	lua_settop(L, name);
	return true;
}

static bool clean_struct(struct cleaner *c, const struct typed_node *n, int index)
{
	lua_State *L = c->L;
	struct typed_fields given = {0};
	typed_push_texts(L, n);
	int texts = lua_gettop(L);
	lua_newtable(L);
	for (lua_pushnil(L); lua_next(L, index) != 0;)
		if (!clean_member(c, n, texts + 1, &given))
			return false;
	int more = typed_push_written(L, n, texts, &given);
	if (more < 0)
		return false;
	typed_set_members(L, texts + 1, more);
	lua_remove(L, texts);
	c->is_zero = false;
	return true;
}

static bool clean_object(struct cleaner *c, const struct typed_node *n, int index)
{
	if (lua_type(c->L, index) != LUA_TTABLE || value_is_array(c->L, index))
		return false;
	if (n->kind == TYPED_STRUCT)
		return clean_struct(c, n, index);
	return n->kind == TYPED_MAP ? clean_map(c, n->items, index) : copy(c, index);
}

static bool clean(struct cleaner *c, const struct typed_node *n, int index)
{
	bool ok;
	switch (n->kind) {
	case TYPED_STRUCT: case TYPED_MAP: case TYPED_LIST: case TYPED_ANY_OBJECT:
		if (++c->depth > DEPTH_MAX)
			return false;
		luaL_checkstack(c->L, 2 * TYPED_FIELDS_MAX + 16, "an object");
		ok = n->kind == TYPED_LIST ? clean_list(c, n->items, index) : clean_object(c, n, index);
		c->depth--;
		return ok;
	case TYPED_TEXT:
		return clean_text(c, n, index);
	case TYPED_WHOLE:
		return clean_whole(c, n->format == TYPED_INT32, index);
	case TYPED_EITHER:
		return lua_type(c->L, index) == LUA_TSTRING ? clean_text(c, n, index) : clean_whole(c, true, index);
	case TYPED_TRUTH:
		return lua_isboolean(c->L, index) && copy(c, index);
	case TYPED_REAL:
		return lua_type(c->L, index) == LUA_TNUMBER && copy(c, index);
	case TYPED_ANY:
		return copy(c, index);
	default:
		return false;
	}
}

int typed_clean(lua_State *L)
{
	luaL_checkany(L, 2);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	const struct typed_node *n = typed_node_of(L, 1);
	lua_settop(L, 3);
	value_push_mark(L);
	struct cleaner c = {.L = L, .canonical = 3, .mark = 4};
	if (!clean(&c, n, 2))
		luaL_pushfail(L);
	return 1;
}
