/* A watch over real HTTP: libcurl, the loop, and a server that cuts, stalls and resets. The rules
 * themselves are watch_test.c's; here it is seen that the parts fit together. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "host/scripted_server.h"
#include "http/client.h"
#include "kube/watch.h"
#include "loop/loop.h"
#include "test.h"

#define LIMIT_MS 10000
#define POD(name, version) "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name \
	"\",\"uid\":\"u\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" POD(name, version) "}\n"
#define LIST(version, items) "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" version \
	"\"},\"items\":[" items "]}"

static struct loop *the_loop;
static struct http_client *client;
static struct scripted_server *server;
static struct cluster *cluster;
static struct cache *cache;
static struct watch *watch;
static const char *awaited; /* the key whose appearance ends the wait */
static bool arrived;
static int troubles;

static void on_change(void *arg, enum cache_change change, const struct cache_object *before,
	const struct cache_object *after, bool first_list)
{
	(void)arg, (void)change, (void)before, (void)first_list;
	if (after != NULL && strcmp(after->key, awaited) == 0)
		arrived = true;
}

static void on_trouble(void *arg, const struct err *err, uint64_t retry_ms)
{
	(void)arg, (void)err, (void)retry_ms;
	troubles++;
}

static void open_all(const struct scripted_connection *connections, size_t count)
{
	struct err e;
	log_configure(LOG_ERROR, LOG_TEXT);
	server = scripted_start(connections, count);
	struct kube_config *config = xcalloc(1, sizeof *config);
	config->server = xstrdup(scripted_url(server));
	the_loop = loop_new();
	client = http_client_new(the_loop);
	cluster = cluster_new(&(struct cluster_options){.clock = loop_clock(the_loop),
		.transport = http_client_transport(client), .loop = the_loop, .config = config}, &e);
	CHECK(cluster != NULL);
	cache = cache_new(&(struct cache_options){.name = "pods", .clock = loop_clock(the_loop)});
	cache_on_change(cache, on_change, NULL);
	watch = watch_start(&(struct watch_options){.cluster = cluster, .cache = cache, .path = "/api/v1/pods",
		.api_version = "v1", .kind = "Pod", .seed = 1, .trouble = on_trouble});
}

static void wait_for(const char *key)
{
	awaited = key;
	arrived = false;
	if (!loop_run_until(the_loop, &arrived, LIMIT_MS))
		FAIL("%s did not arrive within %d ms", key, LIMIT_MS);
}

static void close_all(void)
{
	watch_stop(watch);
	cluster_free(cluster);
	cache_free(cache);
	CHECK_INT(http_client_active(client), ==, 0);
	http_client_free(client);
	CHECK_INT(loop_open_handles(the_loop), ==, 0);
	loop_free(the_loop);
	scripted_stop(server);
}

static size_t lists_asked(void)
{
	size_t lists = 0;
	for (size_t i = 0; i < scripted_requests(server); i++)
		lists += strstr(scripted_request(server, i)->line, "watch=true") == NULL;
	return lists;
}

TEST(a_list_and_its_watch_come_over_http)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "b", "11")), S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("b");
	CHECK_INT(cache_count(cache), ==, 2);
	CHECK_CONTAINS(scripted_request(server, 0)->line, "GET /api/v1/pods?limit=500 ");
	CHECK_CONTAINS(scripted_request(server, 1)->line, "&resourceVersion=10&");
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(lines_split_at_every_place_all_arrive)
{
	static const char line[] = EVENT("MODIFIED", "a", "11");
	enum { CUTS = sizeof line - 2 };
	static struct scripted_step steps[2 * CUTS + 8];
	size_t n = 0;
	steps[n++] = (struct scripted_step)S_READ;
	steps[n++] = (struct scripted_step)S_ANSWER("200 OK", LIST("10", POD("a", "5")));
	steps[n++] = (struct scripted_step)S_READ;
	steps[n++] = (struct scripted_step)S_STREAM;
	for (size_t cut = 1; cut <= CUTS; cut++) {
		char *front = xmemdup0(line, cut);
		steps[n++] = (struct scripted_step)S_CHUNK(front);
		steps[n++] = (struct scripted_step)S_CHUNK(line + cut);
	}
	steps[n++] = (struct scripted_step)S_CHUNK(EVENT("ADDED", "end", "12"));
	steps[n++] = (struct scripted_step)S_SILENT;
	steps[n++] = (struct scripted_step)S_END;
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("end");
	CHECK_INT(watch_stats(watch).events, ==, CUTS + 1);
	CHECK_INT(watch_stats(watch).dropped, ==, 0);
	CHECK_TEXT(cache_position(cache), "12");
	close_all();
	for (size_t i = 4; i < 4 + 2 * CUTS; i += 2)
		free((char *)(uintptr_t)steps[i].text);
}

TEST(a_reset_in_the_middle_of_a_line_resumes_where_it_stood)
{
	static const struct scripted_step first[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "b", "11")), S_CHUNK("{\"type\":\"ADDED\",\"obj"), S_WAIT(100), S_RESET, S_END};
	static const struct scripted_step second[] = {S_READ, S_STREAM, S_CHUNK(EVENT("ADDED", "c", "12")), S_SILENT, S_END};
	open_all((struct scripted_connection[]){{.steps = first}, {.steps = second}}, 2);
	wait_for("b");
	wait_for("c");
	CHECK_INT(scripted_requests(server), ==, 3);
	CHECK_INT(lists_asked(), ==, 1);
	CHECK_CONTAINS(scripted_request(server, 2)->line, "&resourceVersion=11&");
	CHECK_INT(cache_count(cache), ==, 3);
	CHECK_INT(troubles, ==, 1);
	close_all();
}

TEST(an_orderly_end_resumes_without_a_new_list)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", "")), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "b", "11")), S_STREAM_END, S_READ, S_STREAM, S_CHUNK(EVENT("ADDED", "c", "12")), S_SILENT,
		S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("c");
	CHECK_INT(lists_asked(), ==, 1);
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_410_in_the_stream_lists_again)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n"), S_STREAM_END,
		S_CLOSE, S_END};
	static const struct scripted_step again[] = {S_READ, S_ANSWER("200 OK", LIST("20", POD("b", "15"))), S_READ, S_STREAM,
		S_SILENT, S_END};
	open_all((struct scripted_connection[]){{.steps = steps}, {.steps = again}}, 2);
	wait_for("b");
	bool never = false;
	loop_run_until(the_loop, &never, 50);
	CHECK_INT(lists_asked(), ==, 2);
	CHECK_INT(cache_count(cache), ==, 1);
	close_all();
}

TEST(bytes_that_come_one_by_one_are_a_list_and_a_watch_too)
{
	static const char list[] = LIST("10", POD("a", "5"));
	static char head[128];
	snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(list));
	static struct scripted_step steps[] = {S_READ, S_PIECES(head, 1, 1), S_PIECES(list, 1, 1), S_READ,
		S_PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			"74\r\n" EVENT("ADDED", "b", "11") "\r\n", 1, 1), S_SILENT, S_END};
	CHECK_INT(strlen(EVENT("ADDED", "b", "11")), ==, 0x74);
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("b");
	CHECK_INT(cache_count(cache), ==, 2);
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_watch_is_stopped_while_its_stream_is_open)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK("{\"type\":\"AD"), S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("a");
	bool never = false;
	loop_run_until(the_loop, &never, 50);
	CHECK(watch_stats(watch).streaming);
	close_all();
}

TEST_MAIN(T(a_list_and_its_watch_come_over_http), T(lines_split_at_every_place_all_arrive),
	T(a_reset_in_the_middle_of_a_line_resumes_where_it_stood), T(an_orderly_end_resumes_without_a_new_list),
	T(a_410_in_the_stream_lists_again), T(bytes_that_come_one_by_one_are_a_list_and_a_watch_too),
	T(a_watch_is_stopped_while_its_stream_is_open))
