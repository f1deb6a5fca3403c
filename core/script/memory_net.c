/* The network in memory: exchanges, the line in which they wait, and what their clients are told. See memory_net.h.
 *
 * The one problem is that a client may cancel at any moment, also inside of what it is being told, and that
 * handlers and writers in Lua may outlive the exchange. So an exchange is freed in one place (discard),
 * which leaves every place that it waits in, empties the box that Lua holds and sets the flag of a
 * callback that is under way. Nothing is told from inside of start, cancel or a writer's call. */
#include "script/memory_net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <lauxlib.h>

#include "base/xalloc.h"
#include "script/memory_net_internal.h"

#define NAME_MAX_BYTES 512

struct memory_net {
	struct host_realm *realm;
	struct http_exchange *first, **end; /* the line */
	size_t count;
	struct loop_task turn;
	char name[NAME_MAX_BYTES]; /* of what may be chosen */
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

void exchange_enter_line(struct http_exchange *x)
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
	exchange_enter_line(t->data);
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
	exchange_ask(x);
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
	exchange_enter_line(x);
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
