/* What the files of the client share; nobody else includes this.
 *
 *     client.c         exchanges: start, cancel, end; the order of everything
 *     client_pool.c    connections and handles that they share
 *     client_socket.c  curl's sockets and timer on the loop
 *     client_setup.c   a request as curl options
 *     client_pem.c     certificate files, read once for each revision
 *     client_result.c  how it ended, as a sentence */
#ifndef MOONPHASE_HTTP_CLIENT_INTERNAL_H
#define MOONPHASE_HTTP_CLIENT_INTERNAL_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/client.h"

#define EASY_POOL_MAX 64        /* idle easy handles kept: making one costs more than a request's setup */
#define IDLE_CONNECTIONS_MAX 16 /* beside as many as are busy; one with TLS holds about 50 KB */
#define HEADERS_MAX (256u << 10) /* bytes of headers in one answer */
#define CONNECT_TIMEOUT_MS 10000
#define HANDSHAKE_PACE_MS 3      /* a TLS handshake takes about 1 ms of processor: so far apart they start */
#define PEM_FILES_MAX 16
#define PEM_BYTES_MAX (1u << 20)

struct client_socket;

struct pem_file {
	char *path; /* NULL: free */
	uint64_t revision;
	char *text;
	size_t len;
};

/* Connections that exchanges share. There is one; http_client_forget_connections makes a new one
 * and the old one goes when its last exchange ends. */
struct client_pool {
	struct http_client *client;
	struct client_pool *next;
	CURLM *multi;
	struct clock_timer timer;
	size_t active; /* exchanges that curl has */
	bool closing;
};

struct http_client {
	struct transport transport; /* first: a transport is its client */
	struct loop *loop;
	struct client_pool *pools; /* the first is current */
	CURLSH *share; /* TLS sessions, so that a new connection can resume one */
	struct client_socket **sockets; /* by file descriptor */
	size_t socket_capacity;
	struct http_exchange *all;     /* every exchange that did not end */
	struct http_exchange *waiting, *waiting_last; /* to be added, oldest first: once curl is left, at their pace */
	struct clock_timer pace;
	uint64_t handshake_ms; /* when the last exchange was added that had to make a TLS connection */
	size_t connections;    /* open sockets */
	size_t active;
	CURL *easy_pool[EASY_POOL_MAX];
	size_t easy_count;
	struct pem_file pem[PEM_FILES_MAX];
	size_t pem_next;
	size_t cancelled; /* exchanges cancelled inside curl, to be removed once it is left */
	bool acting;  /* inside client_act: pools are not closed */
	bool in_curl; /* inside curl: it may not be called */
	bool closing;
};

enum exchange_state {
	EXCHANGE_FAILED,  /* never started; its end is deferred */
	EXCHANGE_WAITING, /* made inside of curl, or for its turn to shake hands */
	EXCHANGE_RUNNING, /* curl has it */
};

struct http_exchange {
	struct http_client *client;
	struct client_pool *pool; /* while RUNNING */
	struct http_exchange *next, *previous; /* in client->all */
	struct http_exchange *next_waiting;
	enum exchange_state state;
	bool cancelled;
	bool (*may_leave)(void *arg);
	bool withheld; /* it said no */
	bool headers_told;
	int reader_code; /* what on_data ended the exchange with */
	int status;
	CURL *easy;
	struct http_handlers handlers;
	void *arg;
	struct curl_slist *headers, *connect_to;
	char *url, *body, *unix_socket;
	bool is_proxied, over_tls, headers_too_large;
	uint64_t timeout_ms, connect_timeout_ms;
	size_t header_bytes;
	struct loop_task fail;
	struct err failure; /* of EXCHANGE_FAILED */
	char curl_text[CURL_ERROR_SIZE];
};

/* client_pool.c */
void client_pool_open(struct http_client *c); /* it is the current one from now on */
void client_pools_close_old(struct http_client *c); /* those that are not current and have nothing to do */
void client_pools_close(struct http_client *c);     /* all, and the handles */
CURL *client_easy_take(struct http_client *c);      /* NULL: no memory */
void client_easy_give(struct http_client *c, CURL *easy); /* NULL is none */

/* client_socket.c */
void client_pool_watch(struct client_pool *p);
void client_sockets_deinit(struct http_client *c);
curl_socket_t client_socket_open(void *client, curlsocktype purpose, struct curl_sockaddr *address);
int client_socket_close(void *client, curl_socket_t fd);
/* client.c, for client_socket.c: let curl act, then settle what it could not do inside. */
void client_act(struct client_pool *p, curl_socket_t fd, int events);

/* client_setup.c: curl options for `r` on x->easy. */
int client_setup(struct http_exchange *x, const struct http_request *r, struct err *e);

/* client_pem.c: the text of a file, as it was when `revision` was first seen. The text stays valid
 * until the next call. */
int client_pem_read(struct http_client *c, const char *path, uint64_t revision, struct curl_blob *text,
	struct err *e);
void client_pem_forget(struct http_client *c);

/* client_result.c */
void client_result(struct http_exchange *x, CURLcode code, struct http_result *r);

#endif
