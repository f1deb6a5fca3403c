/* Tasks: the coroutines that the loop resumes, and what they wait for.
 *
 * A call that waits is four pieces (style page 3.4): the binding checks its arguments and starts
 * something; an event on the loop stores what came and calls host_wake; a cancel disarms; and the
 * task goes on in `answer`, which pushes the results inside the coroutine, where it may raise.
 * Nothing is pushed on a Lua stack by an event, and no task is resumed from inside somebody's
 * callback: host_wake only queues.
 *
 * A wait lives in a userdata on the stack of its coroutine, so it stays as long as the task can
 * come back, and goes with it. A cancelled task never runs again: `disarm` is called (no event may
 * touch the wait afterwards) and the coroutine is reset, which runs its <close> variables.
 *
 * Also here: what closes itself when the host goes (struct host_resource). */
#ifndef MOONPHASE_SCRIPT_TASK_H
#define MOONPHASE_SCRIPT_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "base/clock.h"
#include "script/blocks.h"
#include "script/host.h"

struct host_task;
struct host_wait;

struct host_wait_kind {
	/* No event may come after it. Called when a task is cancelled, also when it was woken already
	 * and has not run: must be idempotent. */
	void (*disarm)(struct host_wait *w);
	/* In the task: push the results, return their number. May raise. */
	int (*answer)(lua_State *L, struct host_wait *w);
	/* Free what the wait owns; also after answer. NULL: nothing. Idempotent. */
	void (*release)(struct host_wait *w);
};

struct host_wait {
	const struct host_wait_kind *kind;
	struct host_task *task; /* NULL until host_await */
	bool woken;
};

/* rest.c: tidying up in a quiet moment */
struct host_rest {
	struct clock_timer timer;
	unsigned cycles;  /* of the collector, since it is quiet */
	bool disturbed;   /* a task ran since the timer was armed */
};

/* Where tasks live and what they opened: the host's own on the machine's loop, and those that loop.virtual makes
 * (bind_virtual.c). A task, a watch, a queue, a sleep belong to the realm in which they were begun. */
struct host_realm {
	struct host *host;
	struct loop *loop;
	struct clock *clock; /* the loop's */
	struct host_task *ready, **ready_end;   /* woken, in order */
	struct host_task *alive;                /* every task that has not ended */
	struct loop_task turn;
	struct host_resource *resources;        /* newest first */
	struct memory_net *net;                 /* exchanges in memory: bind_transport.c; made when first used */
	uint64_t random;                        /* state of host_random */
	/* Virtual realms: which of `count` things that could go on now goes first, from 0 on. Their names come from
	 * `name(arg, i)`, may be NULL. Only asked when there are several. NULL: the first. */
	size_t (*choose)(struct host_realm *r, const char *what, size_t count,
		const char *(*name)(void *arg, size_t i), void *arg);
};

struct host {
	struct host_realm own; /* on the machine's time */
	struct host_realm *realm; /* to which what is called now belongs */
	struct loop *loop; /* the machine's: own.loop */
	struct transport *transport;
	lua_State *L; /* the main thread: every callback starts here */
	char *lua_dir;
	const struct asset *assets;
	size_t asset_count;
	bool assets_in_file;
	struct host_task *current;              /* running now, or NULL */
	struct host_rest rest;
	struct child *children;                 /* running processes: bind_process.c */
	bool no_children;
	size_t memory;
	bool keeps_memory;
	struct blocks blocks; /* what the state's small pieces are cut from, if it keeps memory */
	bool exiting;
	int status;
};

struct host *host_of(lua_State *L);

/* --- realms --- */
void host_realm_init(struct host_realm *r, struct host *h, struct loop *l, uint64_t seed);
/* End its tasks and close what it opened. The loop is its user's. */
void host_realm_end(struct host_realm *r);
/* A random number, from the realm's seed alone. */
uint64_t host_random(struct host_realm *r);
/* Raise unless the realm of now is on the machine's time; `what` is the function's name. */
void host_need_machine(lua_State *L, const char *what);

/* --- tasks --- */
/* Make a task of the function and its `nargs` arguments on top of L (popped), to be started on the next
 * turn; pushes the task's userdata. */
struct host_task *host_spawn(lua_State *L, int nargs);
/* Called once when the task has ended: its results, from 1 on, or its error, on top, are on `co`; NULL after a
 * cancel. What its stack held before is there only if it failed. Returns whether it told an error
 * itself; else it is logged, unless somebody joins the task. May not raise. */
void host_task_on_end(struct host_task *t, bool (*ended)(void *arg, lua_State *co, bool failed), void *arg);
void host_task_cancel(struct host_task *t);
void host_end_tasks(struct host_realm *r);
void host_end_children(struct host *h); /* runs the loop until they have ended */
void host_run_turn(struct loop_task *turn); /* what a realm's turn runs */
bool host_task_is_current(const struct host_task *t);
void host_exit(struct host *h, int status);
int host_open_task(lua_State *L); /* the metatable */
/* rest.c: once, early; a task is about to run; no more. */
void host_rest_begin(struct host *h);
void host_rest_disturb(struct host *h);
void host_rest_end(struct host *h);

/* --- waiting --- */
/* Push a zeroed wait of `size` bytes (a struct that begins with struct host_wait). Raises unless L is the
 * running task. */
void *host_wait_new(lua_State *L, size_t size, const struct host_wait_kind *kind);
/* `return host_await(L, w);` after everything was armed. */
int host_await(lua_State *L, struct host_wait *w);
/* Let the task go on, soon. Only the first call counts. */
void host_wake(struct host_wait *w);

/* Most waits are for a moment or for somebody to wake a list. */
struct waiter;
struct waiters {
	struct waiter *first, *last;
};
struct waiter {
	struct host_wait wait;
	struct waiters *list; /* NULL: in none (any more) */
	struct waiter *next, *prev;
	struct clock_timer timer;
	bool timed_out;
	void *data; /* the user's */
};
extern const struct host_wait_kind waiter_kind; /* answers true, or false at the timeout */
struct waiter *waiter_new(lua_State *L, const struct host_wait_kind *kind);
struct waiter *waiter_new_sized(lua_State *L, size_t size, const struct host_wait_kind *kind); /* begins with a waiter */
/* Wait in `list` (may be NULL) for at most `timeout_ms` (CLOCK_NEVER: no limit). `return waiter_await(...)`.
 * What holds the list must be on the stack of L or anchored. */
int waiter_await(lua_State *L, struct waiter *w, struct waiters *list, uint64_t timeout_ms);
void waiter_disarm(struct host_wait *w); /* for other kinds of waiters */
void waiters_wake(struct waiters *list); /* all */
/* Take the first one out of the list; it still has to be woken. NULL if none. */
struct waiter *waiters_take(struct waiters *list);

/* --- the other gate --- */
/* Run `body` on the main thread under a protected call, with `data` as a light userdata at 1. An error
 * is logged as `what`, with a traceback. Whether there was none. */
bool host_protect(struct host *h, lua_CFunction body, void *data, const char *what);

/* --- what must be closed (realm.c) --- */
struct host_resource {
	struct host_resource *next, **link;
	void (*close)(struct host_resource *r); /* once; removes itself */
};
/* Newer resources are closed first when the realm to which they belong (that of now) goes. Memory of `r` lies in a userdata or on the heap. */
void host_resource_add(struct host *h, struct host_resource *r, void (*close)(struct host_resource *r));
/* Idempotent. */
void host_resource_remove(struct host_resource *r);

#endif
