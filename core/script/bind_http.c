/* http: calls to any server. (The cluster is bind_kube.c's; http.serve is in bind_serve.c.) */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "http/transport.h"
#include "script/bind.h"
#include "script/task.h"

#define ANSWER_MAX (64u << 20) /* unless the caller says less (`most`) */

/* The transport reads it until the exchange is over; after a cancel that is the end of the turn. */
struct tls_block {
	struct http_tls tls;
	struct loop_task release;
	size_t size;
	char texts[]; /* the CA's, the server's name, the client's certificate and key */
};

struct request {
	struct host_wait wait;
	struct host *host;
	struct http_exchange *exchange; /* NULL when it is over */
	struct tls_block *tls;
	struct buffer body;
	char content_type[128];
	struct http_result result;
};

static void wipe_block(struct tls_block *b)
{
	if (b)
		explicit_bzero(b->texts, b->size); /* it may hold a key */
	free(b);
}

static void free_block(struct loop_task *t)
{
	wipe_block(t->data);
}

static const char *keep(struct tls_block *b, const char *text)
{
	size_t size = text ? strlen(text) + 1 : 0;
	b->size += size;
	return text ? memcpy(b->texts + b->size - size, text, size) : NULL;
}

static size_t size_of(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static struct tls_block *new_block(const struct http_tls *tls)
{
	struct tls_block *b = xcalloc(1, sizeof *b + size_of(tls->ca_pem) + size_of(tls->server_name) + size_of(tls->cert_pem) +
		size_of(tls->key_pem));
	b->tls.ca_pem = keep(b, tls->ca_pem);
	b->tls.server_name = keep(b, tls->server_name);
	b->tls.cert_pem = keep(b, tls->cert_pem);
	b->tls.key_pem = keep(b, tls->key_pem);
	b->tls.insecure = tls->insecure;
	b->release = (struct loop_task){.run = free_block, .data = b};
	return b;
}

static void request_disarm(struct host_wait *w)
{
	struct request *r = (struct request *)w;
	if (!r->exchange)
		return;
	r->host->transport->cancel(r->host->transport, r->exchange);
	r->exchange = NULL;
	loop_defer(r->host->loop, &r->tls->release);
	r->tls = NULL;
}

static void request_release(struct host_wait *w)
{
	struct request *r = (struct request *)w;
	buffer_deinit(&r->body);
	wipe_block(r->tls);
	r->tls = NULL;
}

static int request_answer(lua_State *L, struct host_wait *w)
{
	struct request *r = (struct request *)w;
	if (r->result.err.code != 0) {
		bind_fail(L, &r->result.err);
		lua_pushstring(L, err_name(r->result.err.code));
		return 3;
	}
	lua_createtable(L, 0, 3);
	set_integer(L, "status", r->result.status);
	lua_pushlstring(L, buffer_text(&r->body), r->body.len);
	lua_setfield(L, -2, "body");
	set_text(L, "content_type", r->content_type);
	return 1;
}

static const struct host_wait_kind request_kind = {request_disarm, request_answer, request_release};

static void on_headers(void *arg, int status, const char *(*header)(void *headers, const char *name), void *headers)
{
	struct request *r = arg;
	const char *type = header(headers, "Content-Type");
	(void)status;
	if (type)
		strncpy(r->content_type, type, sizeof r->content_type - 1);
}

static int on_data(void *arg, const char *bytes, size_t len)
{
	return buffer_add(&((struct request *)arg)->body, bytes, len);
}

static void on_done(void *arg, const struct http_result *result)
{
	struct request *r = arg;
	r->exchange = NULL;
	r->result = *result;
	host_wake(&r->wait);
}

static int l_request(lua_State *L)
{
	static const char *const known[] = {"method", "url", "headers", "body", "timeout", "unix", "insecure", "ca",
		"server_name", "cert", "key", "most", NULL};
	static const struct http_handlers handlers = {on_headers, on_data, on_done};
	struct host *h = host_of(L);
	struct http_request q = {0};
	size_t count;
	if (!h->transport)
		luaL_error(L, "http.request: this host has no HTTP client");
	host_need_machine(L, "http.request");
	opt_check(L, 1, "http.request", known);
	q.method = opt_text(L, 1, "method", "GET");
	q.url = need_text(L, 1, "url");
	q.body = opt_bytes(L, 1, "body", &q.body_len);
	q.timeout_ms = opt_ms(L, 1, "timeout", 60000);
	q.unix_socket = opt_text(L, 1, "unix", NULL);
	struct http_tls tls = {.ca_pem = opt_text(L, 1, "ca", NULL), .server_name = opt_text(L, 1, "server_name", NULL),
		.cert_pem = opt_text(L, 1, "cert", NULL), .key_pem = opt_text(L, 1, "key", NULL), .insecure = opt_bool(L, 1, "insecure")};
	int64_t most = opt_integer(L, 1, "most", ANSWER_MAX);
	if (most < 1 || most > ANSWER_MAX)
		luaL_error(L, "http.request: most is a number of bytes up to %d", (int)ANSWER_MAX);
	q.headers = opt_list(L, 1, "headers", &count);
	struct request *r = host_wait_new(L, sizeof *r, &request_kind);
	r->host = h;
	buffer_init(&r->body, (size_t)most);
	r->tls = new_block(&tls);
	q.tls = &r->tls->tls;
	r->exchange = h->transport->start(h->transport, &q, &handlers, r);
	return host_await(L, &r->wait);
}

static const luaL_Reg http_functions[] = {
	{"request", l_request},
	{"serve", bind_serve},
	{NULL, NULL},
};

int bind_open_http(lua_State *L)
{
	bind_open_serve(L);
	bind_open_stream(L);
	luaL_newlib(L, http_functions);
	return 1;
}
