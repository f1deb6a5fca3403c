/* The work queue: which key next (client-go's rules, k8s.io/client-go/util/workqueue).
 *
 * A key is in it once, however often it is added. A key that is being worked on is not handed
 * out a second time: an addition meanwhile marks it, and it comes back when its work is done.
 * Keys of a first list or a resync wait behind live changes (a live addition lifts a waiting
 * key). Failures come back after 5 ms, doubling to 5 minutes, per key; success forgets them.
 * A delayed addition keeps the earliest time (and the higher priority); it stands beside an
 * immediate one and is not undone by it: at worst a key comes once too often, it is never lost.
 * Time comes from a clock. */
#ifndef MOONPHASE_WORK_QUEUE_H
#define MOONPHASE_WORK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

enum queue_priority { QUEUE_LIVE, QUEUE_BACKGROUND };

struct queue;

/* `name` labels the workqueue_* metrics (NULL: none). `ready(arg)` is called, from inside add, done
 * or a timer, when a key can be taken where none could before; it may take keys at once. */
struct queue *queue_new(struct clock *clock, const char *name, void (*ready)(void *arg), void *arg);
void queue_free(struct queue *q);

void queue_add(struct queue *q, const char *key, enum queue_priority p);
void queue_add_after(struct queue *q, const char *key, uint64_t after_ms, enum queue_priority p);
/* Add after the key's backoff, which grows, to the line that it was last taken from; returns the
 * delay in ms. A failing key is remembered until it is forgotten, so that whoever gives one up
 * (its object is gone) must queue_forget it. */
uint64_t queue_retry(struct queue *q, const char *key);
/* Success: the key's backoff starts over. */
void queue_forget(struct queue *q, const char *key);
unsigned queue_failures(const struct queue *q, const char *key);

/* The next key, now being worked on, or NULL. The string lives until queue_done. */
const char *queue_take(struct queue *q);
void queue_done(struct queue *q, const char *key);

/* What is known of one key, for a checker that saves and restores a queue in which nothing is being worked on. */
struct queue_item {
	const char *key;
	bool queued, waiting;              /* in line; wanted later, at due_ms of the clock */
	enum queue_priority priority, later_priority, taken_priority;
	uint64_t due_ms;
	unsigned failures;
};
/* The keys in the order in which they would be handed out, then those that are not in line: calls `each` for every one. */
void queue_each(const struct queue *q, void (*each)(void *arg, const struct queue_item *item), void *arg);
/* Forget everything; only while nothing is being worked on (then true). queue_put back what queue_each told, in the same order. */
bool queue_clear(struct queue *q);
void queue_put(struct queue *q, const struct queue_item *item);

size_t queue_depth(const struct queue *q);      /* ready, not taken */
size_t queue_in_work(const struct queue *q);
size_t queue_waiting(const struct queue *q);    /* delayed */
/* Nothing is handed out any more (SIGTERM); what is in work ends as usual. */
void queue_stop(struct queue *q);

#endif
