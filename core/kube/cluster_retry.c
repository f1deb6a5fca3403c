/* When a request may be sent again.
 *
 * Two questions that must not be mixed: did the server refuse to do it (429, or a 5xx that says
 * when to come back: nothing was done, any method may be repeated), or do we not know whether it
 * did (the connection broke: only a GET may be repeated)? The numbers are client-go's
 * (rest/with_retry.go), but for one: a 429 without Retry-After waits a second in place of failing,
 * because kube-apiserver's own max-in-flight filter says 1. */
#include "kube/cluster_retry.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

static uint64_t after_answer(const struct cluster_try *t)
{
	bool busy = t->status == 429, failing = t->status >= 500 && t->status <= 599;
	if (!busy && !(failing && t->retry_after_s >= 0))
		return CLUSTER_RETRY_NEVER;
	int64_t wait_s = t->retry_after_s >= 0 ? t->retry_after_s : 1;
	if (wait_s > CLUSTER_RETRY_AFTER_MAX_S)
		wait_s = CLUSTER_RETRY_AFTER_MAX_S;
	return (uint64_t)wait_s * 1000;
}

static uint64_t after_break(const struct cluster_try *t)
{
	static const uint64_t backoff_ms[CLUSTER_BREAKS_MAX] = {100, 300, 900};
	if (t->refused || t->code != ERR_IO || t->breaks >= CLUSTER_BREAKS_MAX || strcmp(t->method, "GET") != 0)
		return CLUSTER_RETRY_NEVER;
	return backoff_ms[t->breaks];
}

uint64_t cluster_retry_delay(const struct cluster_try *t)
{
	if (t->retries >= CLUSTER_RETRIES_MAX)
		return CLUSTER_RETRY_NEVER;
	return t->code != ERR_OK ? after_break(t) : after_answer(t);
}

static int64_t read_seconds(const char *text)
{
	int64_t seconds = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		if (seconds < INT_MAX)
			seconds = seconds * 10 + (*text - '0');
	while (*text == ' ' || *text == '\t')
		text++;
	return *text == '\0' ? seconds : -1;
}

static int64_t read_date(const char *text, int64_t wall_ms)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (rest == NULL || *rest != '\0')
		return -1;
	int64_t wait_ms = (int64_t)timegm(&tm) * 1000 - wall_ms;
	return wait_ms <= 0 ? 0 : (wait_ms + 999) / 1000;
}

int64_t cluster_retry_after(const char *header, int64_t wall_ms)
{
	if (header == NULL)
		return -1;
	while (*header == ' ' || *header == '\t')
		header++;
	return *header >= '0' && *header <= '9' ? read_seconds(header) : read_date(header, wall_ms);
}
