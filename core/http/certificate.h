/* X.509 certificates for servers of our own, made and read by OpenSSL's libcrypto.
 *
 * certificate_make makes an authority, lets it sign one certificate, and forgets its key: nobody can sign a
 * second one, so there is nothing to steal but the certificate's own key. Who trusts the authority trusts
 * exactly that certificate; a rotation makes both anew. Keys are ECDSA over P-256 (RFC 5480), names are in
 * subjectAltName only (RFC 6125: nothing reads common names any more). The certificate is good for servers and,
 * so that two replicas know each other by it, for clients. */
#ifndef MOONPHASE_HTTP_CERTIFICATE_H
#define MOONPHASE_HTTP_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CERTIFICATE_NAMES_MAX 32
#define CERTIFICATE_NAME_LENGTH_MAX 253

struct certificate_request {
	const char *subject;          /* for people: letters, digits, space, . and - ; at most 64 */
	const char *const *names;     /* DNS names and IP addresses; NULL behind the last */
	int64_t not_before, not_after; /* seconds since 1970 */
};

struct certificate_set { /* PEM */
	char *authority, *certificate, *key;
};

/* 0 and a set for certificate_set_deinit, or ERR_INVALID. */
int certificate_make(const struct certificate_request *r, struct certificate_set *set, struct err *e);
/* Frees; the key is wiped first. */
void certificate_set_deinit(struct certificate_set *set);

struct certificate_info {
	int64_t not_before, not_after; /* seconds since 1970 */
	char fingerprint[65];          /* SHA-256 of the certificate, hex */
	size_t count;                  /* certificates in the text */
};

/* What the first certificate of a PEM text says; the dates are the narrowest of all in it. */
int certificate_read(const char *pem, struct certificate_info *info, struct err *e);
/* Whether `key` is the certificate's, the certificate is good at `now` (0: at any time) for the server `name` (NULL: of any name),
 * and, unless `authorities` is NULL, one of those signed it. ERR_INVALID and the sentence that says which does not hold. */
int certificate_check(const char *certificate, const char *key, const char *authorities, const char *name, int64_t now,
	struct err *e);

#endif
