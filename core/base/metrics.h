/* Counters, gauges and histograms in the Prometheus text format (version 0.0.4).
 *
 * A family is registered once by name with its label names; a series is one set of label
 * values. Registering the same name again gives the same family. Series live as long as the
 * process; a family holds at most METRIC_SERIES_MAX of them, and what comes beyond is counted
 * in the series whose label values are all "other" (label values may come from outside; they
 * are cut to METRIC_VALUE_MAX bytes). Only the loop's thread may use this. */
#ifndef MOONPHASE_BASE_METRICS_H
#define MOONPHASE_BASE_METRICS_H

#include <stddef.h>

#include "base/buffer.h"

#define METRIC_LABELS_MAX 6
#define METRIC_SERIES_MAX 1000
#define METRIC_VALUE_MAX 200

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric;        /* a family */
struct metric_series;

/* `labels`: NULL-terminated names or NULL. `buckets`: upper bounds, ascending, for histograms
 * (NULL: Prometheus' default buckets .005 ... 10). Strings are copied. NULL for a name that
 * Prometheus does not allow, buckets that do not ascend, too many labels, or a family that is
 * already there with another kind or other labels. All functions below take NULL and do nothing. */
struct metric *metric_register(enum metric_kind kind, const char *name, const char *help,
	const char *const *labels, const double *buckets, size_t bucket_count);
/* The series with these label values (as many as there are labels; NULL if there are none).
 * Creates it at 0. It costs a hash of the values: keep the series where it is used often. */
struct metric_series *metric_with(struct metric *m, const char *const *values);
/* A counter only grows: adding less than nothing is ignored. */
void metric_add(struct metric_series *s, double by);
void metric_set(struct metric_series *s, double value);
void metric_observe(struct metric_series *s, double value);
double metric_value(const struct metric_series *s); /* a histogram's: how many were observed */
/* A gauge computed when it is read; `read` runs on the loop's thread. */
void metric_compute(struct metric_series *s, double (*read)(void *arg), void *arg);
/* All families that have series, sorted by name; ERR_TOO_LARGE if `out` cannot hold them. */
int metrics_write(struct buffer *out);
/* Forget everything (tests). */
void metrics_reset(void);

#endif
