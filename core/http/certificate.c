/* Certificates: see certificate.h.
 *
 * libcrypto's functions fail for lack of memory, or because they were given nonsense; both are one error here.
 * Everything that is made is put into one struct and freed in one place. */
#include "http/certificate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/digest.h"
#include "base/xalloc.h"

#define SUBJECT_MAX 64
#define SERIAL_BYTES 16
#define PEM_MAX (1 << 20)
#define CERTIFICATES_MAX 64

/* --- making --- */

struct making {
	EVP_PKEY *authority_key, *key;
	X509 *authority, *certificate;
};

static void making_deinit(struct making *m)
{
	EVP_PKEY_free(m->authority_key);
	EVP_PKEY_free(m->key);
	X509_free(m->authority);
	X509_free(m->certificate);
}

static bool is_address(const char *name)
{
	unsigned char raw[16];
	return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

static bool has_only(const char *text, const char *allowed, size_t most)
{
	size_t len = strlen(text);
	return len != 0 && len <= most && strspn(text, allowed) == len;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static int check_request(const struct certificate_request *r, struct err *e)
{
	size_t count = 0;
	if (!has_only(r->subject, LETTERS " .-", SUBJECT_MAX))
		return err_set(e, ERR_INVALID, "a certificate's subject is 1 to %d letters, digits, spaces, dots and hyphens", SUBJECT_MAX);
	for (; r->names[count] != NULL; count++)
		if (!is_address(r->names[count]) && !has_only(r->names[count], LETTERS ".-*", CERTIFICATE_NAME_LENGTH_MAX))
			return err_set(e, ERR_INVALID, "\"%.260s\" is no name for a certificate: it must be a DNS name or an IP address",
				r->names[count]);
	if (count == 0 || count > CERTIFICATE_NAMES_MAX)
		return err_set(e, ERR_INVALID, "a certificate needs 1 to %d names, and %zu were given", CERTIFICATE_NAMES_MAX, count);
	if (r->not_after <= r->not_before)
		return err_set(e, ERR_INVALID, "a certificate must end after it begins");
	return 0;
}

/* "DNS:a,IP:127.0.0.1", as X509V3_EXT_conf_nid reads it; the names hold nothing that it could misread. */
static char *names_text(const char *const *names)
{
	char *text = xstrdup("");
	for (size_t i = 0; names[i] != NULL; i++) {
		char *longer = xasprintf("%s%s%s:%s", text, i != 0 ? "," : "", is_address(names[i]) ? "IP" : "DNS", names[i]);
		free(text);
		text = longer;
	}
	return text;
}

static bool set_name(X509_NAME *name, const char *subject, const char *suffix)
{
	char text[SUBJECT_MAX + 16];
	int len = snprintf(text, sizeof text, "%s%s", subject, suffix);
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, len, -1, 0) == 1;
}

static bool set_serial(X509 *x)
{
	unsigned char bytes[SERIAL_BYTES];
	if (RAND_bytes(bytes, sizeof bytes) != 1)
		return false;
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and of full length (RFC 5280, 4.1.2.2) */
	BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
	bool ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x)) != NULL;
	BN_free(number);
	return ok;
}

static bool extend(X509 *x, X509 *issuer, int kind, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
	bool ok = extension != NULL && X509_add_ext(x, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

/* What authority and certificate have in common. */
static X509 *begin(const struct certificate_request *r, const char *suffix, EVP_PKEY *key)
{
	X509 *x = X509_new();
	if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
	    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)r->not_before) != NULL &&
	    ASN1_TIME_set(X509_getm_notAfter(x), (time_t)r->not_after) != NULL &&
	    set_name(X509_get_subject_name(x), r->subject, suffix) && X509_set_pubkey(x, key) == 1)
		return x;
	X509_free(x);
	return NULL;
}

static bool make_authority(struct making *m, const struct certificate_request *r)
{
	m->authority_key = EVP_EC_gen("P-256");
	m->authority = m->authority_key != NULL ? begin(r, " authority", m->authority_key) : NULL;
	return m->authority != NULL && X509_set_issuer_name(m->authority, X509_get_subject_name(m->authority)) == 1 &&
		extend(m->authority, m->authority, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
		extend(m->authority, m->authority, NID_key_usage, "critical,keyCertSign") &&
		extend(m->authority, m->authority, NID_subject_key_identifier, "hash") &&
		X509_sign(m->authority, m->authority_key, EVP_sha256()) > 0;
}

static bool make_certificate(struct making *m, const struct certificate_request *r)
{
	m->key = EVP_EC_gen("P-256");
	m->certificate = m->key != NULL ? begin(r, "", m->key) : NULL;
	if (m->certificate == NULL)
		return false;
	char *names = names_text(r->names);
	bool ok = X509_set_issuer_name(m->certificate, X509_get_subject_name(m->authority)) == 1 &&
		extend(m->certificate, m->authority, NID_basic_constraints, "critical,CA:FALSE") &&
		extend(m->certificate, m->authority, NID_key_usage, "critical,digitalSignature") &&
		extend(m->certificate, m->authority, NID_ext_key_usage, "serverAuth,clientAuth") &&
		extend(m->certificate, m->authority, NID_subject_key_identifier, "hash") &&
		extend(m->certificate, m->authority, NID_authority_key_identifier, "keyid") &&
		extend(m->certificate, m->authority, NID_subject_alt_name, names) &&
		X509_sign(m->certificate, m->authority_key, EVP_sha256()) > 0;
	free(names);
	return ok;
}

/* What was written into a BIO in memory, as a C string; the BIO is freed, and wiped. */
static char *take_text(BIO *bio)
{
	char *bytes;
	long len = BIO_get_mem_data(bio, &bytes);
	char *text = len > 0 ? xmemdup0(bytes, (size_t)len) : NULL;
	BIO_free(bio); /* its memory is of the cleansing kind */
	return text;
}

static char *certificate_text(X509 *x)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	if (bio != NULL && PEM_write_bio_X509(bio, x) == 1)
		return take_text(bio);
	BIO_free(bio);
	return NULL;
}

static char *key_text(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	if (bio != NULL && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		return take_text(bio);
	BIO_free(bio);
	return NULL;
}

int certificate_make(const struct certificate_request *r, struct certificate_set *set, struct err *e)
{
	struct making m = {0};
	*set = (struct certificate_set){0};
	int rc = check_request(r, e);
	if (rc != 0)
		return rc;
	if (make_authority(&m, r) && make_certificate(&m, r)) {
		set->authority = certificate_text(m.authority);
		set->certificate = certificate_text(m.certificate);
		set->key = key_text(m.key);
	}
	making_deinit(&m);
	if (set->authority != NULL && set->certificate != NULL && set->key != NULL)
		return 0;
	certificate_set_deinit(set);
	return err_set(e, ERR_INVALID, "OpenSSL made no certificate: are its dates possible ones?");
}

void certificate_set_deinit(struct certificate_set *set)
{
	if (set->key != NULL)
		explicit_bzero(set->key, strlen(set->key));
	free(set->authority);
	free(set->certificate);
	free(set->key);
	*set = (struct certificate_set){0};
}

/* --- reading --- */

/* The certificates of a PEM text; NULL if there is none, or something else among them. */
static STACK_OF(X509) *read_certificates(const char *pem)
{
	STACK_OF(X509) *list = sk_X509_new_null();
	size_t len = strlen(pem);
	BIO *bio = len <= PEM_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
	X509 *x;
	while (bio != NULL && list != NULL && sk_X509_num(list) < CERTIFICATES_MAX &&
	       (x = PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t)"")) != NULL)
		if (sk_X509_push(list, x) == 0)
			X509_free(x);
	BIO_free(bio);
	if (list != NULL && sk_X509_num(list) != 0)
		return list;
	sk_X509_free(list);
	return NULL;
}

static int no_certificate(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID, "the %s holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", what);
}

static int64_t seconds_of(const ASN1_TIME *time_of)
{
	struct tm parts;
	return ASN1_TIME_to_tm(time_of, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

int certificate_read(const char *pem, struct certificate_info *info, struct err *e)
{
	STACK_OF(X509) *list = read_certificates(pem);
	if (list == NULL)
		return no_certificate(e, "text");
	*info = (struct certificate_info){.not_before = INT64_MIN, .not_after = INT64_MAX, .count = (size_t)sk_X509_num(list)};
	for (int i = 0; i < sk_X509_num(list); i++) {
		int64_t from = seconds_of(X509_get0_notBefore(sk_X509_value(list, i)));
		int64_t to = seconds_of(X509_get0_notAfter(sk_X509_value(list, i)));
		info->not_before = from > info->not_before ? from : info->not_before;
		info->not_after = to < info->not_after ? to : info->not_after;
	}
	unsigned char *der = NULL;
	int len = i2d_X509(sk_X509_value(list, 0), &der);
	digest_sha256(len > 0 ? der : NULL, len > 0 ? (size_t)len : 0, info->fingerprint);
	OPENSSL_free(der);
	sk_X509_pop_free(list, X509_free);
	return 0;
}

static bool key_fits(X509 *x, const char *key)
{
	BIO *bio = BIO_new_mem_buf(key, (int)strnlen(key, PEM_MAX));
	EVP_PKEY *k = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(uintptr_t)"") : NULL;
	bool fits = k != NULL && X509_check_private_key(x, k) == 1;
	EVP_PKEY_free(k);
	BIO_free(bio);
	return fits;
}

/* NULL, or why none of the authorities stands for the chain now. */
static const char *verify(STACK_OF(X509) *chain, STACK_OF(X509) *authorities, int64_t now)
{
	const char *why = "out of memory";
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	for (int i = 0; store != NULL && i < sk_X509_num(authorities); i++)
		X509_STORE_add_cert(store, sk_X509_value(authorities, i));
	if (store != NULL && context != NULL && X509_STORE_CTX_init(context, store, sk_X509_value(chain, 0), chain) == 1) {
		X509_VERIFY_PARAM *how = X509_STORE_CTX_get0_param(context);
		if (now != 0)
			X509_VERIFY_PARAM_set_time(how, (time_t)now);
		else
			X509_VERIFY_PARAM_set_flags(how, X509_V_FLAG_NO_CHECK_TIME);
		X509_STORE_CTX_set_default(context, "ssl_server");
		why = X509_verify_cert(context) == 1 ? NULL : X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
	}
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	return why;
}

static bool is_for(X509 *x, const char *name)
{
	return is_address(name) ? X509_check_ip_asc(x, name, 0) == 1 : X509_check_host(x, name, 0, 0, NULL) == 1;
}

static int check_chain(STACK_OF(X509) *chain, const char *key, const char *authorities, const char *name, int64_t now, struct err *e)
{
	X509 *first = sk_X509_value(chain, 0);
	time_t at = (time_t)now;
	if (!key_fits(first, key))
		return err_set(e, ERR_INVALID, "the key is none in PEM without a password, or belongs to another certificate");
	if (now != 0 && X509_cmp_time(X509_get0_notBefore(first), &at) > 0)
		return err_set(e, ERR_INVALID, "the certificate is not valid yet: is the clock right?");
	if (now != 0 && X509_cmp_time(X509_get0_notAfter(first), &at) < 0)
		return err_set(e, ERR_INVALID, "the certificate has expired");
	if (name != NULL && !is_for(first, name))
		return err_set(e, ERR_INVALID, "the certificate is not for %.260s: its names are others", name);
	if (authorities == NULL)
		return 0;
	STACK_OF(X509) *trusted = read_certificates(authorities);
	if (trusted == NULL)
		return no_certificate(e, "bundle of authorities");
	const char *why = verify(chain, trusted, now);
	sk_X509_pop_free(trusted, X509_free);
	return why == NULL ? 0 : err_set(e, ERR_INVALID, "no authority of the bundle stands for the certificate: %s", why);
}

int certificate_check(const char *certificate, const char *key, const char *authorities, const char *name, int64_t now,
	struct err *e)
{
	STACK_OF(X509) *chain = read_certificates(certificate);
	if (chain == NULL)
		return no_certificate(e, "certificate");
	int rc = check_chain(chain, key, authorities, name, now, e);
	sk_X509_pop_free(chain, X509_free);
	return rc;
}
