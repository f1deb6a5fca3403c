/* loop.virtual: a realm on virtual time, run from inside a call of the host's ordinary Lua.
 *
 * What runs in it (a whole operator: watches, queue, tasks) cannot tell the difference, and everything in
 * it happens in one repeatable order: first what was deferred and the tasks that can go on, then one
 * thing that the network in memory brings, then, if the caller allows it, time moves to the next
 * timer. Each call here runs until there is nothing more of what it was asked for, then returns; so
 * the caller (lua/sandbox/inprocess.lua) lets a simulated cluster act in between.
 *
 * The chooser is asked only where several things could go on; whatever it answers, nothing is lost: what
 * was not chosen stays in line. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "script/bind.h"
#include "script/memory_net.h"
#include "script/task.h"

#define VIRTUAL_CLASS "moonphase.virtual"
#define BEGIN_MS 1000000 /* of the monotonic clock: not 0, which code takes for "never" */
#define TURNS_MAX 1000000 /* without time passing: whoever needs more is in a circle */

struct virtual {
	struct host_resource resource;
	struct host_realm *realm; /* NULL: closed */
	bool running;
	int chooser, anchor;
};

/* --- choosing --- */

struct choice {
	const struct virtual *v;
	const char *what;
	size_t count, chosen;
	const char *(*name)(void *arg, size_t i);
	void *arg;
};

static int ask_chooser(lua_State *L)
{
	struct choice *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->v->chooser);
	lua_pushstring(L, c->what);
	lua_pushinteger(L, (lua_Integer)c->count);
	lua_createtable(L, c->name ? (int)c->count : 0, 0);
	for (size_t i = 0; c->name && i < c->count; i++) {
		lua_pushstring(L, c->name(c->arg, i));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_call(L, 3, 1);
	lua_Integer chosen = luaL_checkinteger(L, -1);
	if (chosen < 1 || (size_t)chosen > c->count)
		luaL_error(L, "the chooser answered %d where 1 to %d was asked for", (int)chosen, (int)c->count);
	c->chosen = (size_t)chosen - 1;
	return 0;
}

/* The realm is the first member of its allocation. */
struct virtual_realm {
	struct host_realm realm;
	const struct virtual *v;
};

static size_t choose(struct host_realm *r, const char *what, size_t count, const char *(*name)(void *arg, size_t i), void *arg)
{
	struct choice c = {.v = ((struct virtual_realm *)r)->v, .what = what, .count = count, .name = name, .arg = arg};
	host_protect(r->host, ask_chooser, &c, "choosing what goes on");
	return c.chosen;
}

/* --- a life --- */

static void close_virtual(struct host_resource *resource)
{
	struct virtual *v = (struct virtual *)resource;
	struct host_realm *r = v->realm;
	if (!r)
		return;
	struct host *h = r->host;
	struct host_realm *outer = h->realm;
	host_resource_remove(resource);
	h->realm = r;
	host_realm_end(r);
	h->realm = outer;
	loop_free(r->loop);
	v->realm = NULL;
	free(r);
	luaL_unref(h->L, LUA_REGISTRYINDEX, v->chooser);
	luaL_unref(h->L, LUA_REGISTRYINDEX, v->anchor);
	v->chooser = v->anchor = LUA_NOREF;
}

int bind_virtual(lua_State *L)
{
	static const char *const known[] = {"wall_ms", "seed", "choose", NULL};
	struct host *h = host_of(L);
	lua_settop(L, 1);
	if (lua_isnil(L, 1)) {
		lua_newtable(L);
		lua_replace(L, 1);
	}
	opt_check(L, 1, "loop.virtual", known);
	int64_t wall_ms = opt_integer(L, 1, "wall_ms", 1767225600000);
	uint64_t seed = (uint64_t)opt_integer(L, 1, "seed", 1);
	bool chooses = opt_function(L, 1, "choose"); /* at 2 */
	struct virtual *v = lua_newuserdatauv(L, sizeof *v, 0);
	memset(v, 0, sizeof *v);
	v->chooser = v->anchor = LUA_NOREF;
	luaL_setmetatable(L, VIRTUAL_CLASS);
	struct virtual_realm *vr = xcalloc(1, sizeof *vr);
	v->realm = &vr->realm;
	vr->v = v;
	host_realm_init(v->realm, h, loop_new_virtual(BEGIN_MS, wall_ms), seed);
	if (chooses) {
		v->realm->choose = choose;
		lua_pushvalue(L, 2);
		v->chooser = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	lua_pushvalue(L, 3);
	v->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	host_resource_add(h, &v->resource, close_virtual);
	return 1;
}

static struct virtual *check_virtual(lua_State *L)
{
	struct virtual *v = luaL_checkudata(L, 1, VIRTUAL_CLASS);
	luaL_argcheck(L, v->realm != NULL, 1, "this virtual loop was closed");
	return v;
}

static struct virtual *check_resting(lua_State *L)
{
	struct virtual *v = check_virtual(L);
	luaL_argcheck(L, !v->running, 1, "this virtual loop cannot be run or closed from inside itself");
	return v;
}

static int l_close(lua_State *L)
{
	struct virtual *v = luaL_checkudata(L, 1, VIRTUAL_CLASS);
	if (v->realm) {
		check_resting(L);
		close_virtual(&v->resource);
	}
	return 0;
}

static int l_spawn(lua_State *L)
{
	const struct virtual *v = check_virtual(L);
	struct host *h = host_of(L);
	struct host_realm *outer = h->realm;
	luaL_checktype(L, 2, LUA_TFUNCTION);
	luaL_checkstack(L, 4, "a task");
	h->realm = v->realm;
	host_spawn(L, lua_gettop(L) - 2);
	h->realm = outer;
	return 1;
}

/* (f, ...): at once, as if it ran in here, but not as a task: what waits raises. */
static int l_call(lua_State *L)
{
	struct virtual *v = check_virtual(L);
	struct host *h = host_of(L);
	struct host_realm *outer = h->realm;
	bool was_running = v->running;
	luaL_checktype(L, 2, LUA_TFUNCTION);
	h->realm = v->realm;
	v->running = true;
	int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
	v->running = was_running;
	h->realm = outer;
	if (status != LUA_OK)
		return lua_error(L);
	return lua_gettop(L) - 1;
}

static int l_rewind(lua_State *L)
{
	const struct virtual *v = check_virtual(L);
	lua_Integer wall_ms = luaL_checkinteger(L, 2);
	struct clock *c = v->realm->clock;
	luaL_argcheck(L, clock_next_due_ms(c) == CLOCK_NEVER, 1, "time does not go back while timers are armed");
	clock_virtual_reset(c, (uint64_t)((int64_t)clock_now_ms(c) + wall_ms - clock_wall_ms(c)));
	return 0;
}

/* --- running --- */

static bool is_busy(const struct host_realm *r)
{
	return loop_is_busy(r->loop) || memory_net_is_busy(r);
}

/* One thing that can be done at this instant: a turn of the loop, or one delivery. */
static bool step(struct host_realm *r)
{
	if (r->host->exiting)
		return false;
	if (loop_turn(r->loop))
		return true;
	if (!memory_net_is_busy(r))
		return false;
	memory_net_deliver(r);
	return true;
}

/* Run `body` with the realm as that of now. */
static lua_Integer inside(struct virtual *v, lua_Integer (*body)(struct host_realm *r, lua_Integer n), lua_Integer n)
{
	struct host_realm *outer = v->realm->host->realm;
	v->running = true;
	v->realm->host->realm = v->realm;
	lua_Integer result = body(v->realm, n);
	v->realm->host->realm = outer;
	v->running = false;
	return result;
}

static lua_Integer settle(struct host_realm *r, lua_Integer most)
{
	lua_Integer steps = 0;
	while (steps < most && step(r))
		steps++;
	return steps;
}

static lua_Integer run_turns(struct host_realm *r, lua_Integer most)
{
	lua_Integer turns = 0;
	while (turns < most && !r->host->exiting && loop_turn(r->loop))
		turns++;
	return turns;
}

static lua_Integer deliver(struct host_realm *r, lua_Integer n)
{
	(void)n;
	if (!memory_net_is_busy(r))
		return 0;
	memory_net_deliver(r);
	return 1;
}

/* Fire what is due now, in its order or, one by one, in the chooser's. */
static void fire_due(struct host_realm *r)
{
	if (!r->choose) {
		clock_run_due(r->clock);
		return;
	}
	size_t due = clock_count_due(r->clock);
	if (due > 0)
		clock_fire_due(r->clock, 1 + (due > 1 ? r->choose(r, "timer", due, NULL, NULL) : 0));
}

/* Move the clock by n ms, each timer at its own instant, with all that follows from it. */
static lua_Integer advance(struct host_realm *r, lua_Integer n)
{
	uint64_t end = clock_now_ms(r->clock) + (uint64_t)n;
	lua_Integer left = TURNS_MAX;
	for (;;) {
		left -= settle(r, left);
		uint64_t due = clock_next_due_ms(r->clock);
		if (due > end || left <= 0 || r->host->exiting)
			break;
		clock_virtual_set(r->clock, due);
		fire_due(r);
		left--;
	}
	if (left > 0)
		clock_virtual_set(r->clock, end);
	return left > 0;
}

static int l_settle(lua_State *L)
{
	struct virtual *v = check_resting(L);
	lua_Integer most = luaL_optinteger(L, 2, TURNS_MAX);
	lua_Integer steps = inside(v, settle, most);
	lua_pushinteger(L, steps);
	lua_pushboolean(L, !is_busy(v->realm));
	return 2;
}

static int l_turn(lua_State *L)
{
	struct virtual *v = check_resting(L);
	lua_Integer turns = inside(v, run_turns, luaL_optinteger(L, 2, TURNS_MAX));
	lua_pushinteger(L, turns);
	return 1;
}

static int l_deliver(lua_State *L)
{
	lua_pushboolean(L, inside(check_resting(L), deliver, 0) != 0);
	return 1;
}

static int l_busy(lua_State *L)
{
	const struct host_realm *r = check_virtual(L)->realm;
	lua_pushboolean(L, loop_is_busy(r->loop));
	lua_pushboolean(L, memory_net_is_busy(r));
	return 2;
}

static int l_advance(lua_State *L)
{
	struct virtual *v = check_resting(L);
	lua_Integer ms = luaL_checkinteger(L, 2);
	luaL_argcheck(L, ms >= 0, 2, "time goes forward");
	if (!inside(v, advance, ms))
		luaL_error(L, "virtual time stands still: %d steps were done within one advance", TURNS_MAX);
	return 0;
}

static lua_Integer tick(struct host_realm *r, lua_Integer n)
{
	clock_virtual_set(r->clock, clock_now_ms(r->clock) + (uint64_t)n);
	fire_due(r);
	return clock_count_due(r->clock) == 0;
}

static int l_tick(lua_State *L)
{
	struct virtual *v = check_resting(L);
	lua_Integer ms = luaL_checkinteger(L, 2);
	uint64_t now = clock_now_ms(v->realm->clock), due = clock_next_due_ms(v->realm->clock);
	luaL_argcheck(L, ms >= 0 && (due == CLOCK_NEVER || due < now || (uint64_t)ms <= due - now), 2,
		"it goes to the next timer at most: next_due says when that is");
	lua_pushboolean(L, inside(v, tick, ms) != 0);
	return 1;
}

static int l_next_due(lua_State *L)
{
	const struct clock *c = check_virtual(L)->realm->clock;
	uint64_t due = clock_next_due_ms(c), now = clock_now_ms(c);
	if (due == CLOCK_NEVER)
		return 0;
	lua_pushinteger(L, due > now ? (lua_Integer)(due - now) : 0);
	return 1;
}

static int l_now(lua_State *L)
{
	lua_pushnumber(L, (lua_Number)clock_now_ms(check_virtual(L)->realm->clock) / 1000);
	return 1;
}

static int l_wall_ms(lua_State *L)
{
	lua_pushinteger(L, clock_wall_ms(check_virtual(L)->realm->clock));
	return 1;
}

static const luaL_Reg virtual_methods[] = {
	{"spawn", l_spawn},
	{"call", l_call},
	{"rewind", l_rewind},
	{"settle", l_settle},
	{"turn", l_turn},
	{"deliver", l_deliver},
	{"busy", l_busy},
	{"advance", l_advance},
	{"tick", l_tick},
	{"next_due", l_next_due},
	{"now", l_now},
	{"wall_ms", l_wall_ms},
	{"close", l_close},
	{NULL, NULL},
};

void bind_open_virtual(lua_State *L)
{
	bind_class(L, VIRTUAL_CLASS, virtual_methods, NULL);
	luaL_getmetatable(L, VIRTUAL_CLASS);
	lua_pushcfunction(L, l_close);
	lua_setfield(L, -2, "__close");
	lua_pop(L, 1);
	memory_net_open(L);
}
