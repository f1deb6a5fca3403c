/* What is done when nothing is to do: the collector finishes its cycle, and the memory that nobody uses goes
 * back to the system.
 *
 * Lua collects while it allocates. A program that has fallen silent allocates nothing, so what its
 * last burst left (the texts of the policies at the start, a thousand decisions after a storm)
 * would stay until the next one. After a second without a task that ran, the collector is led
 * through two cycles (what died behind the first one's back goes in the second), one short step
 * per millisecond so that no turn of the loop is long, then malloc gives its free pages back, and the texts of the modules,
 * which were read once, leave memory. */
#include "script/task.h"

#include <malloc.h>

#include "script/modules.h"

#define QUIET_MS 1000
#define STEP_MS 1
#define CYCLES 2

static void on_quiet(struct clock_timer *t)
{
	struct host *h = t->data;
	struct host_rest *r = &h->rest;
	if (r->disturbed) {
		r->disturbed = false;
		r->cycles = 0;
		clock_arm(h->own.clock, t, QUIET_MS);
		return;
	}
	if (lua_gc(h->L, LUA_GCSTEP, 0))
		r->cycles++;
	if (r->cycles < CYCLES) {
		clock_arm(h->own.clock, t, STEP_MS);
		return;
	}
	malloc_trim(0);
	modules_let_go(h);
}

void host_rest_begin(struct host *h)
{
	h->rest.timer = (struct clock_timer){.fire = on_quiet, .data = h};
}

void host_rest_disturb(struct host *h)
{
	struct host_rest *r = &h->rest;
	r->disturbed = true;
	if (!clock_is_armed(&r->timer))
		clock_arm(h->own.clock, &r->timer, QUIET_MS);
}

void host_rest_end(struct host *h)
{
	clock_disarm(h->own.clock, &h->rest.timer);
}
