/* A cache that its owner feeds, without a watch: kube.cache.
 *
 * `moonphase check` takes the operator through every order of events, thousands of times, in a cluster in memory. A list
 * and a stream of JSON for each cache would be most of that work. So what a watch would bring is put in directly, an
 * object at a time or a whole list; and what the cache holds can be saved, as a value, and restored when the checker goes
 * back to an earlier state. Whoever reads it finds a cache like any other (bind_cache.c).
 *
 * As long as nothing has changed since the last save, or restore, that save is the answer: the box remembers it. */
#include "script/bind_cache.h"

#define SAVED_CLASS "moonphase.cache_saved"

int bind_fed_cache(lua_State *L)
{
	static const char *const known[] = {"name", "keep", "drop", "indexes", "revisions", "on_change", NULL};
	struct cache_options o = {.clock = host_of(L)->realm->clock, .unpacked = true};
	lua_settop(L, 1);
	lua_pushvalue(L, 1); /* options are at 2, as in cluster:watch */
	opt_check(L, 2, "kube.cache", known);
	o.name = need_text(L, 2, "name");
	struct cache_box *box = cache_box_new(L);
	cache_box_open(L, box, &o, "kube.cache");
	return 1;
}

/* --- feeding --- */

static struct cache_box *check_fed(lua_State *L)
{
	struct cache_box *box = cache_box_check_writable(L);
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
	const struct cache_box *box = check_fed(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	struct err e = {0};
	return fed(L, cache_put(box->cache, text, len, &e), &e);
}

static int l_remove(lua_State *L)
{
	const struct cache_box *box = check_fed(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	struct err e = {0};
	return fed(L, cache_remove(box->cache, text, len, &e), &e);
}

static int l_position(lua_State *L)
{
	const struct cache_box *box = check_fed(L);
	if (!lua_isnoneornil(L, 2))
		cache_position_set(box->cache, luaL_checkstring(L, 2));
	lua_pushstring(L, cache_position(box->cache));
	return 1;
}

static int l_list(lua_State *L)
{
	const struct cache_box *box = check_fed(L);
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

/* --- as a value --- */

static int saved_collect(lua_State *L)
{
	struct cache_saved **saved = lua_touserdata(L, 1);
	cache_saved_free(*saved);
	*saved = NULL;
	return 0;
}

static int l_save(lua_State *L)
{
	const struct cache_box *box = check_fed(L);
	if (lua_getiuservalue(L, 1, BOX_SAVED) == LUA_TUSERDATA &&
	    cache_is_as_saved(box->cache, *(struct cache_saved **)lua_touserdata(L, -1)))
		return 1;
	struct cache_saved **saved = lua_newuserdatauv(L, sizeof *saved, 0);
	*saved = NULL;
	luaL_setmetatable(L, SAVED_CLASS);
	*saved = cache_save(box->cache);
	lua_pushvalue(L, -1);
	lua_setiuservalue(L, 1, BOX_SAVED);
	return 1;
}

static int l_restore(lua_State *L)
{
	const struct cache_box *box = check_fed(L);
	struct cache_saved **saved = luaL_checkudata(L, 2, SAVED_CLASS);
	luaL_argcheck(L, cache_has_saved(box->cache, *saved), 2, "this was saved of another cache");
	cache_restore(box->cache, *saved);
	lua_settop(L, 2);
	lua_setiuservalue(L, 1, BOX_SAVED);
	return 0;
}

static const luaL_Reg fed_methods[] = {
	{"put", l_put},
	{"remove", l_remove},
	{"position", l_position},
	{"list", l_list},
	{"save", l_save},
	{"restore", l_restore},
	{NULL, NULL},
};

void bind_open_fed_cache(lua_State *L)
{
	static const luaL_Reg none[] = {{NULL, NULL}};
	cache_box_add_methods(L, fed_methods);
	bind_class(L, SAVED_CLASS, none, saved_collect);
}
