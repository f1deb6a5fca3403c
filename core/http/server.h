/* The HTTP server side (health, metrics, control socket; webhooks later): libmicrohttpd on the
 * loop. HTTP/1.1, bounded: connections, header and body sizes, idle time. */
#ifndef MOONPHASE_HTTP_SERVER_H
#define MOONPHASE_HTTP_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

struct http_server;

/* One request, whole. Valid until http_reply; the handler may keep it and answer later. */
struct http_call {
	const char *method;
	const char *path;       /* decoded, without the query */
	const char *body;       /* NUL-terminated, "" if none */
	size_t body_len;
	void *internal;
};

struct http_server_options {
	const char *address;    /* "127.0.0.1:8080", ":8080", "[::1]:0"; port 0: any free one */
	const char *unix_path;  /* in place of address: a Unix socket, mode 0600, removed on close. A
	                         * stale socket (nobody answers) is replaced; a live one is an error. */
	const char *cert_pem, *key_pem; /* both: TLS */
	size_t body_max;        /* 0: 1 MiB; more is answered with 413 */
	unsigned connections_max; /* 0: 256 */
	unsigned idle_timeout_s;  /* 0: 30 */
	void (*on_call)(void *arg, struct http_call *c);
	void *arg;
};

struct http_server *http_server_open(struct loop *l, const struct http_server_options *o, struct err *e);
/* The address that it listens on ("127.0.0.1:43121"), for port 0. */
const char *http_server_address(const struct http_server *s);
/* Answer a call, exactly once. Body and content type are copied. */
void http_reply(struct http_call *c, int status, const char *content_type, const void *body, size_t len);
/* A query argument of the call (decoded) or NULL; a request header (case-insensitive) or NULL. */
const char *http_call_query(const struct http_call *c, const char *name);
const char *http_call_header(const struct http_call *c, const char *name);
/* Stop listening, answer what is open with 503, free. */
void http_server_close(struct http_server *s);

#endif
