/* What loop.c, loop_work.c and loop_virtual.c share; nobody else includes it. */
#ifndef MOONPHASE_LOOP_LOOP_INTERNAL_H
#define MOONPHASE_LOOP_LOOP_INTERNAL_H

#include <uv.h>

#include "loop/loop.h"

#define SIGNALS_MAX 8

struct loop_signal {
	uv_signal_t handle;
	void (*on_signal)(void *arg, int number);
	void *arg;
};

struct task_list {
	struct loop_task *first, *last;
};

struct loop {
	uv_loop_t uv;
	uv_timer_t timer;
	uv_prepare_t before_poll; /* also keeps uv_run from returning */
	uv_check_t edge;
	uv_idle_t hurry;
	struct loop_signal signals[SIGNALS_MAX];
	size_t signal_count;
	struct clock clock;
	uint64_t armed_for_ms; /* what `timer` is armed for; CLOCK_NEVER: it is not */
	struct task_list waiting, draining;
	struct loop_turns turns;
	uint64_t edge_ns, edge_idle_ns, edge_cpu_ns;
	size_t works; /* on worker threads */
	const bool *until; /* of loop_run_until */
	bool late;         /* its limit has passed */
	bool running, stopped;
	bool is_virtual;   /* then nothing of libuv in here was ever opened */
};

/* Run what was deferred before this call, in order. */
void loop_drain(struct loop *l);
void loop_free_virtual(struct loop *l);
void loop_work_virtual(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);

#endif
