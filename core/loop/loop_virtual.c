/* A loop on virtual time: the turns of loop.c without anything to wait for.
 *
 * The one problem is that the same queue, watches and tasks must run on it unchanged, beside an ordinary
 * loop that is in the middle of a turn of its own. So it shares the deferred tasks of loop.c, and
 * its clock is a virtual one; who runs its turns and moves its clock decides what happens when.
 * Nothing here asks the machine for anything, so that a run repeats exactly. */
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "loop/loop_internal.h"

#define LAST_TURNS 100 /* of a loop that goes: a task that defers itself for ever is not waited for */

struct loop *loop_new_virtual(uint64_t now_ms, int64_t wall_ms)
{
	struct loop *l = xcalloc(1, sizeof *l);
	l->is_virtual = true;
	clock_init_virtual(&l->clock, wall_ms - (int64_t)now_ms);
	clock_virtual_set(&l->clock, now_ms);
	return l;
}

bool loop_is_virtual(const struct loop *l)
{
	return l->is_virtual;
}

bool loop_is_busy(const struct loop *l)
{
	return l->waiting.first != NULL;
}

bool loop_turn(struct loop *l)
{
	if (!l->is_virtual || l->running) {
		fprintf(stderr, "moonphase: a turn of a virtual loop was run %s\n",
			l->is_virtual ? "from inside itself" : "on a loop that is none");
		abort();
	}
	if (l->waiting.first == NULL)
		return false;
	l->running = true;
	l->turns.count++;
	loop_drain(l);
	l->running = false;
	return true;
}

struct done_work {
	struct loop_task task;
	void (*done)(void *arg);
	void *arg;
};

static void tell_done(struct loop_task *t)
{
	struct done_work *w = t->data;
	w->done(w->arg);
	free(w);
}

void loop_work_virtual(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct done_work *w = xcalloc(1, sizeof *w);
	w->task = (struct loop_task){.run = tell_done, .data = w};
	w->done = done;
	w->arg = arg;
	work(arg);
	loop_defer(l, &w->task);
}

void loop_free_virtual(struct loop *l)
{
	for (int i = 0; i < LAST_TURNS && loop_turn(l); i++)
		;
	clock_deinit(&l->clock);
	free(l);
}
