/* The event loop: see loop.h.
 *
 * The hard part of an event loop is not waiting, it is the edge of a turn: who may free what,
 * and when. Here there is one edge, the check handle, which runs behind every poll. Deferred
 * tasks are drained there and nowhere else; a task deferred while draining waits for the next
 * turn, so that a task that defers itself cannot hold the loop. An idle handle is active while
 * tasks wait: libuv does not block in poll then, and a task never waits for an event.
 *
 * Timers are not libuv's: one uv_timer is armed for the earliest timer of our clock (base/clock.h),
 * because the same timers must also run on virtual time.
 *
 * A turn is measured from check to check without the time that libuv spent blocked
 * (UV_METRICS_IDLE_TIME): callbacks of poll handles run inside of poll, so measuring around it
 * would miss most of the work. It is measured twice: on the wall, which is what a waiting change
 * sees, and in processor time of this thread, which is what the program is to blame for: on a
 * machine that is full the kernel takes us off for many milliseconds in the middle of a short turn.
 *
 * The loop's own handles lie inside struct loop; whatever lies elsewhere was opened by somebody
 * who has to close it, and is counted by loop_open_handles. */
#include "loop/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "loop/loop_internal.h"

#define OPEN_FILES_WANTED 65536
#define LONG_US 10000

static void tasks_add(struct task_list *list, struct loop_task *t)
{
	t->next = NULL;
	if (list->last != NULL)
		list->last->next = t;
	else
		list->first = t;
	list->last = t;
}

static bool tasks_remove(struct task_list *list, struct loop_task *t)
{
	struct loop_task *before = NULL;
	for (struct loop_task *at = list->first; at != NULL; before = at, at = at->next) {
		if (at != t)
			continue;
		if (before != NULL)
			before->next = t->next;
		else
			list->first = t->next;
		if (list->last == t)
			list->last = before;
		return true;
	}
	return false;
}

static void on_hurry(uv_idle_t *handle)
{
	(void)handle;
}

/* What is waited for may have come about in a timer of this very turn: then poll must not block. */
static void on_before_poll(uv_prepare_t *handle)
{
	struct loop *l = handle->data;
	if (l->late || (l->until != NULL && *l->until))
		uv_stop(&l->uv);
}

void loop_defer(struct loop *l, struct loop_task *t)
{
	if (t->waiting)
		return;
	t->waiting = true;
	tasks_add(&l->waiting, t);
	if (!l->is_virtual)
		uv_idle_start(&l->hurry, on_hurry);
}

void loop_undefer(struct loop *l, struct loop_task *t)
{
	if (!t->waiting)
		return;
	t->waiting = false;
	if (!tasks_remove(&l->waiting, t))
		tasks_remove(&l->draining, t);
}

void loop_drain(struct loop *l)
{
	l->draining = l->waiting;
	l->waiting = (struct task_list){NULL, NULL};
	struct loop_task *t;
	while ((t = l->draining.first) != NULL) {
		tasks_remove(&l->draining, t);
		t->waiting = false;
		t->run(t);
	}
	if (l->waiting.first == NULL && !l->is_virtual)
		uv_idle_stop(&l->hurry);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void start_measuring(struct loop *l)
{
	l->edge_ns = uv_hrtime();
	l->edge_idle_ns = uv_metrics_idle_time(&l->uv);
	l->edge_cpu_ns = cpu_ns();
}

/* Ends the measured turn at the same instant at which the next one begins. */
static void measure(struct loop *l)
{
	uint64_t from_ns = l->edge_ns, from_idle_ns = l->edge_idle_ns, from_cpu_ns = l->edge_cpu_ns;
	start_measuring(l);
	uint64_t elapsed = l->edge_ns - from_ns, idle = l->edge_idle_ns - from_idle_ns;
	uint64_t us = elapsed > idle ? (elapsed - idle) / 1000 : 0, cpu_us = (l->edge_cpu_ns - from_cpu_ns) / 1000;
	l->turns.count++;
	l->turns.over_10ms += us > LONG_US;
	l->turns.over_10ms_cpu += cpu_us > LONG_US;
	if (us > l->turns.longest_us)
		l->turns.longest_us = us;
	if (cpu_us > l->turns.longest_cpu_us)
		l->turns.longest_cpu_us = cpu_us;
}

static void on_edge(uv_check_t *handle)
{
	struct loop *l = handle->data;
	measure(l);
	loop_drain(l);
}

static void on_timer(uv_timer_t *handle)
{
	struct loop *l = handle->data;
	l->armed_for_ms = CLOCK_NEVER;
	clock_run_due(&l->clock);
}

/* libuv's time is the same monotonic clock, read at the start of the turn (or coarser): the uv
 * timer fires when that reaches the due time, so the clock itself is never behind it. */
static void rearm(struct clock *c)
{
	struct loop *l = c->driver;
	uint64_t due = clock_next_due_ms(c), now = uv_now(&l->uv);
	if (due == l->armed_for_ms)
		return;
	l->armed_for_ms = due;
	if (due == CLOCK_NEVER)
		uv_timer_stop(&l->timer);
	else
		uv_timer_start(&l->timer, on_timer, due > now ? due - now : 0, 0);
}

/* Thousands of watches need thousands of sockets, and the usual soft limit is 1024. */
static void raise_open_files(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= OPEN_FILES_WANTED)
		return;
	rlim_t wanted = r.rlim_max < OPEN_FILES_WANTED ? r.rlim_max : OPEN_FILES_WANTED;
	if (wanted > r.rlim_cur) {
		r.rlim_cur = wanted;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof *l);
	int rc = uv_loop_init(&l->uv);
	if (rc != 0) {
		fprintf(stderr, "moonphase: the event loop cannot start: %s\n", uv_strerror(rc));
		abort();
	}
	signal(SIGPIPE, SIG_IGN);
	raise_open_files();
	uv_loop_configure(&l->uv, UV_METRICS_IDLE_TIME);
	uv_timer_init(&l->uv, &l->timer);
	uv_prepare_init(&l->uv, &l->before_poll);
	uv_check_init(&l->uv, &l->edge);
	uv_idle_init(&l->uv, &l->hurry);
	l->timer.data = l->before_poll.data = l->edge.data = l->hurry.data = l;
	uv_prepare_start(&l->before_poll, on_before_poll);
	uv_check_start(&l->edge, on_edge);
	l->armed_for_ms = CLOCK_NEVER;
	clock_init_real(&l->clock);
	l->clock.rearm = rearm;
	l->clock.driver = l;
	return l;
}

static bool is_own(const struct loop *l, const uv_handle_t *h)
{
	return (const char *)h >= (const char *)l && (const char *)h < (const char *)(l + 1);
}

struct leftovers {
	const struct loop *loop;
	size_t open;
	bool close;
};

static void visit(uv_handle_t *h, void *arg)
{
	struct leftovers *found = arg;
	if (uv_is_closing(h) || is_own(found->loop, h))
		return;
	found->open++;
	if (!found->close)
		return;
	log_error("a handle was left open when the loop ended", "kind", uv_handle_type_name(h->type), NULL);
	uv_close(h, NULL); /* its memory stays: nobody knows who owns it */
}

size_t loop_open_handles(const struct loop *l)
{
	struct leftovers found = {.loop = l};
	uv_walk((uv_loop_t *)(uintptr_t)&l->uv, visit, &found);
	return found.open;
}

static void close_own(uv_handle_t *h, void *arg)
{
	if (is_own(arg, h) && !uv_is_closing(h))
		uv_close(h, NULL);
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	if (l->is_virtual) {
		loop_free_virtual(l);
		return;
	}
	/* Deferred tasks may be what closes the last handles; a task that defers itself for ever
	 * is not waited for. */
	l->running = true;
	while (l->works != 0)
		uv_run(&l->uv, UV_RUN_ONCE);
	for (int i = 0; i < 100 && l->waiting.first != NULL; i++)
		uv_run(&l->uv, UV_RUN_NOWAIT);
	struct leftovers found = {.loop = l, .close = true};
	uv_walk(&l->uv, visit, &found);
#ifndef NDEBUG
	if (found.open != 0)
		abort();
#endif
	uv_walk(&l->uv, close_own, l);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&l->uv);
	if (rc != 0)
		log_error("the loop did not close", "why", uv_strerror(rc), NULL);
	clock_deinit(&l->clock);
	free(l);
}

static void enter(struct loop *l)
{
	if (l->running || l->is_virtual) {
		fprintf(stderr, "moonphase: %s\n", l->is_virtual ? "a loop on virtual time cannot wait for events" :
			"the event loop was run from inside itself");
		abort();
	}
	l->running = true;
	start_measuring(l);
	/* Whoever computed for a second before this should not find his timers late by it. */
	uv_update_time(&l->uv);
}

static void leave(struct loop *l)
{
	l->running = l->stopped = l->late = false;
	l->until = NULL;
}

void loop_run(struct loop *l)
{
	enter(l);
	while (!l->stopped)
		uv_run(&l->uv, UV_RUN_DEFAULT);
	leave(l);
}

static void on_limit(struct clock_timer *t)
{
	struct loop *l = t->data;
	l->late = true;
}

bool loop_run_until(struct loop *l, const bool *flag, uint64_t limit_ms)
{
	struct clock_timer limit = {.fire = on_limit, .data = l};
	enter(l);
	l->until = flag;
	clock_arm(&l->clock, &limit, limit_ms);
	while (!l->stopped && !l->late && !*flag)
		uv_run(&l->uv, UV_RUN_ONCE);
	clock_disarm(&l->clock, &limit);
	leave(l);
	return *flag;
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
	if (!l->is_virtual)
		uv_stop(&l->uv);
}

struct clock *loop_clock(struct loop *l)
{
	return &l->clock;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct loop_signal *s = handle->data;
	s->on_signal(s->arg, number);
}

void loop_on_signal(struct loop *l, int number, void (*handler)(void *arg, int number), void *arg)
{
	if (l->signal_count == SIGNALS_MAX) {
		fprintf(stderr, "moonphase: more than %d signal handlers on one loop\n", SIGNALS_MAX);
		abort();
	}
	struct loop_signal *s = &l->signals[l->signal_count++];
	s->on_signal = handler;
	s->arg = arg;
	uv_signal_init(&l->uv, &s->handle);
	s->handle.data = s;
	uv_signal_start(&s->handle, on_signal, number);
	uv_unref((uv_handle_t *)&s->handle);
}

struct loop_turns loop_turns(const struct loop *l)
{
	return l->turns;
}

void loop_turns_reset(struct loop *l)
{
	l->turns = (struct loop_turns){0};
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}
