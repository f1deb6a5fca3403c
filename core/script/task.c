/* The gate into the host state: who runs, in which order, and what becomes of them.
 *
 * Woken tasks stand in one queue and are resumed at the edge of a turn, in order, for at most
 * TURN_US; the rest waits for the next turn, so that a thousand reconciles with nothing to wait
 * for do not make one long turn.
 *
 * A task is a userdata (what Lua holds) with its coroutine as user value; until it ends the registry
 * anchors it. When it has ended, its results, or its error, stay on the coroutine's stack for
 * those who join it. */
#include "script/task.h"

#include <lauxlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "script/bind.h"

#define TURN_US 2000
#define TASK_CLASS "moonphase.task"
#define WAIT_CLASS "moonphase.wait"

struct host_task {
	struct host *host;
	struct host_realm *realm; /* may be gone once the task has ended */
	lua_State *co;
	int anchor; /* in the registry; LUA_NOREF when ended */
	int args;   /* of the first resume */
	bool queued, running, failed, cancel_asked, ending;
	struct host_wait *wait;
	struct host_task *ready_next;
	struct host_task *next, **link; /* among the living */
	struct waiters joiners;
	bool (*ended)(void *arg, lua_State *co, bool failed);
	void *ended_arg;
};

struct host *host_of(lua_State *L)
{
	struct host *h;
	memcpy(&h, lua_getextraspace(L), sizeof h);
	return h;
}

/* --- the queue of those that can go on --- */

static void queue(struct host_task *t)
{
	struct host_realm *r = t->realm;
	if (t->queued)
		return;
	t->queued = true;
	t->ready_next = NULL;
	*r->ready_end = t;
	r->ready_end = &t->ready_next;
	loop_defer(r->loop, &r->turn);
}

static void leave_queue(struct host_task *t)
{
	struct host_realm *r = t->realm;
	if (!t->queued)
		return;
	struct host_task **at = &r->ready;
	while (*at != t)
		at = &(*at)->ready_next;
	*at = t->ready_next;
	if (r->ready_end == &t->ready_next)
		r->ready_end = at;
	t->queued = false;
}

/* Who is next: the first, or whom the realm's chooser names. */
static struct host_task *next_ready(struct host_realm *r)
{
	struct host_task *t = r->ready;
	if (!r->choose || !t || !t->ready_next)
		return t;
	size_t count = 0;
	for (; t; t = t->ready_next)
		count++;
	size_t which = r->choose(r, "task", count, NULL, NULL);
	for (t = r->ready; which > 0 && t->ready_next; which--)
		t = t->ready_next;
	return t;
}

/* --- the end of a task --- */

static void forget(struct host_task *t)
{
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	t->wait = NULL;
	waiters_wake(&t->joiners);
	leave_queue(t); /* cancelled after it was woken: its memory may go now */
	luaL_unref(t->host->L, LUA_REGISTRYINDEX, t->anchor);
	t->anchor = LUA_NOREF;
}

/* (task's coroutine as light userdata): log its error, which may be any value. */
static int report(lua_State *L)
{
	lua_State *co = lua_touserdata(L, 1);
	lua_pushvalue(co, -1);
	lua_xmove(co, L, 1);
	const char *text = luaL_tolstring(L, -1, NULL);
	luaL_traceback(L, co, text, 0);
	log_error("a task failed", "error", lua_tostring(L, -1), NULL);
	return 0;
}

static void end(struct host_task *t, bool failed)
{
	t->ending = true;
	bool told = t->ended && t->ended(t->ended_arg, t->co, failed);
	t->failed = failed;
	if (failed && !told && !t->joiners.first)
		host_protect(t->host, report, t->co, "reporting a task's error");
	if (lua_status(t->co) != LUA_OK) /* runs <close> variables; the error is at 1 then */
		lua_resetthread(t->co);
	forget(t);
}

void host_task_on_end(struct host_task *t, bool (*ended)(void *arg, lua_State *co, bool failed), void *arg)
{
	t->ended = ended;
	t->ended_arg = arg;
}

void host_task_cancel(struct host_task *t)
{
	if (t->ending)
		return;
	if (t->running) { /* itself, or what runs inside it, asked: it ends at its next wait */
		t->cancel_asked = true;
		return;
	}
	t->ending = true;
	if (t->wait)
		t->wait->kind->disarm(t->wait);
	if (t->ended)
		t->ended(t->ended_arg, NULL, true);
	lua_resetthread(t->co); /* runs <close> variables */
	lua_settop(t->co, 0);
	lua_pushliteral(t->co, "cancelled");
	t->failed = true;
	forget(t);
}

/* --- running --- */

/* A task may run the turns of a virtual realm: then another task runs inside it. */
static void resume(struct host_task *t)
{
	struct host *h = t->host;
	struct host_task *outer = h->current;
	struct host_realm *outer_realm = h->realm;
	int args = t->args, results = 0;
	t->args = 0;
	h->current = t;
	h->realm = t->realm;
	t->running = true;
	int status = lua_resume(t->co, outer ? outer->co : h->L, args, &results);
	t->running = false;
	h->current = outer;
	h->realm = outer_realm;
	if (status != LUA_YIELD) {
		end(t, status != LUA_OK);
		return;
	}
	lua_pop(t->co, results);
	if (!t->wait) {
		lua_pushliteral(h->L, "a task may not yield by itself: it waits in calls such as loop.sleep");
		lua_resetthread(t->co);
		lua_settop(t->co, 0);
		lua_xmove(h->L, t->co, 1); /* collects nothing: who hears of the end may know things that only the stack held */
		end(t, true);
	} else if (t->cancel_asked) {
		host_task_cancel(t);
	}
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void host_run_turn(struct loop_task *turn)
{
	struct host_realm *r = turn->data;
	struct host *h = r->host;
	bool is_own = r == &h->own; /* on virtual time the machine's time decides nothing */
	uint64_t until = is_own ? now_us() + TURN_US : 0;
	struct host_task *t;
	if (is_own)
		host_rest_disturb(h);
	while (!h->exiting && (t = next_ready(r)) != NULL) {
		leave_queue(t);
		resume(t);
		if (is_own && r->ready && now_us() >= until) {
			loop_defer(r->loop, turn);
			return;
		}
	}
}

bool host_task_is_current(const struct host_task *t)
{
	return t->host->current == t;
}

void host_exit(struct host *h, int status)
{
	if (h->exiting)
		return;
	h->exiting = true;
	h->status = status;
	loop_stop(h->loop);
}

void host_end_tasks(struct host_realm *r)
{
	while (r->alive)
		host_task_cancel(r->alive);
	loop_undefer(r->loop, &r->turn);
}

/* --- making and waiting --- */

struct host_task *host_spawn(lua_State *L, int nargs)
{
	struct host *h = host_of(L);
	struct host_task *t = lua_newuserdatauv(L, sizeof *t, 1);
	memset(t, 0, sizeof *t);
	t->host = h;
	t->realm = h->realm;
	t->args = nargs;
	t->co = lua_newthread(L);
	lua_setiuservalue(L, -2, 1);
	luaL_setmetatable(L, TASK_CLASS);
	lua_pushvalue(L, -1);
	t->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_insert(L, -(nargs + 2)); /* stack: task, function, arguments */
	if (!lua_checkstack(t->co, nargs + 1))
		luaL_error(L, "too many arguments for a task");
	lua_xmove(L, t->co, nargs + 1);
	t->next = t->realm->alive;
	t->link = &t->realm->alive;
	if (t->next)
		t->next->link = &t->next;
	t->realm->alive = t;
	queue(t);
	return t;
}

static int wait_collect(lua_State *L)
{
	struct host_wait *w = lua_touserdata(L, 1);
	w->kind->release(w);
	return 0;
}

void *host_wait_new(lua_State *L, size_t size, const struct host_wait_kind *kind)
{
	struct host *h = host_of(L);
	if (!h->current || h->current->co != L)
		luaL_error(L, "this call waits: it can be made from a task only (loop.spawn), not from a callback or a "
			"coroutine of your own");
	if (!lua_isyieldable(L)) /* found out by lua_yieldk it would be too late: the wait is armed by then */
		luaL_error(L, "this call waits and cannot yield here: it was called from inside of a C function (sort, gsub)");
	struct host_wait *w = lua_newuserdatauv(L, size, 0);
	memset(w, 0, size);
	w->kind = kind;
	if (kind->release)
		luaL_setmetatable(L, WAIT_CLASS);
	return w;
}

static int answered(lua_State *L, int status, lua_KContext context)
{
	struct host_wait *w = (struct host_wait *)context;
	(void)status;
	w->task->wait = NULL;
	int results = w->kind->answer(L, w);
	if (w->kind->release)
		w->kind->release(w);
	return results;
}

int host_await(lua_State *L, struct host_wait *w)
{
	w->task = host_of(L)->current;
	w->task->wait = w;
	if (w->woken) /* armed and over at once */
		queue(w->task);
	return lua_yieldk(L, 0, (lua_KContext)w, answered);
}

void host_wake(struct host_wait *w)
{
	if (w->woken)
		return;
	w->woken = true;
	if (w->task)
		queue(w->task);
}

/* --- the other gate --- */

static int traceback(lua_State *L)
{
	luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
	return 1;
}

bool host_protect(struct host *h, lua_CFunction body, void *data, const char *what)
{
	lua_State *L = h->L;
	int top = lua_gettop(L);
	lua_pushcfunction(L, traceback);
	lua_pushcfunction(L, body);
	lua_pushlightuserdata(L, data);
	bool good = lua_pcall(L, 1, 0, top + 1) == LUA_OK;
	if (!good) {
		const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no text";
		log_error("a callback failed", "what", what, "error", text, NULL);
	}
	lua_settop(L, top);
	return good;
}

/* --- what Lua sees --- */

static struct host_task *check_task(lua_State *L)
{
	return luaL_checkudata(L, 1, TASK_CLASS);
}

static int join_answer(lua_State *L, struct host_wait *w)
{
	const struct host_task *t = ((struct waiter *)w)->data;
	int count = t->failed ? 1 : lua_gettop(t->co);
	lua_pushboolean(L, !t->failed);
	luaL_checkstack(L, count + 1, "results of a task");
	luaL_checkstack(t->co, 1, "results of a task");
	for (int i = 1; i <= count; i++) {
		lua_pushvalue(t->co, i);
		lua_xmove(t->co, L, 1);
	}
	return count + 1;
}

static const struct host_wait_kind join_kind = {waiter_disarm, join_answer, NULL};

static int l_join(lua_State *L)
{
	struct host_task *t = check_task(L);
	if (t == t->host->current)
		luaL_error(L, "a task cannot wait for its own end");
	struct waiter *w = waiter_new(L, &join_kind);
	w->data = t;
	if (t->anchor == LUA_NOREF)
		host_wake(&w->wait);
	return waiter_await(L, w, t->anchor == LUA_NOREF ? NULL : &t->joiners, CLOCK_NEVER);
}

static int l_cancel(lua_State *L)
{
	host_task_cancel(check_task(L));
	return 0;
}

static int l_done(lua_State *L)
{
	lua_pushboolean(L, check_task(L)->anchor == LUA_NOREF);
	return 1;
}

static const luaL_Reg task_methods[] = {
	{"join", l_join},
	{"cancel", l_cancel},
	{"done", l_done},
	{NULL, NULL},
};

int host_open_task(lua_State *L)
{
	static const luaL_Reg none[] = {{NULL, NULL}};
	bind_class(L, TASK_CLASS, task_methods, NULL);
	bind_class(L, WAIT_CLASS, none, wait_collect);
	return 0;
}
