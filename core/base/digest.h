/* SHA-256 by OpenSSL's libcrypto, as lowercase hex. A digest stands for a Secret wherever one
 * must be compared or shown, and names the generation of policies that decided something.
 * And the one hash that is not ours to choose: that of a password in an htpasswd file. */
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

/* "{SSHA}" and the base64 of SHA-1(password, salt) and salt: RFC 2307's scheme, salted, as OpenLDAP
 * writes it. Of what nginx reads in an htpasswd file it alone needs no crypt() of the system's and
 * costs no more than a request may. It is quick to try: it guards tokens that are long and random, not
 * words that people think of. A NUL ends it. */
#define DIGEST_SALT_SIZE 8
#define DIGEST_SSHA_SIZE 47
void digest_ssha(const void *password, size_t len, const unsigned char salt[DIGEST_SALT_SIZE], char out[DIGEST_SSHA_SIZE]);

#endif
