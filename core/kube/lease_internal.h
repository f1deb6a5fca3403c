/* Between lease.c (its life, what is held) and lease_attempt.c (what is asked and seen); nobody else. */
#ifndef MOONPHASE_KUBE_LEASE_INTERNAL_H
#define MOONPHASE_KUBE_LEASE_INTERNAL_H

#include "base/metrics.h"
#include "kube/lease.h"
#include "kube/lease_record.h"

#define LEASE_JITTER_TENTHS 12 /* client-go's factor 1.2, in tenths */

struct lease {
	struct lease_options o;
	struct clock *clock;
	char *identity, *title, *folder, *path; /* title: "namespace/name", for people */
	uint64_t limit_ms; /* of one request */
	uint64_t random;
	struct metric_series *status;

	struct cluster_call *call;
	struct clock_timer timer;    /* the limit of the call, or else the next attempt */
	struct clock_timer deadline; /* when what is held, or the release, is over */
	uint64_t attempt_ms;         /* when the attempt began */
	bool again;                  /* its second try is under way */
	bool troubled;               /* said that it fails */

	struct lease_record record; /* as it was last seen */
	uint64_t seen_ms;           /* when it was first seen so */
	bool is_current;            /* nothing since speaks against its version */

	bool held;
	uint64_t acked_ms;            /* when the last renewal that was acknowledged was sent */
	uint64_t sent_ms;             /* when the write under way was sent */
	bool maybe_ours, was_maybe_ours; /* the server may have us as its holder; before that write */

	bool releasing, gives_back, ended; /* gives_back: the write under way is the release */
	bool given_back;
	void (*released)(void *arg, bool given_back);
	void *released_arg;

	char *told_holder;
	bool tell_lost, tell_started, tell_holder, tell_released;
	unsigned busy;
	bool stopped;
};

/* Every callback of calls and timers is framed by these; after lease_leave it may be gone. */
void lease_enter(struct lease *l);
void lease_leave(struct lease *l);

/* A write of ours, sent at sent_ms, was taken. */
void lease_acknowledge(struct lease *l);
void lease_lose(struct lease *l, const char *why);
/* The release is over: nothing is under way any more, and `released` will be told. */
void lease_end(struct lease *l, bool given_back);

/* Send what is next: a write, or a read before it. No call is under way and the timer is free. */
void lease_attempt(struct lease *l);
/* The attempt came to nothing; the timer begins the next one. */
void lease_fail(struct lease *l, const char *why);

#endif
