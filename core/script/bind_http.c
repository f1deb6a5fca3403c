/* http: calls to any server, and a server whose handler is a task. (The cluster is bind_kube.c's.)
 *
 * A call that came in must be answered exactly once, also when its server has closed meanwhile. The
 * handler's task holds it in a box; whoever comes first takes it out: the handler's results, or
 * the task's end without any (500). */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "http/server.h"
#include "http/transport.h"
#include "script/bind.h"
#include "script/task.h"
#include "script/value.h"

#define SERVER_CLASS "moonphase.server"
#define ANSWER_MAX (64u << 20)

/* --- client --- */

/* The transport reads it until the exchange is over; after a cancel that is the end of the turn. */
struct tls_block {
	struct http_tls tls;
	struct loop_task release;
	char ca[];
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

static struct tls_block *new_block(const char *ca, bool insecure)
{
	size_t len = ca ? strlen(ca) : 0;
	struct tls_block *b = xcalloc(1, sizeof *b + len + 1);
	if (ca)
		memcpy(b->ca, ca, len);
	b->tls.ca_pem = ca ? b->ca : NULL;
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
	static const char *const known[] = {"method", "url", "headers", "body", "timeout", "unix", "insecure", "ca", NULL};
	static const struct http_handlers handlers = {on_headers, on_data, on_done};
	struct host *h = host_of(L);
	struct http_request q = {0};
	size_t count;
	if (!h->transport)
		luaL_error(L, "http.request: this host has no HTTP client");
	opt_check(L, 1, "http.request", known);
	q.method = opt_text(L, 1, "method", "GET");
	q.url = need_text(L, 1, "url");
	q.body = opt_bytes(L, 1, "body", &q.body_len);
	q.timeout_ms = opt_ms(L, 1, "timeout", 60000);
	q.unix_socket = opt_text(L, 1, "unix", NULL);
	const char *ca = opt_text(L, 1, "ca", NULL);
	bool insecure = opt_bool(L, 1, "insecure");
	q.headers = opt_list(L, 1, "headers", &count);
	struct request *r = host_wait_new(L, sizeof *r, &request_kind);
	r->host = h;
	buffer_init(&r->body, ANSWER_MAX);
	r->tls = new_block(ca, insecure);
	q.tls = &r->tls->tls;
	r->exchange = h->transport->start(h->transport, &q, &handlers, r);
	return host_await(L, &r->wait);
}

/* --- server --- */

struct server_box {
	struct host_resource resource;
	struct host *host;
	struct http_server *server;
	int handler, anchor;
};

struct call_box {
	struct http_call *call; /* NULL: answered */
};

/* The call, out of its box; NULL if somebody was first. */
static struct http_call *take_call(struct call_box *box)
{
	struct http_call *call = box->call;
	box->call = NULL;
	return call;
}

static int call_header(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	const char *name = luaL_checkstring(L, 1);
	lua_pushstring(L, box->call ? http_call_header(box->call, name) : NULL);
	return 1;
}

static int call_query(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	const char *name = luaL_checkstring(L, 1);
	lua_pushstring(L, box->call ? http_call_query(box->call, name) : NULL);
	return 1;
}

/* The handler returned: (box, status, body, content type). */
static int reply(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	struct call_box *box = lua_touserdata(L, 1);
	lua_settop(L, 4);
	lua_Integer code = luaL_checkinteger(L, 2);
	const char *type = luaL_optstring(L, 4, lua_istable(L, 3) ? "application/json" : "text/plain; charset=utf-8");
	size_t len = 0;
	const char *body = "";
	if (code < 200 || code > 599)
		luaL_error(L, "the handler of a server must return a status of 200 to 599 first");
	if (lua_istable(L, 3)) {
		struct buffer *text = bind_scratch(L, ANSWER_MAX);
		value_to_json(L, 3, text, 0);
		body = buffer_text(text);
		len = text->len;
	} else if (!lua_isnil(L, 3)) {
		body = luaL_checklstring(L, 3, &len);
	}
	if (len > ANSWER_MAX)
		luaL_error(L, "the handler's answer is larger than %d MiB", ANSWER_MAX >> 20);
	struct http_call *call = take_call(box);
	if (call)
		http_reply(call, (int)code, type, body, len);
	return 0;
}

/* The body of a call's task: (box, handler, call). */
static int run_handler(lua_State *L)
{
	lua_callk(L, 1, 3, 0, reply);
	return reply(L, LUA_OK, 0);
}

/* A handler that failed, or was cancelled, still owes an answer. (After a success the box may be gone.) */
static bool handler_ended(void *arg, lua_State *co, bool failed)
{
	static const char text[] = "the handler of this request failed\n";
	struct http_call *call = failed ? take_call(arg) : NULL;
	(void)co;
	if (call)
		http_reply(call, 500, "text/plain", text, sizeof text - 1);
	return false;
}

struct arrival {
	struct server_box *server;
	struct http_call *call;
};

static void describe_call(lua_State *L, const struct http_call *call)
{
	set_text(L, "method", call->method);
	set_text(L, "path", call->path);
	lua_pushlstring(L, call->body, call->body_len);
	lua_setfield(L, -2, "body");
}

static int start_handler(lua_State *L)
{
	const struct arrival *a = lua_touserdata(L, 1);
	lua_pushcfunction(L, run_handler);
	struct call_box *box = lua_newuserdatauv(L, sizeof *box, 0);
	box->call = NULL; /* until the task is there: what raises before is answered by on_call */
	lua_rawgeti(L, LUA_REGISTRYINDEX, a->server->handler);
	lua_createtable(L, 0, 5);
	describe_call(L, a->call);
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, call_header, 1);
	lua_setfield(L, -2, "header");
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, call_query, 1);
	lua_setfield(L, -2, "query");
	host_task_on_end(host_spawn(L, 3), handler_ended, box);
	box->call = a->call;
	return 0;
}

static void on_call(void *arg, struct http_call *call)
{
	static const char text[] = "the server could not handle this request\n";
	struct arrival a = {arg, call};
	if (!host_protect(a.server->host, start_handler, &a, "a request"))
		http_reply(call, 500, "text/plain", text, sizeof text - 1);
}

static void close_server(struct host_resource *r)
{
	struct server_box *box = (struct server_box *)r;
	host_resource_remove(r);
	http_server_close(box->server);
	box->server = NULL;
	luaL_unref(box->host->L, LUA_REGISTRYINDEX, box->handler);
	luaL_unref(box->host->L, LUA_REGISTRYINDEX, box->anchor);
}

static int l_serve(lua_State *L)
{
	static const char *const known[] = {"address", "unix", "handler", "cert", "key", "body_max", "connections", NULL};
	struct host *h = host_of(L);
	struct err e = {0};
	opt_check(L, 1, "http.serve", known);
	struct http_server_options o = {.on_call = on_call};
	o.address = opt_text(L, 1, "address", NULL);
	o.unix_path = opt_text(L, 1, "unix", NULL);
	o.cert_pem = opt_text(L, 1, "cert", NULL);
	o.key_pem = opt_text(L, 1, "key", NULL);
	o.body_max = (size_t)opt_integer(L, 1, "body_max", 0);
	o.connections_max = (unsigned)opt_integer(L, 1, "connections", 0);
	if (!o.address == !o.unix_path)
		luaL_error(L, "http.serve: one of address and unix was expected");
	if (!opt_function(L, 1, "handler"))
		luaL_error(L, "http.serve: option \"handler\" is missing");
	struct server_box *box = lua_newuserdatauv(L, sizeof *box, 1);
	memset(box, 0, sizeof *box);
	box->host = h;
	o.arg = box;
	box->server = http_server_open(h->loop, &o, &e);
	if (!box->server)
		return bind_fail(L, &e);
	luaL_setmetatable(L, SERVER_CLASS);
	host_resource_add(h, &box->resource, close_server);
	lua_newtable(L);
	set_text(L, "address", o.unix_path ? o.unix_path : http_server_address(box->server));
	lua_setiuservalue(L, -2, 1);
	lua_pushvalue(L, -1);
	box->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, -2);
	box->handler = luaL_ref(L, LUA_REGISTRYINDEX);
	return 1;
}

static int l_server_close(lua_State *L)
{
	struct server_box *box = luaL_checkudata(L, 1, SERVER_CLASS);
	if (box->server)
		close_server(&box->resource);
	return 0;
}

static const luaL_Reg server_methods[] = {
	{"close", l_server_close},
	{NULL, NULL},
};

static const luaL_Reg http_functions[] = {
	{"request", l_request},
	{"serve", l_serve},
	{NULL, NULL},
};

int bind_open_http(lua_State *L)
{
	bind_class_with_fields(L, SERVER_CLASS, server_methods, NULL);
	luaL_newlib(L, http_functions);
	return 1;
}
