/* http: calls to any server. (The cluster is bind_kube.c's; http.serve is in bind_serve.c.) */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "http/transport.h"
#include "script/bind.h"
#include "script/task.h"

#define ANSWER_MAX (64u << 20)

/* The transport reads it until the exchange is over; after a cancel that is the end of the turn. */
struct tls_block {
	struct http_tls tls;
	struct loop_task release;
	char texts[]; /* the CA's and the server's name */
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

static void free_block(struct loop_task *t)
{
	free(t->data);
}

static struct tls_block *new_block(const char *ca, const char *name, bool insecure)
{
	size_t ca_size = ca ? strlen(ca) + 1 : 0, name_size = name ? strlen(name) + 1 : 0;
	struct tls_block *b = xcalloc(1, sizeof *b + ca_size + name_size);
	if (ca)
		b->tls.ca_pem = memcpy(b->texts, ca, ca_size);
	if (name)
		b->tls.server_name = memcpy(b->texts + ca_size, name, name_size);
	b->tls.insecure = insecure;
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
	free(r->tls);
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
		"server_name", NULL};
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
	const char *ca = opt_text(L, 1, "ca", NULL);
	const char *server_name = opt_text(L, 1, "server_name", NULL);
	bool insecure = opt_bool(L, 1, "insecure");
	q.headers = opt_list(L, 1, "headers", &count);
	struct request *r = host_wait_new(L, sizeof *r, &request_kind);
	r->host = h;
	buffer_init(&r->body, ANSWER_MAX);
	r->tls = new_block(ca, server_name, insecure);
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
