/* kube.open { handler = function }: requests of the core/kube code, carried to a Lua function and back.
 *
 * The one problem is that three lives cross here: the exchange (the client may cancel it at any moment),
 * the handler's task (which goes on when the client has gone, as a server does), and the writer
 * of a stream that the handler gave to somebody. The exchange belongs to its transport; task and writer
 * hold a box that points to it and is emptied when it goes. Nothing is told to the client from
 * inside its own calls: what could arrive stands in the realm's line (memory_net.h).
 *
 * Bytes are carried as they are: a body that the client wrote is the string that the handler reads, and the answer's
 * body is what the client parses. Limits of time are the client's own, on the realm's clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/xalloc.h"
#include "script/bind.h"
#include "script/memory_net.h"
#include "script/task.h"
#include "script/value.h"

#define WRITER_CLASS "moonphase.writer"
#define ANSWER_MAX (64u << 20)
#define HEADERS_MAX 8
#define NAME_MAX_BYTES 512

enum fault { NO_FAULT, RESET, REFUSED };

struct memory_net {
	struct host_realm *realm;
	struct http_exchange *first, **end; /* the line */
	size_t count;
	struct loop_task turn;
	char name[NAME_MAX_BYTES]; /* of what may be chosen */
};

struct memory_transport {
	struct transport base;
	struct host *host;
	struct host_realm *realm;
	struct http_exchange *open;
	int handler;
};

struct box {
	struct http_exchange *x; /* NULL: it has gone */
};

struct header {
	char *name, *value;
};

struct http_exchange {
	struct memory_transport *transport;
	struct http_exchange *next, **link; /* among the transport's */
	struct http_exchange *line_next;    /* in the realm's line */
	bool in_line;
	struct http_handlers handlers;
	void *arg;
	bool *gone; /* set when it is cancelled inside one of its callbacks */
	struct box *box;
	/* the request */
	char *method, *target, *accept, *content_type;
	char *body;
	size_t body_len;
	/* the answer, as far as it was given */
	bool asked;    /* the handler has it */
	bool answered; /* what follows is set */
	bool told;     /* on_headers was called */
	bool ended;    /* nothing follows `bytes` */
	enum fault fault;
	int status;
	struct header headers[HEADERS_MAX];
	size_t header_count;
	struct buffer bytes;
	struct clock_timer delay;
};

/* --- the line --- */

static const char *describe(void *arg, size_t which)
{
	struct memory_net *net = arg;
	const struct http_exchange *x = net->first;
	while (which-- > 0)
		x = x->line_next;
	const char *what = !x->asked ? "request" : !x->told ? "answer" : x->bytes.len ? "events" : "end";
	snprintf(net->name, sizeof net->name, "%s %s %s", what, x->method, x->target);
	return net->name;
}

static void run_turn(struct loop_task *t)
{
	struct memory_net *net = t->data;
	for (size_t left = net->count; left > 0 && net->first; left--)
		memory_net_deliver(net->realm);
	if (net->first)
		loop_defer(net->realm->loop, t);
}

static struct memory_net *net_of(struct host_realm *r)
{
	if (r->net)
		return r->net;
	struct memory_net *net = r->net = xcalloc(1, sizeof *net);
	net->realm = r;
	net->end = &net->first;
	net->turn = (struct loop_task){.run = run_turn, .data = net};
	return net;
}

static void enter_line(struct http_exchange *x)
{
	struct memory_net *net = net_of(x->transport->realm);
	if (x->in_line)
		return;
	x->in_line = true;
	x->line_next = NULL;
	*net->end = x;
	net->end = &x->line_next;
	net->count++;
	if (!loop_is_virtual(net->realm->loop))
		loop_defer(net->realm->loop, &net->turn);
}

static void leave_line(struct http_exchange *x)
{
	struct memory_net *net = x->transport->realm->net;
	if (!x->in_line)
		return;
	struct http_exchange **at = &net->first;
	while (*at != x)
		at = &(*at)->line_next;
	*at = x->line_next;
	if (net->end == &x->line_next)
		net->end = at;
	net->count--;
	x->in_line = false;
}

/* --- an exchange --- */

static void discard(struct http_exchange *x)
{
	leave_line(x);
	clock_disarm(x->transport->realm->clock, &x->delay);
	*x->link = x->next;
	if (x->next)
		x->next->link = x->link;
	if (x->box)
		x->box->x = NULL;
	if (x->gone)
		*x->gone = true;
	for (size_t i = 0; i < x->header_count; i++) {
		free(x->headers[i].name);
		free(x->headers[i].value);
	}
	buffer_deinit(&x->bytes);
	free(x->method);
	free(x->target);
	free(x->accept);
	free(x->content_type);
	free(x->body);
	free(x);
}

static const char *find_header(void *headers, const char *name)
{
	const struct http_exchange *x = headers;
	for (size_t i = 0; i < x->header_count; i++)
		if (strcasecmp(x->headers[i].name, name) == 0)
			return x->headers[i].value;
	return NULL;
}

static void finish(struct http_exchange *x, int code, const char *text)
{
	struct http_handlers h = x->handlers;
	void *arg = x->arg;
	struct http_result r = {.status = x->told ? x->status : 0, .refused = x->fault == REFUSED, .sent = x->fault != REFUSED};
	if (code != 0)
		err_set(&r.err, code, "%s", text);
	discard(x);
	h.on_done(arg, &r);
}

/* Whether the exchange is still there afterwards. */
static bool tell_headers(struct http_exchange *x)
{
	bool gone = false;
	x->told = true;
	if (!x->handlers.on_headers)
		return true;
	x->gone = &gone;
	x->handlers.on_headers(x->arg, x->status, find_header, x);
	if (!gone)
		x->gone = NULL;
	return !gone;
}

static bool tell_bytes(struct http_exchange *x)
{
	bool gone = false;
	size_t len;
	char *bytes = buffer_take(&x->bytes, &len);
	int rc = 0;
	x->gone = &gone;
	if (x->handlers.on_data)
		rc = x->handlers.on_data(x->arg, bytes, len);
	free(bytes);
	if (gone)
		return false;
	x->gone = NULL;
	if (rc == 0)
		return true;
	finish(x, rc, "the reader ended the exchange");
	return false;
}

static void tell(struct http_exchange *x)
{
	if (x->fault == REFUSED) {
		finish(x, ERR_IO, "connection refused");
		return;
	}
	if (x->status != 0 && !x->told && !tell_headers(x))
		return;
	if (x->bytes.len != 0 && !tell_bytes(x))
		return;
	if (x->fault == RESET)
		finish(x, ERR_IO, "the connection was reset");
	else if (x->ended)
		finish(x, 0, NULL);
}

static void on_delay(struct clock_timer *t)
{
	enter_line(t->data);
}

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
	x->answered = true;
	x->ended = !streams;
	if (delay_ms != 0)
		clock_arm(x->transport->realm->clock, &x->delay, delay_ms);
	else
		enter_line(x);
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
		x->answered = x->ended = true;
		buffer_clear(&x->bytes);
		buffer_add_text(&x->bytes, text);
		clock_disarm(x->transport->realm->clock, &x->delay);
	}
	enter_line(x);
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

bool memory_net_is_busy(const struct host_realm *r)
{
	return r->net && r->net->first;
}

void memory_net_deliver(struct host_realm *r)
{
	struct memory_net *net = r->net;
	struct http_exchange *x = net->first;
	size_t which = r->choose && net->count > 1 ? r->choose(r, "network", net->count, describe, net) : 0;
	while (which-- > 0 && x->line_next)
		x = x->line_next;
	leave_line(x);
	if (x->asked) {
		tell(x);
		return;
	}
	x->asked = true;
	host_protect(r->host, start_handler, x, "a request in memory");
}

void memory_net_free(struct host_realm *r)
{
	if (r->net)
		loop_undefer(r->loop, &r->net->turn);
	free(r->net);
	r->net = NULL;
}

/* --- the transport --- */

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

/* The value of the header line that begins with `name` (lower case, with its colon). */
static const char *line_value(const char *const *lines, const char *name)
{
	size_t len = strlen(name);
	for (; lines && *lines; lines++)
		if (strncasecmp(*lines, name, len) == 0)
			return *lines + len + strspn(*lines + len, " ");
	return NULL;
}

static struct http_exchange *start(struct transport *t, const struct http_request *r, const struct http_handlers *h, void *arg)
{
	struct memory_transport *m = (struct memory_transport *)t;
	struct http_exchange *x = xcalloc(1, sizeof *x);
	const char *host = strstr(r->url, "://");
	const char *target = strchr(host ? host + 3 : r->url, '/');
	x->transport = m;
	x->handlers = *h;
	x->arg = arg;
	x->method = xstrdup(r->method);
	x->target = xstrdup(target ? target : "/");
	x->accept = copy(line_value(r->headers, "accept:"));
	x->content_type = copy(line_value(r->headers, "content-type:"));
	if (r->body) {
		x->body = xmemdup0(r->body, r->body_len);
		x->body_len = r->body_len;
	}
	x->delay = (struct clock_timer){.fire = on_delay, .data = x};
	buffer_init(&x->bytes, ANSWER_MAX);
	x->next = m->open;
	x->link = &m->open;
	if (x->next)
		x->next->link = &x->next;
	m->open = x;
	enter_line(x);
	return x;
}

static void cancel(struct transport *t, struct http_exchange *x)
{
	(void)t;
	discard(x);
}

struct transport *memory_transport_new(lua_State *L, int index)
{
	struct memory_transport *m = xcalloc(1, sizeof *m);
	m->base = (struct transport){.start = start, .cancel = cancel};
	m->host = host_of(L);
	m->realm = m->host->realm;
	lua_pushvalue(L, index);
	m->handler = luaL_ref(L, LUA_REGISTRYINDEX);
	return &m->base;
}

void memory_transport_free(struct transport *t)
{
	struct memory_transport *m = (struct memory_transport *)t;
	if (!m)
		return;
	while (m->open)
		discard(m->open);
	luaL_unref(m->host->L, LUA_REGISTRYINDEX, m->handler);
	free(m);
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
		enter_line(x);
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
