/* A cache, as Lua reads it: one object, whoever feeds it.
 *
 * What a cache holds comes from a watch (bind_watch.c) or from its owner (bind_fed_cache.c); who reads it need not know
 * which. An object is handed out as a handle (key, UID, version: what most decisions need), as a value, or as bytes for
 * a policy, and only the last two cost unpacking. Our own writes are told to it here (the overlay of kube/cache.h).
 *
 * An open cache is anchored: it goes on until stop or the host's end. on_change is called at once, from inside the
 * cache's change, because the queue must know of a change before anything else happens; so it may read this cache but
 * neither write to it nor wait. A stop is carried out at the edge of the turn: it may come from inside a callback of the
 * cache that it ends. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "script/bind_cache.h"
#include "script/transfer.h"
#include "script/value.h"

#define CACHE_CLASS "moonphase.watch" /* whoever feeds it: a cache is first of all what a watch has seen */

/* --- what it tells --- */

struct change {
	struct cache_box *box;
	enum cache_change change;
	const struct cache_object *before, *after;
	bool first_list;
};

static void push_indexes(lua_State *L, const struct cache_box *box, const struct cache_object *o)
{
	lua_createtable(L, 0, (int)box->index_count);
	for (size_t i = 0; i < box->index_count; i++)
		set_text(L, box->index_names[i], o->index_values[i]);
}

/* Push what both an object handle and the sides of a change say; nil for none. */
static void push_object(lua_State *L, const struct cache_box *box, const struct cache_object *o, int more)
{
	if (!o) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 4 + more);
	set_text(L, "uid", o->uid);
	set_integer(L, "generation", o->generation);
	set_bool(L, "deleting", o->deleting);
	push_indexes(L, box, o);
	lua_setfield(L, -2, "indexes");
}

static int tell_change(lua_State *L)
{
	static const char *const names[] = {"added", "changed", "removed"};
	const struct change *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->box->on_change);
	lua_pushstring(L, c->after ? c->after->key : c->before->key);
	lua_pushstring(L, names[c->change]);
	push_object(L, c->box, c->before, 0);
	push_object(L, c->box, c->after, 0);
	lua_pushboolean(L, c->first_list);
	lua_call(L, 5, 0);
	return 0;
}

static void on_change(void *arg, enum cache_change change, const struct cache_object *before,
	const struct cache_object *after, bool first_list)
{
	struct cache_box *box = arg;
	struct change c = {box, change, before, after, first_list};
	if (box->on_change == LUA_NOREF || (!before && !after))
		return;
	box->changing = true;
	host_protect(box->host, tell_change, &c, "on_change of a watch");
	box->changing = false;
}

/* --- open and stop --- */

static void free_box(struct cache_box *box)
{
	cache_free(box->cache);
	box->cache = NULL;
	for (size_t i = 0; i < box->index_count; i++)
		free(box->index_names[i]);
	box->index_count = 0;
}

static void close_box(struct host_resource *r)
{
	struct cache_box *box = (struct cache_box *)r;
	host_resource_remove(r);
	loop_undefer(box->realm->loop, &box->stop);
	if (box->watch)
		watch_stop(box->watch);
	box->watch = NULL;
	free_box(box);
	waiters_wake(&box->synced);
	bind_unref(box->host->L, &box->on_change);
	bind_unref(box->host->L, &box->on_trouble);
	bind_unref(box->host->L, &box->anchor); /* last: it holds the box */
}

static void stop_now(struct loop_task *t)
{
	struct cache_box *box = t->data;
	close_box(&box->resource);
}

static int l_stop(lua_State *L)
{
	struct cache_box *box = luaL_checkudata(L, 1, CACHE_CLASS);
	if (box->anchor != LUA_NOREF)
		loop_defer(box->realm->loop, &box->stop);
	return 0;
}

/* What a box that never started owns. */
static int collect_box(lua_State *L)
{
	struct cache_box *box = lua_touserdata(L, 1);
	if (box->anchor == LUA_NOREF)
		free_box(box);
	return 0;
}

struct cache_box *cache_box_new(lua_State *L)
{
	struct cache_box *box = lua_newuserdatauv(L, sizeof *box, BOX_VALUES);
	memset(box, 0, sizeof *box);
	box->host = host_of(L);
	box->realm = box->host->realm;
	box->on_change = box->on_trouble = box->anchor = LUA_NOREF;
	box->stop = (struct loop_task){.run = stop_now, .data = box};
	luaL_setmetatable(L, CACHE_CLASS);
	return box;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void read_indexes(lua_State *L, struct cache_box *box, struct cache_options *o)
{
	lua_getfield(L, 2, "indexes");
	if (lua_isnil(L, -1))
		return;
	luaL_checktype(L, -1, LUA_TTABLE);
	int table = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING || o->index_count == CACHE_INDEXES_MAX)
			luaL_error(L, "option \"indexes\": at most %d names with their paths were expected", CACHE_INDEXES_MAX);
		o->indexes[o->index_count++].name = lua_tostring(L, -2);
	}
	qsort(o->indexes, o->index_count, sizeof *o->indexes, compare_names); /* the name is the first field */
	for (size_t i = 0, count; i < o->index_count; i++) {
		o->indexes[i].paths = opt_list(L, table, o->indexes[i].name, &count);
		box->index_names[box->index_count++] = xstrdup(o->indexes[i].name);
	}
}

/* "metadata" is more than what is asked of the server: the answer to a write holds the whole object, and of a
 * Secret nothing but its metadata may be kept. */
static bool read_projection(lua_State *L, struct json_projection *p, const char *what)
{
	static const char *const metadata[] = {"metadata", NULL};
	bool metadata_only = false;
	lua_getfield(L, 2, "keep");
	if (lua_type(L, -1) == LUA_TSTRING) {
		const char *word = lua_tostring(L, -1);
		metadata_only = strcmp(word, "metadata") == 0;
		if (!metadata_only && strcmp(word, "whole") != 0)
			luaL_error(L, "option \"keep\": \"whole\", \"metadata\" or an array of paths was expected, not \"%s\"", word);
		if (metadata_only)
			*p = (struct json_projection){.keep = metadata, .keep_count = 1};
	} else {
		p->keep = opt_list(L, 2, "keep", &p->keep_count);
	}
	p->drop = opt_list(L, 2, "drop", &p->drop_count);
	struct buffer *out = bind_scratch(L, 64);
	struct err e = {0};
	if (json_project("{}", 2, p, out, &e) != 0) /* the paths are tried before a watch relies on them */
		luaL_error(L, "%s: %s", what, e.text);
	return metadata_only;
}

bool cache_box_open(lua_State *L, struct cache_box *box, struct cache_options *o, const char *what)
{
	int at = lua_gettop(L);
	bool metadata_only = read_projection(L, &o->keep, what);
	read_indexes(L, box, o);
	o->revisions = opt_bool(L, 2, "revisions");
	box->on_change = opt_reference(L, 2, "on_change");
	box->cache = cache_new(o);
	cache_on_change(box->cache, on_change, box);
	lua_settop(L, at);
	lua_pushvalue(L, at);
	box->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	host_resource_add(box->host, &box->resource, close_box);
	return metadata_only;
}

/* --- reading --- */

struct cache_box *cache_box_check(lua_State *L)
{
	struct cache_box *box = luaL_checkudata(L, 1, CACHE_CLASS);
	luaL_argcheck(L, box->cache != NULL, 1, "the watch was stopped");
	return box;
}

struct cache_box *cache_box_check_writable(lua_State *L)
{
	struct cache_box *box = cache_box_check(L);
	luaL_argcheck(L, !box->changing, 1, "on_change may not write to its own watch");
	return box;
}

/* The box at 1 and the object of the key at 2; NULL if there is no such object. */
static const struct cache_box *look_up(lua_State *L, struct cache_object *o)
{
	const struct cache_box *box = cache_box_check(L);
	return cache_get(box->cache, luaL_checkstring(L, 2), o) ? box : NULL;
}

static int l_get(lua_State *L)
{
	struct cache_object o;
	const struct cache_box *box = look_up(L, &o);
	if (!box)
		return 0;
	push_object(L, box, &o, 4);
	set_text(L, "key", o.key);
	set_text(L, "version", o.resource_version);
	set_bool(L, "ours", o.ours);
	return 1;
}

/* The bytes that are kept of the object; NULL: there is none. */
static const char *look_up_text(lua_State *L, size_t *len)
{
	struct cache_object o;
	const struct cache_box *box = look_up(L, &o);
	return box ? cache_read(box->cache, &o, len) : NULL;
}

static int l_read(lua_State *L)
{
	size_t len;
	const char *text = look_up_text(L, &len);
	if (!text)
		return 0;
	value_from_json(L, text, len);
	return 1;
}

static int l_raw(lua_State *L)
{
	size_t len;
	const char *text = look_up_text(L, &len);
	if (!text)
		return 0;
	lua_pushlstring(L, text, len);
	transfer_push_raw(L, -1);
	return 1;
}

static int l_content(lua_State *L)
{
	struct cache_object o;
	const struct cache_box *box = look_up(L, &o);
	if (!box)
		return 0;
	lua_pushinteger(L, (lua_Integer)cache_content(box->cache, &o));
	return 1;
}

static int push_keys(lua_State *L, const char **keys, size_t count)
{
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_pushstring(L, keys[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	free(keys);
	return 1;
}

static int l_keys(lua_State *L)
{
	size_t count;
	const char **keys = cache_keys(cache_box_check(L)->cache, &count);
	return push_keys(L, keys, count);
}

static int l_find(lua_State *L)
{
	const struct cache_box *box = cache_box_check(L);
	const char *index = luaL_checkstring(L, 2), *value = luaL_checkstring(L, 3);
	size_t count = 0, i = 0;
	while (i < box->index_count && strcmp(box->index_names[i], index) != 0)
		i++;
	if (i == box->index_count)
		luaL_error(L, "this watch has no index \"%s\"", index);
	const char **keys = cache_find(box->cache, index, value, &count);
	return push_keys(L, keys, count);
}

static int l_count(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)cache_count(cache_box_check(L)->cache));
	return 1;
}

static int l_revisions(lua_State *L)
{
	const struct cache_box *box = cache_box_check(L);
	const struct cache_revision *list;
	size_t count = cache_revisions(box->cache, luaL_checkstring(L, 2), &list);
	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		lua_createtable(L, 0, 3);
		set_integer(L, "generation", list[i].generation);
		set_integer(L, "time_ms", list[i].seen_ms);
		lua_pushlstring(L, list[i].spec, list[i].len);
		lua_setfield(L, -2, "spec");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* --- our own writes --- */

static int l_wrote(lua_State *L)
{
	struct cache_box *box = cache_box_check_writable(L);
	size_t len;
	const char *body = luaL_checklstring(L, 2, &len);
	struct err e = {0};
	if (cache_wrote(box->cache, body, len, &e) != 0)
		return bind_fail(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_deleted(lua_State *L)
{
	struct cache_box *box = cache_box_check_writable(L);
	cache_deleted(box->cache, luaL_checkstring(L, 2), luaL_checkstring(L, 3));
	return 0;
}

static int l_recorded(lua_State *L)
{
	struct cache_box *box = cache_box_check_writable(L);
	cache_revisions_recorded(box->cache, luaL_checkstring(L, 2), luaL_checkinteger(L, 3));
	return 0;
}

static const luaL_Reg cache_methods[] = {
	{"get", l_get},
	{"read", l_read},
	{"raw", l_raw},
	{"content", l_content},
	{"keys", l_keys},
	{"find", l_find},
	{"count", l_count},
	{"revisions", l_revisions},
	{"wrote", l_wrote},
	{"deleted", l_deleted},
	{"recorded", l_recorded},
	{"stop", l_stop},
	{NULL, NULL},
};

void cache_box_add_methods(lua_State *L, const luaL_Reg *methods)
{
	luaL_getmetatable(L, CACHE_CLASS);
	lua_getfield(L, -1, "__index");
	luaL_setfuncs(L, methods, 0);
	lua_pop(L, 2);
}

void bind_open_cache(lua_State *L)
{
	bind_class(L, CACHE_CLASS, cache_methods, collect_box);
}
