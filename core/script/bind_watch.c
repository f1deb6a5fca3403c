/* Watches and their caches, as one object.
 *
 * A running watch is anchored: it goes on until watch:stop or the host's end. on_change is called
 * at once, from inside the cache's change, because the queue must know of a change before anything
 * else happens; so it may read this watch but neither write to it nor wait. A stop is carried out at
 * the edge of the turn: it may come from inside a callback of the watch that it ends.
 *
 * A cache of its own (kube.cache) is the same object without anybody who watches: what a watch would bring, its
 * owner puts in; and it can be saved and restored. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/watch.h"
#include "script/bind.h"
#include "script/task.h"
#include "script/transfer.h"
#include "script/value.h"

#define WATCH_CLASS "moonphase.watch"
#define SAVED_CLASS "moonphase.cache_saved"
#define LAST_SAVED 2 /* user value of a box: what it was saved as last */

struct watch_box {
	struct host_resource resource;
	struct host *host;
	struct host_realm *realm; /* in which it runs */
	struct watch *watch; /* NULL: stopped, or fed by its owner */
	struct cache *cache;
	struct waiters synced;
	struct loop_task stop;
	int on_change, on_trouble, anchor;
	bool changing; /* on_change runs */
	size_t index_count;
	char *index_names[CACHE_INDEXES_MAX];
};

/* --- what it calls --- */

struct change {
	struct watch_box *box;
	enum cache_change change;
	const struct cache_object *before, *after;
	bool first_list;
};

static void push_indexes(lua_State *L, const struct watch_box *box, const struct cache_object *o)
{
	lua_createtable(L, 0, (int)box->index_count);
	for (size_t i = 0; i < box->index_count; i++)
		set_text(L, box->index_names[i], o->index_values[i]);
}

/* Push what both an object handle and the sides of a change say; nil for none. */
static void push_object(lua_State *L, const struct watch_box *box, const struct cache_object *o, int more)
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
	struct watch_box *box = arg;
	struct change c = {box, change, before, after, first_list};
	if (box->on_change == LUA_NOREF || (!before && !after))
		return;
	box->changing = true;
	host_protect(box->host, tell_change, &c, "on_change of a watch");
	box->changing = false;
}

static void on_synced(void *arg)
{
	struct watch_box *box = arg;
	waiters_wake(&box->synced);
}

struct trouble {
	const struct watch_box *box;
	const struct err *err;
	uint64_t retry_ms;
};

static int tell_trouble(lua_State *L)
{
	const struct trouble *t = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, t->box->on_trouble);
	lua_pushstring(L, t->err->text);
	lua_pushnumber(L, (lua_Number)t->retry_ms / 1000);
	lua_call(L, 2, 0);
	return 0;
}

static void on_trouble(void *arg, const struct err *err, uint64_t retry_ms)
{
	struct watch_box *box = arg;
	struct trouble t = {box, err, retry_ms};
	if (box->on_trouble != LUA_NOREF)
		host_protect(box->host, tell_trouble, &t, "on_trouble of a watch");
}

/* --- start and stop --- */

static void free_box(struct watch_box *box)
{
	cache_free(box->cache);
	box->cache = NULL;
	for (size_t i = 0; i < box->index_count; i++)
		free(box->index_names[i]);
	box->index_count = 0;
}

static void unref(struct watch_box *box, int *ref)
{
	luaL_unref(box->host->L, LUA_REGISTRYINDEX, *ref);
	*ref = LUA_NOREF;
}

static void close_watch(struct host_resource *r)
{
	struct watch_box *box = (struct watch_box *)r;
	host_resource_remove(r);
	loop_undefer(box->realm->loop, &box->stop);
	if (box->watch)
		watch_stop(box->watch);
	box->watch = NULL;
	free_box(box);
	waiters_wake(&box->synced);
	unref(box, &box->on_change);
	unref(box, &box->on_trouble);
	unref(box, &box->anchor); /* last: it holds the box */
}

static void stop_now(struct loop_task *t)
{
	struct watch_box *box = t->data;
	close_watch(&box->resource);
}

static int l_stop(lua_State *L)
{
	struct watch_box *box = luaL_checkudata(L, 1, WATCH_CLASS);
	if (box->anchor != LUA_NOREF)
		loop_defer(box->realm->loop, &box->stop);
	return 0;
}

/* What a box that never started owns. */
static int watch_collect(lua_State *L)
{
	struct watch_box *box = lua_touserdata(L, 1);
	if (box->anchor == LUA_NOREF)
		free_box(box);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void read_indexes(lua_State *L, struct watch_box *box, struct cache_options *o)
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
static void read_projection(lua_State *L, struct json_projection *p, bool *metadata_only)
{
	static const char *const metadata[] = {"metadata", NULL};
	lua_getfield(L, 2, "keep");
	if (lua_type(L, -1) == LUA_TSTRING) {
		const char *word = lua_tostring(L, -1);
		*metadata_only = strcmp(word, "metadata") == 0;
		if (!*metadata_only && strcmp(word, "whole") != 0)
			luaL_error(L, "option \"keep\": \"whole\", \"metadata\" or an array of paths was expected, not \"%s\"", word);
		if (*metadata_only)
			*p = (struct json_projection){.keep = metadata, .keep_count = 1};
	} else {
		p->keep = opt_list(L, 2, "keep", &p->keep_count);
	}
	p->drop = opt_list(L, 2, "drop", &p->drop_count);
	struct buffer *out = bind_scratch(L, 64);
	struct err e = {0};
	if (json_project("{}", 2, p, out, &e) != 0) /* the paths are tried before a watch relies on them */
		luaL_error(L, "cluster:watch: %s", e.text);
}

static struct watch_box *new_box(lua_State *L)
{
	struct watch_box *box = lua_newuserdatauv(L, sizeof *box, LAST_SAVED);
	memset(box, 0, sizeof *box);
	box->host = host_of(L);
	box->realm = box->host->realm;
	box->on_change = box->on_trouble = box->anchor = LUA_NOREF;
	box->stop = (struct loop_task){.run = stop_now, .data = box};
	luaL_setmetatable(L, WATCH_CLASS);
	return box;
}

static int ref_function(lua_State *L, const char *name)
{
	if (opt_function(L, 2, name))
		return luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pop(L, 1);
	return LUA_NOREF;
}

static const char *last_segment(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

int bind_cluster_watch(lua_State *L)
{
	static const char *const known[] = {"path", "api_version", "kind", "label_selector", "field_selector", "keep",
		"drop", "indexes", "revisions", "name", "on_change", "on_trouble", NULL};
	struct watch_options w = {.cluster = bind_check_cluster(L, 1), .synced = on_synced, .trouble = on_trouble};
	struct cache_options o = {.clock = host_of(L)->realm->clock};
	lua_settop(L, 2);
	opt_check(L, 2, "cluster:watch", known);
	w.path = need_text(L, 2, "path");
	w.api_version = need_text(L, 2, "api_version");
	w.kind = need_text(L, 2, "kind");
	w.label_selector = opt_text(L, 2, "label_selector", NULL);
	w.field_selector = opt_text(L, 2, "field_selector", NULL);
	o.name = opt_text(L, 2, "name", last_segment(w.path));
	o.revisions = opt_bool(L, 2, "revisions");
	o.unpacked = bind_cluster_is_handler(L, 1);
	struct watch_box *box = new_box(L);
	int at = lua_gettop(L);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, at, 1); /* the cluster outlives it */
	read_projection(L, &o.keep, &w.metadata_only);
	read_indexes(L, box, &o);
	w.seed = host_random(box->realm);
	box->on_change = ref_function(L, "on_change");
	box->on_trouble = ref_function(L, "on_trouble");
	box->cache = w.cache = cache_new(&o);
	cache_on_change(box->cache, on_change, box);
	w.arg = box;
	box->watch = watch_start(&w);
	lua_settop(L, at);
	lua_pushvalue(L, at);
	box->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	host_resource_add(box->host, &box->resource, close_watch);
	return 1;
}

/* kube.cache */
int bind_cache(lua_State *L)
{
	static const char *const known[] = {"name", "keep", "drop", "indexes", "revisions", "on_change", NULL};
	struct cache_options o = {.clock = host_of(L)->realm->clock, .unpacked = true};
	bool metadata_only = false;
	lua_settop(L, 1);
	lua_pushvalue(L, 1); /* options are at 2, as in cluster:watch */
	opt_check(L, 2, "kube.cache", known);
	o.name = need_text(L, 2, "name");
	o.revisions = opt_bool(L, 2, "revisions");
	struct watch_box *box = new_box(L);
	int at = lua_gettop(L);
	read_projection(L, &o.keep, &metadata_only);
	read_indexes(L, box, &o);
	box->on_change = ref_function(L, "on_change");
	box->cache = cache_new(&o);
	cache_on_change(box->cache, on_change, box);
	lua_settop(L, at);
	lua_pushvalue(L, at);
	box->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	host_resource_add(box->host, &box->resource, close_watch);
	return 1;
}

/* --- reading --- */

static struct watch_box *check_watch(lua_State *L)
{
	struct watch_box *box = luaL_checkudata(L, 1, WATCH_CLASS);
	luaL_argcheck(L, box->cache != NULL, 1, "the watch was stopped");
	return box;
}

static struct watch_box *check_writable(lua_State *L)
{
	struct watch_box *box = check_watch(L);
	luaL_argcheck(L, !box->changing, 1, "on_change may not write to its own watch");
	return box;
}

static int l_synced(lua_State *L)
{
	lua_pushboolean(L, cache_is_synced(check_watch(L)->cache));
	return 1;
}

static int synced_answer(lua_State *L, struct host_wait *w)
{
	const struct watch_box *box = ((struct waiter *)w)->data;
	lua_pushboolean(L, box->cache && cache_is_synced(box->cache));
	return 1;
}

static const struct host_wait_kind synced_kind = {waiter_disarm, synced_answer, NULL};

static int l_wait_synced(lua_State *L)
{
	struct watch_box *box = check_watch(L);
	uint64_t ms = arg_ms(L, 2, CLOCK_NEVER);
	bool already = cache_is_synced(box->cache);
	struct waiter *w = waiter_new(L, &synced_kind);
	w->data = box;
	if (already)
		host_wake(&w->wait);
	return waiter_await(L, w, already ? NULL : &box->synced, already ? CLOCK_NEVER : ms);
}

static int l_get(lua_State *L)
{
	const struct watch_box *box = check_watch(L);
	struct cache_object o;
	if (!cache_get(box->cache, luaL_checkstring(L, 2), &o))
		return 0;
	push_object(L, box, &o, 4);
	set_text(L, "key", o.key);
	set_text(L, "version", o.resource_version);
	set_bool(L, "ours", o.ours);
	return 1;
}

static int l_read(lua_State *L)
{
	struct cache *cache = check_watch(L)->cache;
	struct cache_object o;
	if (!cache_get(cache, luaL_checkstring(L, 2), &o))
		return 0;
	size_t len;
	const char *text = cache_read(cache, &o, &len);
	value_from_json(L, text, len);
	return 1;
}

static int l_raw(lua_State *L)
{
	struct cache *cache = check_watch(L)->cache;
	struct cache_object o;
	if (!cache_get(cache, luaL_checkstring(L, 2), &o))
		return 0;
	size_t len;
	const char *text = cache_read(cache, &o, &len);
	lua_pushlstring(L, text, len);
	transfer_push_raw(L, -1);
	return 1;
}

static int l_content(lua_State *L)
{
	struct cache *cache = check_watch(L)->cache;
	struct cache_object o;
	if (!cache_get(cache, luaL_checkstring(L, 2), &o))
		return 0;
	lua_pushinteger(L, (lua_Integer)cache_content(cache, &o));
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
	const char **keys = cache_keys(check_watch(L)->cache, &count);
	return push_keys(L, keys, count);
}

static int l_find(lua_State *L)
{
	const struct watch_box *box = check_watch(L);
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
	lua_pushinteger(L, (lua_Integer)cache_count(check_watch(L)->cache));
	return 1;
}

/* --- our own writes --- */

static int l_wrote(lua_State *L)
{
	struct watch_box *box = check_writable(L);
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
	struct watch_box *box = check_writable(L);
	cache_deleted(box->cache, luaL_checkstring(L, 2), luaL_checkstring(L, 3));
	return 0;
}

static int l_revisions(lua_State *L)
{
	const struct watch_box *box = check_watch(L);
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

static int l_recorded(lua_State *L)
{
	struct watch_box *box = check_writable(L);
	cache_revisions_recorded(box->cache, luaL_checkstring(L, 2), luaL_checkinteger(L, 3));
	return 0;
}

/* --- a cache that its owner feeds --- */

static struct watch_box *check_fed(lua_State *L)
{
	struct watch_box *box = check_writable(L);
	luaL_argcheck(L, box->watch == NULL, 1, "a cache that a watch feeds is not fed by others");
	return box;
}

static int fed(lua_State *L, int rc, const struct err *e)
{
	if (rc != 0)
		return bind_fail(L, e);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_put(lua_State *L)
{
	const struct watch_box *box = check_fed(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	struct err e = {0};
	return fed(L, cache_put(box->cache, text, len, &e), &e);
}

static int l_remove(lua_State *L)
{
	const struct watch_box *box = check_fed(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	struct err e = {0};
	return fed(L, cache_remove(box->cache, text, len, &e), &e);
}

static int l_position(lua_State *L)
{
	const struct watch_box *box = check_fed(L);
	if (!lua_isnoneornil(L, 2))
		cache_position_set(box->cache, luaL_checkstring(L, 2));
	lua_pushstring(L, cache_position(box->cache));
	return 1;
}

static int l_list(lua_State *L)
{
	const struct watch_box *box = check_fed(L);
	struct err e = {0};
	luaL_checktype(L, 2, LUA_TTABLE);
	const char *version = luaL_checkstring(L, 3);
	int rc = 0;
	cache_list_begin(box->cache);
	for (lua_Integer i = 1; rc == 0 && lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
		size_t len;
		const char *text = lua_tolstring(L, -1, &len);
		rc = cache_put(box->cache, text, len, &e);
		lua_pop(L, 1);
	}
	if (rc == 0)
		cache_list_end(box->cache, version);
	else
		cache_list_abort(box->cache);
	return fed(L, rc, &e);
}

static int saved_collect(lua_State *L)
{
	struct cache_saved **saved = lua_touserdata(L, 1);
	cache_saved_free(*saved);
	*saved = NULL;
	return 0;
}

static int l_save(lua_State *L)
{
	const struct watch_box *box = check_fed(L);
	if (lua_getiuservalue(L, 1, LAST_SAVED) == LUA_TUSERDATA &&
	    cache_is_as_saved(box->cache, *(struct cache_saved **)lua_touserdata(L, -1)))
		return 1;
	struct cache_saved **saved = lua_newuserdatauv(L, sizeof *saved, 0);
	*saved = NULL;
	luaL_setmetatable(L, SAVED_CLASS);
	*saved = cache_save(box->cache);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, 1, LAST_SAVED);
	return 1;
}

static int l_restore(lua_State *L)
{
	const struct watch_box *box = check_fed(L);
	struct cache_saved **saved = luaL_checkudata(L, 2, SAVED_CLASS);
	cache_restore(box->cache, *saved);
	lua_settop(L, 2);
	lua_setiuservalue(L, 1, LAST_SAVED);
	return 0;
}

static int l_stats(lua_State *L)
{
	const struct watch_box *box = check_watch(L);
	if (!box->watch) {
		lua_createtable(L, 0, 1);
		set_integer(L, "bytes", (lua_Integer)cache_bytes(box->cache));
		return 1;
	}
	struct watch_stats s = watch_stats(box->watch);
	lua_createtable(L, 0, 10);
	set_integer(L, "lists", (lua_Integer)s.lists);
	set_integer(L, "watches", (lua_Integer)s.watches);
	set_integer(L, "events", (lua_Integer)s.events);
	set_integer(L, "bookmarks", (lua_Integer)s.bookmarks);
	set_integer(L, "dropped", (lua_Integer)s.dropped);
	lua_pushnumber(L, (lua_Number)(clock_now_ms(box->realm->clock) - s.last_byte_ms) / 1000);
	lua_setfield(L, -2, "last_byte_age");
	set_bool(L, "streaming", s.streaming);
	set_text(L, "position", cache_position(box->cache));
	set_text(L, "error", s.last_error.code != 0 ? s.last_error.text : NULL);
	set_integer(L, "bytes", (lua_Integer)cache_bytes(box->cache));
	return 1;
}

static const luaL_Reg watch_methods[] = {
	{"synced", l_synced},
	{"wait_synced", l_wait_synced},
	{"get", l_get},
	{"read", l_read},
	{"raw", l_raw},
	{"content", l_content},
	{"keys", l_keys},
	{"find", l_find},
	{"count", l_count},
	{"wrote", l_wrote},
	{"deleted", l_deleted},
	{"revisions", l_revisions},
	{"recorded", l_recorded},
	{"put", l_put},
	{"remove", l_remove},
	{"position", l_position},
	{"list", l_list},
	{"save", l_save},
	{"restore", l_restore},
	{"stats", l_stats},
	{"stop", l_stop},
	{NULL, NULL},
};

void bind_open_watch(lua_State *L)
{
	static const luaL_Reg none[] = {{NULL, NULL}};
	bind_class(L, WATCH_CLASS, watch_methods, watch_collect);
	bind_class(L, SAVED_CLASS, none, saved_collect);
}
