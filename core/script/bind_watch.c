/* Watches: a cache that follows what the API server says.
 *
 * kube/watch.h does the following (list, watch, bookmarks, 410 Gone, patience); here its options are read, its trouble
 * is told, and a task may wait until the first list is complete. What it brings is read as of any other cache
 * (bind_cache.c, which also closes it).
 *
 * on_trouble is called at once, from inside the watch's turn, and so must not wait; it may stop the watch. */
#include <string.h>

#include "script/bind_cache.h"

static void on_synced(void *arg)
{
	struct cache_box *box = arg;
	waiters_wake(&box->synced);
}

struct trouble {
	const struct cache_box *box;
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
	struct cache_box *box = arg;
	struct trouble t = {box, err, retry_ms};
	if (box->on_trouble != LUA_NOREF)
		host_protect(box->host, tell_trouble, &t, "on_trouble of a watch");
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
	o.unpacked = bind_cluster_is_handler(L, 1);
	struct cache_box *box = cache_box_new(L);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, BOX_CLUSTER); /* the cluster outlives it */
	box->on_trouble = opt_reference(L, 2, "on_trouble");
	w.metadata_only = cache_box_open(L, box, &o, "cluster:watch");
	w.seed = host_random(box->realm);
	w.cache = box->cache;
	w.arg = box;
	box->watch = watch_start(&w);
	return 1;
}

static int l_synced(lua_State *L)
{
	lua_pushboolean(L, cache_is_synced(cache_box_check(L)->cache));
	return 1;
}

static int synced_answer(lua_State *L, struct host_wait *w)
{
	const struct cache_box *box = ((struct waiter *)w)->data;
	lua_pushboolean(L, box->cache && cache_is_synced(box->cache));
	return 1;
}

static const struct host_wait_kind synced_kind = {waiter_disarm, synced_answer, NULL};

static int l_wait_synced(lua_State *L)
{
	struct cache_box *box = cache_box_check(L);
	uint64_t ms = arg_ms(L, 2, CLOCK_NEVER);
	bool already = cache_is_synced(box->cache);
	struct waiter *w = waiter_new(L, &synced_kind);
	w->data = box;
	if (already)
		host_wake(&w->wait);
	return waiter_await(L, w, already ? NULL : &box->synced, already ? CLOCK_NEVER : ms);
}

static int l_stats(lua_State *L)
{
	const struct cache_box *box = cache_box_check(L);
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
	{"stats", l_stats},
	{NULL, NULL},
};

void bind_open_watch(lua_State *L)
{
	cache_box_add_methods(L, watch_methods);
}
