/* The HTTP server side (health, metrics, control socket; webhooks; the simulated cluster): libmicrohttpd
 * on the loop. HTTP/1.1, bounded: connections, header and body sizes, idle time, what a slow reader may
 * leave unread.
 *
 * A call is answered exactly once: whole, by http_reply, or piece by piece, by http_stream_begin. */
#ifndef MOONPHASE_HTTP_SERVER_H
#define MOONPHASE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

struct http_server;
struct http_stream;

/* One request, whole. Valid until it is answered; the handler may keep it and answer later. */
struct http_call {
	const char *method;
	const char *path;       /* as it was sent, escapes and all, without the query */
	const char *body;       /* NUL-terminated, "" if none */
	size_t body_len;
	void *internal;
};

struct http_server_options {
	const char *address;    /* "127.0.0.1:8080", ":8080", "[::1]:0"; port 0: any free one */
	const char *unix_path;  /* in place of address: a Unix socket, mode 0600, removed on close. A
	                         * stale socket (nobody answers) is replaced; a live one is an error. */
	const char *cert_pem, *key_pem; /* both: TLS */
	const char *client_ca_pem; /* with TLS: clients are asked for a certificate, and one that these authorities signed is told by
	                            * http_call_client; others may still call. NULL: nobody is asked */
	size_t body_max;        /* 0: 1 MiB; more is answered with 413 */
	const char *too_large;  /* the JSON body of that 413, copied; NULL: a line of text */
	bool any_method;        /* the handler gets calls of every method; else unknown ones are answered with 405 */
	unsigned connections_max; /* 0: 256 */
	unsigned per_address_max; /* connections from one address; 0: as many as all */
	unsigned idle_timeout_s;  /* 0: 30; never ends a stream */
	unsigned request_timeout_s; /* how long a client may take to send one request, however it drips; 0: as long as it likes */
	void (*on_call)(void *arg, struct http_call *c);
	void *arg;
};

struct http_server *http_server_open(struct loop *l, const struct http_server_options *o, struct err *e);
/* The address that it listens on ("127.0.0.1:43121"), for port 0. */
const char *http_server_address(const struct http_server *s);
/* Another certificate, key and authorities for clients (NULL: those that were given before), from the next handshake on;
 * connections that are open go on. ERR_INVALID, and nothing has changed, if they are no pair in PEM. For servers with TLS. */
int http_server_set_certificate(struct http_server *s, const char *cert_pem, const char *key_pem, const char *client_ca_pem,
	struct err *e);
/* Answer a call, exactly once. Body and content type are copied. */
void http_reply(struct http_call *c, int status, const char *content_type, const void *body, size_t len);
/* One more header of the answer, before it is given. Texts that are no header are left out. */
void http_call_add_header(struct http_call *c, const char *name, const char *value);
/* A query argument of the call (decoded) or NULL; a request header (case-insensitive) or NULL. */
const char *http_call_query(const struct http_call *c, const char *name);
const char *http_call_header(const struct http_call *c, const char *name);
/* The address that the call came from, without the port ("127.0.0.1"; "unix" for a Unix socket). */
const char *http_call_peer(const struct http_call *c);
/* The common name ("" if it has none) of the client's certificate, if one of client_ca_pem's authorities signed it for clients and it
 * is valid now; else NULL. Both texts live as long as the connection. */
const char *http_call_client(const struct http_call *c);
/* Every query argument, in the order of the request; an argument without "=" has the value "". A value may hold a NUL (%00). */
void http_call_each_query(const struct http_call *c,
	void (*visit)(void *arg, const char *name, const char *value, size_t value_len), void *arg);
/* Stop listening, answer what is open with 503, end the streams, free. */
void http_server_close(struct http_server *s);

/* Why a stream ended by itself. */
enum http_stream_end {
	HTTP_STREAM_GONE,  /* the peer closed, or the connection broke */
	HTTP_STREAM_SLOW,  /* the peer left more than the backlog unread */
	HTTP_STREAM_CLOSED /* the server was closed */
};

struct http_stream_options {
	int status;
	const char *content_type; /* copied */
	size_t backlog_max;       /* bytes that wait to be sent; 0: 4 MiB */
	/* Exactly once, from the loop and never from inside a function of this header, unless http_stream_finish came
	 * first. The stream is gone afterwards. */
	void (*on_end)(void *arg, enum http_stream_end why);
	/* NULL, or: nothing waits any more (again), from the loop, until the stream ends or is finished. Whoever has more than
	 * the backlog to say says it bit by bit. May write and finish. */
	void (*on_drain)(void *arg);
	void *arg;
};

/* Answer a call by a stream, in chunks (to a peer that speaks HTTP/1.0: until the connection closes). The call is the
 * stream's from here on. NULL: nobody waits for the answer any more; on_end is not called then. */
struct http_stream *http_stream_begin(struct http_call *c, const struct http_stream_options *o);
/* Send these bytes (copied) as soon as the peer takes them. ERR_TOO_LARGE: the peer is too slow, the stream is being
 * ended; ERR_CANCELLED: it ends already. on_end follows in both cases. */
int http_stream_write(struct http_stream *s, const void *bytes, size_t len);
/* The answer is complete once everything written is sent. The stream is no longer the caller's. */
void http_stream_finish(struct http_stream *s);

#endif
