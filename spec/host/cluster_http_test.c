/* Calls to the API server over real HTTP: libcurl, the loop and a server that breaks things. The
 * rules themselves are cluster_test.c's; here it is seen that client and cluster fit together. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "host/scripted_server.h"
#include "http/client.h"
#include "kube/cluster.h"
#include "loop/loop.h"
#include "test.h"

#define LIMIT_MS 10000

static struct loop *the_loop;
static struct http_client *client;
static struct scripted_server *server;
static struct cluster *cluster;

static struct {
	bool done, opened, cancel_in_bytes, cancelled;
	int status, code;
	bool refused;
	char body[200], reason[64], seen[200];
	struct cluster_call *call;
} got;

static void on_answer(void *arg, struct cluster_answer *a)
{
	(void)arg;
	CHECK(!got.done);
	got.done = true;
	got.status = a->status;
	got.code = a->err.code;
	got.refused = a->refused;
	snprintf(got.body, sizeof got.body, "%s", a->body != NULL ? a->body : "(none)");
	strcpy(got.reason, a->reason);
}

static void on_opened(void *arg)
{
	(void)arg;
	got.opened = true;
}

static int on_bytes(void *arg, const char *bytes, size_t len)
{
	(void)arg;
	strncat(got.seen, bytes, len);
	if (got.cancel_in_bytes) {
		cluster_cancel(got.call);
		got.cancelled = true;
	}
	return 0;
}

static void open_at(const char *url)
{
	struct err e;
	struct kube_config *config = xcalloc(1, sizeof *config);
	config->server = xstrdup(url);
	config->token = xstrdup("sesame");
	the_loop = loop_new();
	client = http_client_new(the_loop);
	cluster = cluster_new(&(struct cluster_options){loop_clock(the_loop), http_client_transport(client), the_loop,
		config}, &e);
	CHECK(cluster != NULL);
}

static void close_all(void)
{
	cluster_free(cluster);
	CHECK_INT(http_client_active(client), ==, 0);
	http_client_free(client);
	CHECK_INT(loop_open_handles(the_loop), ==, 0);
	loop_free(the_loop);
	if (server != NULL)
		scripted_stop(server);
}

static void serve(const struct scripted_connection *connections, size_t count)
{
	server = scripted_start(connections, count);
	open_at(scripted_url(server));
}

static void ask(const char *method)
{
	got.done = false;
	bool writes = strcmp(method, "GET") != 0;
	got.call = cluster_send(cluster, &(struct cluster_request){.method = method, .path = "/api/v1/pods?limit=5",
		.body = writes ? "{\"a\":1}" : NULL, .body_len = writes ? 7 : 0}, on_answer, NULL);
	CHECK(!got.done);
}

static void wait_for_answer(void)
{
	CHECK(loop_run_until(the_loop, &got.done, LIMIT_MS));
}

static void watch(uint64_t silence_ms)
{
	static const struct cluster_stream_handlers h = {on_opened, on_bytes, on_answer};
	got.call = cluster_stream(cluster, &(struct cluster_request){.path = "/api/v1/pods?watch=1",
		.timeout_ms = silence_ms}, &h, NULL);
}

TEST(a_get_comes_back_and_carried_the_token)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{\"items\":[]}"), S_REPEAT};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	ask("GET");
	wait_for_answer();
	CHECK_INT(got.status, ==, 200);
	CHECK_TEXT(got.body, "{\"items\":[]}");
	CHECK_TEXT(scripted_request(server, 0)->line, "GET /api/v1/pods?limit=5 HTTP/1.1");
	CHECK_CONTAINS(scripted_request(server, 0)->head, "Authorization: Bearer sesame\r\n");
	ask("POST");
	wait_for_answer();
	CHECK_TEXT(scripted_request(server, 1)->body, "{\"a\":1}");
	CHECK_CONTAINS(scripted_request(server, 1)->head, "Content-Type: application/json\r\n");
	CHECK_INT(scripted_connections(server), ==, 1);
	close_all();
}

TEST(a_busy_server_is_asked_again)
{
	static const struct scripted_step steps[] = {S_READ,
		S_SEND("HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\nContent-Length: 2\r\n\r\n{}"), S_READ,
		S_ANSWER("201 Created", "{\"ok\":true}"), S_END};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	ask("POST");
	wait_for_answer();
	CHECK_INT(got.status, ==, 201);
	CHECK_TEXT(got.body, "{\"ok\":true}");
	CHECK_TEXT(scripted_request(server, 1)->body, "{\"a\":1}");
	close_all();
}

TEST(a_cut_answer_to_a_get_is_asked_for_again)
{
	static const struct scripted_step cut[] = {S_READ, S_SEND("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\":"),
		S_RESET, S_END};
	static const struct scripted_step whole[] = {S_READ, S_ANSWER("200 OK", "{}"), S_END};
	serve((struct scripted_connection[]){{.steps = cut}, {.steps = whole}}, 2);
	ask("GET");
	wait_for_answer();
	CHECK_INT(got.code, ==, 0);
	CHECK_TEXT(got.body, "{}");
	CHECK_INT(cluster_counts(cluster).retries, ==, 1);
	close_all();
}

TEST(a_cut_answer_to_a_write_is_an_error)
{
	static const struct scripted_step cut[] = {S_READ, S_RESET, S_END};
	serve((struct scripted_connection[]){{.steps = cut}}, 1);
	ask("PATCH");
	wait_for_answer();
	CHECK_INT(got.code, ==, ERR_IO);
	CHECK(!got.refused);
	CHECK_INT(scripted_requests(server), ==, 1);
	close_all();
}

TEST(nobody_there_is_said_at_once)
{
	static const struct scripted_step none[] = {S_END};
	char url[64];
	server = scripted_start((struct scripted_connection[]){{.steps = none}}, 1);
	snprintf(url, sizeof url, "%s", scripted_url(server));
	scripted_stop(server);
	server = NULL;
	open_at(url);
	ask("GET");
	wait_for_answer();
	CHECK(got.refused);
	CHECK_INT(cluster_counts(cluster).retries, ==, 0);
	close_all();
}

TEST(a_status_object_is_read)
{
	static const struct scripted_step steps[] = {S_READ,
		S_ANSWER("409 Conflict", "{\"kind\":\"Status\",\"reason\":\"Conflict\"}"), S_END};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	ask("PUT");
	wait_for_answer();
	CHECK_INT(got.status, ==, 409);
	CHECK_TEXT(got.reason, "Conflict");
	close_all();
}

TEST(a_stream_delivers_and_dies_of_silence)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("one\n"), S_WAIT(50), S_CHUNK("two\n"), S_SILENT,
		S_END};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	watch(300);
	wait_for_answer();
	CHECK(got.opened);
	CHECK_TEXT(got.seen, "one\ntwo\n");
	CHECK_INT(got.code, ==, ERR_TIMEOUT);
	close_all();
}

TEST(a_stream_ends_in_order)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("one\n"), S_STREAM_END, S_END};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	watch(0);
	wait_for_answer();
	CHECK_INT(got.code, ==, 0);
	CHECK_INT(got.status, ==, 200);
	close_all();
}

TEST(a_stream_is_cancelled_inside_its_bytes)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("one\n"), S_SILENT, S_END};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	got.cancel_in_bytes = true;
	watch(0);
	CHECK(loop_run_until(the_loop, &got.cancelled, LIMIT_MS));
	loop_run_until(the_loop, &got.done, 100);
	CHECK(!got.done);
	close_all();
}

TEST(the_cluster_may_go_while_a_call_is_under_way)
{
	static const struct scripted_step steps[] = {S_READ, S_SILENT, S_END};
	serve((struct scripted_connection[]){{.steps = steps}}, 1);
	ask("GET");
	loop_run_until(the_loop, &got.done, 50);
	close_all();
	CHECK(!got.done);
}

TEST_MAIN(T(a_get_comes_back_and_carried_the_token), T(a_busy_server_is_asked_again),
	T(a_cut_answer_to_a_get_is_asked_for_again), T(a_cut_answer_to_a_write_is_an_error), T(nobody_there_is_said_at_once),
	T(a_status_object_is_read), T_TIMED(a_stream_delivers_and_dies_of_silence), T(a_stream_ends_in_order),
	T(a_stream_is_cancelled_inside_its_bytes), T(the_cluster_may_go_while_a_call_is_under_way))
