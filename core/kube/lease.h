/* Who of several moonphases may write: one of them holds a Lease (coordination.k8s.io/v1).
 *
 * The numbers are client-go's (tools/leaderelection): the lease lasts 15 s, its holder renews it
 * every 2 s (up to 1.2 times that) and stops leading 10 s after the last renewal that was
 * acknowledged. Two things are done otherwise. Leading is **fenced**: those 10 s count from the
 * *sending* of that renewal, on the local monotonic clock, and whoever writes asks lease_may_write
 * right before; so nobody else can hold the lease while it says yes. And losing it is no end: the
 * lease goes on trying, and says when it leads again.
 *
 * Another holder's lease has expired when its record has not changed for the duration that the
 * record names, counted on the local clock from our first sight of it; the times written in the
 * record are for people and never read. Clocks may differ by any amount, but not in speed by more
 * than the ratio of lease and deadline.
 *
 * Writes are JSON merge patches that hold the resourceVersion: they fail with 409 when anybody was
 * first, and fields that we do not know stay. Verbs needed: get, create, patch. */
#ifndef MOONPHASE_KUBE_LEASE_H
#define MOONPHASE_KUBE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "kube/cluster.h"

#define LEASE_DURATION_MS 15000
#define LEASE_DEADLINE_MS 10000
#define LEASE_RETRY_MS 2000

struct lease;

struct lease_options { /* strings are copied */
	struct cluster *cluster; /* must live until lease_free */
	const char *namespace_, *name;
	/* Must be another one in every process, restarts included: two processes of one identity both
	 * lead. NULL: made of the host's name and a random number. */
	const char *identity;
	/* 0: the numbers above. Whole seconds for the lease; lease > deadline > 1.2 * retry. */
	uint64_t lease_ms, deadline_ms, retry_ms;
	uint64_t seed; /* of the jitter */
	/* Each may be NULL, and may call lease_release and lease_free. Never from inside a call. */
	void (*started)(void *arg); /* leads from now on */
	void (*lost)(void *arg);    /* leads no more; `started` may come again */
	/* Another holder than before was seen; it may be us. Valid during the callback. */
	void (*observed)(void *arg, const char *holder);
	void *arg;
};

/* Begins at once. NULL with ERR_INVALID for names or numbers that cannot work. */
struct lease *lease_start(const struct lease_options *o, struct err *e);

/* Whether a write may leave now. True from the acknowledgement of a renewal until the deadline has
 * passed since its sending, whatever the callbacks were told so far: ask before each write. */
bool lease_may_write(const struct lease *l);
const char *lease_identity(const struct lease *l);
/* Who was seen to hold it last; "": nobody. Valid until the next turn of the loop. */
const char *lease_holder(const struct lease *l);

/* The record may have changed (a watch says so): who waits for the lease looks now and not at the next retry. */
void lease_look(struct lease *l);

/* The clean stop, when all guarded work has ended: from here on lease_may_write is false and none of
 * the other callbacks comes. What we hold (or may hold: a write is under way) is given back, with
 * retries until the deadline has passed since this call. Then `released` is called once, never from
 * inside; `given_back` is false if others may have to wait for the expiry. */
void lease_release(struct lease *l, void (*released)(void *arg, bool given_back), void *arg);
/* Stops at once without giving anything back, and frees it; no callback follows. NULL is allowed. */
void lease_free(struct lease *l);

#endif
