/* SHA-256 as hex: see digest.h. libcrypto fails here only when it is out of memory or is not
 * installed whole; both end the process as xmalloc does. */
#include "base/digest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

static void must(int ok)
{
	if (ok != 1) {
		fprintf(stderr, "moonphase: OpenSSL's libcrypto offers no SHA-256\n");
		abort();
	}
}

static void write_hex(const unsigned char *bytes, size_t len, char *hex)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * len] = '\0';
}

void digest_sha256(const void *bytes, size_t len, char hex[DIGEST_HEX_SIZE])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	must(EVP_Digest(len != 0 ? bytes : "", len, raw, NULL, EVP_sha256(), NULL));
	write_hex(raw, 32, hex);
}

void digest_begin(struct digest *d)
{
	d->context = EVP_MD_CTX_new();
	must(d->context != NULL && EVP_DigestInit_ex(d->context, EVP_sha256(), NULL));
}

void digest_add_field(struct digest *d, const void *bytes, size_t len)
{
	unsigned char size[8];
	uint64_t rest = len;
	for (int i = 0; i < 8; i++, rest >>= 8)
		size[i] = (unsigned char)rest;
	must(EVP_DigestUpdate(d->context, size, sizeof size));
	must(EVP_DigestUpdate(d->context, len != 0 ? bytes : "", len));
}

void digest_end(struct digest *d, char hex[DIGEST_HEX_SIZE])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	must(EVP_DigestFinal_ex(d->context, raw, NULL));
	EVP_MD_CTX_free(d->context);
	d->context = NULL;
	write_hex(raw, 32, hex);
}
