/* The host state: opening it, running a module as its program, closing it.
 *
 * Memory never fails in this state (xalloc.h ends the process first), so host code may hold C
 * memory across pushes; what raises here are checks, and they stand before anything is acquired.
 *
 * Globals are strict: reading or setting one that does not exist raises, because a misspelt name
 * must not be nil. What is taken out of Lua's library is what bypasses the loop (os.execute,
 * files by io) or ends the process behind its back (os.exit). */
#include "script/host.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/xalloc.h"
#include "script/bind.h"
#include "script/modules.h"
#include "script/task.h"
#include "script/value.h"

/* The collector goes in steps, and they must be short ones. A generational collector is out: whenever what it holds
 * has doubled it collects everything in one go, 5 to 9 ms with 3 MB. But so does the incremental one with
 * Lua's own multiplier of 100, for which a step is 50,000 slots and objects, all of a heap like ours. 4 makes
 * it 2,600, a tenth of a millisecond at most; a cycle ends after allocations of a quarter of what lives. Twice that, and
 * those who come while a cycle lasts queue up (2,000 reviews a second: p99 3.5 ms in place of 1.6); half of it, and so
 * much has changed by the end of a cycle that its last step, which cannot be divided, is the long one (p99 6 ms). */
#define GC_PAUSE 150
#define GC_STEP_MULTIPLIER 4
#define GC_PAUSE_KEPT 250 /* where memory matters less than time: a cycle costs what lives, and there is a fourth of them */

static void *allocate(void *ud, void *at, size_t old, size_t size)
{
	struct host *h = ud;
	if (!at)
		old = 0; /* a kind of object then, no size */
	h->memory += size - old;
	if (h->keeps_memory) {
		void *made = blocks_resize(&h->blocks, at, old, size);
		return made != NULL || size == 0 ? made : xrealloc(NULL, SIZE_MAX); /* that ends us with its sentence */
	}
	if (size == 0) {
		free(at);
		return NULL;
	}
	return xrealloc(at, size);
}

/* --- globals --- */

static int strict_read(lua_State *L)
{
	return luaL_error(L, "there is no global \"%s\"", luaL_tolstring(L, 2, NULL));
}

static int strict_write(lua_State *L)
{
	return luaL_error(L, "there is no global \"%s\" to set: make it local", luaL_tolstring(L, 2, NULL));
}

static const luaL_Reg strict[] = {
	{"__index", strict_read},
	{"__newindex", strict_write},
	{NULL, NULL},
};

/* Replace the library `name` by a table of only these of its fields. */
static void keep_only(lua_State *L, const char *name, const char *const *fields)
{
	lua_getglobal(L, name);
	lua_newtable(L);
	for (; *fields; fields++) {
		lua_getfield(L, -2, *fields);
		lua_setfield(L, -2, *fields);
	}
	lua_setglobal(L, name);
	lua_pop(L, 1);
}

static void open_lua(lua_State *L)
{
	static const luaL_Reg libraries[] = {
		{LUA_GNAME, luaopen_base}, {LUA_COLIBNAME, luaopen_coroutine}, {LUA_TABLIBNAME, luaopen_table},
		{LUA_IOLIBNAME, luaopen_io}, {LUA_OSLIBNAME, luaopen_os}, {LUA_STRLIBNAME, luaopen_string},
		{LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8}, {LUA_DBLIBNAME, luaopen_debug},
	};
	static const char *const io[] = {"write", "flush", "read", "stderr", "stdout", NULL};
	static const char *const os[] = {"time", "date", "clock", "difftime", NULL};
	static const char *const gone[] = {"dofile", "loadfile", NULL};
	for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
		luaL_requiref(L, libraries[i].name, libraries[i].func, 1);
		lua_pop(L, 1);
	}
	keep_only(L, "io", io);
	keep_only(L, "os", os);
	for (const char *const *name = gone; *name; name++) {
		lua_pushnil(L);
		lua_setglobal(L, *name);
	}
}

static void open_bindings(lua_State *L)
{
	static const luaL_Reg nouns[] = {
		{"loop", bind_open_loop}, {"fs", bind_open_fs}, {"process", bind_open_process}, {"log", bind_open_log},
		{"metrics", bind_open_metrics}, {"yaml", bind_open_yaml}, {"digest", bind_open_digest},
		{"certificate", bind_open_certificate}, {"base64", bind_open_base64}, {"json", bind_open_json},
		{"quantity", value_open_quantity}, {"http", bind_open_http},
		{"kube", bind_open_kube}, {"work", bind_open_work}, {"policy", bind_open_policy},
		{"typed", bind_open_typed},
	};
	value_open(L);
	for (size_t i = 0; i < sizeof nouns / sizeof *nouns; i++) {
		lua_pushcfunction(L, nouns[i].func);
		lua_call(L, 0, 1);
		lua_setglobal(L, nouns[i].name);
	}
	modules_open(L);
	lua_newtable(L);
	lua_setglobal(L, "args");
	lua_pushglobaltable(L);
	luaL_newlib(L, strict);
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

static int open_all(lua_State *L)
{
	open_lua(L);
	open_bindings(L);
	return 0;
}

struct host *host_new(struct loop *l, const struct host_options *o)
{
	struct host *h = xcalloc(1, sizeof *h);
	uint64_t seed;
	if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0)
		seed = (uint64_t)clock_wall_ms(loop_clock(l));
	host_realm_init(&h->own, h, l, seed);
	h->realm = &h->own;
	h->loop = l;
	h->transport = o->transport;
	h->lua_dir = o->lua_dir ? xstrdup(o->lua_dir) : NULL;
	h->assets = o->assets;
	h->asset_count = o->asset_count;
	h->assets_in_file = o->assets_in_file;
	h->keeps_memory = o->keeps_memory;
	host_rest_begin(h);
	h->L = lua_newstate(allocate, h);
	memcpy(lua_getextraspace(h->L), &h, sizeof h);
	if (!host_protect(h, open_all, h, "opening the host state"))
		abort(); /* our own table of functions is wrong */
	lua_gc(h->L, LUA_GCINC, o->keeps_memory ? GC_PAUSE_KEPT : GC_PAUSE, GC_STEP_MULTIPLIER, 0);
	return h;
}

/* --- the program --- */

/* stack: args, and what the function returned */
static int program_done(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	return lua_gettop(L) - 1;
}

/* stack: args, and what the module returned */
static int module_done(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	lua_settop(L, 2);
	if (lua_istable(L, 2)) {
		lua_getfield(L, 2, "run");
		if (lua_isfunction(L, 3))
			lua_remove(L, 2);
		lua_settop(L, 2);
	}
	if (!lua_isfunction(L, 2))
		return 1;
	lua_pushvalue(L, 1);
	lua_callk(L, 1, LUA_MULTRET, 0, program_done);
	return program_done(L, LUA_OK, 0);
}

/* (name, args): a command's chunk is called without protection between it and the task, so that a
 * traceback shows all of it. */
static int program(lua_State *L)
{
	modules_load(L, luaL_checkstring(L, 1));
	lua_remove(L, 1);
	lua_callk(L, 0, 1, 0, module_done);
	return module_done(L, LUA_OK, 0);
}

struct start {
	const char *name;
	const char *const *args;
};

static int describe(lua_State *L)
{
	lua_State *co = lua_touserdata(L, 1);
	lua_pushvalue(co, -1);
	lua_xmove(co, L, 1);
	luaL_traceback(L, co, luaL_tolstring(L, -1, NULL), 0);
	fprintf(stderr, "moonphase: %s\n", lua_tostring(L, -1));
	return 0;
}

static bool program_ended(void *arg, lua_State *co, bool failed)
{
	struct host *h = arg;
	int status = 0;
	if (!co) {
		status = 1;
	} else if (failed) {
		host_protect(h, describe, co, "the end of the program");
		status = 1;
	} else if (lua_isinteger(co, 1)) {
		status = (int)(lua_tointeger(co, 1) & 0xff);
	} else if (lua_isboolean(co, 1)) {
		status = !lua_toboolean(co, 1);
	}
	host_exit(h, status);
	return true;
}

static int start_program(lua_State *L)
{
	const struct start *s = lua_touserdata(L, 1);
	lua_pushcfunction(L, program);
	lua_pushstring(L, s->name);
	lua_newtable(L);
	for (int i = 0; s->args && s->args[i]; i++) {
		lua_pushstring(L, s->args[i]);
		lua_rawseti(L, -2, i + 1);
	}
	lua_pushvalue(L, -1);
	lua_setglobal(L, "args");
	host_task_on_end(host_spawn(L, 2), program_ended, host_of(L));
	return 0;
}

int host_run_module(struct host *h, const char *name, const char *const *args)
{
	struct start s = {name, args};
	h->exiting = false;
	h->status = 0;
	if (!host_protect(h, start_program, &s, "starting the program"))
		return 1;
	loop_run(h->loop);
	fflush(stdout);
	return h->status;
}

void host_free(struct host *h)
{
	if (!h)
		return;
	host_end_tasks(&h->own);
	host_rest_end(h);
	host_realm_end(&h->own);
	host_end_children(h);
	lua_close(h->L);
	blocks_deinit(&h->blocks);
	free(h->lua_dir);
	free(h);
}

size_t host_memory(const struct host *h)
{
	return h->memory;
}

void host_stress_memory(struct host *h)
{
	lua_gc(h->L, LUA_GCINC, 0, 0, 0);
	lua_gc(h->L, LUA_GCSETPAUSE, 0);
	lua_gc(h->L, LUA_GCSETSTEPMUL, 1000);
}
