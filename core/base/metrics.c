/* Metrics kept in memory and written as text: see metrics.h.
 *
 * The problem is not the counting but that label values come from outside (status codes, names
 * of policies, group names): unbounded they would fill the memory of this process and of
 * Prometheus, and unescaped they would forge lines. So a family holds a bounded number of
 * series, found by a hash of their values, and writing escapes. Prometheus wants a histogram's
 * buckets cumulative; they are kept apart and summed up when they are written, so that
 * observing touches one bucket. */
#include "base/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "base/xalloc.h"

struct metric_series {
	struct metric *family;
	char *values[METRIC_LABELS_MAX];
	double value; /* a histogram's: the sum */
	double (*read)(void *arg);
	void *arg;
	uint64_t observed;
	uint64_t buckets[]; /* histograms: one more than there are bounds */
};

struct metric {
	enum metric_kind kind;
	char *name, *help;
	char *labels[METRIC_LABELS_MAX];
	size_t label_count;
	double *bounds;
	size_t bound_count;
	struct map by_values;
	struct metric_series **series; /* in the order of creation */
	size_t series_count;
};

static struct metric **families; /* sorted by name */
static size_t family_count;

static const double default_bounds[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

static bool is_name(const char *name, bool colons)
{
	if (*name == '\0' || (*name >= '0' && *name <= '9'))
		return false;
	for (; *name != '\0'; name++)
		if (!((*name | 0x20) >= 'a' && (*name | 0x20) <= 'z') && !(*name >= '0' && *name <= '9') && *name != '_' &&
		    !(colons && *name == ':'))
			return false;
	return true;
}

static bool is_allowed(const char *name, const char *const *labels, const double *bounds, size_t bound_count)
{
	if (!is_name(name, true))
		return false;
	for (size_t i = 0; labels != NULL && labels[i] != NULL; i++)
		if (i == METRIC_LABELS_MAX || !is_name(labels[i], false))
			return false;
	for (size_t i = 1; bounds != NULL && i < bound_count; i++)
		if (!(bounds[i - 1] < bounds[i]))
			return false;
	return true;
}

static bool is_same(const struct metric *m, enum metric_kind kind, const char *const *labels)
{
	size_t i = 0;
	for (; labels != NULL && labels[i] != NULL; i++)
		if (i == m->label_count || strcmp(labels[i], m->labels[i]) != 0)
			return false;
	return i == m->label_count && kind == m->kind;
}

static struct metric *new_family(enum metric_kind kind, const char *name, const char *help, const char *const *labels)
{
	struct metric *m = xcalloc(1, sizeof *m);
	m->kind = kind;
	m->name = xstrdup(name);
	m->help = xstrdup(help != NULL ? help : "");
	for (size_t i = 0; labels != NULL && labels[i] != NULL; i++)
		m->labels[m->label_count++] = xstrdup(labels[i]);
	return m;
}

static void set_bounds(struct metric *m, const double *bounds, size_t count)
{
	if (bounds == NULL) {
		bounds = default_bounds;
		count = sizeof default_bounds / sizeof *default_bounds;
	}
	if (count > 0 && isinf(bounds[count - 1]))
		count--; /* that one is always there */
	m->bounds = xcalloc(count, sizeof *bounds);
	if (count > 0)
		memcpy(m->bounds, bounds, count * sizeof *bounds);
	m->bound_count = count;
}

struct metric *metric_register(enum metric_kind kind, const char *name, const char *help,
	const char *const *labels, const double *buckets, size_t bucket_count)
{
	size_t at = 0;
	int order = 1;
	if (!is_allowed(name, labels, buckets, bucket_count))
		return NULL;
	while (at < family_count && (order = strcmp(families[at]->name, name)) < 0)
		at++;
	if (at < family_count && order == 0)
		return is_same(families[at], kind, labels) ? families[at] : NULL;
	struct metric *m = new_family(kind, name, help, labels);
	if (kind == METRIC_HISTOGRAM)
		set_bounds(m, buckets, bucket_count);
	families = xrealloc(families, (family_count + 1) * sizeof *families);
	memmove(families + at + 1, families + at, (family_count++ - at) * sizeof *families);
	return families[at] = m;
}

/* The length of a label value as it is kept: cut between characters. */
static size_t kept_length(const char *value)
{
	size_t len = strnlen(value, METRIC_VALUE_MAX + 1);
	if (len <= METRIC_VALUE_MAX)
		return len;
	len = METRIC_VALUE_MAX;
	while (len > 0 && ((unsigned char)value[len] & 0xc0) == 0x80)
		len--;
	return len;
}

/* One text that is different for different lists of values: each behind its length. */
static void join(const struct metric *m, const char *const *values, char *key)
{
	for (size_t i = 0; i < m->label_count; i++) {
		size_t len = kept_length(values[i]);
		*key++ = (char)(len + 1);
		memcpy(key, values[i], len);
		key += len;
	}
	*key = '\0';
}

static struct metric_series *new_series(struct metric *m, const char *const *values, const char *key)
{
	size_t buckets = m->kind == METRIC_HISTOGRAM ? m->bound_count + 1 : 0;
	struct metric_series *s = xcalloc(1, sizeof *s + buckets * sizeof *s->buckets);
	s->family = m;
	for (size_t i = 0; i < m->label_count; i++)
		s->values[i] = xmemdup0(values[i], kept_length(values[i]));
	m->series = xrealloc(m->series, (m->series_count + 1) * sizeof(struct metric_series *));
	m->series[m->series_count++] = s;
	map_set(&m->by_values, key, s);
	return s;
}

struct metric_series *metric_with(struct metric *m, const char *const *values)
{
	static const char *const others[METRIC_LABELS_MAX] = {"other", "other", "other", "other", "other", "other"};
	char key[METRIC_LABELS_MAX * (METRIC_VALUE_MAX + 1) + 1];
	if (m == NULL)
		return NULL;
	join(m, values, key);
	struct metric_series *s = map_get(&m->by_values, key);
	if (s != NULL)
		return s;
	if (m->series_count < METRIC_SERIES_MAX - 1)
		return new_series(m, values, key);
	join(m, others, key);
	s = map_get(&m->by_values, key);
	return s != NULL ? s : new_series(m, others, key);
}

void metric_add(struct metric_series *s, double by)
{
	if (s != NULL && s->family->kind != METRIC_HISTOGRAM && (by >= 0 || s->family->kind == METRIC_GAUGE))
		s->value += by;
}

void metric_set(struct metric_series *s, double value)
{
	if (s != NULL && s->family->kind != METRIC_HISTOGRAM)
		s->value = value;
}

void metric_observe(struct metric_series *s, double value)
{
	if (s == NULL || s->family->kind != METRIC_HISTOGRAM || isnan(value))
		return;
	size_t i = 0;
	while (i < s->family->bound_count && value > s->family->bounds[i])
		i++;
	s->buckets[i]++;
	s->observed++;
	s->value += value;
}

double metric_value(const struct metric_series *s)
{
	if (s == NULL)
		return 0;
	if (s->family->kind == METRIC_HISTOGRAM)
		return (double)s->observed;
	return s->read != NULL ? s->read(s->arg) : s->value;
}

void metric_compute(struct metric_series *s, double (*read)(void *arg), void *arg)
{
	if (s == NULL)
		return;
	s->read = read;
	s->arg = arg;
}

static int add_number(struct buffer *out, double value)
{
	char text[40];
	if (isnan(value))
		return buffer_add_text(out, "NaN");
	if (isinf(value))
		return buffer_add_text(out, value > 0 ? "+Inf" : "-Inf");
	if (value == floor(value) && fabs(value) < 1e15)
		return buffer_printf(out, "%.0f", value == 0 ? 0.0 : value); /* never "-0" */
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	return buffer_add_text(out, text);
}

static int add_escaped(struct buffer *out, const char *text, bool quotes)
{
	int rc = 0;
	for (const char *end = text + strlen(text); rc == 0 && text < end;) {
		size_t len = json_utf8_length(text, end);
		if (*text == '\n')
			rc = buffer_add(out, "\\n", 2);
		else if (*text == '\\' || (quotes && *text == '"'))
			rc = buffer_printf(out, "\\%c", *text);
		else
			rc = len != 0 ? buffer_add(out, text, len) : buffer_add_text(out, "\xef\xbf\xbd");
		text += len != 0 ? len : 1;
	}
	return rc;
}

static int write_label(struct buffer *out, char before, const char *name, const char *value)
{
	int rc = buffer_printf(out, "%c%s=\"", before, name);
	if (rc == 0)
		rc = add_escaped(out, value, true);
	return rc == 0 ? buffer_add_byte(out, '"') : rc;
}

/* name suffix {labels, le} value */
static int write_line(const struct metric_series *s, const char *suffix, const double *le, double value, struct buffer *out)
{
	const struct metric *m = s->family;
	char before = '{';
	int rc = buffer_printf(out, "%s%s", m->name, suffix);
	for (size_t i = 0; rc == 0 && i < m->label_count; i++, before = ',')
		rc = write_label(out, before, m->labels[i], s->values[i]);
	if (rc == 0 && le != NULL) {
		rc = buffer_printf(out, "%cle=\"", before);
		if (rc == 0)
			rc = add_number(out, *le);
		if (rc == 0)
			rc = buffer_add_byte(out, '"');
		before = ',';
	}
	if (rc == 0)
		rc = buffer_add_text(out, before == ',' ? "} " : " ");
	if (rc == 0)
		rc = add_number(out, value);
	return rc == 0 ? buffer_add_byte(out, '\n') : rc;
}

static int write_histogram(const struct metric_series *s, struct buffer *out)
{
	const struct metric *m = s->family;
	const double infinite = INFINITY;
	uint64_t sum = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i <= m->bound_count; i++) {
		sum += s->buckets[i];
		rc = write_line(s, "_bucket", i < m->bound_count ? &m->bounds[i] : &infinite, (double)sum, out);
	}
	if (rc == 0)
		rc = write_line(s, "_sum", NULL, s->value, out);
	return rc == 0 ? write_line(s, "_count", NULL, (double)s->observed, out) : rc;
}

static int write_family(const struct metric *m, struct buffer *out)
{
	static const char *const kinds[] = {"counter", "gauge", "histogram"};
	if (m->series_count == 0)
		return 0;
	int rc = buffer_printf(out, "# HELP %s ", m->name);
	if (rc == 0)
		rc = add_escaped(out, m->help, false);
	if (rc == 0)
		rc = buffer_printf(out, "\n# TYPE %s %s\n", m->name, kinds[m->kind]);
	for (size_t i = 0; rc == 0 && i < m->series_count; i++)
		rc = m->kind == METRIC_HISTOGRAM ? write_histogram(m->series[i], out)
			: write_line(m->series[i], "", NULL, metric_value(m->series[i]), out);
	return rc;
}

int metrics_write(struct buffer *out)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < family_count; i++)
		rc = write_family(families[i], out);
	return rc;
}

static void free_series(struct metric_series *s)
{
	for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
		free(s->values[i]);
	free(s);
}

static void free_family(struct metric *m)
{
	for (size_t i = 0; i < m->series_count; i++)
		free_series(m->series[i]);
	for (size_t i = 0; i < m->label_count; i++)
		free(m->labels[i]);
	map_deinit(&m->by_values);
	free(m->series);
	free(m->bounds);
	free(m->name);
	free(m->help);
	free(m);
}

void metrics_reset(void)
{
	for (size_t i = 0; i < family_count; i++)
		free_family(families[i]);
	free(families);
	families = NULL;
	family_count = 0;
}
