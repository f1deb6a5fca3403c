/* Metrics as Prometheus reads them. */
#include "test.h"

#include <math.h>

#include "base/err.h"
#include "base/metrics.h"

static const char *written(void)
{
	static struct buffer out;
	buffer_deinit(&out);
	buffer_init(&out, 1 << 20);
	CHECK_INT(metrics_write(&out), ==, 0);
	return buffer_text(&out);
}

TEST(families_are_sorted_and_have_help_and_type)
{
	struct metric *b = metric_register(METRIC_GAUGE, "b_gauge", "Now\nand \\ then.", NULL, NULL, 0);
	struct metric *a = metric_register(METRIC_COUNTER, "a_total", "All.", (const char *[]){"code", "host", NULL}, NULL, 0);
	metric_register(METRIC_COUNTER, "unused_total", "Nobody asked.", NULL, NULL, 0);
	metric_set(metric_with(b, NULL), 1.5);
	metric_add(metric_with(b, NULL), -2);
	metric_add(metric_with(a, (const char *[]){"200", "h"}), 1);
	metric_add(metric_with(a, (const char *[]){"200", "h"}), 2);
	metric_add(metric_with(a, (const char *[]){"500", "h"}), 1);
	metric_add(metric_with(a, (const char *[]){"500", "h"}), -7);
	CHECK_TEXT(written(), "# HELP a_total All.\n# TYPE a_total counter\na_total{code=\"200\",host=\"h\"} 3\n"
		"a_total{code=\"500\",host=\"h\"} 1\n# HELP b_gauge Now\\nand \\\\ then.\n# TYPE b_gauge gauge\nb_gauge -0.5\n");
	metrics_reset();
	CHECK_TEXT(written(), "");
}

TEST(histogram_buckets_are_cumulative)
{
	struct metric *m = metric_register(METRIC_HISTOGRAM, "h", "H.", (const char *[]){"verb", NULL}, (double[]){0.1, 1, 5}, 3);
	struct metric_series *s = metric_with(m, (const char *[]){"GET"});
	static const double seen[] = {0.05, 0.1, 0.5, 5.5, 100, -1};
	for (size_t i = 0; i < sizeof seen / sizeof *seen; i++)
		metric_observe(s, seen[i]);
	metric_observe(s, NAN);
	CHECK(metric_value(s) == 6);
	CHECK_TEXT(written(), "# HELP h H.\n# TYPE h histogram\nh_bucket{verb=\"GET\",le=\"0.1\"} 3\nh_bucket{verb=\"GET\",le=\"1\"} 4\n"
		"h_bucket{verb=\"GET\",le=\"5\"} 4\nh_bucket{verb=\"GET\",le=\"+Inf\"} 6\nh_sum{verb=\"GET\"} 105.15\nh_count{verb=\"GET\"} 6\n");
}

TEST(a_histogram_without_bounds_has_those_of_prometheus)
{
	metric_observe(metric_with(metric_register(METRIC_HISTOGRAM, "d", "", NULL, NULL, 0), NULL), 0.3);
	CHECK_CONTAINS(written(), "d_bucket{le=\"0.005\"} 0\n");
	CHECK_CONTAINS(written(), "d_bucket{le=\"0.25\"} 0\nd_bucket{le=\"0.5\"} 1\n");
	CHECK_CONTAINS(written(), "d_bucket{le=\"10\"} 1\nd_bucket{le=\"+Inf\"} 1\nd_sum 0.3\nd_count 1\n");
}

TEST(label_values_cannot_forge_lines)
{
	struct metric *m = metric_register(METRIC_GAUGE, "g", "", (const char *[]){"l", NULL}, NULL, 0);
	metric_set(metric_with(m, (const char *[]){"a\"} 1\nfake 2 \\ \xff\xc3\xa9"}), 1);
	CHECK_CONTAINS(written(), "\ng{l=\"a\\\"} 1\\nfake 2 \\\\ \xef\xbf\xbd\xc3\xa9\"} 1\n");
}

TEST(values_that_only_join_alike_are_different_series)
{
	struct metric *m = metric_register(METRIC_COUNTER, "c", "", (const char *[]){"a", "b", NULL}, NULL, 0);
	CHECK(metric_with(m, (const char *[]){"x", "yz"}) != metric_with(m, (const char *[]){"xy", "z"}));
	CHECK(metric_with(m, (const char *[]){"", "x"}) != metric_with(m, (const char *[]){"x", ""}));
	CHECK(metric_with(m, (const char *[]){"x", "yz"}) == metric_with(m, (const char *[]){"x", "yz"}));
}

TEST(too_many_series_are_counted_as_other)
{
	struct metric *m = metric_register(METRIC_COUNTER, "c", "", (const char *[]){"a", "b", NULL}, NULL, 0);
	char name[METRIC_VALUE_MAX * 2];
	for (int i = 0; i < METRIC_SERIES_MAX + 500; i++) {
		snprintf(name, sizeof name, "n%d", i);
		metric_add(metric_with(m, (const char *[]){name, "x"}), 1);
	}
	CHECK(metric_value(metric_with(m, (const char *[]){"other", "other"})) == 501);
	CHECK(metric_value(metric_with(m, (const char *[]){"n7", "x"})) == 1);
	size_t lines = 0;
	for (const char *p = written(); (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	CHECK_INT(lines, ==, 2 + METRIC_SERIES_MAX);
	metrics_reset();
	m = metric_register(METRIC_COUNTER, "c", "", (const char *[]){"a", NULL}, NULL, 0);
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = '\0';
	metric_add(metric_with(m, (const char *[]){name}), 1);
	name[METRIC_VALUE_MAX + 5] = '\0';
	CHECK(metric_value(metric_with(m, (const char *[]){name})) == 1);
}

TEST(registering_again_gives_the_same_family_or_nothing)
{
	const char *labels[] = {"a", NULL};
	struct metric *m = metric_register(METRIC_COUNTER, "c", "", labels, NULL, 0);
	CHECK(m != NULL && metric_register(METRIC_COUNTER, "c", "other help", labels, NULL, 0) == m);
	CHECK(metric_register(METRIC_GAUGE, "c", "", labels, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_COUNTER, "c", "", NULL, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_COUNTER, "c", "", (const char *[]){"a", "b", NULL}, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_COUNTER, "1c", "", NULL, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_COUNTER, "c d", "", NULL, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_COUNTER, "d", "", (const char *[]){"a:b", NULL}, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_COUNTER, "d", "", (const char *[]){"a", "b", "c", "d", "e", "f", "g", NULL}, NULL, 0) == NULL);
	CHECK(metric_register(METRIC_HISTOGRAM, "d", "", NULL, (double[]){2, 1}, 2) == NULL);
	metric_add(metric_with(NULL, NULL), 1);
	metric_set(NULL, 1);
	metric_observe(NULL, 1);
	CHECK(metric_value(NULL) == 0);
}

static double twice(void *arg)
{
	return *(int *)arg * 2;
}

TEST(a_computed_gauge_is_read_when_it_is_written)
{
	static int n = 21;
	metric_compute(metric_with(metric_register(METRIC_GAUGE, "g", "", NULL, NULL, 0), NULL), twice, &n);
	CHECK_CONTAINS(written(), "\ng 42\n");
	n = 4;
	CHECK_CONTAINS(written(), "\ng 8\n");
}

TEST(numbers_are_written_short_and_exact)
{
	struct metric_series *s = metric_with(metric_register(METRIC_GAUGE, "g", "", NULL, NULL, 0), NULL);
	static const struct {
		double value;
		const char *text;
	} table[] = {{0, "\ng 0\n"}, {-0.0, "\ng 0\n"}, {1e14, "\ng 100000000000000\n"}, {1.0 / 3, "\ng 0.3333333333333333\n"}, {0.1, "\ng 0.1\n"},
		{1e300, "\ng 1e+300\n"}, {INFINITY, "\ng +Inf\n"}, {-INFINITY, "\ng -Inf\n"}, {NAN, "\ng NaN\n"}, {1752000000.25, "\ng 1752000000.25\n"}};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		metric_set(s, table[i].value);
		CHECK_CONTAINS(written(), table[i].text);
	}
}

TEST(an_output_that_is_too_small_is_an_error)
{
	struct buffer out;
	metric_set(metric_with(metric_register(METRIC_GAUGE, "g", "Long enough.", NULL, NULL, 0), NULL), 1);
	for (size_t max = 0; max < 41; max++) {
		buffer_init(&out, max);
		CHECK_INT(metrics_write(&out), ==, ERR_TOO_LARGE);
		buffer_deinit(&out);
	}
}

TEST_MAIN(T(families_are_sorted_and_have_help_and_type), T(histogram_buckets_are_cumulative),
	T(a_histogram_without_bounds_has_those_of_prometheus), T(label_values_cannot_forge_lines),
	T(values_that_only_join_alike_are_different_series), T(too_many_series_are_counted_as_other),
	T(registering_again_gives_the_same_family_or_nothing), T(a_computed_gauge_is_read_when_it_is_written),
	T(numbers_are_written_short_and_exact), T(an_output_that_is_too_small_is_an_error))
