/* The work queue: see queue.h.
 *
 * The one problem: a key may be wanted now, wanted later, being worked on and wanted again, all
 * at once, and none of these may lose another. So a key has one item with a flag for each:
 * `queued` (in one of two lists, by priority), `in_work`, `again` (added while in work: it is
 * queued by queue_done) and an armed timer (wanted later). The item goes when none of them is set
 * and no failure is remembered. Nothing is touched after `ready` was called: it may take keys. */
#include "work/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "work/queue_internal.h"

#define RETRY_FIRST_MS 5
#define RETRY_MOST_MS 300000

/* --- items --- */

static struct item *find(const struct queue *q, const char *key)
{
	return map_get(&q->items, key);
}

static void wanted_later(struct clock_timer *t);

static struct item *find_or_make(struct queue *q, const char *key)
{
	struct item *it = find(q, key);
	if (it != NULL)
		return it;
	size_t size = strlen(key) + 1;
	it = xcalloc(1, sizeof *it + size);
	memcpy(it->key, key, size);
	it->queue = q;
	it->timer.fire = wanted_later;
	it->timer.data = it;
	map_set(&q->items, it->key, it);
	return it;
}

static void drop_if_idle(struct queue *q, struct item *it)
{
	if (it->queued || it->in_work || it->failures != 0 || clock_is_armed(&it->timer))
		return;
	map_remove(&q->items, it->key);
	free(it);
}

/* --- the two lines --- */

static void line_append(struct queue *q, struct item *it, enum queue_priority p)
{
	struct line *l = &q->lines[p];
	it->priority = p;
	it->queued = true;
	it->prev = l->last;
	it->next = NULL;
	*(l->last ? &l->last->next : &l->first) = it;
	l->last = it;
	q->depth++;
}

static void line_remove(struct queue *q, struct item *it)
{
	struct line *l = &q->lines[it->priority];
	*(it->prev ? &it->prev->next : &l->first) = it->next;
	*(it->next ? &it->next->prev : &l->last) = it->prev;
	it->prev = it->next = NULL;
	it->queued = false;
	q->depth--;
}

static void enqueue(struct queue *q, struct item *it, enum queue_priority p)
{
	it->queued_ms = clock_now_ms(q->clock);
	line_append(q, it, p);
	if (q->depth == 1 && q->ready != NULL)
		q->ready(q->arg);
}

static void add(struct queue *q, struct item *it, enum queue_priority p)
{
	bool known = it->queued || it->again;
	if (!known && q->has_metrics)
		metric_add(q->metrics.adds, 1);
	if (it->in_work) {
		it->priority = known && it->priority < p ? it->priority : p;
		it->again = true;
	} else if (!it->queued) {
		enqueue(q, it, p);
	} else if (p < it->priority) {
		line_remove(q, it);
		line_append(q, it, p);
	}
}

static void wanted_later(struct clock_timer *t)
{
	struct item *it = t->data;
	it->queue->waiting--;
	add(it->queue, it, it->later_priority);
}

/* --- the interface --- */

struct queue *queue_new(struct clock *clock, const char *name, void (*ready)(void *arg), void *arg)
{
	struct queue *q = xcalloc(1, sizeof *q);
	q->clock = clock;
	q->ready = ready;
	q->arg = arg;
	if (name != NULL)
		queue_metrics_begin(q, name);
	return q;
}

void queue_free(struct queue *q)
{
	if (q == NULL)
		return;
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&q->items, &i)) != NULL;) {
		struct item *it = slot->value;
		clock_disarm(q->clock, &it->timer);
		free(it);
	}
	map_deinit(&q->items);
	if (q->has_metrics)
		queue_metrics_end(q);
	free(q);
}

void queue_add(struct queue *q, const char *key, enum queue_priority p)
{
	if (!q->stopped)
		add(q, find_or_make(q, key), p);
}

void queue_add_after(struct queue *q, const char *key, uint64_t after_ms, enum queue_priority p)
{
	if (after_ms == 0 || q->stopped) {
		queue_add(q, key, p);
		return;
	}
	struct item *it = find_or_make(q, key);
	if (!clock_is_armed(&it->timer)) {
		q->waiting++;
		it->later_priority = p;
		clock_arm(q->clock, &it->timer, after_ms);
		return;
	}
	it->later_priority = it->later_priority < p ? it->later_priority : p;
	uint64_t now = clock_now_ms(q->clock);
	if (it->timer.due_ms > now && it->timer.due_ms - now > after_ms)
		clock_arm(q->clock, &it->timer, after_ms);
}

uint64_t queue_retry(struct queue *q, const char *key)
{
	struct item *it = find_or_make(q, key);
	/* 5 ms << 16 is past five minutes already. */
	uint64_t delay = it->failures > 16 ? RETRY_MOST_MS : (uint64_t)RETRY_FIRST_MS << it->failures;
	if (delay > RETRY_MOST_MS)
		delay = RETRY_MOST_MS;
	it->failures++;
	if (q->has_metrics)
		metric_add(q->metrics.retries, 1);
	queue_add_after(q, key, delay, it->taken_priority);
	return delay;
}

void queue_forget(struct queue *q, const char *key)
{
	struct item *it = find(q, key);
	if (it == NULL)
		return;
	it->failures = 0;
	drop_if_idle(q, it);
}

unsigned queue_failures(const struct queue *q, const char *key)
{
	const struct item *it = find(q, key);
	return it ? it->failures : 0;
}

const char *queue_take(struct queue *q)
{
	struct item *it = q->lines[QUEUE_LIVE].first;
	if (it == NULL)
		it = q->lines[QUEUE_BACKGROUND].first;
	if (it == NULL || q->stopped)
		return NULL;
	line_remove(q, it);
	it->in_work = true;
	it->taken_priority = it->priority;
	it->taken_ms = clock_now_ms(q->clock);
	q->in_work++;
	if (q->has_metrics)
		metric_observe(q->metrics.waited, (double)(it->taken_ms - it->queued_ms) / 1000);
	return it->key;
}

void queue_done(struct queue *q, const char *key)
{
	struct item *it = find(q, key);
	if (it == NULL || !it->in_work)
		return;
	it->in_work = false;
	q->in_work--;
	if (q->has_metrics)
		metric_observe(q->metrics.worked, (double)(clock_now_ms(q->clock) - it->taken_ms) / 1000);
	bool again = it->again && !q->stopped;
	it->again = false;
	if (again)
		enqueue(q, it, it->priority);
	else
		drop_if_idle(q, it);
}

static void tell_item(const struct item *it, void (*each)(void *arg, const struct queue_item *item), void *arg)
{
	struct queue_item told = {
		.key = it->key,
		.queued = it->queued,
		.waiting = clock_is_armed(&it->timer),
		.priority = it->priority,
		.later_priority = it->later_priority,
		.taken_priority = it->taken_priority,
		.due_ms = it->timer.due_ms,
		.failures = it->failures,
	};
	each(arg, &told);
}

void queue_each(const struct queue *q, void (*each)(void *arg, const struct queue_item *item), void *arg)
{
	const struct map_slot *slot;
	for (size_t p = 0; p <= QUEUE_BACKGROUND; p++)
		for (const struct item *it = q->lines[p].first; it != NULL; it = it->next)
			tell_item(it, each, arg);
	for (size_t i = 0; (slot = map_next(&q->items, &i)) != NULL;)
		if (!((const struct item *)slot->value)->queued)
			tell_item(slot->value, each, arg);
}

bool queue_clear(struct queue *q)
{
	const struct map_slot *slot;
	if (q->in_work != 0)
		return false;
	for (size_t i = 0; (slot = map_next(&q->items, &i)) != NULL;) {
		struct item *it = slot->value;
		clock_disarm(q->clock, &it->timer);
		free(it);
	}
	map_deinit(&q->items);
	memset(q->lines, 0, sizeof q->lines);
	q->depth = q->waiting = 0;
	return true;
}

void queue_put(struct queue *q, const struct queue_item *item)
{
	uint64_t now = clock_now_ms(q->clock);
	struct item *it = find_or_make(q, item->key);
	it->failures = item->failures;
	it->taken_priority = item->taken_priority;
	if (item->queued && !it->queued)
		enqueue(q, it, item->priority);
	if (!item->waiting || clock_is_armed(&it->timer))
		return;
	q->waiting++;
	it->later_priority = item->later_priority;
	clock_arm(q->clock, &it->timer, item->due_ms > now ? item->due_ms - now : 0);
}

size_t queue_depth(const struct queue *q)
{
	return q->depth;
}

size_t queue_in_work(const struct queue *q)
{
	return q->in_work;
}

size_t queue_waiting(const struct queue *q)
{
	return q->waiting;
}

void queue_stop(struct queue *q)
{
	q->stopped = true;
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&q->items, &i)) != NULL;)
		clock_disarm(q->clock, &((struct item *)slot->value)->timer);
	q->waiting = 0;
}
