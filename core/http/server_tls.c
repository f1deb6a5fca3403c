/* Certificates of the server, and those of its clients.
 *
 * libmicrohttpd does TLS by GnuTLS and takes a certificate at its start; a rotation would be a restart. So it asks for the
 * certificate at each handshake instead, and http_server_set_certificate changes what it hears. GnuTLS keeps pointers into what
 * it was given as long as the session lives: each connection holds on to the identity that it began with.
 *
 * Clients are asked for a certificate and may come without one: the handler decides what a stranger gets, because an admission
 * webhook must refuse in its answer and not by a broken connection. */
#include <stdlib.h>
#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/xalloc.h"
#include "http/certificate.h"
#include "http/server_internal.h"

#define CHAIN_MAX 8

struct identity {
	unsigned references;
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned chain_len;
	gnutls_privkey_t key;
	gnutls_x509_trust_list_t clients; /* NULL: no client is known */
	char *clients_pem;
};

static gnutls_datum_t datum_of(const char *text)
{
	return (gnutls_datum_t){.data = (unsigned char *)(uintptr_t)text, .size = (unsigned)strlen(text)};
}

static void identity_free(struct identity *i)
{
	for (unsigned at = 0; at < i->chain_len; at++)
		gnutls_pcert_deinit(&i->chain[at]);
	if (i->key != NULL)
		gnutls_privkey_deinit(i->key);
	if (i->clients != NULL)
		gnutls_x509_trust_list_deinit(i->clients, 1);
	free(i->clients_pem);
	free(i);
}

static int load_pair(struct identity *i, const char *cert_pem, const char *key_pem, struct err *e)
{
	gnutls_datum_t cert = datum_of(cert_pem), key = datum_of(key_pem);
	unsigned len = CHAIN_MAX;
	int rc = certificate_check(cert_pem, key_pem, NULL, NULL, 0, e);
	if (rc != 0)
		return rc;
	rc = gnutls_pcert_list_import_x509_raw(i->chain, &len, &cert, GNUTLS_X509_FMT_PEM, 0);
	if (rc < 0)
		return err_set(e, ERR_INVALID, "the certificate cannot be used: %s", gnutls_strerror(rc));
	i->chain_len = len;
	rc = gnutls_privkey_init(&i->key);
	if (rc >= 0)
		rc = gnutls_privkey_import_x509_raw(i->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
	return rc >= 0 ? 0 : err_set(e, ERR_INVALID, "the certificate's key cannot be used: %s", gnutls_strerror(rc));
}

static int load_clients(struct identity *i, const char *pem, struct err *e)
{
	gnutls_datum_t text = datum_of(pem);
	i->clients_pem = xstrdup(pem);
	if (gnutls_x509_trust_list_init(&i->clients, 0) >= 0 &&
	    gnutls_x509_trust_list_add_trust_mem(i->clients, &text, NULL, GNUTLS_X509_FMT_PEM, 0, 0) > 0)
		return 0;
	return err_set(e, ERR_INVALID, "the authorities for clients hold no certificate in PEM (-----BEGIN CERTIFICATE-----)");
}

struct identity *identity_new(const char *cert_pem, const char *key_pem, const char *client_ca_pem, struct err *e)
{
	if (tls_start(e) != 0)
		return NULL;
	struct identity *i = xcalloc(1, sizeof *i);
	i->references = 1;
	if (load_pair(i, cert_pem, key_pem, e) == 0 && (client_ca_pem == NULL || load_clients(i, client_ca_pem, e) == 0))
		return i;
	identity_free(i);
	return NULL;
}

struct identity *identity_renew(const struct identity *old, const char *cert_pem, const char *key_pem, struct err *e)
{
	return identity_new(cert_pem, key_pem, old->clients_pem, e);
}

struct identity *identity_ref(struct identity *i)
{
	i->references++;
	return i;
}

void identity_unref(struct identity *i)
{
	if (i != NULL && --i->references == 0)
		identity_free(i);
}

/* GnuTLS asks which certificate to show; libmicrohttpd has put its connection into the session. */
static int choose(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
	const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain, unsigned *chain_len,
	gnutls_privkey_t *key)
{
	(void)authorities, (void)authority_count, (void)algorithms, (void)algorithm_count;
	struct MHD_Connection *mhd = gnutls_session_get_ptr(session);
	struct connection *c = mhd != NULL ? connection_of(mhd) : NULL;
	if (c == NULL || c->identity == NULL)
		return -1;
	*chain = c->identity->chain;
	*chain_len = c->identity->chain_len;
	*key = c->identity->key;
	return 0;
}

void *identity_chooser(void)
{
	gnutls_certificate_retrieve_function2 *function = choose;
	void *value;
	memcpy(&value, &function, sizeof value); /* a function's address as libmicrohttpd's options carry it */
	return value;
}

/* --- clients --- */

static void read_name(gnutls_x509_crt_t first, char *name, size_t size)
{
	size_t len = size - 1;
	if (gnutls_x509_crt_get_dn_by_oid(first, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) < 0)
		len = 0;
	name[len] = '\0';
}

static bool is_trusted(const struct identity *i, gnutls_x509_crt_t *chain, unsigned len)
{
	unsigned status = 0;
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
	return gnutls_x509_trust_list_verify_crt2(i->clients, chain, len, &purpose, 1, 0, &status, NULL) >= 0 && status == 0;
}

void connection_ask_client(struct connection *c)
{
	if (c->client_asked || c->identity == NULL || c->identity->clients == NULL)
		return;
	c->client_asked = true;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t session = info != NULL ? info->tls_session : NULL;
	unsigned shown = 0, len = 0;
	const gnutls_datum_t *raw = session != NULL ? gnutls_certificate_get_peers(session, &shown) : NULL;
	gnutls_x509_crt_t chain[CHAIN_MAX];
	if (raw == NULL || shown == 0 || shown > CHAIN_MAX)
		return;
	for (; len < shown; len++) {
		if (gnutls_x509_crt_init(&chain[len]) < 0)
			break;
		if (gnutls_x509_crt_import(chain[len], &raw[len], GNUTLS_X509_FMT_DER) < 0) {
			gnutls_x509_crt_deinit(chain[len]);
			break;
		}
	}
	c->has_client = len == shown && is_trusted(c->identity, chain, len);
	if (c->has_client)
		read_name(chain[0], c->client, sizeof c->client);
	while (len > 0)
		gnutls_x509_crt_deinit(chain[--len]);
}
