/* require, and the files that were built in.
 *
 * The package library is not opened: it would look for modules, and shared objects, in places
 * that environment variables name. A module has one place: lua/ in the binary, or the folder
 * given by --lua in its stead (never both: a half-replaced library is no library). */
#include "script/modules.h"

#include <dirent.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/version.h"
#include "script/bind.h"
#include "script/files.h"

#define LOADED "moonphase.loaded"

static char loading; /* its address stands for a module whose chunk is running */

static int compare_asset(const void *name, const void *asset)
{
	return strcmp(name, ((const struct asset *)asset)->name);
}

const struct asset *modules_asset(const struct host *h, const char *name)
{
	if (h->asset_count == 0)
		return NULL;
	return bsearch(name, h->assets, h->asset_count, sizeof *h->assets, compare_asset);
}

void modules_let_go(const struct host *h)
{
	if (!h->assets_in_file || h->asset_count == 0)
		return;
	const struct asset *last = &h->assets[h->asset_count - 1]; /* they lie in the order of their names */
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)h->assets[0].bytes + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)last->bytes + last->len) / page * page;
	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED); /* refused: they stay, and nothing else is different */
}

/* --- finding --- */

static bool push_from_folder(lua_State *L, const char *folder, const char *name)
{
	struct buffer *text = bind_scratch(L, MODULE_MAX);
	const char *path = lua_pushfstring(L, "%s/%s", folder, name);
	struct err e = {0};
	int rc = files_read(path, text, &e);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		luaL_error(L, "%s", e.text);
	if (rc == 0)
		lua_pushlstring(L, buffer_text(text), text->len);
	else
		lua_pushnil(L);
	lua_replace(L, -3);
	lua_pop(L, 1);
	return rc == 0;
}

bool modules_push_file(lua_State *L, const char *name)
{
	const struct host *h = host_of(L);
	if (h->lua_dir)
		return push_from_folder(L, h->lua_dir, name);
	const struct asset *a = modules_asset(h, lua_pushfstring(L, "lua/%s", name));
	if (a)
		lua_pushlstring(L, a->bytes, a->len);
	else
		lua_pushnil(L);
	lua_remove(L, -2);
	return a != NULL;
}

static bool is_lua_file(const char *name)
{
	size_t len = strlen(name);
	return len > 4 && strcmp(name + len - 4, ".lua") == 0 && !strchr(name, '/');
}

void modules_push_names(lua_State *L, const char *folder)
{
	const struct host *h = host_of(L);
	lua_Integer n = 0;
	lua_newtable(L);
	if (h->lua_dir) {
		const char *path = lua_pushfstring(L, "%s/%s", h->lua_dir, folder);
		struct dirent **entries;
		int count = scandir(path, &entries, NULL, alphasort);
		lua_pop(L, 1);
		for (int i = 0; i < count; i++) { /* no raise in here: the host's allocator does not fail */
			if (is_lua_file(entries[i]->d_name)) {
				lua_pushfstring(L, "%s%s", folder, entries[i]->d_name);
				lua_rawseti(L, -2, ++n);
			}
			free(entries[i]);
		}
		if (count >= 0)
			free(entries);
		return;
	}
	const char *prefix = lua_pushfstring(L, "lua/%s", folder);
	size_t len = strlen(prefix);
	lua_insert(L, -2); /* stack: prefix, names */
	for (size_t i = 0; i < h->asset_count; i++) {
		if (strncmp(h->assets[i].name, prefix, len) != 0 || !is_lua_file(h->assets[i].name + len))
			continue;
		lua_pushstring(L, h->assets[i].name + strlen("lua/"));
		lua_rawseti(L, -2, ++n);
	}
	lua_remove(L, -2);
}

/* --- loading --- */

static const char *push_path(lua_State *L, const char *name)
{
	if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != strlen(name) ||
	    *name == '\0' || *name == '.' || strstr(name, ".."))
		luaL_error(L, "\"%s\" is no module name: names joined by dots were expected", name);
	luaL_gsub(L, name, ".", "/");
	lua_pushliteral(L, ".lua");
	lua_concat(L, 2);
	return lua_tostring(L, -1);
}

void modules_load(lua_State *L, const char *name)
{
	const struct host *h = host_of(L);
	const char *path = push_path(L, name);
	if (!modules_push_file(L, path)) {
		if (h->lua_dir)
			luaL_error(L, "there is no module \"%s\": %s/%s does not exist", name, h->lua_dir, path);
		luaL_error(L, "there is no module \"%s\": lua/%s is not in this binary", name, path);
	}
	size_t len;
	const char *text = lua_tolstring(L, -1, &len);
	const char *chunk = lua_pushfstring(L, "@%s/%s", h->lua_dir ? h->lua_dir : "lua", path);
	if (luaL_loadbufferx(L, text, len, chunk, "t") != LUA_OK)
		lua_error(L);
	lua_replace(L, -4);
	lua_pop(L, 2);
}

/* stack: name, loaded, ...; the module's value is on top */
static int required(lua_State *L, int status, lua_KContext context)
{
	(void)context;
	if (status != LUA_OK && status != LUA_YIELD) {
		lua_pushvalue(L, 1);
		lua_pushnil(L);
		lua_rawset(L, 2);
		return lua_error(L);
	}
	if (lua_isnil(L, -1))
		lua_pushboolean(L, 1);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, -2);
	lua_rawset(L, 2);
	return 1;
}

static int l_require(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	lua_settop(L, 1);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LOADED);
	lua_pushvalue(L, 1);
	if (lua_rawget(L, 2) == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == &loading)
		luaL_error(L, "module \"%s\" is being loaded: modules may not require each other in a circle", name);
	if (!lua_isnil(L, -1))
		return 1;
	lua_pop(L, 1);
	modules_load(L, name);
	lua_pushvalue(L, 1);
	lua_pushlightuserdata(L, &loading);
	lua_rawset(L, 2);
	lua_pushvalue(L, 1);
	return required(L, lua_pcallk(L, 1, 1, 0, 0, required), 0);
}

/* --- moonphase --- */

static int l_read_asset(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	const struct asset *a = modules_asset(host_of(L), name);
	if (a) {
		lua_pushlstring(L, a->bytes, a->len);
		return 1;
	}
	lua_pushnil(L);
	lua_pushfstring(L, "there is no built-in file \"%s\"", name);
	return 2;
}

static int l_assets(lua_State *L)
{
	const struct host *h = host_of(L);
	size_t len;
	const char *prefix = luaL_optlstring(L, 1, "", &len);
	lua_Integer n = 0;
	lua_newtable(L);
	for (size_t i = 0; i < h->asset_count; i++) {
		if (strncmp(h->assets[i].name, prefix, len) != 0)
			continue;
		lua_pushstring(L, h->assets[i].name);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static int l_memory(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)host_memory(host_of(L)));
	return 1;
}

static const luaL_Reg moonphase_functions[] = {
	{"read_asset", l_read_asset},
	{"assets", l_assets},
	{"memory", l_memory},
	{NULL, NULL},
};

void modules_open(lua_State *L)
{
	lua_pushcfunction(L, l_require);
	lua_setglobal(L, "require");
	luaL_newlib(L, moonphase_functions);
	set_text(L, "version", moonphase_version);
	lua_setglobal(L, "moonphase");
}
