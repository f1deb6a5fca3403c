/* Who is connected: for each connection where it comes from, which certificate it began with, and whether it takes its time.
 *
 * libmicrohttpd ends a connection on which nothing happens; one that sends a byte now and then it keeps. A source that does so
 * with many connections would hold them all, so a server may say how long one request may take to arrive: whoever has sent
 * none by then, or none since its last one for as long as an idle connection may live, is shut down. The socket is
 * libmicrohttpd's, which notices by itself. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/xalloc.h"
#include "http/server_internal.h"

static void name_peer(struct connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
	snprintf(c->peer, sizeof c->peer, "unix");
	if (address == NULL || (address->sa_family != AF_INET && address->sa_family != AF_INET6))
		return;
	socklen_t size = address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	if (getnameinfo(address, size, c->peer, sizeof c->peer, NULL, 0, NI_NUMERICHOST) != 0)
		snprintf(c->peer, sizeof c->peer, "?");
	/* IPv4 that came through an IPv6 socket is one address, not two */
	if (strncmp(c->peer, "::ffff:", 7) == 0 && strchr(c->peer, '.') != NULL)
		memmove(c->peer, c->peer + 7, strlen(c->peer + 7) + 1);
}

static struct connection *begin(struct http_server *s, struct MHD_Connection *mhd)
{
	struct connection *c = xcalloc(1, sizeof *c);
	c->server = s;
	c->mhd = mhd;
	c->since_ms = clock_now_ms(loop_clock(s->loop));
	c->identity = s->identity != NULL ? identity_ref(s->identity) : NULL;
	name_peer(c);
	c->next = s->connections;
	if (c->next != NULL)
		c->next->previous = c;
	s->connections = c;
	return c;
}

static void end(struct connection *c)
{
	if (c->previous != NULL)
		c->previous->next = c->next;
	else
		c->server->connections = c->next;
	if (c->next != NULL)
		c->next->previous = c->previous;
	identity_unref(c->identity);
	free(c);
}

void connection_notify(void *server, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = begin(server, mhd);
	} else if (*context != NULL) {
		end(*context);
		*context = NULL;
	}
}

struct connection *connection_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info != NULL ? info->socket_context : NULL;
}

void connection_done(struct connection *c)
{
	if (c == NULL)
		return;
	c->busy = false;
	c->calls++;
	c->since_ms = clock_now_ms(loop_clock(c->server->loop));
}

static void shut_down(struct connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info != NULL)
		shutdown(info->connect_fd, SHUT_RDWR);
}

void connections_sweep(struct http_server *s, uint64_t now_ms)
{
	uint64_t request_ms = s->options.request_timeout_s * UINT64_C(1000);
	uint64_t idle_ms = s->options.idle_timeout_s * UINT64_C(1000);
	for (struct connection *c = s->connections; c != NULL; c = c->next)
		if (!c->busy && now_ms - c->since_ms > request_ms + (c->calls != 0 ? idle_ms : 0))
			shut_down(c);
}
