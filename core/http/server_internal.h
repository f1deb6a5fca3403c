/* What the files of the HTTP server share: server.c is the daemon on the loop, server_connection.c knows who is connected,
 * server_tls.c certificates, server_call.c takes calls and answers them, server_stream.c answers piece by piece. */
#ifndef MOONPHASE_HTTP_SERVER_INTERNAL_H
#define MOONPHASE_HTTP_SERVER_INTERNAL_H

#include <microhttpd.h>
#include <stdbool.h>
#include <uv.h>

#include "base/buffer.h"
#include "http/listen.h"
#include "http/server.h"

struct call_header {
	struct call_header *next;
	const char *value; /* behind the name */
	char name[];
};

struct call {
	struct http_call http; /* first: a call is what its handler sees */
	struct http_server *server; /* NULL: an orphan */
	struct call *next, *previous;
	struct MHD_Connection *connection;
	struct MHD_Response *response;
	struct call_header *headers; /* of the answer, the last first */
	struct http_stream *stream; /* NULL: answered whole, or not yet */
	unsigned status;
	char *method, *path;
	struct buffer body;
	size_t thrown_away;
	bool too_large, told, replied, suspended;
};

/* server_tls_start.c: set GnuTLS up, once; before anything else of it is called. ERR_IO when it cannot be. */
int tls_start(struct err *e);

/* server_tls.c: what the server shows of itself and whom it trusts; shared by the server and the connections that began with it. */
struct identity;
struct identity *identity_new(const char *cert_pem, const char *key_pem, const char *client_ca_pem, struct err *e);
struct identity *identity_ref(struct identity *i);
void identity_unref(struct identity *i);
/* A new one with this certificate and the authorities for clients of `old`. */
struct identity *identity_renew(const struct identity *old, const char *cert_pem, const char *key_pem, struct err *e);
/* libmicrohttpd's option and the value that goes with it. */
void *identity_chooser(void);

/* server_connection.c */
struct connection {
	struct connection *next, *previous;
	struct http_server *server;
	struct MHD_Connection *mhd;
	struct identity *identity; /* NULL: no TLS */
	uint64_t since_ms; /* of its start, or of the end of its last call */
	unsigned calls;    /* that have ended */
	bool busy;         /* a call is with its handler, or being answered */
	bool client_asked; /* `client` has been looked up */
	bool has_client;
	char peer[64], client[65];
};
void connection_notify(void *server, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what);
struct connection *connection_of(struct MHD_Connection *mhd);
/* A call on it has ended; NULL is allowed. */
void connection_done(struct connection *c);
/* Shut down those that take too long to send a request. */
void connections_sweep(struct http_server *s, uint64_t now_ms);
/* server_tls.c: look up the client's certificate. */
void connection_ask_client(struct connection *c);

struct http_server {
	struct loop *loop;
	struct http_server_options options;
	struct MHD_Daemon *daemon;
	struct listener listener;
	uv_poll_t poll;
	struct clock_timer timer, sweep;
	struct loop_task close;
	struct identity *identity; /* NULL: no TLS */
	struct connection *connections;
	struct call *calls;
	char *too_large; /* options.too_large */
	char *trouble; /* what libmicrohttpd said while it started */
	bool running, again, closing; /* again: something wants libmicrohttpd to act once more */
};

/* server_call.c: libmicrohttpd's callbacks */
void *call_on_target(void *server, const char *target, struct MHD_Connection *connection);
enum MHD_Result call_on_request(void *server, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *bytes, size_t *len, void **call);
void call_on_completed(void *server, struct MHD_Connection *connection, void **call,
	enum MHD_RequestTerminationCode why);
/* Let libmicrohttpd go on with a call that waits, on the next turn. */
void call_resume(struct call *c);
/* The other way: it is not asked again until call_resume. */
void call_suspend(struct call *c);
/* Answer with this response (taken over), exactly once. */
void call_answer(struct call *c, int status, struct MHD_Response *response);
void call_free(struct call *c);

/* server_stream.c */
/* libmicrohttpd has ended the exchange; the stream's call goes now. */
void stream_completed(struct http_stream *s);
/* The server closes: what is written is still sent, then the answer is complete. */
void stream_dismiss(struct http_stream *s);

#endif
