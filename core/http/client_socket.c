/* curl's sockets and its timer on our loop.
 *
 * The one hard thing is whose a file descriptor is. libuv aborts when a poll handle outlives its
 * descriptor or when two handles poll one; curl closes sockets at its own discretion. So sockets
 * are made and closed by us (CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION), and the
 * table below, by descriptor, knows which is polled: uv_close always comes before close. Each
 * time curl begins to watch a socket it gets a fresh poll handle; its memory goes in the close
 * callback and belongs to nobody else by then. curl may tell that a socket is removed which we
 * never saw or closed already (newer versions do): that is no error.
 *
 * None of these callbacks calls curl, and none returns an error (that would end all transfers). */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "http/client_internal.h"

#define UNACKNOWLEDGED_MAX_MS 30000
#define PROBE_IDLE_S 30
#define PROBE_INTERVAL_S 10
#define PROBES 3

struct client_socket {
	uv_poll_t poll;
	struct client_pool *pool;
	int fd;
	int events; /* of libuv */
};

static struct client_socket *find(const struct http_client *c, curl_socket_t fd)
{
	return fd >= 0 && (size_t)fd < c->socket_capacity ? c->sockets[fd] : NULL;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void forget(struct http_client *c, curl_socket_t fd)
{
	struct client_socket *s = find(c, fd);
	if (s == NULL)
		return;
	c->sockets[fd] = NULL;
	uv_close((uv_handle_t *)&s->poll, on_closed);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	struct client_socket *s = handle->data;
	struct http_client *c = s->pool->client;
	int fd = s->fd, action = 0;
	if (status < 0)
		action = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		action |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		action |= CURL_CSELECT_OUT;
	client_act(s->pool, fd, action);
	/* libuv stops polling a socket on which it saw an error. If curl still wants it, curl does
	 * not say so again. */
	if (status < 0 && find(c, fd) == s)
		uv_poll_start(&s->poll, s->events, on_ready);
}

static struct client_socket *remember(struct client_pool *p, curl_socket_t fd)
{
	struct http_client *c = p->client;
	if ((size_t)fd >= c->socket_capacity) {
		size_t capacity = (size_t)fd * 2 + 64;
		c->sockets = xrealloc(c->sockets, capacity * sizeof *c->sockets);
		memset(c->sockets + c->socket_capacity, 0, (capacity - c->socket_capacity) * sizeof *c->sockets);
		c->socket_capacity = capacity;
	}
	struct client_socket *s = xcalloc(1, sizeof *s);
	s->pool = p;
	s->fd = fd;
	int rc = uv_poll_init(loop_uv(c->loop), &s->poll, fd);
	if (rc != 0) {
		log_error("a socket cannot be watched; its exchange will end by timeout", "why", uv_strerror(rc), NULL);
		free(s);
		return NULL;
	}
	s->poll.data = s;
	return c->sockets[fd] = s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *pool, void *unused)
{
	(void)easy;
	(void)unused;
	struct client_pool *p = pool;
	struct http_client *c = p->client;
	if (what == CURL_POLL_REMOVE || p->closing || fd < 0) {
		forget(c, fd);
		return 0;
	}
	struct client_socket *s = find(c, fd);
	if (s == NULL)
		s = remember(p, fd);
	if (s == NULL)
		return 0;
	s->events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	uv_poll_start(&s->poll, s->events, on_ready);
	return 0;
}

/* A peer that vanished without a word must be noticed on every connection: one that begins as a
 * request may carry a watch later. Refusals are harmless (a Unix socket has no such options). */
static void probe(curl_socket_t fd)
{
	const struct { int level, name, value; } options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, PROBE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, PROBE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MAX_MS},
	};
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

curl_socket_t client_socket_open(void *client, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_client *c = client;
	(void)purpose;
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd >= 0)
		c->connections++;
	if (fd >= 0 && address->family != AF_UNIX)
		probe(fd);
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

int client_socket_close(void *client, curl_socket_t fd)
{
	struct http_client *c = client;
	c->connections--;
	forget(c, fd);
	return close(fd);
}

static void on_time(struct clock_timer *t)
{
	client_act(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *pool)
{
	(void)multi;
	struct client_pool *p = pool;
	struct clock *clock = loop_clock(p->client->loop);
	if (timeout_ms < 0 || p->closing)
		clock_disarm(clock, &p->timer);
	else
		clock_arm(clock, &p->timer, (uint64_t)timeout_ms);
	return 0;
}

void client_pool_watch(struct client_pool *p)
{
	p->timer = (struct clock_timer){.fire = on_time, .data = p};
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
}

/* After curl_multi_cleanup: nothing is polled any more, whatever curl told or forgot to tell. */
void client_sockets_deinit(struct http_client *c)
{
	for (size_t fd = 0; fd < c->socket_capacity; fd++)
		forget(c, (curl_socket_t)fd);
	free(c->sockets);
	c->sockets = NULL;
	c->socket_capacity = 0;
}
