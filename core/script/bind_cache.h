/* What bind_cache.c (the cache, as Lua reads it) shares with the two that feed one: bind_watch.c and bind_fed_cache.c;
 * nobody else. */
#ifndef MOONPHASE_SCRIPT_BIND_CACHE_H
#define MOONPHASE_SCRIPT_BIND_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "kube/cache.h"
#include "kube/watch.h"
#include "script/bind.h"
#include "script/task.h"

/* User values of a box. */
enum { BOX_CLUSTER = 1, BOX_SAVED, BOX_VALUES = BOX_SAVED };

struct cache_box {
	struct host_resource resource;
	struct host *host;
	struct host_realm *realm; /* in which it runs */
	struct cache *cache; /* NULL: stopped, or not open yet */
	struct watch *watch; /* NULL: its owner feeds it */
	struct waiters synced;
	struct loop_task stop;
	int on_change, on_trouble, anchor;
	bool changing; /* on_change runs */
	size_t index_count;
	char *index_names[CACHE_INDEXES_MAX];
};

/* Push a box without a cache. */
struct cache_box *cache_box_new(lua_State *L);
/* Make its cache, of `o` and of what the options at 2 say (keep, drop, indexes, revisions, on_change; `what` is the
 * function's name for people); from now on it is anchored. The box is at the top, and again afterwards. Raises before
 * anything is open. Whether of each object nothing but its metadata is kept. */
bool cache_box_open(lua_State *L, struct cache_box *box, struct cache_options *o, const char *what);
/* The argument at 1; raises if it is another thing or was stopped. */
struct cache_box *cache_box_check(lua_State *L);
/* The same, for what on_change may not do. */
struct cache_box *cache_box_check_writable(lua_State *L);
/* Further methods of every box. */
void cache_box_add_methods(lua_State *L, const luaL_Reg *methods);

#endif
