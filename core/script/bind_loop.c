/* loop: tasks, time, events, signals. */
#include <time.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "script/bind.h"
#include "script/task.h"

#define EVENT_CLASS "moonphase.event"
#define PATH_QUIET_MS 50
#define PATH_CLASS "moonphase.path_watch"

static int l_spawn(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	host_spawn(L, lua_gettop(L) - 1);
	return 1;
}

static int slept(lua_State *L, struct host_wait *w)
{
	(void)L, (void)w;
	return 0;
}

static const struct host_wait_kind sleep_kind = {waiter_disarm, slept, NULL};

static int l_sleep(lua_State *L)
{
	luaL_checknumber(L, 1);
	uint64_t ms = arg_ms(L, 1, 0);
	return waiter_await(L, waiter_new(L, &sleep_kind), NULL, ms);
}

static int l_now(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)clock_now_ms(host_of(L)->realm->clock) / 1000);
	return 1;
}

static int l_precise(lua_State *L)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
	return 1;
}

static int l_wall_ms(lua_State *L)
{
	lua_pushinteger(L, clock_wall_ms(host_of(L)->realm->clock));
	return 1;
}

static int l_random(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)(host_random(host_of(L)->realm) >> 11) * 0x1p-53);
	return 1;
}

static int l_turns(lua_State *L)
{
	struct loop *l = host_of(L)->loop;
	struct loop_turns t = loop_turns(l);
	if (lua_toboolean(L, 1))
		loop_turns_reset(l);
	lua_createtable(L, 0, 5);
	set_integer(L, "count", (lua_Integer)t.count);
	set_integer(L, "longest_us", (lua_Integer)t.longest_us);
	set_integer(L, "longest_cpu_us", (lua_Integer)t.longest_cpu_us);
	set_integer(L, "over_10ms", (lua_Integer)t.over_10ms);
	set_integer(L, "over_10ms_cpu", (lua_Integer)t.over_10ms_cpu);
	return 1;
}

static int l_exit(lua_State *L)
{
	lua_Integer status = luaL_optinteger(L, 1, 0);
	luaL_argcheck(L, status >= 0 && status <= 255, 1, "an exit status is 0 to 255");
	host_exit(host_of(L), (int)status);
	return 0;
}

/* --- events --- */

static int l_event(lua_State *L)
{
	struct waiters *ev = lua_newuserdatauv(L, sizeof *ev, 0);
	*ev = (struct waiters){NULL, NULL};
	luaL_setmetatable(L, EVENT_CLASS);
	return 1;
}

static int l_event_wait(lua_State *L)
{
	struct waiters *ev = luaL_checkudata(L, 1, EVENT_CLASS);
	uint64_t ms = arg_ms(L, 2, CLOCK_NEVER);
	return waiter_await(L, waiter_new(L, &waiter_kind), ev, ms);
}

static int l_event_notify(lua_State *L)
{
	waiters_wake(luaL_checkudata(L, 1, EVENT_CLASS));
	return 0;
}

static const luaL_Reg event_methods[] = {
	{"wait", l_event_wait},
	{"notify", l_event_notify},
	{NULL, NULL},
};

/* --- signals --- */

/* Signals belong to the process, and the loop keeps their handlers until it goes: so does this. */
static struct signal {
	const char *name;
	int number;
	struct host *host;
	int function;
	struct loop *registered;
	struct host_resource resource;
} signals[] = {
	{.name = "TERM", .number = SIGTERM},
	{.name = "INT", .number = SIGINT},
	{.name = "HUP", .number = SIGHUP},
	{.name = "USR1", .number = SIGUSR1},
};

static int start_handler(lua_State *L)
{
	const struct signal *s = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, s->function);
	lua_pushinteger(L, s->number);
	host_spawn(L, 1);
	return 0;
}

static void on_signal(void *arg, int number)
{
	struct signal *s = arg;
	(void)number;
	if (s->host)
		host_protect(s->host, start_handler, s, "a signal");
}

static void forget_signal(struct host_resource *r)
{
	struct signal *s = (struct signal *)((char *)r - offsetof(struct signal, resource));
	host_resource_remove(r);
	luaL_unref(s->host->L, LUA_REGISTRYINDEX, s->function);
	s->host = NULL;
}

static int l_on_signal(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	host_need_machine(L, "loop.on_signal");
	struct signal *s = signals, *end = s + sizeof signals / sizeof *signals;
	while (s < end && strcmp(s->name, name) != 0)
		s++;
	if (s == end)
		luaL_error(L, "loop.on_signal: \"%s\" is none of TERM, INT, HUP, USR1", name);
	struct host *h = host_of(L);
	if (s->host)
		forget_signal(&s->resource);
	lua_settop(L, 2);
	s->function = luaL_ref(L, LUA_REGISTRYINDEX);
	s->host = h;
	host_resource_add(h, &s->resource, forget_signal);
	if (s->registered != h->loop)
		loop_on_signal(h->loop, s->number, on_signal, s);
	s->registered = h->loop;
	return 0;
}

/* --- watching a folder --- */

struct path_watch {
	struct host_resource resource;
	struct host *host;
	struct loop_watch *watch;
	int function, anchor;
};

static void close_path(struct host_resource *r)
{
	struct path_watch *p = (struct path_watch *)r;
	if (!p->watch)
		return;
	host_resource_remove(r);
	loop_watch_close(p->watch);
	p->watch = NULL;
	luaL_unref(p->host->L, LUA_REGISTRYINDEX, p->function);
	luaL_unref(p->host->L, LUA_REGISTRYINDEX, p->anchor);
}

static int start_path_handler(lua_State *L)
{
	const struct path_watch *p = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, p->function);
	host_spawn(L, 0);
	return 0;
}

static void on_path(void *arg)
{
	struct path_watch *p = arg;
	host_protect(p->host, start_path_handler, p, "a change of a folder");
}

static int l_watch_path(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_Integer quiet_ms = luaL_optinteger(L, 3, PATH_QUIET_MS);
	luaL_argcheck(L, quiet_ms >= 0 && quiet_ms <= 60000, 3, "is no number of milliseconds from 0 to 60000");
	struct host *h = host_of(L);
	struct err e = {0};
	host_need_machine(L, "loop.watch_path");
	struct path_watch *p = lua_newuserdatauv(L, sizeof *p, 0);
	memset(p, 0, sizeof *p);
	p->host = h;
	luaL_setmetatable(L, PATH_CLASS);
	p->watch = loop_watch_path(h->loop, path, (uint64_t)quiet_ms, on_path, p, &e);
	if (!p->watch)
		return bind_fail(L, &e);
	lua_pushvalue(L, 2);
	p->function = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, -1);
	p->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	host_resource_add(h, &p->resource, close_path);
	return 1;
}

static int l_path_close(lua_State *L)
{
	close_path(luaL_checkudata(L, 1, PATH_CLASS));
	return 0;
}

static const luaL_Reg path_methods[] = {
	{"close", l_path_close},
	{NULL, NULL},
};

static const luaL_Reg loop_functions[] = {
	{"spawn", l_spawn},
	{"sleep", l_sleep},
	{"now", l_now},
	{"precise", l_precise},
	{"wall_ms", l_wall_ms},
	{"random", l_random},
	{"event", l_event},
	{"virtual", bind_virtual},
	{"turns", l_turns},
	{"on_signal", l_on_signal},
	{"exit", l_exit},
	{"watch_path", l_watch_path},
	{NULL, NULL},
};

int bind_open_loop(lua_State *L)
{
	host_open_task(L);
	bind_open_virtual(L);
	bind_class(L, EVENT_CLASS, event_methods, NULL);
	bind_class(L, PATH_CLASS, path_methods, NULL);
	luaL_newlib(L, loop_functions);
	return 1;
}
