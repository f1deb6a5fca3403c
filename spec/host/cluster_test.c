/* Calls to the API server, over a transport in memory and on virtual time: what is sent, what is
 * sent again and when, what an answer says, and giving up at every moment. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/xalloc.h"
#include "kube/cluster.h"
#include "test.h"

/* --- the transport: remembers what was started; the test plays the server --- */

struct http_exchange {
	char method[16], url[512], headers[2048], body[512];
	bool keep_alive_probes, over;
	bool (*may_leave)(void *arg);
	struct http_handlers h;
	void *arg;
};

#define EXCHANGES 32

static struct {
	struct transport transport;
	struct http_exchange *list[EXCHANGES];
	size_t count, cancelled;
	bool inside; /* transport_start or cluster_send is running */
} net;

static struct http_exchange *net_start(struct transport *t, const struct http_request *r,
	const struct http_handlers *h, void *arg)
{
	(void)t;
	CHECK(net.count < EXCHANGES);
	CHECK(r->tls != NULL);
	struct http_exchange *x = net.list[net.count++] = xcalloc(1, sizeof *x);
	snprintf(x->method, sizeof x->method, "%s", r->method);
	snprintf(x->url, sizeof x->url, "%s", r->url);
	for (size_t i = 0; r->headers != NULL && r->headers[i] != NULL; i++) {
		strcat(x->headers, r->headers[i]);
		strcat(x->headers, "\n");
	}
	if (r->body != NULL)
		snprintf(x->body, sizeof x->body, "%.*s", (int)r->body_len, (const char *)r->body);
	x->keep_alive_probes = r->keep_alive_probes;
	x->may_leave = r->may_leave;
	x->h = *h;
	x->arg = arg;
	return x;
}

static void net_cancel(struct transport *t, struct http_exchange *x)
{
	(void)t;
	CHECK(!x->over);
	x->over = true;
	net.cancelled++;
}

static const char *find_header(void *headers, const char *name)
{
	static char value[128];
	const char *line = headers;
	size_t len = strlen(name);
	while (line != NULL && *line != '\0') {
		if (strncasecmp(line, name, len) == 0 && strncmp(line + len, ": ", 2) == 0) {
			snprintf(value, sizeof value, "%.*s", (int)strcspn(line + len + 2, "\n"), line + len + 2);
			return value;
		}
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}
	return NULL;
}

static struct http_exchange *last(void)
{
	CHECK(net.count > 0);
	CHECK(!net.list[net.count - 1]->over);
	return net.list[net.count - 1];
}

static void send_headers(int status, const char *headers)
{
	struct http_exchange *x = last();
	x->h.on_headers(x->arg, status, find_header, (void *)(uintptr_t)headers);
}

/* A copy of the exact size, so that reading past it is seen. */
static int send_bytes(const char *text)
{
	struct http_exchange *x = last();
	size_t len = strlen(text);
	char *copy = memcpy(xmalloc(len + (len == 0)), text, len);
	int rc = x->h.on_data(x->arg, copy, len);
	free(copy);
	return rc;
}

static void end_with(int status, int code, const char *text, bool refused)
{
	struct http_exchange *x = last();
	struct http_result r = {.status = status, .refused = refused, .sent = true};
	if (code != 0)
		err_set(&r.err, code, "%s", text);
	x->over = true;
	x->h.on_done(x->arg, &r);
}

static void answer(int status, const char *headers, const char *body)
{
	send_headers(status, headers);
	int rc = *body != '\0' ? send_bytes(body) : 0;
	if (rc != 0)
		end_with(status, rc, "the receiver ended it", false);
	else
		end_with(status, 0, NULL, false);
}

static void break_connection(void)
{
	end_with(0, ERR_IO, "the connection was reset", false);
}

/* --- the world of a test --- */

static struct clock clock_;
static struct cluster *cluster;

static struct {
	int calls, opened, chunks, end_with;
	int status, code;
	bool refused, cancel_in_opened, cancel_in_bytes, cancel_in_done;
	char body[512], reason[64], message[ERR_TEXT_MAX], text[ERR_TEXT_MAX], seen[512];
	int64_t retry_after_s;
	struct cluster_call *call;
} got;

static void on_answer(void *arg, struct cluster_answer *a)
{
	CHECK(arg == &got);
	CHECK(!net.inside);
	got.calls++;
	got.status = a->status;
	got.code = a->err.code;
	got.refused = a->refused;
	got.retry_after_s = a->retry_after_s;
	snprintf(got.body, sizeof got.body, "%s", a->body != NULL ? a->body : "(none)");
	snprintf(got.text, sizeof got.text, "%s", a->err.text);
	strcpy(got.reason, a->reason);
	strcpy(got.message, a->message);
	if (got.cancel_in_done)
		cluster_cancel(got.call);
}

static void on_opened(void *arg)
{
	CHECK(arg == &got);
	got.opened++;
	if (got.cancel_in_opened)
		cluster_cancel(got.call);
}

static int on_bytes(void *arg, const char *bytes, size_t len)
{
	CHECK(arg == &got);
	got.chunks++;
	strncat(got.seen, bytes, len);
	if (got.cancel_in_bytes)
		cluster_cancel(got.call);
	return got.end_with;
}

static struct kube_config *config(void)
{
	struct kube_config *c = xcalloc(1, sizeof *c);
	c->server = xstrdup("https://api.example:6443/k8s");
	c->namespace_ = xstrdup("default");
	c->token = xstrdup("sesame");
	return c;
}

static void open_with(struct kube_config *c)
{
	struct err e;
	clock_init_virtual(&clock_, 784111770000); /* Sun, 06 Nov 1994 08:49:30 GMT */
	net.transport = (struct transport){net_start, net_cancel};
	cluster = cluster_new(&(struct cluster_options){&clock_, &net.transport, NULL, c}, &e);
	if (cluster == NULL)
		FAIL("%s", e.text);
}

static void open_cluster(void)
{
	open_with(config());
}

static void close_cluster(void)
{
	cluster_free(cluster);
	clock_virtual_advance(&clock_, 3600000);
	CHECK(clock_next_due_ms(&clock_) == CLOCK_NEVER);
	clock_deinit(&clock_);
	for (size_t i = 0; i < net.count; i++) {
		CHECK(net.list[i]->over);
		free(net.list[i]);
	}
}

static void start(const struct cluster_request *r)
{
	net.inside = true;
	got.call = cluster_send(cluster, r, on_answer, &got);
	net.inside = false;
}

static void get(void)
{
	start(&(struct cluster_request){.path = "/api/v1/pods?limit=500"});
}

static void patch(void)
{
	start(&(struct cluster_request){.method = "PATCH", .path = "/api/v1/pods/a", .body = "{\"a\":1}", .body_len = 7,
		.content_type = "application/apply-patch+yaml"});
}

static void stream(uint64_t silence_ms)
{
	static const struct cluster_stream_handlers h = {on_opened, on_bytes, on_answer};
	net.inside = true;
	got.call = cluster_stream(cluster, &(struct cluster_request){.path = "/api/v1/pods?watch=1",
		.timeout_ms = silence_ms}, &h, &got);
	net.inside = false;
}

#define STATUS(reason, message) "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"reason\":\"" reason \
	"\",\"message\":\"" message "\",\"code\":409}"

/* --- what is sent --- */

TEST(a_get_is_sent_with_token_and_server_path)
{
	open_cluster();
	get();
	CHECK_TEXT(last()->method, "GET");
	CHECK_TEXT(last()->url, "https://api.example:6443/k8s/api/v1/pods?limit=500");
	CHECK_TEXT(last()->headers, "User-Agent: moonphase\nAccept: application/json\nAuthorization: Bearer sesame\n");
	answer(200, "", "{\"items\":[]}");
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 200);
	CHECK_INT(got.code, ==, 0);
	CHECK_TEXT(got.body, "{\"items\":[]}");
	CHECK_TEXT(got.reason, "");
	close_cluster();
}

TEST(a_write_carries_its_body_and_content_type)
{
	open_cluster();
	patch();
	CHECK_TEXT(last()->method, "PATCH");
	CHECK_TEXT(last()->body, "{\"a\":1}");
	CHECK_CONTAINS(last()->headers, "Content-Type: application/apply-patch+yaml\n");
	answer(200, "", "{}");
	start(&(struct cluster_request){.method = "POST", .path = "/x", .body = "{}", .body_len = 2,
		.accept = "application/json;as=Table"});
	CHECK_CONTAINS(last()->headers, "Accept: application/json;as=Table\nContent-Type: application/json\n");
	answer(201, "", "{}");
	CHECK_INT(got.calls, ==, 2);
	close_cluster();
}

TEST(impersonation_is_in_every_request)
{
	struct kube_config *c = config();
	c->impersonate_user = xstrdup("jane");
	c->impersonate_groups = xcalloc(3, sizeof(char *));
	c->impersonate_groups[0] = xstrdup("dev");
	c->impersonate_groups[1] = xstrdup("ops");
	open_with(c);
	get();
	CHECK_CONTAINS(last()->headers, "Impersonate-User: jane\nImpersonate-Group: dev\nImpersonate-Group: ops\n");
	answer(200, "", "{}");
	close_cluster();
}

TEST(basic_credentials_are_encoded)
{
	struct kube_config *c = config();
	free(c->token);
	c->token = NULL;
	c->username = xstrdup("Aladdin");
	c->password = xstrdup("open sesame");
	open_with(c);
	get();
	CHECK_CONTAINS(last()->headers, "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\n");
	answer(200, "", "{}");
	close_cluster();
}

TEST(a_path_that_was_not_escaped_is_refused_from_outside)
{
	static const char *const paths[] = {"", "api", "/a b", "/a\nHost: evil", "/a#b", NULL};
	open_cluster();
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		start(&(struct cluster_request){.path = paths[i]});
		CHECK_INT(got.calls, ==, i);
		clock_virtual_advance(&clock_, 0);
		CHECK_INT(got.calls, ==, i + 1);
		CHECK_INT(got.code, ==, ERR_INVALID);
	}
	CHECK_INT(net.count, ==, 0);
	close_cluster();
}

TEST(a_header_cannot_be_smuggled_in)
{
	open_cluster();
	start(&(struct cluster_request){.path = "/a", .accept = "x\r\nImpersonate-User: root"});
	clock_virtual_advance(&clock_, 0);
	CHECK_INT(got.code, ==, ERR_INVALID);
	start(&(struct cluster_request){.path = "/a", .method = "GET /b"});
	clock_virtual_advance(&clock_, 0);
	CHECK_INT(got.code, ==, ERR_INVALID);
	CHECK_INT(net.count, ==, 0);
	close_cluster();
}

/* --- who may write --- */

static int asked;

static bool guard(void *may)
{
	asked++;
	return *(bool *)may;
}

static void refused_by_the_guard(int calls)
{
	clock_virtual_advance(&clock_, 0);
	CHECK_INT(got.calls, ==, calls);
	CHECK_INT(got.code, ==, ERR_FENCED);
	CHECK_INT(got.status, ==, 0);
}

TEST(a_write_does_not_leave_while_the_guard_says_no_and_reads_do)
{
	bool may = false;
	open_cluster();
	cluster_guard(cluster, guard, &may);
	patch();
	CHECK_INT(got.calls, ==, 0); /* never from inside */
	refused_by_the_guard(1);
	start(&(struct cluster_request){.method = "DELETE", .path = "/a"});
	refused_by_the_guard(2);
	CHECK_INT(net.count, ==, 0);
	get();
	answer(200, "", "{}");
	start(&(struct cluster_request){.method = "HEAD", .path = "/a"});
	answer(200, "", "");
	start(&(struct cluster_request){.method = "POST", .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
		.body = "{}", .body_len = 2, .regardless = true});
	CHECK(last()->may_leave == NULL);
	answer(201, "", "{}");
	CHECK_INT(got.calls, ==, 5);
	CHECK_INT(asked, ==, 2);
	may = true;
	patch();
	answer(200, "", "{}");
	CHECK_INT(got.status, ==, 200);
	close_cluster();
}

TEST(a_write_that_waited_for_its_retry_is_held_back_when_the_guard_says_no_by_then)
{
	bool may = true;
	open_cluster();
	cluster_guard(cluster, guard, &may);
	patch();
	answer(429, "Retry-After: 5", "{}");
	may = false;
	clock_virtual_advance(&clock_, 5000);
	refused_by_the_guard(1);
	CHECK_INT(net.count, ==, 1);
	close_cluster();
}

TEST(the_guard_is_asked_again_when_the_connection_is_there)
{
	bool may = true;
	open_cluster();
	cluster_guard(cluster, guard, &may);
	patch();
	CHECK(last()->may_leave(last()->arg));
	may = false;
	CHECK(!last()->may_leave(last()->arg));
	cluster_guard(cluster, NULL, NULL);
	CHECK(last()->may_leave(last()->arg));
	end_with(0, ERR_FENCED, "the request may not leave any more", false); /* as a transport that was told no */
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.code, ==, ERR_FENCED);
	CHECK_INT(net.count, ==, 1);
	close_cluster();
}

/* --- again --- */

TEST(a_429_waits_as_long_as_it_says)
{
	open_cluster();
	patch();
	answer(429, "Retry-After: 3", STATUS("TooManyRequests", "slow down"));
	clock_virtual_advance(&clock_, 2999);
	CHECK_INT(net.count, ==, 1);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(net.count, ==, 2);
	CHECK_TEXT(last()->body, "{\"a\":1}");
	answer(200, "", "{}");
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 200);
	CHECK_TEXT(got.body, "{}");
	CHECK_INT(cluster_counts(cluster).writes, ==, 2);
	CHECK_INT(cluster_counts(cluster).retries, ==, 1);
	close_cluster();
}

TEST(a_429_that_says_nothing_waits_a_second)
{
	open_cluster();
	get();
	answer(429, "", "");
	clock_virtual_advance(&clock_, 999);
	CHECK_INT(net.count, ==, 1);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(net.count, ==, 2);
	answer(200, "", "{}");
	CHECK_INT(got.status, ==, 200);
	close_cluster();
}

TEST(a_503_is_tried_again_only_with_retry_after)
{
	open_cluster();
	patch();
	answer(503, "", STATUS("ServiceUnavailable", "not now"));
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 503);
	CHECK_TEXT(got.reason, "ServiceUnavailable");
	patch();
	answer(503, "retry-after: 2", "");
	CHECK_INT(got.calls, ==, 1);
	clock_virtual_advance(&clock_, 2000);
	answer(200, "", "{}");
	CHECK_INT(got.calls, ==, 2);
	CHECK_INT(got.status, ==, 200);
	close_cluster();
}

TEST(retry_after_may_be_a_date)
{
	open_cluster();
	get();
	answer(503, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", "");
	clock_virtual_advance(&clock_, 6999);
	CHECK_INT(net.count, ==, 1);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(net.count, ==, 2);
	answer(503, "Retry-After: Sun, 06 Nov 1994 08:00:00 GMT", ""); /* past: at once */
	clock_virtual_advance(&clock_, 0);
	CHECK_INT(net.count, ==, 3);
	answer(503, "Retry-After: soon", "");
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 503);
	close_cluster();
}

TEST(retry_after_is_at_most_a_minute)
{
	open_cluster();
	get();
	answer(429, "Retry-After: 99999999999999999999", "");
	clock_virtual_advance(&clock_, 59999);
	CHECK_INT(net.count, ==, 1);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(net.count, ==, 2);
	answer(200, "", "{}");
	close_cluster();
}

TEST(after_ten_times_the_refusal_is_reported)
{
	open_cluster();
	get();
	for (int i = 0; i < 10; i++) {
		answer(429, "Retry-After: 1", STATUS("TooManyRequests", "slow down"));
		CHECK_INT(got.calls, ==, 0);
		clock_virtual_advance(&clock_, 1000);
	}
	CHECK_INT(net.count, ==, 11);
	answer(429, "Retry-After: 7", STATUS("TooManyRequests", "slow down"));
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 429);
	CHECK_INT(got.retry_after_s, ==, 7);
	CHECK_TEXT(got.message, "slow down");
	CHECK_INT(cluster_counts(cluster).retries, ==, 10);
	close_cluster();
}

TEST(a_broken_get_is_tried_three_times_more)
{
	static const uint64_t pauses[] = {100, 300, 900};
	open_cluster();
	get();
	for (size_t i = 0; i < 3; i++) {
		break_connection();
		CHECK_INT(got.calls, ==, 0);
		clock_virtual_advance(&clock_, pauses[i] - 1);
		CHECK_INT(net.count, ==, i + 1);
		clock_virtual_advance(&clock_, 1);
		CHECK_INT(net.count, ==, i + 2);
	}
	break_connection();
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.code, ==, ERR_IO);
	CHECK_INT(got.status, ==, 0);
	CHECK_TEXT(got.body, "(none)");
	CHECK_TEXT(got.text, "GET https://api.example:6443/k8s/api/v1/pods: the connection was reset");
	close_cluster();
}

TEST(half_an_answer_to_a_get_is_forgotten_before_the_next)
{
	open_cluster();
	get();
	send_headers(200, "");
	send_bytes("{\"items\":[1,");
	end_with(200, ERR_IO, "the connection was reset", false);
	clock_virtual_advance(&clock_, 100);
	answer(200, "", "{}");
	CHECK_TEXT(got.body, "{}");
	close_cluster();
}

TEST(a_broken_write_is_reported_and_not_repeated)
{
	open_cluster();
	patch();
	break_connection();
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.code, ==, ERR_IO);
	CHECK_INT(net.count, ==, 1);
	close_cluster();
}

TEST(a_refused_connection_is_reported_at_once)
{
	open_cluster();
	get();
	end_with(0, ERR_IO, "nobody listens", true);
	CHECK_INT(got.calls, ==, 1);
	CHECK(got.refused);
	close_cluster();
}

TEST(an_answer_that_never_comes_ends_on_the_clock)
{
	open_cluster();
	start(&(struct cluster_request){.path = "/a?secret=1", .timeout_ms = 2500});
	clock_virtual_advance(&clock_, 2499);
	CHECK_INT(got.calls, ==, 0);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.code, ==, ERR_TIMEOUT);
	CHECK_TEXT(got.text, "GET https://api.example:6443/k8s/a: no whole answer within 2.5 s");
	CHECK_INT(net.cancelled, ==, 1);
	close_cluster();
}

TEST(a_401_with_a_fixed_token_is_final)
{
	open_cluster();
	get();
	answer(401, "", STATUS("Unauthorized", "Unauthorized"));
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 401);
	CHECK_INT(net.count, ==, 1);
	close_cluster();
}

static void write_token(const char *path, const char *token)
{
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	fprintf(f, "%s\n", token);
	fclose(f);
}

TEST(a_401_is_tried_once_more_with_the_new_token_of_the_file)
{
	char path[] = "/tmp/moonphase-token-XXXXXX";
	struct kube_config *c = config();
	free(c->token);
	c->token = NULL;
	close(mkstemp(path));
	write_token(path, "old");
	c->token_file = xstrdup(path);
	open_with(c);
	get();
	CHECK_CONTAINS(last()->headers, "Bearer old\n");
	write_token(path, "new");
	answer(401, "", "");
	CHECK_INT(net.count, ==, 2);
	CHECK_CONTAINS(last()->headers, "Bearer new\n");
	write_token(path, "newer");
	answer(401, "", ""); /* once is enough */
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 401);
	unlink(path);
	close_cluster();
}

/* --- what an answer says --- */

TEST(the_fields_of_a_status_object_are_given)
{
	open_cluster();
	patch();
	answer(409, "", STATUS("Conflict", "the object has been modified"));
	CHECK_INT(got.status, ==, 409);
	CHECK_INT(got.code, ==, 0);
	CHECK_TEXT(got.reason, "Conflict");
	CHECK_TEXT(got.message, "the object has been modified");
	CHECK_CONTAINS(got.body, "\"kind\":\"Status\"");
	get();
	answer(500, "", "{\"kind\":\"Status\",\"reason\":\"ServerTimeout\",\"details\":{\"retryAfterSeconds\":4}}");
	CHECK_TEXT(got.reason, "ServerTimeout");
	CHECK_TEXT(got.message, "");
	CHECK_INT(got.retry_after_s, ==, 4);
	close_cluster();
}

TEST(a_page_of_html_gives_its_text)
{
	open_cluster();
	get();
	answer(502, "", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\x01 1 < 2 <hr>nginx</body></html>");
	CHECK_INT(got.code, ==, 0);
	CHECK_TEXT(got.reason, "");
	CHECK_TEXT(got.message, "502 Bad Gateway 1 < 2 nginx");
	close_cluster();
}

TEST(a_refusal_of_any_shape_is_no_error_of_ours)
{
	static const char *const bodies[] = {"", "{", "[]", "null", "\"Status\"", "{\"kind\":\"Pod\",\"reason\":\"x\"}",
		"{\"kind\":7}", "{\"kind\":\"Status\",\"reason\":{},\"message\":[],\"details\":1}", "<", "\xff\xfe", "<a"};
	open_cluster();
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		patch();
		answer(403, "", bodies[i]);
		CHECK_INT(got.calls, ==, i + 1);
		CHECK_INT(got.code, ==, 0);
		CHECK_INT(got.status, ==, 403);
		CHECK_TEXT(got.reason, "");
	}
	close_cluster();
}

TEST(a_long_refusal_is_cut)
{
	char long_text[1000];
	memset(long_text, 'x', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	open_cluster();
	patch();
	answer(400, "", long_text);
	CHECK_INT(strlen(got.message), <, 210);
	CHECK_CONTAINS(got.message, "xxx...");
	patch();
	send_headers(500, "");
	for (int i = 0; i < 200; i++)
		CHECK_INT(send_bytes(long_text), ==, 0);
	end_with(500, 0, NULL, false);
	CHECK_INT(got.calls, ==, 2);
	CHECK_INT(got.code, ==, 0);
	close_cluster();
}

TEST(an_answer_over_its_maximum_is_an_error)
{
	open_cluster();
	start(&(struct cluster_request){.path = "/a", .body_max = 5});
	answer(200, "", "12345");
	CHECK_TEXT(got.body, "12345");
	start(&(struct cluster_request){.path = "/a", .body_max = 5});
	answer(200, "", "123456");
	CHECK_INT(got.code, ==, ERR_TOO_LARGE);
	CHECK_TEXT(got.text, "GET https://api.example:6443/k8s/a: the answer is larger than 5 bytes");
	CHECK_INT(net.count, ==, 2);
	close_cluster();
}

/* --- streams --- */

TEST(a_stream_opens_delivers_and_ends)
{
	open_cluster();
	stream(0);
	CHECK(last()->keep_alive_probes);
	send_headers(200, "");
	CHECK_INT(got.opened, ==, 1);
	send_bytes("{\"a\":");
	send_bytes("1}\n");
	CHECK_TEXT(got.seen, "{\"a\":1}\n");
	end_with(200, 0, NULL, false);
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.status, ==, 200);
	CHECK_INT(got.code, ==, 0);
	CHECK_INT(cluster_counts(cluster).watches, ==, 1);
	CHECK_INT(cluster_counts(cluster).reads, ==, 0);
	close_cluster();
}

TEST(a_stream_dies_of_silence_and_lives_by_each_chunk)
{
	open_cluster();
	stream(70000);
	clock_virtual_advance(&clock_, 60000);
	send_headers(200, "");
	for (int i = 0; i < 10; i++) {
		clock_virtual_advance(&clock_, 69999);
		send_bytes("x");
	}
	CHECK_INT(got.calls, ==, 0);
	clock_virtual_advance(&clock_, 69999);
	CHECK_INT(got.calls, ==, 0);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.code, ==, ERR_TIMEOUT);
	CHECK_CONTAINS(got.text, "the stream was silent for 70.0 s");
	CHECK_INT(net.cancelled, ==, 1);
	close_cluster();
}

TEST(a_stream_that_never_opens_dies_of_silence)
{
	open_cluster();
	stream(5000);
	clock_virtual_advance(&clock_, 5000);
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.opened, ==, 0);
	CHECK_INT(got.code, ==, ERR_TIMEOUT);
	CHECK_INT(got.status, ==, 0);
	close_cluster();
}

TEST(a_refused_stream_says_why_and_is_not_retried)
{
	open_cluster();
	stream(0);
	answer(429, "Retry-After: 9", STATUS("TooManyRequests", "later"));
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.opened, ==, 0);
	CHECK_INT(got.chunks, ==, 0);
	CHECK_INT(got.status, ==, 429);
	CHECK_INT(got.retry_after_s, ==, 9);
	CHECK_TEXT(got.reason, "TooManyRequests");
	stream(0);
	answer(410, "", STATUS("Expired", "too old resource version"));
	CHECK_TEXT(got.reason, "Expired");
	stream(0);
	break_connection();
	CHECK_INT(got.code, ==, ERR_IO);
	clock_virtual_advance(&clock_, 100000);
	CHECK_INT(net.count, ==, 3);
	close_cluster();
}

TEST(a_reader_can_end_its_stream_with_a_code)
{
	open_cluster();
	stream(0);
	send_headers(200, "");
	got.end_with = ERR_INVALID;
	CHECK_INT(send_bytes("nonsense"), ==, ERR_INVALID);
	end_with(200, ERR_INVALID, "ended by the receiver", false);
	CHECK_INT(got.calls, ==, 1);
	CHECK_INT(got.code, ==, ERR_INVALID);
	close_cluster();
}

/* --- giving up --- */

static void expect_nothing_more(void)
{
	clock_virtual_advance(&clock_, 600000);
	CHECK_INT(got.calls, ==, 0);
}

TEST(a_call_is_cancelled_under_way)
{
	open_cluster();
	get();
	cluster_cancel(got.call);
	CHECK_INT(net.cancelled, ==, 1);
	expect_nothing_more();
	close_cluster();
}

TEST(a_call_is_cancelled_while_it_waits_for_its_retry)
{
	open_cluster();
	get();
	answer(429, "Retry-After: 5", "");
	cluster_cancel(got.call);
	expect_nothing_more();
	CHECK_INT(net.count, ==, 1);
	close_cluster();
}

TEST(a_call_is_cancelled_before_its_failure_is_told)
{
	open_cluster();
	start(&(struct cluster_request){.path = "bad"});
	cluster_cancel(got.call);
	expect_nothing_more();
	close_cluster();
}

TEST(a_stream_is_cancelled_inside_opened)
{
	open_cluster();
	got.cancel_in_opened = true;
	stream(0);
	send_headers(200, "");
	CHECK_INT(got.opened, ==, 1);
	expect_nothing_more();
	close_cluster();
}

TEST(a_stream_is_cancelled_inside_bytes)
{
	open_cluster();
	got.cancel_in_bytes = true;
	stream(0);
	send_headers(200, "");
	send_bytes("x");
	CHECK_INT(got.chunks, ==, 1);
	expect_nothing_more();
	close_cluster();
}

TEST(cancelling_inside_the_last_callback_does_nothing)
{
	open_cluster();
	got.cancel_in_done = true;
	get();
	answer(200, "", "{}");
	CHECK_INT(got.calls, ==, 1);
	stream(0);
	send_headers(200, "");
	end_with(200, 0, NULL, false);
	CHECK_INT(got.calls, ==, 2);
	close_cluster();
}

TEST(freeing_the_cluster_cancels_every_call)
{
	open_cluster();
	get();
	answer(429, "", "");
	start(&(struct cluster_request){.path = "bad"});
	stream(0);
	patch();
	close_cluster();
	CHECK_INT(net.cancelled, ==, 2);
	CHECK_INT(got.calls, ==, 0);
}

static void free_the_cluster(void *arg, struct cluster_answer *a)
{
	(void)arg;
	(void)a;
	cluster_free(cluster);
	cluster = NULL;
}

TEST(the_cluster_may_be_freed_inside_an_answer)
{
	open_cluster();
	get();
	struct http_exchange *first = last();
	cluster_send(cluster, &(struct cluster_request){.path = "/b"}, free_the_cluster, NULL);
	answer(200, "", "{}");
	CHECK(cluster == NULL);
	CHECK(first->over);
	close_cluster();
	CHECK_INT(got.calls, ==, 0);
}

static void take_body(void *arg, struct cluster_answer *a)
{
	*(char **)arg = a->body;
	a->body = NULL;
}

TEST(an_answer_gives_its_body_away)
{
	char *body = NULL;
	open_cluster();
	cluster_send(cluster, &(struct cluster_request){.path = "/b"}, take_body, &body);
	answer(200, "", "mine now");
	CHECK_TEXT(body, "mine now");
	free(body);
	close_cluster();
}

/* --- numbers and texts --- */

TEST(requests_are_counted_under_the_usual_names)
{
	struct buffer text;
	open_cluster();
	get();
	answer(200, "", "{}");
	patch();
	answer(429, "Retry-After: 1", "");
	clock_virtual_advance(&clock_, 1000);
	break_connection();
	stream(0);
	send_headers(200, "");
	end_with(200, 0, NULL, false);
	buffer_init(&text, 1 << 20);
	CHECK_INT(metrics_write(&text), ==, 0);
	CHECK_CONTAINS(text.data, "rest_client_requests_total{code=\"200\",method=\"GET\",host=\"api.example:6443\"} 2\n");
	CHECK_CONTAINS(text.data, "rest_client_requests_total{code=\"429\",method=\"PATCH\",host=\"api.example:6443\"} 1\n");
	CHECK_CONTAINS(text.data, "rest_client_requests_total{code=\"<error>\",method=\"PATCH\",host=\"api.example:6443\"} 1\n");
	CHECK_CONTAINS(text.data, "rest_client_request_retries_total{code=\"429\",verb=\"PATCH\",host=\"api.example:6443\"} 1\n");
	CHECK_CONTAINS(text.data, "rest_client_request_duration_seconds_count{verb=\"PATCH\",host=\"api.example:6443\"} 2\n");
	CHECK_CONTAINS(text.data, "rest_client_request_size_bytes_count{verb=\"PATCH\",host=\"api.example:6443\"} 2\n");
	CHECK_CONTAINS(text.data, "rest_client_response_size_bytes_sum{verb=\"GET\",host=\"api.example:6443\"} 2\n");
	CHECK_CONTAINS(text.data, "rest_client_response_size_bytes_count{verb=\"PATCH\",host=\"api.example:6443\"} 2\n");
	buffer_deinit(&text);
	close_cluster();
}

TEST(names_are_escaped_for_urls)
{
	struct buffer b;
	buffer_init(&b, 100);
	CHECK_INT(cluster_escape(&b, "a-b_c.d~9/?&=% \n\xc3\xa4"), ==, 0);
	CHECK_TEXT(b.data, "a-b_c.d~9%2F%3F%26%3D%25%20%0A%C3%A4");
	buffer_deinit(&b);
	buffer_init(&b, 4);
	CHECK_INT(cluster_escape(&b, "a b!"), ==, ERR_TOO_LARGE);
	buffer_deinit(&b);
}

TEST(resource_versions_compare_as_numbers_of_any_length)
{
	static const struct {
		const char *a, *b;
		int order;
	} rows[] = {{"9", "10", -1}, {"10", "9", 1}, {"10", "10", 0}, {"0010", "10", 0}, {"0", "00", 0}, {"", "0", -1},
		{"x", "0", -1}, {"0", NULL, 1}, {NULL, "", 0}, {"1x", "-5", 0}, {"18446744073709551616", "18446744073709551615", 1},
		{"99999999999999999999999999", "100000000000000000000000000", -1}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK_INT(resource_version_compare(rows[i].a, rows[i].b), ==, rows[i].order);
}

TEST_MAIN(T(a_get_is_sent_with_token_and_server_path), T(a_write_carries_its_body_and_content_type),
	T(impersonation_is_in_every_request), T(basic_credentials_are_encoded),
	T(a_path_that_was_not_escaped_is_refused_from_outside), T(a_header_cannot_be_smuggled_in),
	T(a_write_does_not_leave_while_the_guard_says_no_and_reads_do),
	T(a_write_that_waited_for_its_retry_is_held_back_when_the_guard_says_no_by_then),
	T(the_guard_is_asked_again_when_the_connection_is_there),
	T(a_429_waits_as_long_as_it_says), T(a_429_that_says_nothing_waits_a_second),
	T(a_503_is_tried_again_only_with_retry_after), T(retry_after_may_be_a_date), T(retry_after_is_at_most_a_minute),
	T(after_ten_times_the_refusal_is_reported), T(a_broken_get_is_tried_three_times_more),
	T(half_an_answer_to_a_get_is_forgotten_before_the_next), T(a_broken_write_is_reported_and_not_repeated),
	T(a_refused_connection_is_reported_at_once), T(an_answer_that_never_comes_ends_on_the_clock),
	T(a_401_with_a_fixed_token_is_final), T(a_401_is_tried_once_more_with_the_new_token_of_the_file),
	T(the_fields_of_a_status_object_are_given), T(a_page_of_html_gives_its_text),
	T(a_refusal_of_any_shape_is_no_error_of_ours), T(a_long_refusal_is_cut), T(an_answer_over_its_maximum_is_an_error),
	T(a_stream_opens_delivers_and_ends), T(a_stream_dies_of_silence_and_lives_by_each_chunk),
	T(a_stream_that_never_opens_dies_of_silence), T(a_refused_stream_says_why_and_is_not_retried),
	T(a_reader_can_end_its_stream_with_a_code), T(a_call_is_cancelled_under_way),
	T(a_call_is_cancelled_while_it_waits_for_its_retry), T(a_call_is_cancelled_before_its_failure_is_told),
	T(a_stream_is_cancelled_inside_opened), T(a_stream_is_cancelled_inside_bytes),
	T(cancelling_inside_the_last_callback_does_nothing), T(freeing_the_cluster_cancels_every_call),
	T(the_cluster_may_be_freed_inside_an_answer), T(an_answer_gives_its_body_away),
	T(requests_are_counted_under_the_usual_names), T(names_are_escaped_for_urls),
	T(resource_versions_compare_as_numbers_of_any_length))
