/* Finding what a policy keeps: see fingerprint.h.
 *
 * A walk over everything reachable gives a row of hashes, one for each slot (a table's field, a
 * function's upvalue, a metatable), in an order that depends on the keys alone. Tables and
 * functions count by identity and are walked once, breadth first; nothing moves or is freed
 * between two walks that was reachable in the first and in the second, so addresses serve. The
 * second walk compares as it goes and stops at the first slot that differs, when it still knows
 * whose slot that is: that is how a variable is named without keeping names.
 *
 * Upvalues shared by several functions are walked once, as slots of the first function met. */
#include "script/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/xalloc.h"
#include "script/sandbox.h"

/* Stack layout of a walk. */
enum { OBJECTS = 1, SEEN, NAMES, PARENTS, FRAME };

enum name_kind { FIELD, LOCAL };

struct walk {
	lua_State *L;
	struct fingerprint *record;        /* taking */
	const struct fingerprint *compare; /* or comparing */
	size_t at;      /* slots so far */
	lua_Integer objects;
	int base;       /* the stack's level below OBJECTS */
	struct fingerprint_difference *difference;
	bool differs;
};

static uint64_t mix(uint64_t h, uint64_t value)
{
	h = (h ^ value) * 0x9E3779B97F4A7C15u;
	return h ^ (h >> 29);
}

static uint64_t hash_bytes(const char *bytes, size_t len)
{
	uint64_t h = len, word;
	for (; len >= 8; bytes += 8, len -= 8) {
		memcpy(&word, bytes, 8);
		h = mix(h, word);
	}
	word = 0;
	memcpy(&word, bytes, len);
	return mix(h, word);
}

static uint64_t hash_value(lua_State *L, int index)
{
	size_t len;
	const char *text;
	uint64_t bits = 0;
	lua_Number number;
	int type = lua_type(L, index);
	switch (type) {
	case LUA_TNIL:
		break;
	case LUA_TBOOLEAN:
		bits = (uint64_t)lua_toboolean(L, index);
		break;
	case LUA_TNUMBER:
		number = lua_tonumber(L, index);
		memcpy(&bits, &number, sizeof number < sizeof bits ? sizeof number : sizeof bits);
		bits = lua_isinteger(L, index) ? mix(1, (uint64_t)lua_tointeger(L, index)) : bits;
		break;
	case LUA_TSTRING:
		text = lua_tolstring(L, index, &len);
		bits = hash_bytes(text, len);
		break;
	default:
		bits = (uint64_t)(uintptr_t)lua_topointer(L, index);
	}
	return mix((uint64_t)type + 1, bits);
}

/* --- naming, only when something differs --- */

static int slot(const struct walk *w, int which)
{
	return w->base + which;
}

/* Append the name of a step to `what`, which is written from the outside in. */
static void add_step(lua_State *L, int index, char *what, size_t size)
{
	size_t used = strlen(what);
	if (lua_type(L, index) == LUA_TSTRING)
		snprintf(what + used, size - used, "%s%.60s", used != 0 ? "." : "", lua_tostring(L, index));
	else if (lua_isinteger(L, index))
		snprintf(what + used, size - used, "[%lld]", (long long)lua_tointeger(L, index));
	else
		snprintf(what + used, size - used, "[%s]", luaL_typename(L, index));
}

/* The steps that lead to object `id`, outermost first. *local is set if it starts with a local
 * of a function; the root's fields are modules, whose steps are the file. */
static void add_path(struct walk *w, lua_Integer id, char *what, size_t size, bool *local, char *file)
{
	lua_State *L = w->L;
	if (id <= 1)
		return;
	lua_rawgeti(L, slot(w, PARENTS), id);
	lua_Integer parent = lua_tointeger(L, -1);
	lua_pop(L, 1);
	bool is_local = false;
	lua_Debug ar;
	if (parent < 0) {
		parent = -parent;
		lua_rawgeti(L, slot(w, OBJECTS), parent);
		is_local = lua_getinfo(L, ">S", &ar) && ar.what[0] != 'C';
	}
	if (is_local) {
		/* A local's name says it all; its function says the file. */
		snprintf(file, 128, "%s", ar.short_src);
		what[0] = '\0';
		*local = true;
	} else {
		add_path(w, parent, what, size, local, file);
	}
	lua_rawgeti(L, slot(w, NAMES), id);
	if (parent == 1 && !is_local && lua_type(L, -1) == LUA_TSTRING)
		snprintf(file, 128, "%s", lua_tostring(L, -1));
	else
		add_step(L, -1, what, size);
	lua_pop(L, 1);
}

/* The slot `key` (on top of the stack; nil: the object as a whole) of object `id` differs. */
static void tell(struct walk *w, lua_Integer id, enum name_kind kind)
{
	lua_State *L = w->L;
	char path[200] = "";
	bool local = false;
	struct fingerprint_difference *d = w->difference;
	d->file[0] = '\0';
	w->differs = true;
	if (d == NULL)
		return;
	lua_Debug ar = {0};
	if (kind == LOCAL) {
		lua_rawgeti(L, slot(w, OBJECTS), id);
		lua_getinfo(L, ">S", &ar);
	}
	if (kind == LOCAL && ar.what[0] != 'C') {
		snprintf(d->file, sizeof d->file, "%s", ar.short_src);
		local = true;
	} else { /* a C function's upvalues have no names: how it is reached, and a number */
		add_path(w, id, path, sizeof path, &local, d->file);
	}
	if (!lua_isnil(L, -1))
		add_step(L, -1, path, sizeof path);
	if (path[0] == '\0')
		snprintf(d->what, sizeof d->what, "the fields of what it returned");
	else if (local)
		snprintf(d->what, sizeof d->what, "the local \"%s\"", path);
	else
		snprintf(d->what, sizeof d->what, "the field \"%s\" of what it returned", path);
}

/* --- walking --- */

static void add_slot(struct fingerprint *f, uint64_t hash)
{
	if (f->count == f->capacity) {
		f->capacity = f->capacity != 0 ? f->capacity * 2 : 256;
		f->slots = xrealloc(f->slots, f->capacity * sizeof *f->slots);
	}
	f->slots[f->count++] = hash;
}

/* One hash: recorded, or compared; on a difference the slot named by the value on top is told. */
static void visit(struct walk *w, uint64_t hash, lua_Integer id, enum name_kind kind)
{
	if (w->record != NULL)
		add_slot(w->record, hash);
	else if (w->at >= w->compare->count || w->compare->slots[w->at] != hash)
		tell(w, id, kind);
	w->at++;
}

/* Stack: name, object. The object is to be walked, if it was not yet. Pops the object. A negative parent: it is a local of that function. */
static void enqueue(struct walk *w, lua_Integer parent)
{
	lua_State *L = w->L;
	if (lua_type(L, -1) != LUA_TTABLE && lua_type(L, -1) != LUA_TFUNCTION) {
		lua_pop(L, 1);
		return;
	}
	lua_pushvalue(L, -1);
	if (lua_rawget(L, slot(w, SEEN)) != LUA_TNIL) {
		lua_pop(L, 2);
		return;
	}
	lua_pop(L, 1);
	w->objects++;
	lua_pushvalue(L, -1);
	lua_pushboolean(L, 1);
	lua_rawset(L, slot(w, SEEN));
	lua_rawseti(L, slot(w, OBJECTS), w->objects);
	lua_pushvalue(L, -1);
	lua_rawseti(L, slot(w, NAMES), w->objects);
	lua_pushinteger(L, parent);
	lua_rawseti(L, slot(w, PARENTS), w->objects);
}

struct field {
	uint64_t key; /* hash */
	lua_Integer at;
};

static int compare_fields(const void *a, const void *b)
{
	const struct field *x = a, *y = b;
	return (x->key > y->key) - (x->key < y->key);
}

/* Push the table's keys as an array, and (a userdata) their hashes in order. Lua's own order is
 * of no use: it changes when a key comes and goes. */
static struct field *push_fields(lua_State *L, int table, size_t *count)
{
	*count = 0;
	lua_newtable(L);
	int keys = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
		lua_pushvalue(L, -2);
		lua_rawseti(L, keys, (lua_Integer)++*count);
	}
	struct field *fields = lua_newuserdatauv(L, *count * sizeof *fields, 0);
	for (size_t i = 0; i < *count; i++) {
		lua_rawgeti(L, keys, (lua_Integer)i + 1);
		fields[i] = (struct field){hash_value(L, -1), (lua_Integer)i + 1};
		lua_pop(L, 1);
	}
	qsort(fields, *count, sizeof *fields, compare_fields);
	return fields;
}

/* Stack: key, value. The slot, and what it and its key refer to. Pops both. */
static void visit_field(struct walk *w, lua_Integer id, uint64_t key)
{
	lua_State *L = w->L;
	uint64_t hash = mix(key, hash_value(L, -1));
	lua_pushvalue(L, -2);
	visit(w, hash, id, FIELD);
	lua_pop(L, 1);
	if (!w->differs) {
		lua_pushvalue(L, -2);
		lua_insert(L, -2); /* key, name, value */
		enqueue(w, id);
		lua_pop(L, 1);
		lua_pushvalue(L, -1);
		enqueue(w, id); /* a table or function as a key */
		lua_pop(L, 1);
		return;
	}
	lua_pop(L, 2);
}

/* First the set of keys as a whole, then each field. */
static void walk_table(struct walk *w, lua_Integer id)
{
	lua_State *L = w->L;
	int table = lua_gettop(L), keys = table + 1;
	size_t count;
	struct field *fields = push_fields(L, table, &count);
	uint64_t shape = count;
	for (size_t i = 0; i < count; i++)
		shape = mix(shape, fields[i].key);
	lua_pushnil(L);
	visit(w, shape, id, FIELD);
	lua_pop(L, 1);
	for (size_t i = 0; i < count && !w->differs; i++) {
		lua_rawgeti(L, keys, fields[i].at);
		lua_pushvalue(L, -1);
		lua_rawget(L, table);
		visit_field(w, id, fields[i].key);
	}
	lua_settop(L, table);
	if (!w->differs && lua_getmetatable(L, table)) {
		lua_pushliteral(L, "metatable");
		lua_insert(L, -2);
		visit_field(w, id, 1);
	}
	lua_settop(L, table);
}

static void walk_function(struct walk *w, lua_Integer id)
{
	lua_State *L = w->L;
	int function = lua_gettop(L);
	const char *name;
	for (int i = 1; !w->differs && (name = lua_getupvalue(L, function, i)) != NULL; i++) {
		if (lua_iscfunction(L, function))
			lua_pushinteger(L, i);
		else
			lua_pushstring(L, name);
		lua_insert(L, -2); /* name, value */
		bool first = true;
		if (!lua_iscfunction(L, function)) {
			lua_pushlightuserdata(L, lua_upvalueid(L, function, i));
			first = lua_rawget(L, slot(w, SEEN)) == LUA_TNIL;
			lua_pop(L, 1);
		}
		if (first) {
			uint64_t hash = mix(hash_value(L, -1), (uint64_t)i);
			lua_pushvalue(L, -2);
			visit(w, hash, id, LOCAL);
			lua_pop(L, 1);
			if (!lua_iscfunction(L, function)) {
				lua_pushlightuserdata(L, lua_upvalueid(L, function, i));
				lua_pushboolean(L, 1);
				lua_rawset(L, slot(w, SEEN));
			}
		}
		enqueue(w, -id);
		lua_settop(L, function);
	}
}

/* Stack: the root table. */
static void walk_all(struct walk *w)
{
	lua_State *L = w->L;
	luaL_checkstack(L, 30, "fingerprint");
	w->base = lua_gettop(L);
	for (int i = OBJECTS; i < FRAME; i++)
		lua_newtable(L);
	lua_pushnil(L);
	lua_pushvalue(L, w->base);
	enqueue(w, 0);
	lua_pop(L, 1);
	for (lua_Integer id = 1; id <= w->objects && !w->differs; id++) {
		lua_rawgeti(L, slot(w, OBJECTS), id);
		if (lua_type(L, -1) == LUA_TTABLE)
			walk_table(w, id);
		else
			walk_function(w, id);
		lua_pop(L, 1);
	}
	lua_settop(L, w->base);
}

void fingerprint_take(lua_State *L, struct fingerprint *f)
{
	struct walk w = {.L = L, .record = f};
	f->count = 0;
	walk_all(&w);
	f->slots = xrealloc(f->slots, f->count * sizeof *f->slots);
	f->capacity = f->count;
}

bool fingerprint_same(lua_State *L, const struct fingerprint *f, struct fingerprint_difference *difference)
{
	struct walk w = {.L = L, .compare = f, .difference = difference};
	walk_all(&w);
	return !w.differs;
}

void fingerprint_deinit(struct fingerprint *f)
{
	free(f->slots);
	*f = (struct fingerprint){0};
}
