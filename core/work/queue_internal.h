/* What queue.c and queue_metrics.c share; nobody else includes it. */
#ifndef MOONPHASE_WORK_QUEUE_INTERNAL_H
#define MOONPHASE_WORK_QUEUE_INTERNAL_H

#include "base/map.h"
#include "base/metrics.h"
#include "work/queue.h"

struct item {
	struct queue *queue;
	struct item *prev, *next; /* while queued */
	struct clock_timer timer; /* armed: wanted later */
	uint64_t queued_ms, taken_ms;
	unsigned failures;
	bool queued, in_work, again;
	enum queue_priority priority;       /* of the place in line, or of `again` */
	enum queue_priority later_priority; /* of the timer */
	enum queue_priority taken_priority; /* a retry goes back to the line it came from */
	char key[];
};

struct line {
	struct item *first, *last;
};

struct queue_metrics {
	struct metric_series *depth, *adds, *retries, *waited, *worked, *unfinished, *longest;
};

struct queue {
	struct clock *clock;
	struct map items;
	struct line lines[QUEUE_BACKGROUND + 1];
	size_t depth, in_work, waiting;
	bool stopped, has_metrics;
	struct queue_metrics metrics;
	void (*ready)(void *arg);
	void *arg;
};

/* From now on until the end it is counted and measured under this name. */
void queue_metrics_begin(struct queue *q, const char *name);
void queue_metrics_end(struct queue *q);

#endif
