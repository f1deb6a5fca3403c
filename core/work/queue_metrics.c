/* What a queue tells about itself: client-go's metrics of a workqueue, by their names, in seconds, so that dashboards made
 * for any controller show this one too.
 *
 * Counts and durations are added by queue.c where they come about. How deep it is and how long what is in work has taken
 * are only worth knowing when somebody asks: they are computed then. Series outlive a queue (a name is registered once),
 * so what they compute is nothing behind its end. */
#include "work/queue_internal.h"

static double work_seconds(const struct queue *q, bool longest)
{
	const struct map_slot *slot;
	uint64_t now = clock_now_ms(q->clock);
	double sum = 0, most = 0;
	for (size_t i = 0; q->in_work && (slot = map_next(&q->items, &i)) != NULL;) {
		const struct item *it = slot->value;
		double age = it->in_work ? (double)(now - it->taken_ms) / 1000 : 0;
		sum += age;
		most = age > most ? age : most;
	}
	return longest ? most : sum;
}

static double read_unfinished(void *arg)
{
	return work_seconds(arg, false);
}

static double read_longest(void *arg)
{
	return work_seconds(arg, true);
}

static double read_depth(void *arg)
{
	return (double)((struct queue *)arg)->depth;
}

static double read_nothing(void *arg)
{
	(void)arg;
	return 0;
}

static struct metric_series *series(enum metric_kind kind, const char *family, const char *help, const char *name)
{
	static const char *const labels[] = {"name", NULL};
	static const double buckets[] = {0.001, 0.01, 0.1, 1, 10, 100, 1000};
	size_t count = kind == METRIC_HISTOGRAM ? sizeof buckets / sizeof *buckets : 0;
	return metric_with(metric_register(kind, family, help, labels, count ? buckets : NULL, count), &name);
}

void queue_metrics_begin(struct queue *q, const char *name)
{
	struct queue_metrics *m = &q->metrics;
	m->depth = series(METRIC_GAUGE, "workqueue_depth", "Current depth of workqueue", name);
	m->adds = series(METRIC_COUNTER, "workqueue_adds_total", "Total number of adds handled by workqueue", name);
	m->retries = series(METRIC_COUNTER, "workqueue_retries_total",
		"Total number of retries handled by workqueue", name);
	m->waited = series(METRIC_HISTOGRAM, "workqueue_queue_duration_seconds",
		"How long in seconds an item stays in workqueue before being requested", name);
	m->worked = series(METRIC_HISTOGRAM, "workqueue_work_duration_seconds",
		"How long in seconds processing an item from workqueue takes.", name);
	m->unfinished = series(METRIC_GAUGE, "workqueue_unfinished_work_seconds",
		"How many seconds of work has been done that is in progress and hasn't been observed by work_duration",
		name);
	m->longest = series(METRIC_GAUGE, "workqueue_longest_running_processor_seconds",
		"How many seconds has the longest running processor for workqueue been running", name);
	metric_compute(m->depth, read_depth, q);
	metric_compute(m->unfinished, read_unfinished, q);
	metric_compute(m->longest, read_longest, q);
	q->has_metrics = true;
}

void queue_metrics_end(struct queue *q)
{
	metric_compute(q->metrics.depth, read_nothing, NULL);
	metric_compute(q->metrics.unfinished, read_nothing, NULL);
	metric_compute(q->metrics.longest, read_nothing, NULL);
}
