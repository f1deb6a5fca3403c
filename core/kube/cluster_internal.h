/* Between cluster.c (calls and their lives) and cluster_call.c (one call's tries); nobody else. */
#ifndef MOONPHASE_KUBE_CLUSTER_INTERNAL_H
#define MOONPHASE_KUBE_CLUSTER_INTERNAL_H

#include "base/metrics.h"
#include "kube/cluster.h"
#include "kube/credentials.h"

struct cluster {
	struct clock *clock;
	struct transport *transport;
	struct kube_config *config;
	struct credentials *credentials;
	struct cluster_call *calls; /* not yet over */
	/* Header lines that every request carries (fixed_count of them), then room for a call's own:
	 * the transport copies them, so that one array serves all. */
	const char **headers;
	size_t fixed_count;
	char **owned; /* of the fixed ones, NULL behind the last */
	char *host;   /* of the server, for metrics */
	struct cluster_counts counts;
	bool (*may_write)(void *arg); /* NULL: nobody guards */
	void *guard_arg;
	struct metric *requests, *durations, *sent_bytes, *answer_bytes, *retries;
};

#define CALL_HEADERS 4 /* accept, content type, authorization, and the NULL */

enum call_state {
	CALL_ASKING,    /* waits for credentials */
	CALL_UNDER_WAY, /* an exchange runs; the timer is its limit */
	CALL_PAUSED,    /* the timer starts the next try */
	CALL_FAILED,    /* could not start; the timer (0 ms) says so from outside */
	CALL_OVER,      /* inside its last callback */
};

struct cluster_call {
	struct cluster *cluster;
	struct cluster_call *next, **link;
	enum call_state state;
	/* the request */
	char method[8];
	char *url, *accept, *content_type; /* the latter two: header lines, NULL for the usual ones */
	void *body;
	size_t body_len;
	uint64_t timeout_ms;
	bool is_stream;
	bool is_guarded; /* a write that the cluster's guard is asked about */
	/* whom to tell */
	void (*done)(void *arg, struct cluster_answer *a);
	struct cluster_stream_handlers handlers;
	void *arg;
	/* this try */
	struct credentials_wait wait;
	const struct http_tls *tls; /* held */
	struct http_exchange *exchange;
	struct clock_timer timer;
	uint64_t started_ms;
	int status;
	int64_t retry_after_s; /* -1: no header */
	struct buffer answer;
	size_t answer_max;
	int stop_code; /* why we ended the exchange ourselves */
	bool *gone;    /* set by a cancel inside a stream's callback */
	/* all tries */
	unsigned retries, breaks;
	bool refreshed;      /* after a 401 */
	struct err *failure; /* CALL_FAILED */
};

void call_try(struct cluster_call *call);
/* Report `code` and `text` later, from outside. */
void call_fail_later(struct cluster_call *call, int code, const char *text);
/* Leave every waiting place, free it; no callback comes after. */
void call_drop(struct cluster_call *call);
void call_on_timer(struct clock_timer *t);
void call_on_credentials(struct credentials_wait *w, const char *authorization, const struct http_tls *tls,
	const struct err *err);

#endif
