/* Work on other threads: what takes longer than a turn may.
 *
 * libuv's threads do it and its end comes back as an event of the loop, so that nobody but the work itself runs
 * elsewhere. It cannot be cancelled: the loop is not freed before it has ended.
 *
 * Somebody waits for the loop (a webhook, a lease), nobody for a worker: where processors are scarce the workers step
 * aside, and get what the loop leaves. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "loop/loop_internal.h"

#define BACKGROUND_NICE 10 /* a tenth of what who is not nice gets: nice(2), sched(7) */

struct work {
	uv_work_t request;
	struct loop *loop;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

/* Linux has a priority of its own for each thread (setpriority(2), "C library/kernel differences"). */
void loop_background(int id)
{
	if (getpriority(PRIO_PROCESS, (id_t)id) < BACKGROUND_NICE)
		setpriority(PRIO_PROCESS, (id_t)id, BACKGROUND_NICE);
}

static void step_aside(void)
{
	static _Thread_local bool is_aside;
	if (!is_aside)
		loop_background(gettid());
	is_aside = true;
}

static void on_work(uv_work_t *request)
{
	struct work *w = request->data;
	step_aside();
	w->work(w->arg);
}

static void on_work_done(uv_work_t *request, int status)
{
	(void)status; /* we never cancel */
	struct work *w = request->data;
	w->loop->works--;
	w->done(w->arg);
	free(w);
}

void loop_work(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	if (l->is_virtual) {
		loop_work_virtual(l, work, done, arg);
		return;
	}
	struct work *w = xmalloc(sizeof *w);
	*w = (struct work){.loop = l, .work = work, .done = done, .arg = arg};
	w->request.data = w;
	l->works++;
	/* The first request starts libuv's threads, which inherit this mask: signals are for
	 * the thread that runs the loop. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	uv_queue_work(&l->uv, &w->request, on_work, on_work_done);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
