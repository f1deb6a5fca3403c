/* http.serve: a server whose handler is Lua.
 *
 * A call that came in must be answered exactly once, also when its server has closed meanwhile. A box
 * holds it for its handler; whoever comes first takes it out: the handler's results, a stream that
 * it begins, or the handler's end without any (500).
 *
 * A handler is a task, because it may wait; making one costs more than many answers do. So a server
 * may have a `direct` handler too, which runs inside the server's callback and must not wait: it
 * answers, or returns nil to leave the call to the other one. */
#include <string.h>

#include "http/server.h"
#include "script/bind.h"
#include "script/task.h"
#include "script/value.h"

#define SERVER_CLASS "moonphase.server"
#define ANSWER_MAX (64u << 20)

struct server_box {
	struct host_resource resource;
	struct host *host;
	struct http_server *server;
	int handler, direct, anchor; /* direct LUA_REFNIL: there is none */
	bool uncopied;               /* a call has no `body` */
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

/* --- what a handler sees of a call --- */

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

/* Of an argument that comes twice the first counts, as in call_query. */
static void add_query(void *state, const char *name, const char *value, size_t value_len)
{
	lua_State *L = state;
	if (lua_getfield(L, -1, name) == LUA_TNIL) {
		lua_pushlstring(L, value, value_len);
		lua_setfield(L, -3, name);
	}
	lua_pop(L, 1);
}

static int call_queries(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	lua_newtable(L);
	if (box->call)
		http_call_each_query(box->call, add_query, L);
	return 1;
}

static int call_stream(lua_State *L)
{
	struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	if (lua_isnoneornil(L, 1))
		lua_newtable(L);
	lua_settop(L, 1);
	bind_stream_check(L, 1);
	struct http_call *call = take_call(box);
	if (!call)
		luaL_error(L, "call.stream: this call is answered already");
	return bind_stream(L, 1, call);
}

static int call_peer(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	lua_pushstring(L, box->call ? http_call_peer(box->call) : NULL);
	return 1;
}

static int call_text(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	if (!box->call)
		return 0;
	lua_pushlstring(L, box->call->body, box->call->body_len);
	return 1;
}

static int call_cut(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	return box->call ? bind_cut(L, box->call->body, box->call->body_len, 1) : 0;
}

static int call_client(lua_State *L)
{
	const struct call_box *box = lua_touserdata(L, lua_upvalueindex(1));
	lua_pushstring(L, box->call ? http_call_client(box->call) : NULL);
	return 1;
}

/* Push the box, empty, and the table that the handler gets. */
static struct call_box *push_call(lua_State *L, const struct server_box *server, const struct http_call *call)
{
	static const luaL_Reg functions[] = {
		{"header", call_header}, {"query", call_query}, {"queries", call_queries}, {"stream", call_stream},
		{"peer", call_peer}, {"client", call_client}, {"text", call_text}, {"cut", call_cut},
	};
	struct call_box *box = lua_newuserdatauv(L, sizeof *box, 0);
	box->call = NULL;
	lua_createtable(L, 0, 11);
	set_text(L, "method", call->method);
	set_text(L, "path", call->path);
	if (!server->uncopied) {
		lua_pushlstring(L, call->body, call->body_len);
		lua_setfield(L, -2, "body");
	}
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		lua_pushvalue(L, -2);
		lua_pushcclosure(L, functions[i].func, 1);
		lua_setfield(L, -2, functions[i].name);
	}
	return box;
}

/* --- the answer --- */

/* The table at `at`: names and values. */
static void add_headers(lua_State *L, struct http_call *call, int at)
{
	luaL_checktype(L, at, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "the headers of an answer must be a table of names and texts");
		http_call_add_header(call, lua_tostring(L, -2), lua_tostring(L, -1));
	}
}

/* A handler has returned: status, body, content type, headers stand at `at` and behind. */
static void answer(lua_State *L, struct call_box *box, int at)
{
	if (!box->call)
		return; /* a stream, or the call was given up */
	lua_settop(L, at + 3);
	lua_Integer code = luaL_checkinteger(L, at);
	const char *type = luaL_optstring(L, at + 2, lua_istable(L, at + 1) ? "application/json" : "text/plain; charset=utf-8");
	size_t len = 0;
	const char *body = "";
	if (code < 200 || code > 599)
		luaL_error(L, "the handler of a server must return a status of 200 to 599 first");
	if (lua_istable(L, at + 1)) {
		struct buffer *text = bind_scratch(L, ANSWER_MAX);
		value_to_json(L, at + 1, text, 0);
		body = buffer_text(text);
		len = text->len;
	} else if (!lua_isnil(L, at + 1)) {
		body = luaL_checklstring(L, at + 1, &len);
	}
	if (len > ANSWER_MAX)
		luaL_error(L, "the handler's answer is larger than %d MiB", ANSWER_MAX >> 20);
	if (!lua_isnil(L, at + 3))
		add_headers(L, box->call, at + 3);
	http_reply(take_call(box), (int)code, type, body, len);
}

/* stack: box, status, body, content type, headers */
static int handler_done(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	answer(L, lua_touserdata(L, 1), 2);
	return 0;
}

/* The body of a call's task: (box, handler, call). */
static int run_handler(lua_State *L)
{
	lua_callk(L, 1, 4, 0, handler_done);
	return handler_done(L, LUA_OK, 0);
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
	struct call_box *box; /* NULL: nobody has the call yet */
};

/* stack: ..., box, call table. The call becomes the task's. */
static void start_handler(lua_State *L, struct arrival *a, int box)
{
	lua_pushcfunction(L, run_handler);
	lua_pushvalue(L, box);
	lua_rawgeti(L, LUA_REGISTRYINDEX, a->server->handler);
	lua_pushvalue(L, box + 1);
	host_task_on_end(host_spawn(L, 3), handler_ended, a->box);
}

/* stack: arrival, box, call table */
static int handle(lua_State *L)
{
	struct arrival *a = lua_touserdata(L, 1);
	struct call_box *box = push_call(L, a->server, a->call);
	/* Whatever raises from here on is answered by on_call, out of the box: it must not be collected before. */
	lua_pushvalue(L, 2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, a->server);
	box->call = a->call;
	a->box = box;
	if (a->server->direct != LUA_REFNIL) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, a->server->direct);
		lua_pushvalue(L, 3);
		lua_call(L, 1, 4); /* stack: arrival, box, call table, status, body, content type, headers */
		if (!box->call || !lua_isnil(L, 4)) {
			answer(L, box, 4);
			return 0;
		}
		lua_settop(L, 3);
	}
	start_handler(L, a, 2);
	return 0;
}

static void on_call(void *arg, struct http_call *call)
{
	static const char text[] = "the server could not handle this request\n";
	struct arrival a = {.server = arg, .call = call};
	host_rest_disturb(a.server->host);
	if (host_protect(a.server->host, handle, &a, "a request"))
		return;
	struct http_call *left = a.box ? take_call(a.box) : call;
	if (left)
		http_reply(left, 500, "text/plain", text, sizeof text - 1);
}

/* --- the server --- */

static void close_server(struct host_resource *r)
{
	struct server_box *box = (struct server_box *)r;
	lua_State *L = box->host->L;
	host_resource_remove(r);
	http_server_close(box->server);
	box->server = NULL;
	luaL_unref(L, LUA_REGISTRYINDEX, box->handler);
	luaL_unref(L, LUA_REGISTRYINDEX, box->direct);
	luaL_unref(L, LUA_REGISTRYINDEX, box->anchor);
	lua_pushnil(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, box);
}

static void read_options(lua_State *L, struct http_server_options *o)
{
	static const char *const known[] = {"address", "unix", "handler", "direct", "cert", "key", "body_max", "connections",
		"idle_timeout", "request_timeout", "per_address", "client_ca", "too_large", "any_method", "uncopied", NULL};
	host_need_machine(L, "http.serve");
	opt_check(L, 1, "http.serve", known);
	o->address = opt_text(L, 1, "address", NULL);
	o->unix_path = opt_text(L, 1, "unix", NULL);
	o->cert_pem = opt_text(L, 1, "cert", NULL);
	o->key_pem = opt_text(L, 1, "key", NULL);
	o->client_ca_pem = opt_text(L, 1, "client_ca", NULL);
	o->body_max = (size_t)opt_integer(L, 1, "body_max", 0);
	o->connections_max = (unsigned)opt_integer(L, 1, "connections", 0);
	o->idle_timeout_s = (unsigned)(opt_ms(L, 1, "idle_timeout", 0) / 1000);
	o->request_timeout_s = (unsigned)(opt_ms(L, 1, "request_timeout", 0) / 1000);
	o->per_address_max = (unsigned)opt_integer(L, 1, "per_address", 0);
	o->too_large = opt_text(L, 1, "too_large", NULL);
	o->any_method = opt_bool(L, 1, "any_method");
	if (!o->address == !o->unix_path)
		luaL_error(L, "http.serve: one of address and unix was expected");
}

static int reference(lua_State *L, const char *name)
{
	opt_function(L, 1, name);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

int bind_serve(lua_State *L)
{
	struct host *h = host_of(L);
	struct err e = {0};
	struct http_server_options o = {.on_call = on_call};
	read_options(L, &o);
	opt_function(L, 1, "direct");
	if (!opt_function(L, 1, "handler"))
		luaL_error(L, "http.serve: option \"handler\" is missing");
	struct server_box *box = lua_newuserdatauv(L, sizeof *box, 1);
	memset(box, 0, sizeof *box);
	box->host = h;
	box->uncopied = opt_bool(L, 1, "uncopied");
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
	box->direct = reference(L, "direct");
	box->handler = reference(L, "handler");
	return 1;
}

static int l_server_close(lua_State *L)
{
	struct server_box *box = luaL_checkudata(L, 1, SERVER_CLASS);
	if (box->server)
		close_server(&box->resource);
	return 0;
}

static int l_server_set_certificate(lua_State *L)
{
	static const char *const known[] = {"cert", "key", "client_ca", NULL};
	struct server_box *box = luaL_checkudata(L, 1, SERVER_CLASS);
	struct err e = {0};
	opt_check(L, 2, "server:set_certificate", known);
	luaL_argcheck(L, box->server != NULL, 1, "the server was closed");
	if (http_server_set_certificate(box->server, need_text(L, 2, "cert"), need_text(L, 2, "key"), opt_text(L, 2, "client_ca", NULL), &e) != 0)
		return bind_fail(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg server_methods[] = {
	{"close", l_server_close},
	{"set_certificate", l_server_set_certificate},
	{NULL, NULL},
};

void bind_open_serve(lua_State *L)
{
	bind_class_with_fields(L, SERVER_CLASS, server_methods, NULL);
}
