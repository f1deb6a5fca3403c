/* The event loop: libuv behind a door.
 *
 * Everything moonphase does happens on one thread, in turns of this loop; worker threads
 * (loop_work) take what would make a turn long. Only core/loop and core/http know libuv.
 *
 * Rules of the house: a callback never destroys its caller (defer it); nobody runs the loop from
 * inside the loop (that aborts); whoever opens a handle closes it, and memory goes only in the
 * close callback. */
#ifndef MOONPHASE_LOOP_LOOP_H
#define MOONPHASE_LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct loop;
struct uv_loop_s;

struct loop *loop_new(void);
/* Runs the loop dry of closing handles, then frees it. Handles that somebody left open are named
 * in the log, and in a build with assertions that aborts. */
void loop_free(struct loop *l);
/* Run until loop_stop. Returns at once when it was called already since the last run. */
void loop_run(struct loop *l);
/* Run until *flag is true, loop_stop is called or `limit_ms` has passed; whether the flag is. */
bool loop_run_until(struct loop *l, const bool *flag, uint64_t limit_ms);
void loop_stop(struct loop *l);
/* The machine's time, driven by this loop. Lives as long as the loop. */
struct clock *loop_clock(struct loop *l);

/* Run `run(data)` later, at the edge of this turn or the next, never inside the caller. The task
 * is embedded by its user; deferring a task that waits already does nothing. */
struct loop_task {
	void (*run)(struct loop_task *);
	void *data;
	struct loop_task *next;
	bool waiting;
};
void loop_defer(struct loop *l, struct loop_task *t);
void loop_undefer(struct loop *l, struct loop_task *t);

/* Call `on_signal` on the loop for each arrival of signal `number`. Until loop_free. */
void loop_on_signal(struct loop *l, int number, void (*on_signal)(void *arg, int number), void *arg);

/* Where processors are scarce the thread or process `id` gets what the loop leaves from now on. */
void loop_background(int id);

/* Run `work` on a worker thread, in the background, then `done` on the loop. `work` may touch only what `arg` owns.
 * `done` always comes: loop_free waits for work under way and calls it then. */
void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* Call `on_change` after something in folder or file `path` changed and `quiet_ms` went by without another change.
 * NULL with *e on failure. */
struct loop_watch;
struct loop_watch *loop_watch_path(struct loop *l, const char *path, uint64_t quiet_ms, void (*on_change)(void *arg),
	void *arg, struct err *e);
void loop_watch_close(struct loop_watch *w);

/* How long turns take, in microseconds, without the time spent waiting for events: on the wall, and
 * (cpu) in processor time of the thread, which leaves out what the kernel gave to others meanwhile. */
struct loop_turns {
	uint64_t count;
	uint64_t longest_us, longest_cpu_us;
	uint64_t over_10ms, over_10ms_cpu;
};
struct loop_turns loop_turns(const struct loop *l);
void loop_turns_reset(struct loop *l);
/* Handles that are open and not ours (0 after everything was closed): for tests. */
size_t loop_open_handles(const struct loop *l);

/* A loop on virtual time, for the simulated cluster and the checker: deferred tasks and a clock that stands still
 * until its user moves it (clock_virtual_set, clock_run_due), and nothing of the machine: no signals, sockets, processes
 * or folders (asking for these is the caller's mistake). loop_work does its work at once and tells at the
 * next turn. `now_ms` and `wall_ms` are what the clock says at first. Its turns are run by its user, which
 * may happen inside a turn of another loop; loop_free frees it. */
struct loop *loop_new_virtual(uint64_t now_ms, int64_t wall_ms);
bool loop_is_virtual(const struct loop *l);
/* Run what was deferred before this call; whether there was anything. Never from inside itself (that aborts). */
bool loop_turn(struct loop *l);
/* Whether a deferred task waits. */
bool loop_is_busy(const struct loop *l);

/* For core/http alone. */
struct uv_loop_s *loop_uv(struct loop *l);

#endif
