/* SHA-256 as hex, SHA-1 as htpasswd files have it: see digest.h. libcrypto fails here only when it is out of memory or is not
 * installed whole; both end the process as xmalloc does. */
#include "base/digest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/base64.h"

static void must(int ok)
{
	if (ok != 1) {
		fprintf(stderr, "moonphase: OpenSSL's libcrypto offers no SHA-256 or no SHA-1\n");
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

void digest_ssha(const void *password, size_t len, const unsigned char salt[DIGEST_SALT_SIZE], char out[DIGEST_SSHA_SIZE])
{
	enum { SHA1_SIZE = 20 };
	static const char scheme[] = "{SSHA}";
	unsigned char raw[EVP_MAX_MD_SIZE + DIGEST_SALT_SIZE];
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	must(context != NULL && EVP_DigestInit_ex(context, EVP_sha1(), NULL));
	must(EVP_DigestUpdate(context, len != 0 ? password : "", len));
	must(EVP_DigestUpdate(context, salt, DIGEST_SALT_SIZE));
	must(EVP_DigestFinal_ex(context, raw, NULL));
	EVP_MD_CTX_free(context);
	memcpy(raw + SHA1_SIZE, salt, DIGEST_SALT_SIZE);
	memcpy(out, scheme, sizeof scheme - 1);
	out[sizeof scheme - 1 + base64_encode_to(raw, SHA1_SIZE + DIGEST_SALT_SIZE, out + sizeof scheme - 1)] = '\0';
}
