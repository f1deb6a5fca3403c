/* The watchdog of our own bugs: see policy.h. Every limit is kept inside the call; this thread only
 * looks whether a call has ended, and names the policy when one has not. A restart is no cure for
 * a policy that hangs, so no spec may ever reach this.
 *
 * Its time is the number of its own looks: a process that stood still (SIGSTOP, a paused container or machine) in the
 * middle of a call has not hung in it, and must not be ended when it goes on. While no policy is in a call it sleeps, so that an
 * idle process is not woken for it: the next call wakes it, at most once between two looks. */
#include "script/policy_state.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOOK_MS 250

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER;
static struct policy *first; /* all policies there are */

static _Atomic uint64_t awake_ms = 1; /* for how long it has looked */
/* Set before the last look for calls, and read behind the note of a call: one of the two sees the other (both are in one order
 * of all threads, as C11's atomics are unless said otherwise). */
static atomic_bool is_asleep;

static uint64_t now_ms(void)
{
	return atomic_load_explicit(&awake_ms, memory_order_relaxed);
}

void policy_watch(struct policy *p)
{
	pthread_mutex_lock(&lock);
	p->before = NULL;
	p->next = first;
	if (first != NULL)
		first->before = p;
	first = p;
	pthread_mutex_unlock(&lock);
}

void policy_unwatch(struct policy *p)
{
	pthread_mutex_lock(&lock);
	if (p->next != NULL)
		p->next->before = p->before;
	if (p->before != NULL)
		p->before->next = p->next;
	else if (first == p)
		first = p->next;
	p->next = p->before = NULL;
	pthread_mutex_unlock(&lock);
}

static void wake(void)
{
	pthread_mutex_lock(&lock);
	atomic_store(&is_asleep, false);
	pthread_cond_broadcast(&called);
	pthread_mutex_unlock(&lock);
}

void policy_entered(struct policy *p)
{
	atomic_store(&p->entered_ms, now_ms());
	if (atomic_load(&is_asleep))
		wake();
}

void policy_left(struct policy *p)
{
	atomic_store_explicit(&p->entered_ms, 0, memory_order_relaxed);
}

/* With the lock. */
static bool is_any_called(void)
{
	for (const struct policy *p = first; p != NULL; p = p->next)
		if (atomic_load(&p->entered_ms) != 0)
			return true;
	return false;
}

/* Until some policy is called. */
static void sleep_well(void)
{
	atomic_store(&is_asleep, true);
	pthread_mutex_lock(&lock);
	while (atomic_load(&is_asleep) && !is_any_called())
		pthread_cond_wait(&called, &lock);
	atomic_store(&is_asleep, false);
	pthread_mutex_unlock(&lock);
}

static void look(uint64_t limit_ms)
{
	pthread_mutex_lock(&lock);
	uint64_t now = now_ms();
	for (struct policy *p = first; p != NULL; p = p->next) {
		uint64_t entered = atomic_load_explicit(&p->entered_ms, memory_order_relaxed);
		if (entered == 0 || now - entered < limit_ms || now < entered)
			continue;
		fprintf(stderr, "moonphase: the policy %s (%s) has not returned for %llu ms in spite of its limits; "
			"this is a fault of moonphase\n", p->name, p->digest, (unsigned long long)(now - entered));
		abort();
	}
	pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
	uint64_t limit_ms = (uint64_t)(uintptr_t)arg * 1000;
	const struct timespec pause = {.tv_sec = 0, .tv_nsec = LOOK_MS * 1000000l};
	for (;;) {
		sleep_well();
		nanosleep(&pause, NULL);
		atomic_fetch_add_explicit(&awake_ms, LOOK_MS, memory_order_relaxed);
		look(limit_ms);
	}
	return NULL;
}

void policy_watchdog_start(unsigned seconds)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, run, (void *)(uintptr_t)seconds) != 0)
		fprintf(stderr, "moonphase: the watchdog's thread cannot be started\n");
	pthread_attr_destroy(&attr);
}
