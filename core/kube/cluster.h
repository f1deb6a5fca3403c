/* Calls to one API server: credentials on, retries where Kubernetes allows them, answers in full
 * or as a stream.
 *
 * 429 is tried again after Retry-After (1 s if it says nothing), 503 (and other 5xx) only when it
 * carries Retry-After, up to 10 times; a connection that breaks is tried again for GET alone (3
 * times), because a write may have arrived. No fixed client rate: the server's priority and fairness
 * decides. 401 is tried once more after fresh credentials. */
#ifndef MOONPHASE_KUBE_CLUSTER_H
#define MOONPHASE_KUBE_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/err.h"
#include "http/transport.h"
#include "kube/config.h"
#include "loop/loop.h"

#define CLUSTER_BODY_MAX (64u << 20) /* one page of a list, at most 500 objects of 1.5 MB in theory */

struct cluster;

struct cluster_options {
	struct clock *clock;
	struct transport *transport;
	struct loop *loop;          /* for exec plugins; may be NULL */
	struct kube_config *config; /* from malloc; taken over, even when cluster_new fails */
};

struct cluster *cluster_new(const struct cluster_options *o, struct err *e);
void cluster_free(struct cluster *c); /* cancels every call */
const struct kube_config *cluster_config(const struct cluster *c);
struct clock *cluster_clock(struct cluster *c);

struct cluster_request {
	const char *method;       /* NULL: GET */
	const char *path;         /* "/api/v1/pods?limit=500", escaped by the caller (cluster_escape) */
	const char *content_type; /* NULL: application/json when there is a body */
	const char *accept;       /* NULL: application/json */
	const void *body;
	size_t body_len;
	uint64_t timeout_ms;      /* of one try, 0: 60 s; for streams: the silence after which it is dead */
	size_t body_max;          /* 0: CLUSTER_BODY_MAX */
	bool regardless;          /* it leaves whatever cluster_guard says: a question that is a POST, or the lease itself */
};

struct cluster_answer {
	int status;        /* 0: none came; then err says why */
	struct err err;    /* code 0: an answer came (whatever its status) */
	char *body;        /* NUL-terminated; the callback may take it (set it to NULL), else it is freed.
	                    * NULL if err.code is set, and after a stream that was open. */
	size_t body_len;
	bool refused;      /* nobody listened */
	/* Of a Status object (answers >= 400): its fields. Was it none (a proxy's HTML page), then
	 * reason is "" and message the beginning of its text. */
	char reason[64];
	char message[ERR_TEXT_MAX];
	int64_t retry_after_s; /* 0: not said */
};

/* From now on `may_write` is asked right before any request leaves that is no GET or HEAD, at every try; a request
 * that may not ends with ERR_FENCED, and nothing of it was sent. NULL: all may. Must not call back into the cluster. */
void cluster_guard(struct cluster *c, bool (*may_write)(void *arg), void *arg);

struct cluster_call;

/* `done` is called exactly once, never from inside, unless cancelled. */
struct cluster_call *cluster_send(struct cluster *c, const struct cluster_request *r,
	void (*done)(void *arg, struct cluster_answer *a), void *arg);
void cluster_cancel(struct cluster_call *call);

struct cluster_stream_handlers {
	/* The status was 200: bytes follow. May be NULL. */
	void (*opened)(void *arg);
	/* Return 0, or a code to end the stream with. May cancel the call. */
	int (*bytes)(void *arg, const char *bytes, size_t len);
	/* Once: in order (a->err.code 0, status 200), refused with a status, or broken. */
	void (*ended)(void *arg, struct cluster_answer *a);
};
/* A stream is not retried here: whoever watches knows better. Silence for timeout_ms ends it with
 * ERR_TIMEOUT. */
struct cluster_call *cluster_stream(struct cluster *c, const struct cluster_request *r,
	const struct cluster_stream_handlers *h, void *arg);

/* Percent-escape a path segment or query value into `out`. */
int cluster_escape(struct buffer *out, const char *text);
/* Times a request left this process for the cluster, by kind. For /metrics the usual
 * rest_client_* families are kept as well. */
struct cluster_counts {
	uint64_t reads, writes, watches, retries;
};
struct cluster_counts cluster_counts(const struct cluster *c);
/* Compare resourceVersions as unsigned decimals of any length (KEP-5504): -1, 0, 1. A text that is no
 * number compares as older than every number. */
int resource_version_compare(const char *a, const char *b);

#endif
