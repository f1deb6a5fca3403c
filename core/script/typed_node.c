/* Translating schema nodes: see typed_node.h. */
#include "script/typed_node.h"

#include <string.h>

#include <lauxlib.h>

static const char nodes_key; /* registry: node table -> its userdata, and the userdata's address -> its texts */

static uint32_t hash_name(const char *name, size_t len)
{
	uint32_t h = (uint32_t)len;
	for (size_t i = 0; i < len; i++)
		h = h * 31 + (unsigned char)name[i];
	return h ^ h >> 7;
}

int typed_field_of(const struct typed_node *n, const char *name, size_t len)
{
	for (uint32_t at = hash_name(name, len) & n->slot_mask;; at = (at + 1) & n->slot_mask) {
		int field = n->slots[at] - 1;
		if (field < 0 || (n->fields[field].len == len && memcmp(n->fields[field].name, name, len) == 0))
			return field;
	}
}

void typed_push_texts(lua_State *L, const struct typed_node *n)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &nodes_key);
	lua_rawgetp(L, -1, n);
	lua_remove(L, -2);
}

static bool has(lua_State *L, int index, const char *name)
{
	bool there = lua_getfield(L, index, name) != LUA_TNIL && lua_toboolean(L, -1);
	lua_pop(L, 1);
	return there;
}

static bool text_is(lua_State *L, int index, const char *name, const char *value)
{
	lua_getfield(L, index, name);
	bool same = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), value) == 0;
	lua_pop(L, 1);
	return same;
}

static enum typed_kind kind_of(lua_State *L, int node)
{
	if (text_is(L, node, "type", "object")) {
		if (has(L, node, "preserve"))
			return TYPED_ANY_OBJECT;
		return has(L, node, "properties") ? TYPED_STRUCT : has(L, node, "additional") ? TYPED_MAP : TYPED_UNUSUAL;
	}
	static const struct {
		const char *type;
		enum typed_kind kind;
	} types[] = {{"string", TYPED_TEXT}, {"integer", TYPED_WHOLE}, {"boolean", TYPED_TRUTH}, {"number", TYPED_REAL}, {"array", TYPED_LIST}};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (text_is(L, node, "type", types[i].type))
			return types[i].kind;
	if (has(L, node, "type") || has(L, node, "or_boolean") || has(L, node, "or_array") || has(L, node, "or_strings"))
		return TYPED_UNUSUAL;
	return has(L, node, "int_or_string") ? TYPED_EITHER : TYPED_ANY;
}

static enum typed_format format_of(lua_State *L, int node, enum typed_kind kind)
{
	static const struct {
		const char *name;
		enum typed_format format;
	} formats[] = {{"date-time", TYPED_TIME}, {"date-time-micro", TYPED_ODD}, {"quantity", TYPED_QUANTITY}, {"byte", TYPED_BYTES}};
	if (kind == TYPED_WHOLE)
		return text_is(L, node, "format", "int32") ? TYPED_INT32 : TYPED_PLAIN;
	for (size_t i = 0; kind == TYPED_TEXT && i < sizeof formats / sizeof *formats; i++)
		if (text_is(L, node, "format", formats[i].name))
			return formats[i].format;
	return TYPED_PLAIN;
}

static int count_of(lua_State *L, int index, const char *name)
{
	int count = 0;
	if (lua_getfield(L, index, name) == LUA_TTABLE)
		for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
			count++;
	lua_pop(L, 1);
	return count;
}

static const struct typed_node *node_at(lua_State *L, int index, int nodes);

static const struct typed_node *node_in(lua_State *L, int index, const char *name, int nodes)
{
	lua_getfield(L, index, name);
	const struct typed_node *n = node_at(L, lua_gettop(L), nodes);
	lua_pop(L, 1);
	return n;
}

static void add_slot(struct typed_node *n, int field)
{
	uint32_t at = hash_name(n->fields[field].name, n->fields[field].len) & n->slot_mask;
	while (n->slots[at] != 0)
		at = (at + 1) & n->slot_mask;
	n->slots[at] = (unsigned char)(field + 1);
}

/* The fields of the node at `index`; their names go into `texts`, which keeps them alive. */
static void add_fields(lua_State *L, struct typed_node *n, int index, int nodes, int texts)
{
	int field = 0;
	lua_getfield(L, index, "properties");
	int properties = lua_gettop(L);
	lua_getfield(L, index, "omit");
	int omit = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, properties) != 0; lua_pop(L, 1), field++) {
		struct typed_field *f = &n->fields[field];
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "a schema node has a field whose name is a %s", luaL_typename(L, -2));
		f->name = lua_tolstring(L, -2, &f->len);
		lua_pushvalue(L, -2);
		lua_rawseti(L, texts, field + 1);
		f->node = node_at(L, lua_gettop(L), nodes);
		if (lua_istable(L, omit)) {
			lua_pushvalue(L, -2);
			lua_rawget(L, omit);
			f->omit = lua_toboolean(L, -1);
			lua_pop(L, 1);
		}
		add_slot(n, field);
	}
	lua_pop(L, 2);
}

static void add_written(lua_State *L, struct typed_node *n, int index, int nodes, int texts)
{
	lua_getfield(L, index, "written");
	for (int i = 0; i < n->written_count; i++) {
		struct typed_written *w = &n->written[i];
		lua_rawgeti(L, -1, i + 1);
		lua_rawgeti(L, -1, 1);
		size_t len;
		const char *name = lua_tolstring(L, -1, &len);
		w->field = name ? typed_field_of(n, name, len) : -1;
		if (w->field < 0)
			luaL_error(L, "a schema node writes a field that it does not have");
		lua_rawgeti(L, -2, 2);
		if (lua_istable(L, -1))
			w->node = node_at(L, lua_gettop(L), nodes);
		lua_rawgeti(L, -3, 3);
		lua_rawseti(L, texts, n->field_count + i + 1);
		lua_pop(L, 3);
	}
	lua_pop(L, 1);
}

/* A node with room for its parts, in one userdata, and known before it is filled: circles close. */
static struct typed_node *new_node(lua_State *L, int index, int nodes, int fields, int written)
{
	uint32_t slots = 4;
	while (slots < 2 * (uint32_t)fields)
		slots *= 2;
	size_t field_bytes = (size_t)fields * sizeof(struct typed_field), written_bytes = (size_t)written * sizeof(struct typed_written);
	char *memory = lua_newuserdatauv(L, sizeof(struct typed_node) + field_bytes + written_bytes + slots, 0);
	memset(memory, 0, sizeof(struct typed_node) + field_bytes + written_bytes + slots);
	struct typed_node *n = (void *)memory;
	n->fields = (void *)(memory + sizeof *n);
	n->written = (void *)(memory + sizeof *n + field_bytes);
	n->slots = (void *)(memory + sizeof *n + field_bytes + written_bytes);
	n->slot_mask = slots - 1;
	n->field_count = fields;
	n->written_count = written;
	n->kind = TYPED_UNUSUAL; /* until it is filled */
	lua_pushvalue(L, index);
	lua_insert(L, -2);
	lua_rawset(L, nodes);
	return n;
}

static const struct typed_node *node_at(lua_State *L, int index, int nodes)
{
	luaL_checkstack(L, 20, "a schema");
	if (!lua_istable(L, index))
		luaL_error(L, "a schema node was expected, not %s", luaL_typename(L, index));
	lua_pushvalue(L, index);
	if (lua_rawget(L, nodes) == LUA_TUSERDATA) {
		const struct typed_node *known = lua_touserdata(L, -1);
		lua_pop(L, 1);
		return known;
	}
	lua_pop(L, 1);
	enum typed_kind kind = kind_of(L, index);
	int fields = kind == TYPED_STRUCT ? count_of(L, index, "properties") : 0;
	if (fields > TYPED_FIELDS_MAX) {
		kind = TYPED_UNUSUAL;
		fields = 0;
	}
	struct typed_node *n = new_node(L, index, nodes, fields, kind == TYPED_STRUCT ? count_of(L, index, "written") : 0);
	n->format = format_of(L, index, kind);
	if (kind == TYPED_LIST || kind == TYPED_MAP)
		n->items = node_in(L, index, kind == TYPED_LIST ? "items" : "additional", nodes);
	if (kind == TYPED_STRUCT) {
		lua_newtable(L);
		int texts = lua_gettop(L);
		lua_pushvalue(L, texts);
		lua_rawsetp(L, nodes, n);
		add_fields(L, n, index, nodes, texts);
		add_written(L, n, index, nodes, texts);
		lua_pop(L, 1);
	}
	n->kind = kind;
	return n;
}

const struct typed_node *typed_node_of(lua_State *L, int index)
{
	index = lua_absindex(L, index);
	luaL_checkstack(L, 20, "a schema");
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &nodes_key) != LUA_TTABLE) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &nodes_key);
	}
	const struct typed_node *n = node_at(L, index, lua_gettop(L));
	lua_pop(L, 1);
	return n;
}
