/* A Lease as JSON: what of it counts, and the bodies that change it. */
#ifndef MOONPHASE_KUBE_LEASE_RECORD_H
#define MOONPHASE_KUBE_LEASE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"

#define LEASE_IDENTITY_MAX 253
#define LEASE_CLAIM_MAX 4096

struct lease_record {    /* all zero: there is none */
	char *version;       /* resourceVersion */
	char *holder;        /* "": nobody; at most 1,024 bytes of it */
	char *acquired, *renewed; /* as they stand; only compared. NULL: not there */
	int64_t duration_s;  /* 0: not there, or no number that makes sense */
	int64_t transitions;
};

/* Fills `r`, which is empty before; on an error it stays so. */
int lease_record_read(const char *body, size_t len, struct lease_record *r, struct err *e);
void lease_record_deinit(struct lease_record *r);
/* Whether both are one claim, not renewed in between. The resourceVersion does not count: a label
 * is no renewal. */
bool lease_record_is_same(const struct lease_record *a, const struct lease_record *b);

struct lease_claim {
	const char *name;    /* to create it; else NULL */
	const char *version; /* to patch it; else NULL */
	const char *holder;
	int64_t duration_s;
	int64_t now_wall_ms; /* the renewTime */
	bool acquires;       /* acquireTime is now and `transitions` is written, else both stay */
	int64_t transitions;
};

/* The whole object to create, or a JSON merge patch; at most LEASE_CLAIM_MAX bytes for identities of
 * LEASE_IDENTITY_MAX. */
void lease_claim_write(struct buffer *out, const struct lease_claim *c);

#endif
