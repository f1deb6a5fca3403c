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
#define EXPIRED "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}"
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
static bool in_trouble;
static struct err trouble;      /* the last one, and the pause it was told with */
static uint64_t trouble_retry_ms;

static void on_change(void *arg, enum cache_change change, const struct cache_object *before,
	const struct cache_object *after, bool first_list)
{
	(void)arg, (void)change, (void)before, (void)first_list;
	if (after != NULL && strcmp(after->key, awaited) == 0)
		arrived = true;
}

static void on_trouble(void *arg, const struct err *err, uint64_t retry_ms)
{
	(void)arg;
	troubles++;
	in_trouble = true;
	trouble = *err;
	trouble_retry_ms = retry_ms;
}

/* Watch what `s` serves; a watch that stays silent for `silence_ms` is dead (0: the usual time). */
static void open_on(struct scripted_server *s, uint64_t silence_ms)
{
	struct err e;
	log_configure(LOG_ERROR, LOG_TEXT);
	server = s;
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
		.api_version = "v1", .kind = "Pod", .seed = 1, .silence_ms = silence_ms, .trouble = on_trouble});
}

static void open_all(const struct scripted_connection *connections, size_t count)
{
	open_on(scripted_start(connections, count), 0);
}

static void wait_for(const char *key)
{
	awaited = key;
	arrived = false;
	if (!loop_run_until(the_loop, &arrived, LIMIT_MS))
		FAIL("%s did not arrive within %d ms", key, LIMIT_MS);
}

static void wait_for_trouble(void)
{
	in_trouble = false;
	if (!loop_run_until(the_loop, &in_trouble, LIMIT_MS))
		FAIL("no trouble was told within %d ms", LIMIT_MS);
}

/* There was trouble once, with the first pause of the backoff, and these words. */
static void paused_once(const char *words)
{
	CHECK_INT(troubles, ==, 1);
	CHECK_CONTAINS(trouble.text, words);
	CHECK_INT(trouble_retry_ms, >=, 800);
	CHECK_INT(trouble_retry_ms, <=, 1600);
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

/* --- lists --- */

TEST(a_list_comes_in_pages_and_its_watch_begins_where_the_first_one_stood)
{
	static const struct scripted_step steps[] = {S_READ,
		S_ANSWER("200 OK", "{\"metadata\":{\"resourceVersion\":\"10\",\"continue\":\"a/b+c=\"},\"items\":[" POD("a", "5") "]}"),
		S_READ, S_ANSWER("200 OK", LIST("12", POD("b", "6"))), S_READ, S_STREAM, S_CHUNK(EVENT("ADDED", "c", "13")),
		S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("c");
	CHECK_INT(cache_count(cache), ==, 3);
	CHECK_INT(scripted_requests(server), ==, 3);
	CHECK_CONTAINS(scripted_request(server, 0)->line, "GET /api/v1/pods?limit=500 ");
	CHECK_CONTAINS(scripted_request(server, 1)->line, "GET /api/v1/pods?limit=500&continue=a%2Fb%2Bc%3D ");
	CHECK_CONTAINS(scripted_request(server, 2)->line, "&resourceVersion=10&");
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_second_page_that_expired_leads_to_one_list_in_full)
{
	static const struct scripted_step steps[] = {S_READ,
		S_ANSWER("200 OK", "{\"metadata\":{\"resourceVersion\":\"10\",\"continue\":\"next\"},\"items\":[" POD("a", "5") "]}"),
		S_READ, S_ANSWER("410 Gone", EXPIRED), S_READ, S_ANSWER("200 OK", LIST("20", POD("b", "15"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "c", "21")), S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("c");
	CHECK_INT(scripted_requests(server), ==, 4);
	CHECK_CONTAINS(scripted_request(server, 1)->line, "&continue=next ");
	CHECK_CONTAINS(scripted_request(server, 2)->line, "GET /api/v1/pods HTTP");
	CHECK_CONTAINS(scripted_request(server, 3)->line, "&resourceVersion=20&");
	CHECK_INT(cache_count(cache), ==, 2); /* what only the first page had is not there */
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_server_that_refuses_connections_is_asked_again_after_a_pause)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_SILENT, S_END};
	open_on(scripted_start_refusing(&(struct scripted_connection){.steps = steps}, 1), 0);
	wait_for_trouble();
	paused_once("listing /api/v1/pods");
	CHECK_INT(watch_stats(watch).last_error.code, !=, 0);
	uint64_t failed_ms = clock_now_ms(loop_clock(the_loop));
	scripted_listen(server);
	wait_for("a");
	CHECK_INT(clock_now_ms(loop_clock(the_loop)) - failed_ms, >=, 790);
	CHECK_INT(troubles, ==, 1);
	close_all();
}

TEST(a_list_that_is_answered_500_is_asked_for_again_after_a_pause)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("500 Internal Server Error",
		"{\"kind\":\"Status\",\"code\":500,\"reason\":\"InternalError\",\"message\":\"etcd has no leader\"}"), S_READ,
		S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM, S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("a");
	paused_once("the server says 500 InternalError: etcd has no leader");
	CHECK_INT(watch_stats(watch).lists, ==, 2);
	close_all();
}

/* --- the version a watch begins with --- */

TEST(a_bookmark_moves_the_place_where_the_watch_resumes)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK("{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":"
			"{\"resourceVersion\":\"15\"}}}\n"), S_STREAM_END, S_READ, S_STREAM, S_CHUNK(EVENT("ADDED", "b", "16")),
		S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("b");
	CHECK_INT(scripted_requests(server), ==, 3);
	CHECK_CONTAINS(scripted_request(server, 1)->line, "&allowWatchBookmarks=true");
	CHECK_CONTAINS(scripted_request(server, 2)->line, "&resourceVersion=15&");
	CHECK_INT(watch_stats(watch).bookmarks, ==, 1);
	CHECK_INT(watch_stats(watch).events, ==, 1);
	CHECK_INT(cache_count(cache), ==, 2); /* a bookmark is no object */
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_watch_that_is_answered_410_lists_again_at_once)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ,
		S_ANSWER("410 Gone", EXPIRED), S_READ, S_ANSWER("200 OK", LIST("20", POD("b", "15"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "c", "21")), S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("c");
	CHECK_INT(lists_asked(), ==, 2);
	CHECK_CONTAINS(scripted_request(server, 2)->line, "GET /api/v1/pods?limit=500 ");
	CHECK_CONTAINS(scripted_request(server, 3)->line, "&resourceVersion=20&");
	CHECK_INT(cache_count(cache), ==, 2);
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(an_ERROR_event_that_says_Expired_without_the_number_lists_again_at_once)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\"}}\n"), S_SILENT, S_END};
	static const struct scripted_step again[] = {S_READ, S_ANSWER("200 OK", LIST("20", POD("b", "15"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "c", "21")), S_SILENT, S_END};
	open_all((struct scripted_connection[]){{.steps = steps}, {.steps = again}}, 2);
	wait_for("c");
	CHECK_INT(lists_asked(), ==, 2);
	CHECK_CONTAINS(scripted_request(server, 3)->line, "&resourceVersion=20&");
	CHECK_INT(cache_count(cache), ==, 2);
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_stream_that_falls_silent_is_dead_and_resumes_at_once_where_it_stood)
{
	static const struct scripted_step first[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "b", "11")), S_SILENT, S_END};
	static const struct scripted_step second[] = {S_READ, S_STREAM, S_CHUNK(EVENT("ADDED", "c", "12")), S_SILENT, S_END};
	open_on(scripted_start((struct scripted_connection[]){{.steps = first}, {.steps = second}}, 2), 300);
	wait_for("b");
	CHECK_INT(troubles, ==, 0);
	wait_for("c");
	CHECK_INT(troubles, ==, 1);
	CHECK_CONTAINS(trouble.text, "silent for 0.3 s");
	CHECK_INT(trouble_retry_ms, ==, 0);
	CHECK_INT(scripted_requests(server), ==, 3);
	CHECK_INT(lists_asked(), ==, 1);
	CHECK_CONTAINS(scripted_request(server, 2)->line, "&resourceVersion=11&");
	CHECK_INT(scripted_request(server, 2)->connection, ==, 1); /* not on the dead one */
	CHECK_INT(cache_count(cache), ==, 3);
	close_all();
}

/* --- lines --- */

TEST(an_event_of_another_kind_is_dropped_and_the_stream_goes_on)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\","
			"\"resourceVersion\":\"11\"}}}\n"), S_CHUNK(EVENT("ADDED", "b", "12")), S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("b");
	CHECK_INT(watch_stats(watch).dropped, ==, 1);
	CHECK_INT(cache_count(cache), ==, 2);
	CHECK_INT(scripted_requests(server), ==, 2);
	CHECK_INT(troubles, ==, 0);
	close_all();
}

TEST(a_line_that_is_garbage_ends_its_stream_which_resumes)
{
	static const struct scripted_step first[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "b", "11")), S_CHUNK("<html>\x01\xff{]\n"), S_SILENT, S_END};
	static const struct scripted_step second[] = {S_READ, S_STREAM, S_CHUNK(EVENT("ADDED", "c", "12")), S_SILENT, S_END};
	open_all((struct scripted_connection[]){{.steps = first}, {.steps = second}}, 2);
	wait_for("c");
	paused_once("a line cannot be read");
	CHECK_INT(watch_stats(watch).dropped, ==, 1);
	CHECK_INT(lists_asked(), ==, 1);
	CHECK_CONTAINS(scripted_request(server, 2)->line, "&resourceVersion=11&");
	CHECK_INT(cache_count(cache), ==, 3);
	close_all();
}

/* An event about the pod "big" that is `len` bytes long with its line end; to be freed. */
static char *line_of(size_t len)
{
	static const char head[] = "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":"
		"{\"name\":\"big\",\"uid\":\"u\",\"resourceVersion\":\"11\"},\"x\":\"";
	char *line = xmalloc(len + 1);
	memset(line, 'x', len);
	memcpy(line, head, sizeof head - 1);
	memcpy(line + len - 4, "\"}}\n", 5);
	return line;
}

TEST(a_line_of_3_MiB_is_an_event_as_any_other)
{
	char *line = line_of(CACHE_OBJECT_MAX);
	const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK(line), S_CHUNK(EVENT("ADDED", "b", "12")), S_SILENT, S_END};
	open_all(&(struct scripted_connection){.steps = steps}, 1);
	wait_for("b");
	struct cache_object big;
	CHECK(cache_get(cache, "big", &big));
	size_t len;
	cache_read(cache, &big, &len);
	CHECK_INT(len, >, CACHE_OBJECT_MAX - 100);
	CHECK_INT(watch_stats(watch).events, ==, 2);
	CHECK_INT(watch_stats(watch).dropped, ==, 0);
	CHECK_INT(troubles, ==, 0);
	close_all();
	free(line);
}

TEST(a_line_over_the_limit_leads_to_a_list_after_a_pause)
{
	char *line = line_of(WATCH_LINE_MAX + 100);
	const struct scripted_step first[] = {S_READ, S_ANSWER("200 OK", LIST("10", POD("a", "5"))), S_READ, S_STREAM,
		S_CHUNK(line), S_SILENT, S_END};
	static const struct scripted_step second[] = {S_READ, S_ANSWER("200 OK", LIST("20", POD("b", "15"))), S_READ, S_STREAM,
		S_CHUNK(EVENT("ADDED", "c", "21")), S_SILENT, S_END};
	open_all((struct scripted_connection[]){{.steps = first}, {.steps = second}}, 2);
	wait_for("c");
	paused_once("a line is longer than");
	CHECK_INT(lists_asked(), ==, 2);
	CHECK_INT(cache_count(cache), ==, 2);
	CHECK_INT(watch_stats(watch).events, ==, 1);
	close_all();
	free(line);
}

TEST_MAIN(T(a_list_and_its_watch_come_over_http), T(lines_split_at_every_place_all_arrive),
	T(a_reset_in_the_middle_of_a_line_resumes_where_it_stood), T(an_orderly_end_resumes_without_a_new_list),
	T(a_410_in_the_stream_lists_again), T(bytes_that_come_one_by_one_are_a_list_and_a_watch_too),
	T(a_watch_is_stopped_while_its_stream_is_open),
	T(a_list_comes_in_pages_and_its_watch_begins_where_the_first_one_stood),
	T(a_second_page_that_expired_leads_to_one_list_in_full),
	T(a_server_that_refuses_connections_is_asked_again_after_a_pause),
	T(a_list_that_is_answered_500_is_asked_for_again_after_a_pause),
	T(a_bookmark_moves_the_place_where_the_watch_resumes), T(a_watch_that_is_answered_410_lists_again_at_once),
	T(an_ERROR_event_that_says_Expired_without_the_number_lists_again_at_once),
	T(a_stream_that_falls_silent_is_dead_and_resumes_at_once_where_it_stood),
	T(an_event_of_another_kind_is_dropped_and_the_stream_goes_on),
	T(a_line_that_is_garbage_ends_its_stream_which_resumes), T(a_line_of_3_MiB_is_an_event_as_any_other),
	T(a_line_over_the_limit_leads_to_a_list_after_a_pause))
