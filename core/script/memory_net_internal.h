/* Between memory_net.c (exchanges, their line, what the client is told) and bind_transport.c (their handler and
 * writers in Lua); nobody else. */
#ifndef MOONPHASE_SCRIPT_MEMORY_NET_INTERNAL_H
#define MOONPHASE_SCRIPT_MEMORY_NET_INTERNAL_H

#include "base/buffer.h"
#include "base/clock.h"
#include "http/transport.h"
#include "script/memory_net.h"
#include "script/task.h"

#define ANSWER_MAX (64u << 20)
#define HEADERS_MAX 8

enum fault { NO_FAULT, RESET, REFUSED };

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
	bool told;     /* on_headers was called */
	bool ended;    /* nothing follows `bytes` */
	enum fault fault;
	int status;
	struct header headers[HEADERS_MAX];
	size_t header_count;
	struct buffer bytes;
	struct clock_timer delay;
};

/* Something can be told, or the request can be asked: it stands in the realm's line, once. */
void exchange_enter_line(struct http_exchange *x);
/* bind_transport.c: give the request to its handler, as a task. */
void exchange_ask(struct http_exchange *x);

#endif
