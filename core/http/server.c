/* The HTTP server: see server.h; this file is the daemon, from opening to closing.
 *
 * libmicrohttpd runs without threads of its own: its epoll descriptor is polled by our loop, its
 * timeout is a timer of the loop's clock, and `run` lets it act. It must not be asked to act from
 * inside itself, and what happens in its callbacks (a handler that closes the server, a write that
 * wakes another connection) waits for the turn's end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "http/server_internal.h"

#define BODY_MAX (1u << 20)
#define CONNECTIONS_MAX 256
#define IDLE_TIMEOUT_S 30
#define CONNECTION_MEMORY (32u << 10) /* request line and headers: more gets 431 */
#define CLOSING_RUNS 20
#define SWEEP_MS 2000

static void run(struct http_server *s)
{
	s->running = true;
	s->again = false;
	MHD_run(s->daemon);
	s->running = false;
	unsigned long long timeout_ms;
	if (s->again)
		clock_arm(loop_clock(s->loop), &s->timer, 0);
	else if (MHD_get_timeout(s->daemon, &timeout_ms) == MHD_YES)
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
	bool tls = s->identity != NULL;
	struct MHD_OptionItem secure[] = {
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, identity_chooser()},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)"SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
		/* with it clients are asked for a certificate; who is trusted is server_tls.c's */
		{o->client_ca_pem != NULL ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, (void *)(uintptr_t)o->client_ca_pem},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
	ino_t socket_inode = s->listener.socket_inode;
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0u);
	s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, call_on_request, s,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, s, /* first: it hears of the others */
		MHD_OPTION_LISTEN_SOCKET, s->listener.fd,
		MHD_OPTION_CONNECTION_LIMIT, o->connections_max,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, o->per_address_max,
		MHD_OPTION_CONNECTION_TIMEOUT, o->idle_timeout_s,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
		MHD_OPTION_URI_LOG_CALLBACK, call_on_target, s,
		MHD_OPTION_NOTIFY_COMPLETED, call_on_completed, s,
		MHD_OPTION_NOTIFY_CONNECTION, connection_notify, s,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
		MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_ARRAY, tls ? secure : none,
		MHD_OPTION_END);
	if (s->daemon != NULL)
		return 0;
	/* Some versions close the socket when they fail, some do not; the number may have a new
	 * owner by now. */
	struct stat st;
	if (fstat(s->listener.fd, &st) != 0 || st.st_ino != socket_inode)
		s->listener.fd = -1;
	return err_set(e, ERR_INVALID, "the HTTP server on %s cannot start: %s", s->listener.name,
		s->trouble != NULL ? s->trouble : "no reason was given");
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
	identity_unref(s->identity);
	free(s->trouble);
	free(s->too_large);
	free(s);
}

static void on_sweep(struct clock_timer *t)
{
	struct http_server *s = t->data;
	connections_sweep(s, clock_now_ms(loop_clock(s->loop)));
	clock_arm(loop_clock(s->loop), &s->sweep, SWEEP_MS);
}

struct http_server *http_server_open(struct loop *l, const struct http_server_options *o, struct err *e)
{
	struct http_server *s = xcalloc(1, sizeof *s);
	s->loop = l;
	s->options = *o;
	s->too_large = o->too_large != NULL ? xstrdup(o->too_large) : NULL;
	s->options.too_large = s->too_large;
	s->options.body_max = o->body_max != 0 ? o->body_max : BODY_MAX;
	s->options.connections_max = o->connections_max != 0 ? o->connections_max : CONNECTIONS_MAX;
	s->options.idle_timeout_s = o->idle_timeout_s != 0 ? o->idle_timeout_s : IDLE_TIMEOUT_S;
	s->timer = (struct clock_timer){.fire = on_time, .data = s};
	s->sweep = (struct clock_timer){.fire = on_sweep, .data = s};
	s->close = (struct loop_task){.run = run_close, .data = s};
	int rc = o->unix_path != NULL ? listen_unix(&s->listener, o->unix_path, e) :
		listen_tcp(&s->listener, o->address, e);
	if (rc == 0 && o->cert_pem != NULL && o->key_pem != NULL) {
		s->identity = identity_new(o->cert_pem, o->key_pem, o->client_ca_pem, e);
		if (s->identity == NULL)
			rc = err_prefix(e, "the HTTP server on %s cannot start", s->listener.name);
	}
	if (rc == 0)
		rc = start_daemon(s, e);
	/* copied or parsed by now */
	s->options.cert_pem = s->options.key_pem = s->options.client_ca_pem = NULL;
	if (rc != 0) {
		discard(s);
		return NULL;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_init(loop_uv(l), &s->poll, info->epoll_fd);
	s->poll.data = s;
	uv_poll_start(&s->poll, UV_READABLE, on_ready);
	clock_arm(loop_clock(l), &s->timer, 0);
	if (s->options.request_timeout_s != 0)
		clock_arm(loop_clock(l), &s->sweep, SWEEP_MS);
	return s;
}

int http_server_set_certificate(struct http_server *s, const char *cert_pem, const char *key_pem, const char *client_ca_pem,
	struct err *e)
{
	if (s->identity == NULL)
		return err_set(e, ERR_INVALID, "the server on %s was opened without TLS: it takes no certificate", s->listener.name);
	struct identity *new = client_ca_pem != NULL ? identity_new(cert_pem, key_pem, client_ca_pem, e) :
		identity_renew(s->identity, cert_pem, key_pem, e);
	if (new == NULL)
		return ERR_INVALID;
	identity_unref(s->identity);
	s->identity = new;
	return 0;
}

const char *http_server_address(const struct http_server *s)
{
	return s->listener.name;
}

static void on_closed(uv_handle_t *handle)
{
	discard(handle->data);
}

/* What is open hears 503: resumed calls are asked again, and hear that we are closing. Streams end. */
static void dismiss_calls(struct http_server *s)
{
	for (struct call *c = s->calls; c != NULL; c = c->next)
		if (c->stream != NULL)
			stream_dismiss(c->stream);
		else if (c->suspended)
			call_resume(c);
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
	clock_disarm(loop_clock(s->loop), &s->sweep);
	uv_close((uv_handle_t *)&s->poll, on_closed);
	MHD_stop_daemon(s->daemon);
}
