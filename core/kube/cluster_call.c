/* One call: ask for credentials, exchange, look at what came, try again or report.
 *
 * A call is in exactly one of the states of cluster_internal.h, and each waiting place (the
 * credentials' list, the exchange, the timer) belongs to one state, so that giving up is leaving
 * that one place. Between a callback of the user and the return from it the call may be gone:
 * streams look at a flag of their own frame before they touch it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cluster_answer.h"
#include "kube/cluster_internal.h"
#include "kube/cluster_retry.h"

#define REFUSAL_MAX (64u << 10) /* of an answer that is no 200: the rest of it is not kept */

static void end_exchange(struct cluster_call *call)
{
	clock_disarm(call->cluster->clock, &call->timer);
	if (call->exchange != NULL)
		call->cluster->transport->cancel(call->cluster->transport, call->exchange);
	call->exchange = NULL;
	if (call->tls != NULL)
		credentials_drop(call->cluster->credentials, call->tls);
	call->tls = NULL;
}

static void unlink_call(struct cluster_call *call)
{
	*call->link = call->next;
	if (call->next != NULL)
		call->next->link = call->link;
}

static void free_call(struct cluster_call *call)
{
	buffer_deinit(&call->answer);
	free(call->url);
	free(call->accept);
	free(call->content_type);
	free(call->body);
	free(call->failure);
	free(call);
}

void call_drop(struct cluster_call *call)
{
	if (call->gone != NULL)
		*call->gone = true;
	if (call->state == CALL_ASKING)
		credentials_cancel(call->cluster->credentials, &call->wait);
	end_exchange(call);
	unlink_call(call);
	free_call(call);
}

/* --- the end --- */

/* Which request it was, without its query: "PATCH https://host/api/v1/...". */
static void name_failure(struct cluster_call *call, struct err *e)
{
	if (call->url != NULL)
		err_prefix(e, "%s %.*s", call->method, (int)strcspn(call->url, "?"), call->url);
}

static void finish(struct cluster_call *call, const struct http_result *r)
{
	struct cluster_answer a = {.status = r->status, .err = r->err, .refused = r->refused};
	if (call->stop_code == ERR_TOO_LARGE && !call->is_stream)
		err_set(&a.err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", call->answer_max);
	else if (call->stop_code != 0)
		err_set(&a.err, call->stop_code, "the reader ended the stream");
	if (a.err.code != 0)
		name_failure(call, &a.err);
	else if (!call->is_stream || r->status != 200)
		a.body = buffer_take(&call->answer, &a.body_len);
	if (a.err.code == 0 && call->retry_after_s > 0)
		a.retry_after_s = call->retry_after_s;
	if (a.err.code == 0 && r->status >= 400)
		cluster_answer_read(&a);
	end_exchange(call);
	unlink_call(call);
	call->state = CALL_OVER;
	call->done(call->arg, &a);
	free(a.body);
	free_call(call);
}

static void finish_failed(struct cluster_call *call)
{
	struct http_result r = {.err = *call->failure};
	finish(call, &r);
}

void call_fail_later(struct cluster_call *call, int code, const char *text)
{
	call->failure = xcalloc(1, sizeof *call->failure);
	err_set(call->failure, code, "%s", text);
	call->state = CALL_FAILED;
	clock_arm(call->cluster->clock, &call->timer, 0);
}

/* --- numbers --- */

static void status_text(int status, char out[12])
{
	if (status > 0 && status < 1000)
		snprintf(out, 12, "%d", status);
	else
		snprintf(out, 12, "<error>"); /* as client-go says it */
}

static void count_try(struct cluster_call *call, int status)
{
	struct cluster *c = call->cluster;
	char code[12];
	status_text(status, code);
	metric_add(metric_with(c->requests, (const char *const[]){code, call->method, c->host}), 1);
	const char *const by_verb[] = {call->method, c->host};
	metric_observe(metric_with(c->durations, by_verb), (double)(clock_now_ms(c->clock) - call->started_ms) / 1000);
	metric_observe(metric_with(c->sent_bytes, by_verb), (double)call->body_len);
	if (!call->is_stream || call->status != 200)
		metric_observe(metric_with(c->answer_bytes, by_verb), (double)call->answer.len);
}

static void count_retry(struct cluster_call *call, int status)
{
	struct cluster *c = call->cluster;
	char code[12];
	status_text(status, code);
	c->counts.retries++;
	metric_add(metric_with(c->retries, (const char *const[]){code, call->method, c->host}), 1);
}

static void count_sent(struct cluster_call *call)
{
	struct cluster_counts *n = &call->cluster->counts;
	bool reads = strcmp(call->method, "GET") == 0 || strcmp(call->method, "HEAD") == 0;
	uint64_t *which = call->is_stream ? &n->watches : reads ? &n->reads : &n->writes;
	(*which)++;
}

/* --- what comes --- */

static void on_headers(void *arg, int status, const char *(*header)(void *headers, const char *name), void *headers)
{
	struct cluster_call *call = arg;
	call->status = status;
	if (status != 200 || !call->is_stream) {
		call->retry_after_s = cluster_retry_after(header(headers, "Retry-After"),
			clock_wall_ms(call->cluster->clock));
		return;
	}
	count_try(call, status);
	clock_arm(call->cluster->clock, &call->timer, call->timeout_ms);
	if (call->handlers.opened != NULL)
		call->handlers.opened(call->arg); /* the call may be gone now */
}

static int on_stream_data(struct cluster_call *call, const char *bytes, size_t len)
{
	bool gone = false;
	clock_arm(call->cluster->clock, &call->timer, call->timeout_ms);
	call->gone = &gone;
	int rc = call->handlers.bytes(call->arg, bytes, len);
	if (gone)
		return ERR_CANCELLED;
	call->gone = NULL;
	call->stop_code = rc;
	return rc;
}

static int on_data(void *arg, const char *bytes, size_t len)
{
	struct cluster_call *call = arg;
	if (call->is_stream && call->status == 200)
		return on_stream_data(call, bytes, len);
	if (call->status >= 300 || call->is_stream) {
		size_t room = REFUSAL_MAX > call->answer.len ? REFUSAL_MAX - call->answer.len : 0;
		buffer_add(&call->answer, bytes, len < room ? len : room);
		return 0;
	}
	return call->stop_code = buffer_add(&call->answer, bytes, len);
}

/* --- again? --- */

static bool try_again_refreshed(struct cluster_call *call, const struct http_result *r)
{
	if (r->status != 401 || r->err.code != 0 || call->refreshed)
		return false;
	call->refreshed = true;
	if (!credentials_refused(call->cluster->credentials, call->wait.revision))
		return false;
	count_retry(call, r->status);
	call_try(call);
	return true;
}

static bool try_again_later(struct cluster_call *call, const struct http_result *r)
{
	if (call->is_stream || call->stop_code != 0)
		return false;
	struct cluster_try t = {.method = call->method, .status = r->status, .code = r->err.code,
		.refused = r->refused, .retry_after_s = call->retry_after_s, .retries = call->retries,
		.breaks = call->breaks};
	uint64_t delay_ms = cluster_retry_delay(&t);
	if (delay_ms == CLUSTER_RETRY_NEVER)
		return false;
	call->retries++;
	if (r->err.code != 0)
		call->breaks++;
	count_retry(call, r->err.code != 0 ? 0 : r->status);
	call->state = CALL_PAUSED;
	clock_arm(call->cluster->clock, &call->timer, delay_ms);
	return true;
}

static void on_done(void *arg, const struct http_result *r)
{
	struct cluster_call *call = arg;
	call->exchange = NULL;
	end_exchange(call);
	if (!call->is_stream || call->status != 200)
		count_try(call, r->err.code != 0 ? 0 : r->status);
	if (!try_again_refreshed(call, r) && !try_again_later(call, r))
		finish(call, r);
}

static void time_out(struct cluster_call *call)
{
	bool open = call->is_stream && call->status == 200;
	struct http_result r = {.status = call->status, .sent = true};
	if (open)
		err_set(&r.err, ERR_TIMEOUT, "the stream was silent for %.1f s", (double)call->timeout_ms / 1000);
	else
		err_set(&r.err, ERR_TIMEOUT, "no whole answer within %.1f s", (double)call->timeout_ms / 1000);
	if (!open)
		count_try(call, 0);
	finish(call, &r);
}

/* --- a try --- */

static bool may_leave(void *arg)
{
	const struct cluster_call *call = arg;
	const struct cluster *c = call->cluster;
	return !call->is_guarded || c->may_write == NULL || c->may_write(c->guard_arg);
}

static void start(struct cluster_call *call, const char *authorization, const struct http_tls *tls)
{
	static const struct http_handlers handlers = {.on_headers = on_headers, .on_data = on_data, .on_done = on_done};
	struct cluster *c = call->cluster;
	size_t n = c->fixed_count;
	c->headers[n++] = call->accept != NULL ? call->accept : "Accept: application/json";
	if (call->body != NULL)
		c->headers[n++] = call->content_type != NULL ? call->content_type : "Content-Type: application/json";
	if (authorization != NULL)
		c->headers[n++] = authorization;
	c->headers[n] = NULL;
	struct http_request r = {.method = call->method, .url = call->url, .headers = c->headers, .body = call->body,
		.body_len = call->body_len, .tls = tls, .proxy_url = c->config->proxy_url,
		.keep_alive_probes = call->is_stream,
		.may_leave = call->is_guarded ? may_leave : NULL};
	call->state = CALL_UNDER_WAY;
	call->status = 0;
	call->retry_after_s = -1;
	call->stop_code = 0;
	buffer_clear(&call->answer);
	call->started_ms = clock_now_ms(c->clock);
	call->tls = tls;
	credentials_hold(c->credentials, tls);
	count_sent(call);
	call->exchange = c->transport->start(c->transport, &r, &handlers, call);
	/* The limit of a try is on the clock and not the transport's: it holds on virtual time too. */
	clock_arm(c->clock, &call->timer, call->timeout_ms);
}

void call_on_credentials(struct credentials_wait *w, const char *authorization, const struct http_tls *tls,
	const struct err *err)
{
	struct cluster_call *call = w->data;
	if (err != NULL)
		call_fail_later(call, err->code, err->text);
	else if (!may_leave(call))
		call_fail_later(call, ERR_FENCED, "this process does not lead (any more): the write was not sent");
	else
		start(call, authorization, tls);
}

void call_try(struct cluster_call *call)
{
	call->state = CALL_ASKING;
	credentials_get(call->cluster->credentials, &call->wait);
}

void call_on_timer(struct clock_timer *t)
{
	struct cluster_call *call = t->data;
	if (call->state == CALL_PAUSED)
		call_try(call);
	else if (call->state == CALL_FAILED)
		finish_failed(call);
	else
		time_out(call);
}
