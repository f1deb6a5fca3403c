/* The HTTP client: libcurl's multi interface on the loop (rules and traps: style page 4.4).
 * HTTP/1.1, keep-alive connections shared by all exchanges with the same target and TLS. */
#ifndef MOONPHASE_HTTP_CLIENT_H
#define MOONPHASE_HTTP_CLIENT_H

#include <stddef.h>

#include "http/transport.h"
#include "loop/loop.h"

struct http_client;

struct http_client *http_client_new(struct loop *l);
/* The transport of this client; lives as long as it. */
struct transport *http_client_transport(struct http_client *c);
/* Cancels what is under way (their on_done is not called) and frees the client. Not from inside a
 * callback of an exchange (that aborts): defer it. */
void http_client_free(struct http_client *c);
/* Exchanges under way. */
size_t http_client_active(const struct http_client *c);
/* Use no connection that exists now for anything new, e.g. after a certificate changed: idle ones
 * are closed, the others when their exchanges end. */
void http_client_forget_connections(struct http_client *c);

#endif
