/* Waiting for a moment, or to be woken: what sleep, events, joins and queues have in common. */
#include "script/task.h"

static void unlink_waiter(struct waiter *w)
{
	if (!w->list)
		return;
	if (w->prev)
		w->prev->next = w->next;
	else
		w->list->first = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		w->list->last = w->prev;
	w->next = w->prev = NULL;
	w->list = NULL;
}

static void append(struct waiters *list, struct waiter *w)
{
	w->list = list;
	w->next = NULL;
	w->prev = list->last;
	if (list->last)
		list->last->next = w;
	else
		list->first = w;
	list->last = w;
}

static struct clock *clock_of(const struct waiter *w)
{
	return w->timer.data;
}

void waiter_disarm(struct host_wait *wait)
{
	struct waiter *w = (struct waiter *)wait;
	unlink_waiter(w);
	clock_disarm(clock_of(w), &w->timer);
}

static int answer(lua_State *L, struct host_wait *wait)
{
	lua_pushboolean(L, !((struct waiter *)wait)->timed_out);
	return 1;
}

const struct host_wait_kind waiter_kind = {waiter_disarm, answer, NULL};

static void on_timeout(struct clock_timer *timer)
{
	struct waiter *w = (struct waiter *)((char *)timer - offsetof(struct waiter, timer));
	w->timed_out = true;
	unlink_waiter(w);
	host_wake(&w->wait);
}

struct waiter *waiter_new(lua_State *L, const struct host_wait_kind *kind)
{
	return waiter_new_sized(L, sizeof(struct waiter), kind);
}

struct waiter *waiter_new_sized(lua_State *L, size_t size, const struct host_wait_kind *kind)
{
	struct waiter *w = host_wait_new(L, size, kind);
	w->timer.data = host_of(L)->realm->clock;
	w->timer.fire = on_timeout;
	return w;
}

int waiter_await(lua_State *L, struct waiter *w, struct waiters *list, uint64_t timeout_ms)
{
	if (list)
		append(list, w);
	if (timeout_ms != CLOCK_NEVER)
		clock_arm(clock_of(w), &w->timer, timeout_ms);
	return host_await(L, &w->wait);
}

struct waiter *waiters_take(struct waiters *list)
{
	struct waiter *w = list->first;
	if (w)
		waiter_disarm(&w->wait);
	return w;
}

void waiters_wake(struct waiters *list)
{
	struct waiter *w;
	while ((w = waiters_take(list)) != NULL)
		host_wake(&w->wait);
}
