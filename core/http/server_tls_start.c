/* GnuTLS is set up when the first server speaks TLS, and not when the process is loaded.
 *
 * It comes with libmicrohttpd, and both set it up as they are loaded: 0.14 MB of ASN.1 trees, and 0.7 MB of code that is read in
 * for it, in an operator that may never serve TLS. GnuTLS lets a program refuse its own share of that (GNUTLS_SKIP_GLOBAL_INIT in
 * gnutls.h). libmicrohttpd calls gnutls_global_init() by that name, and a program's function goes before a library's: so the
 * one here answers, which does nothing until tls_start() has asked for it. */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "http/server_internal.h"

static bool is_wanted;

GNUTLS_SKIP_GLOBAL_INIT

int gnutls_global_init(void)
{
	if (!is_wanted)
		return GNUTLS_E_SUCCESS;
	int (*real)(void) = NULL;
	void *found = dlsym(RTLD_NEXT, "gnutls_global_init");
	memcpy(&real, &found, sizeof real);
	return real != NULL ? real() : GNUTLS_E_INTERNAL_ERROR;
}

int tls_start(struct err *e)
{
	if (is_wanted)
		return 0;
	is_wanted = true;
	int rc = gnutls_global_init();
	is_wanted = rc >= 0;
	return rc >= 0 ? 0 : err_set(e, ERR_IO, "TLS for servers cannot be set up: %s", gnutls_strerror(rc));
}
