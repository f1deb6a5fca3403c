/* SHA-256 by OpenSSL's libcrypto, as lowercase hex. A digest stands for a Secret wherever one
 * must be compared or shown, and names the generation of policies that decided something. */
#ifndef MOONPHASE_BASE_DIGEST_H
#define MOONPHASE_BASE_DIGEST_H

#include <stddef.h>

#define DIGEST_HEX_SIZE 65 /* 64 digits and a NUL */

void digest_sha256(const void *bytes, size_t len, char hex[DIGEST_HEX_SIZE]);

/* In pieces. Fields are separated by their lengths, so that ("ab", "c") differs from
 * ("a", "bc"). Begin, add as often as wanted, end exactly once. */
struct digest {
	void *context;
};
void digest_begin(struct digest *d);
void digest_add_field(struct digest *d, const void *bytes, size_t len);
void digest_end(struct digest *d, char hex[DIGEST_HEX_SIZE]);

#endif
