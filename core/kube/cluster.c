/* One API server: what its calls share, how a call begins and how it is given up.
 *
 * The promise to callers is that nothing is called back from inside cluster_send: a request that
 * cannot even start is reported by a timer of 0 ms. The tries of a call are cluster_call.c, the
 * rules of retrying cluster_retry.c. */
#include "kube/cluster_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

#define DEFAULT_TIMEOUT_MS 60000
#define PATH_MAX_BYTES 16384

static char *host_of(const char *server)
{
	const char *host = strstr(server, "://");
	host = host != NULL ? host + 3 : server;
	return xmemdup0(host, strcspn(host, "/"));
}

/* Who we are, and whom we act as. */
static void make_headers(struct cluster *c)
{
	size_t groups = 0, n = 0;
	while (c->config->impersonate_groups != NULL && c->config->impersonate_groups[groups] != NULL)
		groups++;
	c->owned = xcalloc(groups + 3, sizeof *c->owned);
	c->headers = xcalloc(groups + 2 + CALL_HEADERS, sizeof *c->headers);
	c->owned[n++] = xstrdup("User-Agent: moonphase");
	if (c->config->impersonate_user != NULL)
		c->owned[n++] = xasprintf("Impersonate-User: %s", c->config->impersonate_user);
	for (size_t i = 0; i < groups; i++)
		c->owned[n++] = xasprintf("Impersonate-Group: %s", c->config->impersonate_groups[i]);
	for (size_t i = 0; i < n; i++)
		c->headers[i] = c->owned[i];
	c->fixed_count = n;
}

static void register_metrics(struct cluster *c)
{
	static const char *const by_code[] = {"code", "method", "host", NULL};
	static const char *const by_verb[] = {"verb", "host", NULL};
	static const char *const retries[] = {"code", "verb", "host", NULL};
	static const double seconds[] = {.005, .025, .1, .25, .5, 1, 2, 4, 8, 15, 30, 60}; /* client-go's */
	static const double bytes[] = {64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216};
	const size_t sizes = sizeof bytes / sizeof *bytes;
	c->requests = metric_register(METRIC_COUNTER, "rest_client_requests_total",
		"Requests to the API server, by status code, method and host.", by_code, NULL, 0);
	c->durations = metric_register(METRIC_HISTOGRAM, "rest_client_request_duration_seconds",
		"How long requests took (watches: until their headers), by verb and host.", by_verb, seconds,
		sizeof seconds / sizeof *seconds);
	c->sent_bytes = metric_register(METRIC_HISTOGRAM, "rest_client_request_size_bytes",
		"Bytes of requests' bodies, by verb and host.", by_verb, bytes, sizes);
	c->answer_bytes = metric_register(METRIC_HISTOGRAM, "rest_client_response_size_bytes",
		"Bytes of answers' bodies that were kept (of watches: refusals only), by verb and host.", by_verb, bytes, sizes);
	c->retries = metric_register(METRIC_COUNTER, "rest_client_request_retries_total",
		"Requests that were sent again, by the status code that caused it.", retries, NULL, 0);
}

struct cluster *cluster_new(const struct cluster_options *o, struct err *e)
{
	struct cluster *c = xcalloc(1, sizeof *c);
	c->clock = o->clock;
	c->transport = o->transport;
	c->config = o->config;
	c->credentials = credentials_new(o->loop, o->clock, o->config, e);
	if (c->credentials == NULL) {
		cluster_free(c);
		return NULL;
	}
	c->host = host_of(c->config->server);
	make_headers(c);
	register_metrics(c);
	return c;
}

void cluster_free(struct cluster *c)
{
	if (c == NULL)
		return;
	while (c->calls != NULL)
		cluster_cancel(c->calls);
	credentials_free(c->credentials);
	for (size_t i = 0; c->owned != NULL && c->owned[i] != NULL; i++)
		free(c->owned[i]);
	free(c->owned);
	free(c->headers);
	free(c->host);
	kube_config_deinit(c->config);
	free(c->config);
	free(c);
}

const struct kube_config *cluster_config(const struct cluster *c)
{
	return c->config;
}

struct clock *cluster_clock(struct cluster *c)
{
	return c->clock;
}

struct cluster_counts cluster_counts(const struct cluster *c)
{
	return c->counts;
}

void cluster_guard(struct cluster *c, bool (*may_write)(void *arg), void *arg)
{
	c->may_write = may_write;
	c->guard_arg = arg;
}

static bool is_printable(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

/* NULL, or what is wrong: a request may be put together from names that came from outside. */
static const char *fault_of(const struct cluster_request *r)
{
	const char *path = r->path;
	size_t len = path != NULL ? strnlen(path, PATH_MAX_BYTES + 1) : 0;
	if (len == 0 || path[0] != '/')
		return "the path of a request to the cluster must begin with /";
	if (len > PATH_MAX_BYTES)
		return "the path of a request to the cluster is longer than 16 KiB";
	if (strpbrk(path, " #") != NULL || !is_printable(path))
		return "the path of a request to the cluster has bytes that must be escaped";
	if (r->method != NULL && (strlen(r->method) > 7 || r->method[0] == '\0' ||
		r->method[strspn(r->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] != '\0'))
		return "the method of a request to the cluster must be GET, PATCH or the like";
	if ((r->accept != NULL && !is_printable(r->accept)) ||
		(r->content_type != NULL && !is_printable(r->content_type)))
		return "a content type has control characters in it";
	return NULL;
}

static struct cluster_call *call_new(struct cluster *c, const struct cluster_request *r, void *arg)
{
	struct cluster_call *call = xcalloc(1, sizeof *call);
	call->cluster = c;
	call->arg = arg;
	call->timer.fire = call_on_timer;
	call->timer.data = call;
	call->wait.ready = call_on_credentials;
	call->wait.data = call;
	call->timeout_ms = r->timeout_ms ? r->timeout_ms : DEFAULT_TIMEOUT_MS;
	call->answer_max = r->body_max ? r->body_max : CLUSTER_BODY_MAX;
	buffer_init(&call->answer, call->answer_max);
	call->next = c->calls;
	call->link = &c->calls;
	if (call->next != NULL)
		call->next->link = &call->next;
	c->calls = call;
	return call;
}

static struct cluster_call *begin(struct cluster_call *call, const struct cluster_request *r)
{
	const char *fault = fault_of(r);
	if (fault != NULL) {
		call_fail_later(call, ERR_INVALID, fault);
		return call;
	}
	snprintf(call->method, sizeof call->method, "%s", r->method != NULL ? r->method : "GET");
	call->is_guarded = !r->regardless && strcmp(call->method, "GET") != 0 && strcmp(call->method, "HEAD") != 0;
	call->url = xasprintf("%s%s", call->cluster->config->server, r->path);
	if (r->accept != NULL)
		call->accept = xasprintf("Accept: %s", r->accept);
	if (r->content_type != NULL)
		call->content_type = xasprintf("Content-Type: %s", r->content_type);
	if (r->body != NULL) {
		call->body = xmemdup0(r->body, r->body_len);
		call->body_len = r->body_len;
	}
	call_try(call);
	return call;
}

struct cluster_call *cluster_send(struct cluster *c, const struct cluster_request *r,
	void (*done)(void *arg, struct cluster_answer *a), void *arg)
{
	struct cluster_call *call = call_new(c, r, arg);
	call->done = done;
	return begin(call, r);
}

struct cluster_call *cluster_stream(struct cluster *c, const struct cluster_request *r,
	const struct cluster_stream_handlers *h, void *arg)
{
	struct cluster_call *call = call_new(c, r, arg);
	call->is_stream = true;
	call->handlers = *h;
	call->done = h->ended;
	return begin(call, r);
}

void cluster_cancel(struct cluster_call *call)
{
	if (call == NULL || call->state == CALL_OVER)
		return;
	call_drop(call);
}
