/* What the files of the HTTP server share: server.c is the daemon on the loop, server_call.c takes calls and
 * answers them, server_stream.c answers piece by piece. */
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

struct http_server {
	struct loop *loop;
	struct http_server_options options;
	struct MHD_Daemon *daemon;
	struct listener listener;
	uv_poll_t poll;
	struct clock_timer timer;
	struct loop_task close;
	struct call *calls;
	char *trouble; /* what libmicrohttpd said while it started */
	bool running, again, closing; /* again: something wants libmicrohttpd to act once more */
};

/* server_call.c: libmicrohttpd's callbacks */
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
