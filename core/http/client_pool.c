/* What exchanges share: connections, in pools, and handles.
 *
 * There is one pool. When connections are to be forgotten (other certificates, another server behind the name) a new one
 * takes its place, and the old one goes when its last exchange has ended: nothing under way is cut. Handles are kept
 * because making one costs more than setting up a request. */
#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "http/client_internal.h"

void client_pool_open(struct http_client *c)
{
	struct client_pool *p = xcalloc(1, sizeof *p);
	p->client = c;
	p->multi = curl_multi_init();
	if (p->multi == NULL) {
		fprintf(stderr, "moonphase: out of memory for the HTTP client\n");
		abort();
	}
	client_pool_watch(p);
	curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	p->next = c->pools;
	c->pools = p;
}

/* curl may call our callbacks during the cleanup; `closing` makes them take part in nothing. */
static void close_pool(struct client_pool *p)
{
	p->closing = true;
	clock_disarm(loop_clock(p->client->loop), &p->timer);
	curl_multi_cleanup(p->multi);
	free(p);
}

void client_pools_close_old(struct http_client *c)
{
	struct client_pool **at = &c->pools->next;
	while (*at != NULL) {
		struct client_pool *p = *at;
		if (p->active != 0) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		close_pool(p);
	}
}

CURL *client_easy_take(struct http_client *c)
{
	return c->easy_count != 0 ? c->easy_pool[--c->easy_count] : curl_easy_init();
}

/* A reset handle keeps what is dear (its memory) and forgets what is secret (its options). */
void client_easy_give(struct http_client *c, CURL *easy)
{
	if (easy == NULL)
		return;
	curl_easy_reset(easy);
	if (c->easy_count < EASY_POOL_MAX && !c->closing)
		c->easy_pool[c->easy_count++] = easy;
	else
		curl_easy_cleanup(easy);
}

void client_pools_close(struct http_client *c)
{
	while (c->easy_count != 0)
		curl_easy_cleanup(c->easy_pool[--c->easy_count]);
	for (struct client_pool *p; (p = c->pools) != NULL; ) {
		c->pools = p->next;
		close_pool(p);
	}
}
