/* Answers in pieces: see server.h.
 *
 * libmicrohttpd asks for the next bytes whenever its socket takes some. While there are none its
 * connection is suspended, because it would ask again at once otherwise; a write resumes it. The
 * price is that nobody looks at a suspended connection: a peer that leaves a quiet stream would be
 * noticed at the next write, which may be hours away. So the socket is polled here for nothing but
 * the peer's end (a half-closed connection counts as left, as it does for Go's servers).
 *
 * A peer that reads too slowly stands in libmicrohttpd's way: the connection is neither suspended
 * nor asked. An owner that can wait writes when on_drain says that all is sent. What another's peer
 * does not read piles up here to a bound, and then the socket is shut down, which libmicrohttpd
 * notices by itself. It is libmicrohttpd too that closes the socket, so the poll must end before:
 * in call_on_completed, and the memory goes when the loop has let go of it. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/xalloc.h"
#include "http/server_internal.h"

#define BACKLOG_MAX (4u << 20)
#define BLOCK_SIZE (32u << 10)
#define TIDY_AT (64u << 10) /* sent bytes stay in front of the others until moving those is worth it */

struct http_stream {
	struct http_stream_options options; /* on_end NULL: nobody wants to hear */
	struct call *call; /* NULL: the exchange is over */
	struct buffer waiting;
	size_t sent; /* of waiting */
	uv_poll_t end_of_peer;
	int fd;
	enum http_stream_end why;
	bool complete, broken, starved;
};

static size_t unsent(const struct http_stream *s)
{
	return s->waiting.len - s->sent;
}

/* libmicrohttpd asks for at most `max` bytes. */
static ssize_t give(void *stream, uint64_t position, char *to, size_t max)
{
	(void)position;
	struct http_stream *s = stream;
	if (s->broken)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	size_t len = unsent(s) < max ? unsent(s) : max;
	if (len == 0) {
		if (s->complete)
			return MHD_CONTENT_READER_END_OF_STREAM;
		s->starved = true;
		call_suspend(s->call);
		if (s->options.on_drain != NULL)
			s->options.on_drain(s->options.arg);
		return 0;
	}
	memcpy(to, s->waiting.data + s->sent, len);
	s->sent += len;
	if (s->sent == s->waiting.len) {
		buffer_clear(&s->waiting);
		s->sent = 0;
	} else if (s->sent >= TIDY_AT && s->sent >= unsent(s)) {
		buffer_consume(&s->waiting, s->sent);
		s->sent = 0;
	}
	return (ssize_t)len;
}

static void feed(struct http_stream *s)
{
	if (!s->starved)
		return;
	s->starved = false;
	call_resume(s->call);
}

/* Nothing more is sent; libmicrohttpd hears of it soon, whatever it is waiting for. */
static void cut(struct http_stream *s, enum http_stream_end why)
{
	if (s->broken)
		return;
	s->broken = true;
	s->why = why;
	shutdown(s->fd, SHUT_RDWR);
	feed(s);
}

static void on_end_of_peer(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	uv_poll_stop(handle);
	cut(handle->data, HTTP_STREAM_GONE);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct http_stream *s = handle->data;
	if (s->options.on_end != NULL)
		s->options.on_end(s->options.arg, s->why);
	free(s);
}

struct http_stream *http_stream_begin(struct http_call *http, const struct http_stream_options *o)
{
	struct call *c = (struct call *)http;
	if (c->server == NULL) {
		call_free(c);
		return NULL;
	}
	struct http_stream *s = xcalloc(1, sizeof *s);
	s->options = *o;
	s->call = c;
	s->why = HTTP_STREAM_GONE;
	s->options.backlog_max = o->backlog_max != 0 ? o->backlog_max : BACKLOG_MAX;
	buffer_init(&s->waiting, 2 * s->options.backlog_max + TIDY_AT);
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, give, s, NULL);
	if (r != NULL && o->content_type != NULL)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, o->content_type);
	MHD_set_connection_option(c->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	s->fd = MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	if (uv_poll_init(loop_uv(c->server->loop), &s->end_of_peer, s->fd) != 0)
		abort(); /* a connected socket that nobody else polls on this loop */
	s->end_of_peer.data = s;
	uv_poll_start(&s->end_of_peer, UV_DISCONNECT, on_end_of_peer);
	c->stream = s;
	call_answer(c, o->status, r);
	return s;
}

int http_stream_write(struct http_stream *s, const void *bytes, size_t len)
{
	if (s->broken || s->complete || s->call == NULL)
		return ERR_CANCELLED;
	if (len == 0)
		return 0;
	if (len > s->options.backlog_max - unsent(s) || buffer_add(&s->waiting, bytes, len) != 0) {
		cut(s, HTTP_STREAM_SLOW);
		return ERR_TOO_LARGE;
	}
	feed(s);
	return 0;
}

void http_stream_finish(struct http_stream *s)
{
	s->options.on_end = NULL;
	s->complete = true;
	feed(s);
}

void stream_dismiss(struct http_stream *s)
{
	s->why = HTTP_STREAM_CLOSED;
	s->complete = true;
	feed(s);
}

void stream_completed(struct http_stream *s)
{
	s->call = NULL;
	s->starved = false;
	buffer_deinit(&s->waiting);
	uv_close((uv_handle_t *)&s->end_of_peer, on_poll_closed);
}
