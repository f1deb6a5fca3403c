/* The HTTP client: see client.h.
 *
 * The hard part is order. curl calls us from inside of itself and must not be called back from
 * there: an exchange may be started or cancelled in on_data of another one (or of itself). So
 * every entry into curl goes through client_act, and what was asked for meanwhile is done when
 * curl is left, in `settle`: remove what was cancelled, report what ended, add what was started.
 *
 * What ended is asked for after every act, timeouts included, however many transfers curl says
 * are running: a last transfer that ends by timeout is reported no other way (curl's own libuv
 * example loses it). A message is copied before its handle is removed, and on_done comes after
 * the removal, outside of curl: it may start, cancel and forget as it likes. It may not free the
 * client.
 *
 * curl itself sends a request a second time if a kept connection turns out to be dead before any
 * byte of an answer came. Callers must not rely on at-most-once (a server may always have acted on
 * a request whose answer was lost). */
#include "http/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "http/client_internal.h"

static void list_add(struct http_exchange *x)
{
	struct http_client *c = x->client;
	x->next = c->all;
	if (c->all != NULL)
		c->all->previous = x;
	c->all = x;
	c->active++;
}

static void list_remove(struct http_exchange *x)
{
	struct http_client *c = x->client;
	if (x->previous != NULL)
		x->previous->next = x->next;
	else
		c->all = x->next;
	if (x->next != NULL)
		x->next->previous = x->previous;
	c->active--;
}

/* Takes the exchange out of the client; curl must not have it any more. */
static void discard(struct http_exchange *x)
{
	list_remove(x);
	loop_undefer(x->client->loop, &x->fail);
	client_easy_give(x->client, x->easy);
	curl_slist_free_all(x->headers);
	curl_slist_free_all(x->connect_to);
	free(x->url);
	free(x->unix_socket);
	free(x->body);
	free(x);
}

/* ---- what curl tells about an exchange ---- */

static const char *look_up(void *headers, const char *name)
{
	struct http_exchange *x = headers;
	struct curl_header *found = NULL;
	if (curl_easy_header(x->easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
		return NULL;
	return found->value;
}

static bool ends_headers(const char *line, size_t len)
{
	return (len == 2 && memcmp(line, "\r\n", 2) == 0) || (len == 1 && line[0] == '\n');
}

static size_t on_header(char *line, size_t one, size_t len, void *exchange)
{
	(void)one;
	struct http_exchange *x = exchange;
	if (x->cancelled)
		return 0;
	x->header_bytes += len;
	if (x->header_bytes > HEADERS_MAX) {
		x->headers_too_large = true;
		return 0;
	}
	if (!ends_headers(line, len) || x->headers_told)
		return len;
	long status = 0;
	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200) /* "100 Continue": the answer comes later */
		return len;
	x->headers_told = true;
	x->status = (int)status;
	if (x->handlers.on_headers != NULL)
		x->handlers.on_headers(x->arg, x->status, look_up, x);
	return x->cancelled ? 0 : len;
}

/* Returning less than was given ends the transfer; it is the only end that is possible here. */
static size_t on_body(char *bytes, size_t one, size_t len, void *exchange)
{
	(void)one;
	struct http_exchange *x = exchange;
	if (x->cancelled)
		return 0;
	if (x->handlers.on_data == NULL)
		return len;
	int rc = x->handlers.on_data(x->arg, bytes, len);
	if (rc != 0 && !x->cancelled)
		x->reader_code = rc;
	return rc != 0 || x->cancelled ? 0 : len;
}

static void leave_pool(struct http_exchange *x)
{
	curl_multi_remove_handle(x->pool->multi, x->easy);
	x->pool->active--;
	x->pool = NULL;
}

/* ---- settling ---- */

static void report(struct http_exchange *x, CURLcode code)
{
	struct http_handlers h = x->handlers;
	void *arg = x->arg;
	struct http_result r;
	client_result(x, code, &r);
	leave_pool(x);
	discard(x);
	h.on_done(arg, &r);
}

static void drain(struct client_pool *p)
{
	CURLMsg *m;
	int left;
	while ((m = curl_multi_info_read(p->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;
		struct http_exchange *x = NULL;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x);
		report(x, code);
	}
}

/* Cancelled inside of curl; rare, so they are looked for. */
static void remove_cancelled(struct http_client *c)
{
	for (struct http_exchange *x = c->all, *next; x != NULL && c->cancelled != 0; x = next) {
		next = x->next;
		if (!x->cancelled)
			continue;
		c->cancelled--;
		leave_pool(x);
		discard(x);
	}
}

/* Watches hold a connection each; the bound is on idle ones, or many watches would push out
 * every connection that is kept for requests. */
static void add(struct http_exchange *x)
{
	struct client_pool *p = x->client->pools;
	curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)(p->active + IDLE_CONNECTIONS_MAX));
	CURLMcode code = curl_multi_add_handle(p->multi, x->easy);
	if (code == CURLM_OK) {
		x->state = EXCHANGE_RUNNING;
		x->pool = p;
		p->active++;
		return;
	}
	x->state = EXCHANGE_FAILED;
	err_set(&x->failure, ERR_IO, "the exchange cannot start: %s", curl_multi_strerror(code));
	loop_defer(x->client->loop, &x->fail);
}

/* Whether `x` has to wait with its handshake. Many at once (32 reconciles that all write) would be one long turn of
 * the loop, since their answers come together; a few milliseconds apart nobody notices. */
static bool too_early(struct http_client *c, const struct http_exchange *x)
{
	if (!x->over_tls || c->pools->active < c->connections)
		return false; /* a kept connection may be free for it */
	uint64_t now = clock_now_ms(loop_clock(c->loop)), due = c->handshake_ms + HANDSHAKE_PACE_MS;
	if (now < due) {
		clock_arm(loop_clock(c->loop), &c->pace, due - now);
		return true;
	}
	c->handshake_ms = now;
	return false;
}

static void add_waiting(struct http_client *c)
{
	struct http_exchange *x;
	while ((x = c->waiting) != NULL && !too_early(c, x)) {
		c->waiting = x->next_waiting;
		if (c->waiting == NULL)
			c->waiting_last = NULL;
		add(x);
	}
}

static void on_pace(struct clock_timer *t)
{
	add_waiting(t->data);
}

static void stop_waiting(struct http_exchange *x)
{
	struct http_client *c = x->client;
	struct http_exchange *before = NULL;
	for (struct http_exchange *at = c->waiting; at != x; at = at->next_waiting)
		before = at;
	if (before != NULL)
		before->next_waiting = x->next_waiting;
	else
		c->waiting = x->next_waiting;
	if (c->waiting_last == x)
		c->waiting_last = before;
}

void client_act(struct client_pool *p, curl_socket_t fd, int events)
{
	struct http_client *c = p->client;
	int running;
	c->acting = c->in_curl = true;
	CURLMcode code = curl_multi_socket_action(p->multi, fd, events, &running);
	c->in_curl = false;
	if (code != CURLM_OK)
		log_error("the HTTP client met an unexpected state", "why", curl_multi_strerror(code), NULL);
	remove_cancelled(c);
	drain(p);
	add_waiting(c);
	c->acting = false;
	client_pools_close_old(c);
}

/* ---- the transport ---- */

static void on_failure(struct loop_task *t)
{
	struct http_exchange *x = t->data;
	struct http_handlers h = x->handlers;
	void *arg = x->arg;
	struct http_result r = {.err = x->failure};
	discard(x);
	h.on_done(arg, &r);
}

static struct http_exchange *make(struct http_client *c, const struct http_request *r,
	const struct http_handlers *h, void *arg)
{
	struct http_exchange *x = xcalloc(1, sizeof *x);
	x->client = c;
	x->handlers = *h;
	x->arg = arg;
	x->fail = (struct loop_task){.run = on_failure, .data = x};
	x->url = xstrdup(r->url);
	x->timeout_ms = r->timeout_ms;
	x->connect_timeout_ms = r->connect_timeout_ms != 0 ? r->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	list_add(x);
	return x;
}

static int prepare(struct http_exchange *x, const struct http_request *r, struct err *e)
{
	x->easy = client_easy_take(x->client);
	if (x->easy == NULL)
		return err_set(e, ERR_NOMEM, "no memory for an HTTP exchange");
	curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
	curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
	return client_setup(x, r, e);
}

static struct http_exchange *start(struct transport *t, const struct http_request *r,
	const struct http_handlers *h, void *arg)
{
	struct http_client *c = (struct http_client *)t;
	struct http_exchange *x = make(c, r, h, arg);
	if (prepare(x, r, &x->failure) != 0) {
		x->state = EXCHANGE_FAILED;
		loop_defer(c->loop, &x->fail);
	} else if (!c->in_curl && c->waiting == NULL && !too_early(c, x)) {
		add(x);
	} else {
		x->state = EXCHANGE_WAITING;
		if (c->waiting_last != NULL)
			c->waiting_last->next_waiting = x;
		else
			c->waiting = x;
		c->waiting_last = x;
	}
	return x;
}

static void cancel(struct transport *t, struct http_exchange *x)
{
	struct http_client *c = (struct http_client *)t;
	if (x->cancelled)
		return;
	if (x->state == EXCHANGE_RUNNING && c->in_curl) {
		x->cancelled = true;
		c->cancelled++;
		return;
	}
	if (x->state == EXCHANGE_WAITING)
		stop_waiting(x);
	else if (x->state == EXCHANGE_RUNNING)
		leave_pool(x);
	discard(x);
}

/* ---- the client ---- */

struct http_client *http_client_new(struct loop *l)
{
	/* What libcurl does when memory fails leaves exchanges that never end (7.88 divides by zero, too): it ends us with the
	 * sentence of xalloc.h, as all else does. */
	static bool ready;
	if (!ready)
		curl_global_init_mem(CURL_GLOBAL_DEFAULT, xmalloc, free, xrealloc, xstrdup, xcalloc);
	ready = true;
	struct http_client *c = xcalloc(1, sizeof *c);
	c->loop = l;
	c->pace = (struct clock_timer){.fire = on_pace, .data = c};
	c->transport.start = start;
	c->transport.cancel = cancel;
	c->share = curl_share_init();
	curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	client_pool_open(c);
	return c;
}

struct transport *http_client_transport(struct http_client *c)
{
	return &c->transport;
}

size_t http_client_active(const struct http_client *c)
{
	return c->active - c->cancelled;
}

void http_client_forget_connections(struct http_client *c)
{
	client_pool_open(c);
	client_pem_forget(c);
	if (!c->acting)
		client_pools_close_old(c);
}

void http_client_free(struct http_client *c)
{
	if (c == NULL)
		return;
	if (c->acting) {
		fprintf(stderr, "moonphase: an HTTP client was freed by one of its callbacks\n");
		abort();
	}
	c->closing = true;
	clock_disarm(loop_clock(c->loop), &c->pace);
	for (struct http_exchange *x; (x = c->all) != NULL; ) {
		if (x->pool != NULL)
			leave_pool(x);
		discard(x);
	}
	client_pools_close(c);
	client_sockets_deinit(c);
	curl_share_cleanup(c->share);
	client_pem_forget(c);
	free(c);
}
