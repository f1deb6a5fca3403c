/* Calls: from libmicrohttpd's callbacks to the handler, and the answer back.
 *
 * The hard part is answering later. A call that its handler did not answer at once is suspended in
 * libmicrohttpd; http_reply keeps the answer and resumes it, and libmicrohttpd asks again. Between
 * the two only the call's own copies may be looked at by others, because the server may be closed
 * meanwhile: then the client gets a 503, and the call lives on as an orphan until its handler
 * replies.
 *
 * Bodies are bounded. One that is too large is read and thrown away up to sixteen limits, because a
 * client hears an answer for certain only after it has sent everything: a socket that is closed on
 * unread bytes is reset. An announced length beyond that is refused before a byte is read, and so
 * is any that is too large from a client who asks first (Expect: 100-continue). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "http/server_internal.h"

#define TEXT "text/plain; charset=utf-8"
#define PATIENCE 16 /* bodies up to this many limits are read and thrown away */

static struct MHD_Response *make_response(const char *type, const void *body, size_t len)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(len, (void *)(uintptr_t)(body != NULL ? body : ""),
		MHD_RESPMEM_MUST_COPY);
	if (r != NULL && type != NULL)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	return r;
}

static enum MHD_Result answer_now(struct MHD_Connection *connection, unsigned status, const char *type, const char *text)
{
	struct MHD_Response *r = make_response(type, text, strlen(text));
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

void call_free(struct call *c)
{
	leave_server(c);
	if (c->response != NULL)
		MHD_destroy_response(c->response);
	for (struct call_header *h = c->headers; h != NULL; h = c->headers) {
		c->headers = h->next;
		free(h);
	}
	buffer_deinit(&c->body);
	free(c->method);
	free(c->path);
	free(c);
}

void call_resume(struct call *c)
{
	c->suspended = false;
	MHD_resume_connection(c->connection);
	c->server->again = true;
	if (!c->server->running)
		clock_arm(loop_clock(c->server->loop), &c->server->timer, 0);
}

void call_suspend(struct call *c)
{
	c->suspended = true;
	MHD_suspend_connection(c->connection);
}

void call_answer(struct call *c, int status, struct MHD_Response *response)
{
	if (c->replied) {
		fprintf(stderr, "moonphase: a call of the HTTP server was answered twice\n");
		abort();
	}
	c->replied = true;
	c->status = (unsigned)status;
	c->response = response;
	for (const struct call_header *h = c->headers; h != NULL && response != NULL; h = h->next)
		MHD_add_response_header(response, h->name, h->value); /* refuses line breaks and empty texts */
	if (c->suspended)
		call_resume(c);
}

void http_call_add_header(struct http_call *http, const char *name, const char *value)
{
	struct call *c = (struct call *)http;
	size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;
	struct call_header *h = xmalloc(sizeof *h + name_size + value_size);
	memcpy(h->name, name, name_size);
	h->value = memcpy(h->name + name_size, value, value_size);
	h->next = c->headers;
	c->headers = h;
}

void http_reply(struct http_call *http, int status, const char *content_type, const void *body, size_t len)
{
	struct call *c = (struct call *)http;
	if (c->server == NULL) {
		call_free(c);
		return;
	}
	call_answer(c, status, make_response(content_type, body, len));
}

/* The path of a request's target: of a whole URL (RFC 9112, 3.2.2) what follows the host. */
static char *path_of(const char *target)
{
	const char *authority = strstr(target, "://");
	if (target[0] != '/' && authority != NULL)
		target = authority + 3 + strcspn(authority + 3, "/?");
	size_t len = strcspn(target, "?");
	return len != 0 ? xmemdup0(target, len) : xstrdup("/");
}

/* Is each % followed by two hexadecimal digits? (RFC 3986, 2.1) */
static bool is_escaped_well(const char *path)
{
	for (const char *p = strchr(path, '%'); p != NULL; p = strchr(p + 1, '%'))
		if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
			return false;
	return true;
}

/* The call begins where libmicrohttpd shows the target as it was sent: what it decodes later ends at a %00. */
void *call_on_target(void *server, const char *target, struct MHD_Connection *connection)
{
	struct http_server *s = server;
	struct call *c = xcalloc(1, sizeof *c);
	c->server = s;
	c->connection = connection;
	c->path = path_of(target);
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

/* What the client says about the length of its body, 0 if nothing. */
static unsigned long long announced(struct MHD_Connection *connection)
{
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
	return length != NULL ? strtoull(length, NULL, 10) : 0;
}

static bool is_too_much(const struct http_server *s, struct MHD_Connection *connection, unsigned long long length)
{
	unsigned long long most = s->options.body_max;
	return length > most && (length > PATIENCE * most ||
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_EXPECT) != NULL);
}

static enum MHD_Result answer_too_large(const struct http_server *s, struct MHD_Connection *connection)
{
	const char *body = s->options.too_large;
	if (body == NULL)
		return answer_now(connection, MHD_HTTP_CONTENT_TOO_LARGE, TEXT,
			"the request's body is larger than this server reads\n");
	return answer_now(connection, MHD_HTTP_CONTENT_TOO_LARGE, "application/json", body);
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

/* The request is whole: to the handler, once. */
static enum MHD_Result tell(struct call *c)
{
	struct http_server *s = c->server;
	if (c->told && c->replied)
		return queue(c);
	if (c->told && !s->closing)
		return MHD_YES;
	if (c->too_large)
		return answer_too_large(s, c->connection);
	if (s->closing)
		return answer_now(c->connection, MHD_HTTP_SERVICE_UNAVAILABLE, TEXT, "the server is shutting down\n");
	c->told = true;
	connection_of(c->connection)->busy = true;
	c->http = (struct http_call){.method = c->method, .path = c->path, .body = buffer_text(&c->body),
		.body_len = c->body.len};
	s->options.on_call(s->options.arg, &c->http);
	if (c->replied)
		return queue(c);
	call_suspend(c);
	return MHD_YES;
}

enum MHD_Result call_on_request(void *server, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *bytes, size_t *len, void **call)
{
	(void)url;
	(void)version;
	struct http_server *s = server;
	struct call *c = *call;
	if (c->method == NULL) {
		if (!s->options.any_method && !knows_method(method))
			return answer_now(connection, MHD_HTTP_METHOD_NOT_ALLOWED, TEXT,
				"this server does not know that method\n");
		if (!is_escaped_well(c->path))
			return answer_now(connection, MHD_HTTP_BAD_REQUEST, TEXT, "400 Bad Request");
		if (is_too_much(s, connection, announced(connection)))
			return answer_too_large(s, connection);
		c->method = xstrdup(method);
		return MHD_YES;
	}
	if (*len != 0) {
		size_t given = *len;
		*len = 0;
		return take_body(c, bytes, given);
	}
	return tell(c);
}

void call_on_completed(void *server, struct MHD_Connection *connection, void **call,
	enum MHD_RequestTerminationCode why)
{
	(void)server;
	(void)why;
	struct call *c = *call;
	*call = NULL;
	connection_done(connection_of(connection));
	if (c == NULL)
		return;
	if (c->stream != NULL)
		stream_completed(c->stream);
	if (c->told && !c->replied)
		leave_server(c); /* an orphan: its handler still means to answer */
	else
		call_free(c);
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

const char *http_call_peer(const struct http_call *http)
{
	const struct call *c = (const struct call *)http;
	return c->server == NULL || c->replied ? "" : connection_of(c->connection)->peer;
}

const char *http_call_client(const struct http_call *http)
{
	const struct call *c = (const struct call *)http;
	if (c->server == NULL || c->replied)
		return NULL;
	struct connection *connection = connection_of(c->connection);
	connection_ask_client(connection);
	return connection->has_client ? connection->client : NULL;
}

struct visitor {
	void (*visit)(void *arg, const char *name, const char *value, size_t value_len);
	void *arg;
};

static enum MHD_Result visit_query(void *visitor, enum MHD_ValueKind kind, const char *name, size_t name_len,
	const char *value, size_t value_len)
{
	const struct visitor *v = visitor;
	(void)kind;
	(void)name_len;
	v->visit(v->arg, name, value != NULL ? value : "", value_len);
	return MHD_YES;
}

void http_call_each_query(const struct http_call *http,
	void (*visit)(void *arg, const char *name, const char *value, size_t value_len), void *arg)
{
	const struct call *c = (const struct call *)http;
	struct visitor v = {visit, arg};
	if (c->server != NULL && !c->replied)
		MHD_get_connection_values_n(c->connection, MHD_GET_ARGUMENT_KIND, visit_query, &v);
}
