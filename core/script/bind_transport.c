/* kube.open { handler = function }: what the handler gets, what it may answer, and the writers of streams.
 *
 * The handler is a task of the loop in which the cluster was opened: it may wait, and it goes on when its
 * client has gone, as a server does. What it holds of the exchange (memory_net.c) is a box that is
 * empty then. Bytes are carried as they are: the body that the client wrote is the string that the handler reads, and
 * the answer's body is what the client parses. Limits of time are the client's own, on the realm's clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "script/bind.h"
#include "script/memory_net_internal.h"
#include "script/task.h"
#include "script/value.h"

#define WRITER_CLASS "moonphase.writer"

/* --- the request, as Lua sees it --- */

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

static void push_decoded(lua_State *L, const char *text, size_t len)
{
	luaL_Buffer out;
	char *at = luaL_buffinitsize(L, &out, len);
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '%' && i + 2 < len && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
			at[n++] = (char)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
			i += 2;
		} else {
			at[n++] = text[i] == '+' ? ' ' : text[i];
		}
	}
	luaL_pushresultsize(&out, n);
}

static void push_query(lua_State *L, const char *query)
{
	lua_newtable(L);
	while (*query) {
		size_t len = strcspn(query, "&"), name = strcspn(query, "=&");
		push_decoded(L, query, name);
		push_decoded(L, query + name + (name < len), len - name - (name < len));
		lua_rawset(L, -3);
		query += len + (query[len] == '&');
	}
}

static void push_request(lua_State *L, const struct http_exchange *x)
{
	size_t path = strcspn(x->target, "?");
	lua_createtable(L, 0, 6);
	set_text(L, "method", x->method);
	lua_pushlstring(L, x->target, path); /* as it was sent: an escaped slash in a name is no separator */
	lua_setfield(L, -2, "path");
	push_query(L, x->target + path + (x->target[path] == '?'));
	lua_setfield(L, -2, "query");
	set_text(L, "accept", x->accept);
	set_text(L, "content_type", x->content_type);
	if (x->body) {
		lua_pushlstring(L, x->body, x->body_len);
		lua_setfield(L, -2, "body");
	}
}

/* --- the answer --- */

static void add_header(lua_State *L, struct http_exchange *x, const char *name, const char *value)
{
	if (x->header_count == HEADERS_MAX)
		luaL_error(L, "an answer of a handler has more than %d headers", HEADERS_MAX);
	x->headers[x->header_count++] = (struct header){xstrdup(name), xstrdup(value)};
}

static void read_headers(lua_State *L, int answer, struct http_exchange *x)
{
	const char *type = opt_text(L, answer, "content_type", NULL);
	int64_t wait_s = opt_integer(L, answer, "retry_after", -1);
	char number[24];
	if (type)
		add_header(L, x, "Content-Type", type);
	if (wait_s >= 0) {
		snprintf(number, sizeof number, "%lld", (long long)wait_s);
		add_header(L, x, "Retry-After", number);
	}
	lua_getfield(L, answer, "headers");
	if (!lua_isnil(L, -1)) {
		luaL_checktype(L, -1, LUA_TTABLE);
		for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
			if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
				luaL_error(L, "option \"headers\": a table of names and texts was expected");
			add_header(L, x, lua_tostring(L, -2), lua_tostring(L, -1));
		}
	}
	lua_pop(L, 1);
}

static void read_body(lua_State *L, int answer, struct http_exchange *x)
{
	size_t len = 0;
	lua_getfield(L, answer, "body");
	if (lua_istable(L, -1)) {
		value_to_json(L, -1, &x->bytes, 0);
	} else if (!lua_isnil(L, -1)) {
		const char *body = luaL_checklstring(L, -1, &len);
		if (buffer_add(&x->bytes, body, len) != 0)
			luaL_error(L, "the body of an answer is larger than %d bytes", (int)ANSWER_MAX);
	}
	lua_pop(L, 1);
	int64_t cut = opt_integer(L, answer, "cut", -1);
	if (cut >= 0 && (size_t)cut < x->bytes.len)
		x->bytes.len = (size_t)cut;
	if (cut >= 0)
		x->fault = RESET;
}

static enum fault read_fault(lua_State *L, int answer)
{
	const char *fault = opt_text(L, answer, "fault", NULL);
	if (fault && strcmp(fault, "reset") != 0 && strcmp(fault, "refused") != 0)
		luaL_error(L, "option \"fault\": \"reset\" or \"refused\" was expected, not \"%s\"", fault);
	return !fault ? NO_FAULT : *fault == 'r' && fault[2] == 's' ? RESET : REFUSED;
}

/* What a handler answered, at `answer`. Whether a stream follows, whose function it pushes then. */
static bool read_answer(lua_State *L, int answer, struct http_exchange *x)
{
	static const char *const known[] = {"status", "body", "content_type", "headers", "retry_after", "delay", "fault", "cut",
		"stream", NULL};
	opt_check(L, answer, "the answer of a handler", known);
	x->fault = read_fault(L, answer);
	int64_t status = opt_integer(L, answer, "status", x->fault ? 0 : 200);
	luaL_argcheck(L, status >= 0 && status <= 999, answer, "a status is a number of three digits");
	uint64_t delay_ms = opt_ms(L, answer, "delay", 0);
	bool streams = opt_function(L, answer, "stream");
	if (!streams)
		lua_pop(L, 1);
	read_headers(L, answer, x);
	read_body(L, answer, x);
	x->status = (int)status;
	x->ended = !streams;
	if (delay_ms != 0)
		clock_arm(x->transport->realm->clock, &x->delay, delay_ms);
	else
		exchange_enter_line(x);
	return streams;
}

static int streamed(lua_State *L, int status, lua_KContext context)
{
	(void)status, (void)context;
	lua_settop(L, 1);
	return 1;
}

/* stack: box, answer */
static int handled(lua_State *L, int status, lua_KContext context)
{
	const struct box *box = lua_touserdata(L, 1);
	(void)status, (void)context;
	if (!box->x || !lua_toboolean(L, 2)) { /* the client has gone; or no answer will come */
		lua_settop(L, 1);
		return 1;
	}
	if (!read_answer(L, 2, box->x)) {
		lua_settop(L, 1);
		return 1;
	}
	lua_pushvalue(L, 1);
	lua_callk(L, 1, 0, 0, streamed);
	return streamed(L, LUA_OK, 0);
}

/* (box, handler, request): a task. Returns the box, which so outlives it. */
static int handle(lua_State *L)
{
	lua_callk(L, 1, 1, 0, handled);
	return handled(L, LUA_OK, 0);
}

static bool handler_ended(void *arg, lua_State *co, bool failed)
{
	static const char text[] = "the handler of this request failed: its log says how\n";
	const struct box *box = arg;
	struct http_exchange *x = box->x;
	if (!failed || !co || !x)
		return false;
	if (x->told) {
		x->fault = RESET;
	} else {
		x->status = 500;
		x->fault = NO_FAULT;
		x->ended = true;
		buffer_clear(&x->bytes);
		buffer_add_text(&x->bytes, text);
		clock_disarm(x->transport->realm->clock, &x->delay);
	}
	exchange_enter_line(x);
	return false;
}

static int start_handler(lua_State *L)
{
	struct http_exchange *x = lua_touserdata(L, 1);
	lua_pushcfunction(L, handle);
	struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
	box->x = NULL;
	luaL_setmetatable(L, WRITER_CLASS);
	lua_rawgeti(L, LUA_REGISTRYINDEX, x->transport->handler);
	push_request(L, x);
	struct host_task *t = host_spawn(L, 3);
	box->x = x;
	x->box = box;
	host_task_on_end(t, handler_ended, box);
	return 0;
}

void exchange_ask(struct http_exchange *x)
{
	host_protect(x->transport->host, start_handler, x, "a request in memory");
}

/* --- writers of streams --- */

static struct http_exchange *open_exchange(lua_State *L)
{
	const struct box *box = luaL_checkudata(L, 1, WRITER_CLASS);
	return box->x && !box->x->ended && box->x->fault == NO_FAULT ? box->x : NULL;
}

/* Something more to tell: an answer that is still delayed takes it along. */
static void more(struct http_exchange *x)
{
	if (!clock_is_armed(&x->delay))
		exchange_enter_line(x);
}

static int l_write(lua_State *L)
{
	struct http_exchange *x = open_exchange(L);
	size_t len;
	const char *text = luaL_checklstring(L, 2, &len);
	if (x && buffer_add(&x->bytes, text, len) != 0)
		luaL_error(L, "a client reads too slowly: more than %d bytes wait for it", (int)ANSWER_MAX);
	if (x && len != 0)
		more(x);
	lua_pushboolean(L, x != NULL);
	return 1;
}

static int l_finish(lua_State *L)
{
	struct http_exchange *x = open_exchange(L);
	if (x) {
		x->ended = true;
		more(x);
	}
	return 0;
}

static int l_reset(lua_State *L)
{
	struct http_exchange *x = open_exchange(L);
	if (x) {
		x->fault = RESET;
		more(x);
	}
	return 0;
}

static int l_is_open(lua_State *L)
{
	lua_pushboolean(L, open_exchange(L) != NULL);
	return 1;
}

static int writer_collect(lua_State *L)
{
	struct box *box = lua_touserdata(L, 1);
	if (box->x)
		box->x->box = NULL;
	box->x = NULL;
	return 0;
}

static const luaL_Reg writer_methods[] = {
	{"write", l_write},
	{"finish", l_finish},
	{"reset", l_reset},
	{"is_open", l_is_open},
	{NULL, NULL},
};

void memory_net_open(lua_State *L)
{
	bind_class(L, WRITER_CLASS, writer_methods, writer_collect);
}
