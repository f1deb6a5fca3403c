/* work: the queue of keys, taken by tasks.
 *
 * Keys are handed out at the edge of a turn: queue_add calls `ready` from inside, and several keys may
 * become ready before the first taker runs. A taker that is cancelled between being given a
 * key and running gives it back. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "script/bind.h"
#include "script/task.h"
#include "work/queue.h"

#define QUEUE_CLASS "moonphase.queue"

struct queue_box {
	struct host_resource resource;
	struct loop *loop; /* of the realm in which it was made */
	struct queue *queue; /* NULL: closed with its realm */
	struct waiters takers;
	struct loop_task hand_out;
	bool stopped;
};

/* In struct waiter, `data` is the box; the key that was given is its own field. */
struct taker {
	struct waiter waiter;
	char *key;
};

static void hand_out(struct loop_task *t)
{
	struct queue_box *box = t->data;
	const char *key;
	while (box->takers.first && (key = queue_take(box->queue)) != NULL) {
		struct taker *taker = (struct taker *)waiters_take(&box->takers);
		taker->key = xstrdup(key);
		host_wake(&taker->waiter.wait);
	}
	if (box->stopped)
		waiters_wake(&box->takers);
}

static void on_ready(void *arg)
{
	struct queue_box *box = arg;
	loop_defer(box->loop, &box->hand_out);
}

static void close_queue(struct host_resource *r)
{
	struct queue_box *box = (struct queue_box *)r;
	host_resource_remove(r);
	loop_undefer(box->loop, &box->hand_out);
	queue_free(box->queue);
	box->queue = NULL;
}

static int queue_collect(lua_State *L)
{
	struct queue_box *box = lua_touserdata(L, 1);
	if (box->queue)
		close_queue(&box->resource);
	return 0;
}

static int l_queue(lua_State *L)
{
	static const char *const known[] = {"name", NULL};
	const char *name = NULL;
	if (!lua_isnoneornil(L, 1)) {
		opt_check(L, 1, "work.queue", known);
		name = opt_text(L, 1, "name", NULL);
	}
	struct queue_box *box = lua_newuserdatauv(L, sizeof *box, 0);
	memset(box, 0, sizeof *box);
	struct host *h = host_of(L);
	box->loop = h->realm->loop;
	box->hand_out = (struct loop_task){.run = hand_out, .data = box};
	luaL_setmetatable(L, QUEUE_CLASS);
	box->queue = queue_new(h->realm->clock, name, on_ready, box);
	host_resource_add(h, &box->resource, close_queue);
	return 1;
}

static struct queue_box *check_queue(lua_State *L)
{
	struct queue_box *box = luaL_checkudata(L, 1, QUEUE_CLASS);
	luaL_argcheck(L, box->queue != NULL, 1, "the queue has gone with its realm");
	return box;
}

static enum queue_priority priority(lua_State *L, int index)
{
	return lua_toboolean(L, index) ? QUEUE_BACKGROUND : QUEUE_LIVE;
}

static int l_add(lua_State *L)
{
	queue_add(check_queue(L)->queue, luaL_checkstring(L, 2), priority(L, 3));
	return 0;
}

static int l_add_after(lua_State *L)
{
	struct queue_box *box = check_queue(L);
	const char *key = luaL_checkstring(L, 2);
	luaL_checknumber(L, 3);
	queue_add_after(box->queue, key, arg_ms(L, 3, 0), priority(L, 4));
	return 0;
}

static int l_retry(lua_State *L)
{
	uint64_t ms = queue_retry(check_queue(L)->queue, luaL_checkstring(L, 2));
	lua_pushnumber(L, (lua_Number)ms / 1000);
	return 1;
}

static int l_forget(lua_State *L)
{
	queue_forget(check_queue(L)->queue, luaL_checkstring(L, 2));
	return 0;
}

static int l_failures(lua_State *L)
{
	lua_pushinteger(L, queue_failures(check_queue(L)->queue, luaL_checkstring(L, 2)));
	return 1;
}

/* --- take --- */

static void take_disarm(struct host_wait *w)
{
	struct taker *t = (struct taker *)w;
	struct queue_box *box = t->waiter.data;
	waiter_disarm(w);
	if (t->key && box->queue) {
		queue_add(box->queue, t->key, QUEUE_LIVE);
		queue_done(box->queue, t->key);
	}
}

static int take_answer(lua_State *L, struct host_wait *w)
{
	lua_pushstring(L, ((struct taker *)w)->key); /* NULL: nil */
	return 1;
}

static void take_release(struct host_wait *w)
{
	struct taker *t = (struct taker *)w;
	free(t->key);
	t->key = NULL;
}

static const struct host_wait_kind take_kind = {take_disarm, take_answer, take_release};

/* Always waits, if only for a turn: a worker that finds keys without end must not hold the loop. */
static int l_take(lua_State *L)
{
	struct queue_box *box = check_queue(L);
	struct waiter *w = waiter_new_sized(L, sizeof(struct taker), &take_kind);
	w->data = box;
	loop_defer(box->loop, &box->hand_out);
	return waiter_await(L, w, &box->takers, CLOCK_NEVER);
}

/* At once, and never waits: for a driver that works on one key at a time. */
static int l_try_take(lua_State *L)
{
	lua_pushstring(L, queue_take(check_queue(L)->queue));
	return 1;
}

/* --- as a value --- */

struct telling {
	lua_State *L;
	lua_Integer count;
};

static void tell_item(void *arg, const struct queue_item *item)
{
	struct telling *t = arg;
	lua_State *L = t->L;
	lua_createtable(L, 0, 7);
	set_text(L, "key", item->key);
	set_bool(L, "queued", item->queued);
	set_bool(L, "background", item->priority == QUEUE_BACKGROUND);
	set_bool(L, "later_background", item->later_priority == QUEUE_BACKGROUND);
	set_bool(L, "taken_background", item->taken_priority == QUEUE_BACKGROUND);
	set_integer(L, "failures", item->failures);
	if (item->waiting)
		set_integer(L, "due_ms", (lua_Integer)item->due_ms);
	lua_rawseti(L, -2, ++t->count);
}

static int l_save(lua_State *L)
{
	struct telling t = {L, 0};
	const struct queue_box *box = check_queue(L);
	lua_newtable(L);
	luaL_checkstack(L, 8, "the items of a queue");
	queue_each(box->queue, tell_item, &t);
	return 1;
}

static bool field_bool(lua_State *L, const char *name)
{
	lua_getfield(L, -1, name);
	bool is = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return is;
}

static int l_restore(lua_State *L)
{
	struct queue_box *box = check_queue(L);
	luaL_checktype(L, 2, LUA_TTABLE);
	if (!queue_clear(box->queue))
		return luaL_error(L, "a queue cannot be restored while a key is being worked on");
	for (lua_Integer i = 1; lua_rawgeti(L, 2, i) == LUA_TTABLE; i++) {
		lua_getfield(L, -1, "key");
		const char *key = luaL_checkstring(L, -1);
		lua_pop(L, 1); /* its item holds it */
		lua_getfield(L, -1, "due_ms");
		lua_getfield(L, -2, "failures");
		struct queue_item item = {.key = key, .waiting = !lua_isnil(L, -2), .due_ms = (uint64_t)lua_tointeger(L, -2),
			.failures = (unsigned)lua_tointeger(L, -1)};
		lua_pop(L, 2);
		item.queued = field_bool(L, "queued");
		item.priority = field_bool(L, "background") ? QUEUE_BACKGROUND : QUEUE_LIVE;
		item.later_priority = field_bool(L, "later_background") ? QUEUE_BACKGROUND : QUEUE_LIVE;
		item.taken_priority = field_bool(L, "taken_background") ? QUEUE_BACKGROUND : QUEUE_LIVE;
		queue_put(box->queue, &item);
		lua_pop(L, 1);
	}
	return 0;
}

static int l_done(lua_State *L)
{
	struct queue_box *box = check_queue(L);
	queue_done(box->queue, luaL_checkstring(L, 2));
	loop_defer(box->loop, &box->hand_out);
	return 0;
}

static int l_depth(lua_State *L)
{
	const struct queue *q = check_queue(L)->queue;
	lua_pushinteger(L, (lua_Integer)queue_depth(q));
	lua_pushinteger(L, (lua_Integer)queue_in_work(q));
	lua_pushinteger(L, (lua_Integer)queue_waiting(q));
	return 3;
}

static int l_stop(lua_State *L)
{
	struct queue_box *box = check_queue(L);
	box->stopped = true;
	queue_stop(box->queue);
	loop_defer(box->loop, &box->hand_out);
	return 0;
}

static const luaL_Reg queue_methods[] = {
	{"add", l_add},
	{"add_after", l_add_after},
	{"retry", l_retry},
	{"forget", l_forget},
	{"failures", l_failures},
	{"take", l_take},
	{"try_take", l_try_take},
	{"done", l_done},
	{"save", l_save},
	{"restore", l_restore},
	{"depth", l_depth},
	{"stop", l_stop},
	{NULL, NULL},
};

static const luaL_Reg work_functions[] = {
	{"queue", l_queue},
	{NULL, NULL},
};

int bind_open_work(lua_State *L)
{
	bind_class(L, QUEUE_CLASS, queue_methods, queue_collect);
	luaL_newlib(L, work_functions);
	return 1;
}
