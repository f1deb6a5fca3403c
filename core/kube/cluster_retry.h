/* Whether and when a request is sent again: the rules alone, without a connection. */
#ifndef MOONPHASE_KUBE_CLUSTER_RETRY_H
#define MOONPHASE_KUBE_CLUSTER_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define CLUSTER_RETRIES_MAX 10    /* client-go's maxRetries (rest/with_retry.go) */
#define CLUSTER_BREAKS_MAX 3      /* of them, after broken connections */
#define CLUSTER_RETRY_AFTER_MAX_S 60
#define CLUSTER_RETRY_NEVER UINT64_MAX

/* What became of one try. */
struct cluster_try {
	const char *method;
	int status;            /* 0: no answer */
	int code;              /* err_code of the exchange */
	bool refused;
	int64_t retry_after_s; /* -1: no such header */
	unsigned retries;      /* done so far, of any kind */
	unsigned breaks;       /* done so far, after broken connections */
};

/* Milliseconds to wait before the next try, or CLUSTER_RETRY_NEVER. */
uint64_t cluster_retry_delay(const struct cluster_try *t);
/* A Retry-After header (seconds or an HTTP date, RFC 9110 10.2.3) in seconds; -1 if it is absent
 * or neither. */
int64_t cluster_retry_after(const char *header, int64_t wall_ms);

#endif
