/* The HTTP server: see server.h.
 *
 * libmicrohttpd runs without threads of its own: its epoll descriptor is polled by our loop, its
 * timeout is a timer of the loop's clock, and `run` lets it act. The hard part is answering later.
 * A call that its handler did not answer at once is suspended in libmicrohttpd; http_reply keeps
 * the answer and resumes it, and libmicrohttpd asks again. Between the two only the call's own
 * copies may be looked at by others, because the server may be closed meanwhile: then the client
 * gets a 503, and the call lives on as an orphan until its handler replies.
 *
 * Bodies are bounded twice: an announced length is refused before a byte is read, and what comes
 * in chunks is thrown away past the limit, and the connection with it past sixteen limits. */
#include "http/server.h"

#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "http/listen.h"

#define BODY_MAX (1u << 20)
#define CONNECTIONS_MAX 256
#define IDLE_TIMEOUT_S 30
#define CONNECTION_MEMORY (32u << 10) /* request line and headers: more gets 431 */
#define PATIENCE 16 /* bodies up to this many limits are read and thrown away */
#define CLOSING_RUNS 20

struct call {
	struct http_call http; /* first: a call is what its handler sees */
	struct http_server *server; /* NULL: an orphan */
	struct call *next, *previous;
	struct MHD_Connection *connection;
	struct MHD_Response *response;
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
	bool running, closing;
};

/* ---- answers ---- */

static struct MHD_Response *make_response(const char *type, const void *body, size_t len)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, (void *)(uintptr_t)(body != NULL ? body : ""),
		MHD_RESPMEM_MUST_COPY);
	if (r != NULL && type != NULL)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return r;
}

static enum MHD_Result answer_now(struct MHD_Connection *connection, unsigned status, const char *text)
{
	struct MHD_Response *r = make_response("text/plain; charset=utf-8", text, strlen(text));
	if (r == NULL)
		return MHD_NO;
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE");
	enum MHD_Result rc = MHD_queue_response(connection, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result queue(struct call *c)
{
	struct MHD_Response *r = c->response;
	c->response = NULL;
	if (r == NULL)
		return MHD_NO;
	enum MHD_Result rc = MHD_queue_response(c->connection, c->status, r);
	MHD_destroy_response(r);
	return rc;
}

static void leave_server(struct call *c)
{
	if (c->server == NULL)
		return;
	if (c->previous != NULL)
		c->previous->next = c->next;
	else
		c->server->calls = c->next;
	if (c->next != NULL)
		c->next->previous = c->previous;
	c->server = NULL;
	c->connection = NULL;
}

static void free_call(struct call *c)
{
	leave_server(c);
	if (c->response != NULL)
		MHD_destroy_response(c->response);
	buffer_deinit(&c->body);
	free(c->method);
	free(c->path);
	free(c);
}

static void resume(struct call *c)
{
	c->suspended = false;
	MHD_resume_connection(c->connection);
	clock_arm(loop_clock(c->server->loop), &c->server->timer, 0);
}

void http_reply(struct http_call *http, int status, const char *content_type, const void *body, size_t len)
{
	struct call *c = (struct call *)http;
	if (c->server == NULL) {
		free_call(c);
		return;
	}
	if (c->replied) {
		fprintf(stderr, "moonphase: a call of the HTTP server was answered twice\n");
		abort();
	}
	c->replied = true;
	c->status = (unsigned)status;
	c->response = make_response(content_type, body, len);
	if (c->suspended)
		resume(c);
}

/* ---- calls ---- */

static struct call *begin_call(struct http_server *s, struct MHD_Connection *connection, const char *url,
	const char *method)
{
	struct call *c = xcalloc(1, sizeof *c);
	c->server = s;
	c->connection = connection;
	c->method = xstrdup(method);
	c->path = xstrdup(url);
	buffer_init(&c->body, s->options.body_max);
	c->next = s->calls;
	if (c->next != NULL)
		c->next->previous = c;
	s->calls = c;
	return c;
}

static bool knows_method(const char *method)
{
	static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strcmp(method, known[i]) == 0)
			return true;
	return false;
}

static bool announces_too_much(const struct http_server *s, struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	return length != NULL && strtoull(length, NULL, 10) > s->options.body_max;
}

static enum MHD_Result take_body(struct call *c, const char *bytes, size_t len)
{
	if (!c->too_large && buffer_add(&c->body, bytes, len) == 0)
		return MHD_YES;
	c->too_large = true;
	buffer_deinit(&c->body);
	c->thrown_away += len;
	return c->thrown_away <= PATIENCE * c->server->options.body_max ? MHD_YES : MHD_NO;
}

static const char too_large_text[] = "the request's body is larger than this server reads\n";

/* The request is whole: to the handler, once. */
static enum MHD_Result tell(struct call *c)
{
	struct http_server *s = c->server;
	if (c->told && c->replied)
		return queue(c);
	if (c->told && !s->closing)
		return MHD_YES;
	if (c->too_large)
		return answer_now(c->connection, MHD_HTTP_CONTENT_TOO_LARGE, too_large_text);
	if (s->closing)
		return answer_now(c->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is shutting down\n");
	c->told = true;
	c->http = (struct http_call){.method = c->method, .path = c->path, .body = buffer_text(&c->body),
		.body_len = c->body.len};
	s->options.on_call(s->options.arg, &c->http);
	if (c->replied)
		return queue(c);
	c->suspended = true;
	MHD_suspend_connection(c->connection);
	return MHD_YES;
}

static enum MHD_Result on_request(void *server, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *bytes, size_t *len, void **call)
{
	(void)version;
	struct http_server *s = server;
	if (*call == NULL) {
		if (!knows_method(method))
			return answer_now(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this server does not know that method\n");
		if (announces_too_much(s, connection))
			return answer_now(connection, MHD_HTTP_CONTENT_TOO_LARGE, too_large_text);
		*call = begin_call(s, connection, url, method);
		return MHD_YES;
	}
	if (*len != 0) {
		size_t given = *len;
		*len = 0;
		return take_body(*call, bytes, given);
	}
	return tell(*call);
}

static void on_completed(void *server, struct MHD_Connection *connection, void **call,
	enum MHD_RequestTerminationCode why)
{
	(void)connection;
	(void)server;
	(void)why;
	struct call *c = *call;
	*call = NULL;
	if (c == NULL)
		return;
	if (c->told && !c->replied)
		leave_server(c); /* an orphan: its handler still means to answer */
	else
		free_call(c);
}

static const char *value_of(const struct http_call *http, enum MHD_ValueKind kind, const char *name)
{
	const struct call *c = (const struct call *)http;
	return c->server == NULL || c->replied ? NULL : MHD_lookup_connection_value(c->connection, kind, name);
}

const char *http_call_query(const struct http_call *c, const char *name)
{
	return value_of(c, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_call_header(const struct http_call *c, const char *name)
{
	return value_of(c, MHD_HEADER_KIND, name);
}

/* ---- the daemon on the loop ---- */

static void run(struct http_server *s)
{
	s->running = true;
	MHD_run(s->daemon);
	s->running = false;
	unsigned long long timeout_ms;
	if (MHD_get_timeout(s->daemon, &timeout_ms) == MHD_YES)
		clock_arm(loop_clock(s->loop), &s->timer, timeout_ms);
	else
		clock_disarm(loop_clock(s->loop), &s->timer);
}

static void on_time(struct clock_timer *t)
{
	run(t->data);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	run(handle->data);
}

static void on_log(void *server, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* What libmicrohttpd says while it starts is why it does not; later it is about peers. */
static void on_log(void *server, const char *format, va_list args)
{
	struct http_server *s = server;
	char text[256];
	vsnprintf(text, sizeof text, format, args);
	text[strcspn(text, "\n")] = '\0';
	if (s->daemon != NULL) {
		log_debug("HTTP server", "what", text, NULL);
		return;
	}
	free(s->trouble);
	s->trouble = xstrdup(text);
}

static int start_daemon(struct http_server *s, struct err *e)
{
	const struct http_server_options *o = &s->options;
	bool tls = o->cert_pem != NULL && o->key_pem != NULL;
	struct MHD_OptionItem secure[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)o->cert_pem},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)o->key_pem},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)"SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	ino_t socket_inode = s->listener.socket_inode;
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0u);
	s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, s, /* first: it hears of the others */
		MHD_OPTION_LISTEN_SOCKET, s->listener.fd,
		MHD_OPTION_CONNECTION_LIMIT, o->connections_max,
		MHD_OPTION_CONNECTION_TIMEOUT, o->idle_timeout_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
		MHD_OPTION_ARRAY, tls ? secure : none,
		MHD_OPTION_END);
	if (s->daemon != NULL)
		return 0;
	/* Some versions close the socket when they fail, some do not; the number may have a new
	 * owner by now. */
	struct stat st;
	if (fstat(s->listener.fd, &st) != 0 || st.st_ino != socket_inode)
		s->listener.fd = -1;
	return err_set(e, ERR_INVALID, "the HTTP server on %s cannot start: %s%s", s->listener.name,
		s->trouble != NULL ? s->trouble : "no reason was given", tls ? " (are certificate and key PEM, and a pair?)" : "");
}

static void run_close(struct loop_task *t)
{
	http_server_close(t->data);
}

static void stop_listening(struct http_server *s)
{
	if (s->listener.fd >= 0)
		close(s->listener.fd);
	s->listener.fd = -1;
	listen_deinit(&s->listener);
}

static void discard(struct http_server *s)
{
	stop_listening(s);
	free(s->trouble);
	free(s);
}

struct http_server *http_server_open(struct loop *l, const struct http_server_options *o, struct err *e)
{
	struct http_server *s = xcalloc(1, sizeof *s);
	s->loop = l;
	s->options = *o;
	s->options.body_max = o->body_max != 0 ? o->body_max : BODY_MAX;
	s->options.connections_max = o->connections_max != 0 ? o->connections_max : CONNECTIONS_MAX;
	s->options.idle_timeout_s = o->idle_timeout_s != 0 ? o->idle_timeout_s : IDLE_TIMEOUT_S;
	s->timer = (struct clock_timer){.fire = on_time, .data = s};
	s->close = (struct loop_task){.run = run_close, .data = s};
	int rc = o->unix_path != NULL ? listen_unix(&s->listener, o->unix_path, e) :
		listen_tcp(&s->listener, o->address, e);
	if (rc == 0)
		rc = start_daemon(s, e);
	if (rc != 0) {
		discard(s);
		return NULL;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_init(loop_uv(l), &s->poll, info->epoll_fd);
	s->poll.data = s;
	uv_poll_start(&s->poll, UV_READABLE, on_ready);
	clock_arm(loop_clock(l), &s->timer, 0);
	return s;
}

const char *http_server_address(const struct http_server *s)
{
	return s->listener.name;
}

static void on_closed(uv_handle_t *handle)
{
	discard(handle->data);
}

/* What is open hears 503: resumed calls are asked again, and `tell` sees that we are closing. */
static void dismiss_calls(struct http_server *s)
{
	for (struct call *c = s->calls; c != NULL; c = c->next)
		if (c->suspended)
			resume(c);
	for (int i = 0; i < CLOSING_RUNS && s->calls != NULL; i++)
		MHD_run(s->daemon);
}

void http_server_close(struct http_server *s)
{
	if (s == NULL)
		return;
	s->closing = true;
	if (s->running) { /* a handler asks: libmicrohttpd is on the stack */
		loop_defer(s->loop, &s->close);
		return;
	}
	loop_undefer(s->loop, &s->close);
	MHD_quiesce_daemon(s->daemon); /* gives the socket back */
	stop_listening(s);
	dismiss_calls(s);
	clock_disarm(loop_clock(s->loop), &s->timer);
	uv_close((uv_handle_t *)&s->poll, on_closed);
	MHD_stop_daemon(s->daemon);
}
