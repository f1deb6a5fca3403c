/* A watch over the real cluster.c and cache.c, on virtual time; only the wire is made up: the test
 * plays the server, byte by byte. */
#include <stdarg.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "kube/watch.h"
#include "pick.h"
#include "test.h"

/* --- the wire --- */

struct http_exchange {
	struct http_handlers h;
	void *arg;
	char *url, *accept;
	bool live;
};

#define EXCHANGES 512

static struct http_exchange wire[EXCHANGES];
static size_t wire_count, wire_live;

static struct http_exchange *wire_start(struct transport *t, const struct http_request *r,
	const struct http_handlers *h, void *arg)
{
	(void)t;
	struct http_exchange *x = &wire[wire_count++];
	CHECK_INT(wire_count, <, EXCHANGES);
	*x = (struct http_exchange){.h = *h, .arg = arg, .url = xstrdup(r->url), .live = true};
	for (const char *const *line = r->headers; *line != NULL; line++)
		if (strncmp(*line, "Accept: ", 8) == 0)
			x->accept = xstrdup(*line + 8);
	wire_live++;
	return x;
}

static void wire_cancel(struct transport *t, struct http_exchange *x)
{
	(void)t;
	CHECK(x->live);
	x->live = false;
	wire_live--;
}

static struct transport transport = {wire_start, wire_cancel};

static struct http_exchange *last(void)
{
	CHECK_INT(wire_count, >, 0);
	CHECK_INT(wire_live, ==, 1);
	CHECK(wire[wire_count - 1].live);
	return &wire[wire_count - 1];
}

static const char *retry_after;

static const char *header(void *headers, const char *name)
{
	(void)headers;
	return strcmp(name, "Retry-After") == 0 ? retry_after : NULL;
}

static void done(struct http_exchange *x, int status, int code, bool refused)
{
	struct http_result r = {.status = status, .refused = refused, .sent = !refused};
	if (code != 0)
		err_set(&r.err, code, "the wire broke");
	CHECK(x->live);
	x->live = false;
	wire_live--;
	x->h.on_done(x->arg, &r);
}

static void send_bytes(const char *bytes, size_t len)
{
	struct http_exchange *x = last();
	int rc = x->h.on_data(x->arg, bytes, len);
	if (rc != 0 && x->live)
		done(x, 200, rc, false);
}

static void send_text(const char *text)
{
	send_bytes(text, strlen(text));
}

static void answer(int status, const char *body)
{
	struct http_exchange *x = last();
	x->h.on_headers(x->arg, status, header, NULL);
	int rc = x->h.on_data(x->arg, body, strlen(body));
	done(x, status, rc, false);
}

static void open_stream(void)
{
	struct http_exchange *x = last();
	CHECK_CONTAINS(x->url, "watch=true");
	x->h.on_headers(x->arg, 200, header, NULL);
}

/* --- the watch under test --- */

static struct clock clock_;
static struct cluster *cluster;
static struct cache *cache;
static struct watch *watch;
static int synced, changes, trouble_count;
static bool stop_on_change, stop_on_synced, stop_on_trouble;
static struct err trouble;
static uint64_t trouble_ms;

static void stop_watch(void)
{
	watch_stop(watch);
	watch = NULL;
}

static void on_change(void *arg, enum cache_change change, const struct cache_object *before,
	const struct cache_object *after, bool first_list)
{
	(void)arg, (void)change, (void)before, (void)after, (void)first_list;
	changes++;
	if (stop_on_change)
		stop_watch();
}

static void on_synced(void *arg)
{
	(void)arg;
	synced++;
	if (stop_on_synced)
		stop_watch();
}

static void on_trouble(void *arg, const struct err *err, uint64_t retry_ms)
{
	(void)arg;
	trouble = *err;
	trouble_ms = retry_ms;
	trouble_count++;
	if (stop_on_trouble)
		stop_watch();
}

static void start_with(struct watch_options o)
{
	struct err e = {0};
	log_configure(LOG_ERROR, LOG_TEXT);
	clock_init_virtual(&clock_, 0);
	struct kube_config *config = xcalloc(1, sizeof *config);
	config->server = xstrdup("http://api");
	config->namespace_ = xstrdup("default");
	cluster = cluster_new(&(struct cluster_options){.clock = &clock_, .transport = &transport, .config = config}, &e);
	if (cluster == NULL)
		FAIL("%s", e.text);
	cache = cache_new(&(struct cache_options){.name = "pods", .clock = &clock_});
	cache_on_change(cache, on_change, NULL);
	o.cluster = cluster;
	o.cache = cache;
	o.path = "/api/v1/pods";
	o.api_version = "v1";
	o.kind = "Pod";
	o.synced = on_synced;
	o.trouble = on_trouble;
	watch = watch_start(&o);
}

static void start(void)
{
	start_with((struct watch_options){.seed = 1});
}

/* Everything goes, and nothing may be left. */
static void stop(void)
{
	watch_stop(watch);
	CHECK_INT(wire_live, ==, 0);
	CHECK_INT(clock_next_due_ms(&clock_), ==, CLOCK_NEVER);
	cluster_free(cluster);
	cache_free(cache);
	clock_deinit(&clock_);
	for (size_t i = 0; i < wire_count; i++)
		free(wire[i].url), free(wire[i].accept);
}

static bool listing(void)
{
	return strstr(last()->url, "watch=true") == NULL;
}

/* An item, an event, a list, each in one of a few static buffers. */
static const char *printed(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *printed(const char *format, ...)
{
	static char texts[8][4096];
	static unsigned turn;
	char *text = texts[turn++ % 8];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof texts[0], format, args);
	va_end(args);
	return text;
}

static const char *item(const char *name, int version)
{
	return printed("{\"metadata\":{\"name\":\"%s\",\"uid\":\"u-%s\",\"resourceVersion\":\"%d\"}}", name, name, version);
}

static const char *list(int version, const char *next, const char *items)
{
	return printed("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%d\","
		"\"continue\":\"%s\"},\"items\":[%s]}", version, next, items);
}

static const char *event_of(const char *type, const char *kind, const char *name, int version)
{
	return printed("{\"type\":\"%s\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
		"\"uid\":\"u-%s\",\"resourceVersion\":\"%d\"}}}\n", type, kind, name, name, version);
}

static void event(const char *type, const char *name, int version)
{
	send_text(event_of(type, "Pod", name, version));
}

static void bookmark(int version)
{
	send_text(printed("{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":"
		"{\"resourceVersion\":\"%d\",\"creationTimestamp\":null},\"spec\":{\"containers\":null},\"status\":{}}}\n", version));
}

static void error_event(int code, const char *reason, const char *message)
{
	send_text(printed("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
		"\"status\":\"Failure\",\"message\":\"%s\",\"reason\":\"%s\",\"code\":%d}}\n", message, reason, code));
}

static void start_streaming_at(int version)
{
	start();
	answer(200, list(version, "", item("a", 5)));
	open_stream();
	CHECK_INT(synced, ==, 1);
}

static void watches_from(const char *version)
{
	CHECK_CONTAINS(last()->url, "watch=true");
	CHECK_CONTAINS(last()->url, printed("resourceVersion=%s&", version));
}

/* Nothing is asked until `ms` later at the earliest, twice that at the latest. */
static void waits(uint64_t ms)
{
	CHECK_INT(wire_live, ==, 0);
	CHECK_INT(clock_next_due_ms(&clock_), !=, CLOCK_NEVER);
	uint64_t wait = clock_next_due_ms(&clock_) - clock_now_ms(&clock_);
	CHECK_INT(wait, >=, ms);
	CHECK_INT(wait, <=, 2 * ms);
	CHECK_INT(trouble_ms, ==, wait);
	clock_virtual_advance(&clock_, wait);
}

static void keys_are(const char *expected)
{
	size_t count;
	const char **keys = cache_keys(cache, &count);
	char text[4096] = "";
	for (size_t i = 0; i < count; i++)
		strcat(strcat(text, keys[i]), " ");
	CHECK_TEXT(text, expected);
	free(keys);
}

/* --- lists --- */

TEST(pages_of_500_are_listed_and_then_watched_from_the_first_pages_version)
{
	start();
	CHECK_TEXT(last()->url, "http://api/api/v1/pods?limit=500");
	answer(200, list(100, "page/2=", item("a", 5)));
	CHECK_TEXT(last()->url, "http://api/api/v1/pods?limit=500&continue=page%2F2%3D");
	CHECK_INT(synced, ==, 0);
	answer(200, list(104, "", printed("%s,%s", item("b", 6), item("c", 7))));
	CHECK_INT(synced, ==, 1);
	watches_from("100");
	CHECK_CONTAINS(last()->url, "allowWatchBookmarks=true");
	keys_are("a b c ");
	stop();
}

TEST(selectors_are_escaped_into_both_requests)
{
	start_with((struct watch_options){.label_selector = "app in (a,b)", .field_selector = "spec.nodeName!="});
	const char *expected = "?labelSelector=app%20in%20%28a%2Cb%29&fieldSelector=spec.nodeName%21%3D&";
	CHECK_CONTAINS(last()->url, expected);
	answer(200, list(1, "", ""));
	CHECK_CONTAINS(last()->url, expected);
	stop();
}

TEST(the_watch_timeout_is_spread_between_5_and_10_minutes)
{
	int least = 1000, most = 0;
	start();
	answer(200, list(1, "", ""));
	for (int i = 0; i < 200; i++) {
		int seconds = atoi(strstr(last()->url, "timeoutSeconds=") + strlen("timeoutSeconds="));
		least = seconds < least ? seconds : least;
		most = seconds > most ? seconds : most;
		open_stream();
		clock_virtual_advance(&clock_, 5000);
		done(last(), 200, 0, false);
		clock_virtual_advance(&clock_, 0);
	}
	CHECK_INT(least, >=, 300);
	CHECK_INT(least, <, 320);
	CHECK_INT(most, <=, 600);
	CHECK_INT(most, >, 580);
	stop();
}

TEST(metadata_alone_is_asked_for_and_expected)
{
	start_with((struct watch_options){.metadata_only = true});
	CHECK_TEXT(last()->accept, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json");
	answer(200, list(10, "", item("a", 5)));
	CHECK_TEXT(last()->accept, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");
	open_stream();
	event("ADDED", "whole", 11);
	send_text("{\"type\":\"ADDED\",\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\","
		"\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"12\"}}}\n");
	keys_are("a b ");
	CHECK_INT(watch_stats(watch).dropped, ==, 1);
	stop();
}

TEST(a_list_whose_metadata_stands_behind_its_items_is_read)
{
	start();
	answer(200, printed("{\"apiVersion\":\"v1\",\"items\":[%s],\"kind\":\"PodList\",\"metadata\":{\"continue\":\"\","
		"\"resourceVersion\":\"77\"}}", item("a", 5)));
	watches_from("77");
	keys_are("a ");
	stop();
}

TEST(a_list_without_objects_may_say_null)
{
	start();
	answer(200, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":null}");
	watches_from("9");
	CHECK_INT(synced, ==, 1);
	stop();
}

TEST(an_answer_that_is_no_list_removes_nothing)
{
	static const char *const bad[] = {"{\"kind\":\"Table\",\"metadata\":{\"resourceVersion\":\"99\"},\"rows\":[]}",
		"{\"items\":[],\"metadata\":{}}", "{\"items\":{},\"metadata\":{\"resourceVersion\":\"99\"}}", "", "[]", "null",
		"<html>", "{\"items\":[{\"metadata\":{\"name\":\"x\"}},", "{\"metadata\":{\"resourceVersion\":\"99\"},\"items\":[]",
		"{\"metadata\":{\"resourceVersion\":\"99\"},\"items\":[]} {}"};
	start_streaming_at(10);
	error_event(410, "Expired", "too old");
	clock_virtual_advance(&clock_, 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(listing());
		int before = trouble_count;
		answer(200, bad[i]);
		CHECK_INT(trouble_count, ==, before + 1);
		CHECK_CONTAINS(trouble.text, "listing /api/v1/pods");
		struct cache_object o;
		CHECK(cache_get(cache, "a", &o));
		CHECK_TEXT(cache_position(cache), "10");
		clock_virtual_advance(&clock_, 60000);
	}
	answer(200, list(100, "", item("b", 50)));
	keys_are("b ");
	stop();
}

TEST(an_item_that_cannot_be_kept_is_left_out_and_the_rest_goes_on)
{
	start();
	answer(200, list(10, "", printed("{\"metadata\":{}},5,%s", item("a", 5))));
	keys_are("a ");
	CHECK_INT(watch_stats(watch).dropped, ==, 2);
	CHECK_INT(synced, ==, 1);
	stop();
}

/* Its spec is `levels` arrays in each other. */
static const char *deep(int levels)
{
	char opening[200], closing[200];
	memset(opening, '[', (size_t)levels);
	memset(closing, ']', (size_t)levels);
	return printed("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"deep\",\"resourceVersion\":\"6\"},"
		"\"spec\":{\"x\":\"]}\",\"y\":%.*s%.*s}}", levels, opening, levels, closing);
}

TEST(an_object_that_is_nested_too_deeply_takes_no_others_with_it)
{
	start();
	answer(200, list(10, "", printed("%s,%s,%s", item("a", 5), deep(100), item("b", 7))));
	keys_are("a b ");
	CHECK_INT(watch_stats(watch).dropped, ==, 1);
	CHECK_INT(synced, ==, 1);
	open_stream();
	send_text(printed("{\"type\":\"MODIFIED\",\"object\":%s}\n", deep(100)));
	event("ADDED", "c", 11);
	keys_are("a b c ");
	CHECK_INT(watch_stats(watch).dropped, ==, 2);
	CHECK(watch_stats(watch).streaming);
	stop();
}

TEST(a_page_that_is_too_large_is_asked_for_in_smaller_ones)
{
	start();
	answer(200, list(100, "next", item("a", 5)));
	for (int limit = 500; limit > 7; limit /= 4) {
		CHECK_TEXT(last()->url, printed("http://api/api/v1/pods?limit=%d&continue=next", limit));
		last()->h.on_headers(last()->arg, 200, header, NULL);
		done(last(), 200, ERR_TOO_LARGE, false);
	}
	CHECK_TEXT(last()->url, "http://api/api/v1/pods?limit=7&continue=next");
	CHECK_INT(trouble_count, ==, 0);
	answer(200, list(100, "", item("b", 6)));
	keys_are("a b ");
	CHECK_INT(synced, ==, 1);
	stop();
}

TEST(a_page_of_megabytes_is_read_in_several_turns)
{
	start();
	struct buffer b;
	buffer_init(&b, 16 << 20);
	buffer_add_text(&b, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[");
	for (int i = 0; i < 3000; i++) {
		buffer_printf(&b, "%s{\"metadata\":{\"name\":\"n%d\",\"resourceVersion\":\"%d\"},\"x\":\"", i ? "," : "", i, i + 1);
		for (int k = 0; k < 10; k++)
			buffer_add_text(&b, "0123456789012345678901234567890123456789012345678901234567890123456789");
		buffer_add_text(&b, "\"}");
	}
	buffer_add_text(&b, "]}");
	answer(200, b.data);
	CHECK_INT(synced, ==, 0);
	CHECK_INT(changes, <, 1000);
	int turns = 0;
	for (; synced == 0 && turns < 100; turns++)
		clock_run_due(&clock_);
	CHECK_INT(turns, >=, 5);
	CHECK_INT(changes, ==, 3000);
	CHECK_INT(cache_count(cache), ==, 3000);
	watches_from("9");
	buffer_deinit(&b);
	stop();
}

TEST(expired_on_a_later_page_lists_once_in_full)
{
	start();
	answer(200, list(100, "next", item("a", 5)));
	answer(410, "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"The provided continue parameter is too old\"}");
	CHECK_TEXT(last()->url, "http://api/api/v1/pods");
	CHECK_INT(trouble_count, ==, 0);
	answer(200, list(200, "", item("b", 6)));
	watches_from("200");
	keys_are("b ");
	CHECK_INT(watch_stats(watch).lists, ==, 2);
	stop();
}

TEST(a_list_that_fails_backs_off_from_0_8_s_doubling_to_30_s)
{
	static const uint64_t bases[] = {800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000};
	start();
	for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
		answer(403, "{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"pods is forbidden\"}");
		CHECK_CONTAINS(trouble.text, "listing /api/v1/pods: the server says 403 Forbidden: pods is forbidden");
		waits(bases[i]);
		CHECK(listing());
	}
	answer(200, list(1, "", ""));
	CHECK_INT(synced, ==, 1);
	stop();
}

TEST(two_minutes_of_health_reset_the_backoff)
{
	start();
	answer(500, "");
	waits(800);
	answer(500, "");
	waits(1600);
	answer(200, list(1, "", ""));
	open_stream();
	CHECK_INT(watch_stats(watch).last_error.code, ==, 0);
	for (int i = 0; i < 11; i++) {
		clock_virtual_advance(&clock_, 10000);
		bookmark(2 + i);
	}
	done(last(), 200, ERR_IO, false);
	waits(3200);
	open_stream();
	for (int i = 0; i < 13; i++) {
		clock_virtual_advance(&clock_, 10000);
		bookmark(100 + i);
	}
	done(last(), 200, ERR_IO, false);
	waits(800);
	stop();
}

/* --- streams --- */

TEST(events_reach_the_cache_and_move_the_position)
{
	start_streaming_at(10);
	event("ADDED", "b", 11);
	keys_are("a b ");
	event("MODIFIED", "a", 12);
	struct cache_object o;
	CHECK(cache_get(cache, "a", &o));
	CHECK_TEXT(o.resource_version, "12");
	event("DELETED", "a", 13);
	keys_are("b ");
	CHECK_TEXT(cache_position(cache), "13");
	CHECK_INT(watch_stats(watch).events, ==, 3);
	CHECK(watch_stats(watch).streaming);
	stop();
}

TEST(a_bookmark_moves_the_position_and_passes_our_writes)
{
	start_streaming_at(10);
	const char *o = item("mine", 20);
	cache_wrote(cache, o, strlen(o), NULL);
	keys_are("a mine ");
	bookmark(25);
	CHECK_TEXT(cache_position(cache), "25");
	keys_are("a ");
	CHECK_INT(watch_stats(watch).bookmarks, ==, 1);
	stop();
}

TEST(an_orderly_end_resumes_at_once_where_it_stood)
{
	start_streaming_at(10);
	event("ADDED", "b", 11);
	bookmark(15);
	clock_virtual_advance(&clock_, 60000);
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	watches_from("15");
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	CHECK_INT(trouble_count, ==, 0);
	stop();
}

TEST(a_broken_stream_resumes_where_it_stood)
{
	start_streaming_at(10);
	event("ADDED", "b", 11);
	done(last(), 200, ERR_IO, false);
	waits(800);
	watches_from("11");
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	stop();
}

TEST(half_a_line_is_waited_for_wherever_it_is_cut)
{
	char lines[1024];
	snprintf(lines, sizeof lines, "%s%s", event_of("ADDED", "Pod", "b", 11), event_of("DELETED", "Pod", "b", 12));
	for (size_t cut = 1; cut < strlen(lines); cut++) {
		start_streaming_at(10);
		send_bytes(lines, cut);
		send_bytes(lines + cut, strlen(lines) - cut);
		CHECK_INT(changes, ==, 3);
		CHECK_TEXT(cache_position(cache), "12");
		stop();
		wire_count = 0;
		changes = synced = 0;
	}
}

TEST(half_a_line_at_the_end_is_no_event_and_is_told_again)
{
	start_streaming_at(10);
	const char *line = event_of("ADDED", "Pod", "b", 11);
	send_bytes(line, strlen(line) - 10);
	clock_virtual_advance(&clock_, 5000);
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	keys_are("a ");
	watches_from("10");
	open_stream();
	send_text(line);
	keys_are("a b ");
	CHECK_INT(watch_stats(watch).dropped, ==, 0);
	stop();
}

TEST(a_garbled_line_resumes_and_the_third_in_one_place_lists)
{
	start_streaming_at(10);
	for (int i = 0; i < 2; i++) {
		send_text("{\"type\":\"ADDED\",\"object\":{\"kind\"\n");
		CHECK_CONTAINS(trouble.text, "a line cannot be read");
		clock_virtual_advance(&clock_, trouble_ms);
		watches_from("10");
		open_stream();
	}
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	send_text("garbage\n");
	clock_virtual_advance(&clock_, trouble_ms);
	CHECK(listing());
	CHECK_INT(watch_stats(watch).dropped, ==, 3);
	stop();
}

TEST(garbled_lines_in_different_places_never_list)
{
	start_streaming_at(10);
	for (int i = 0; i < 6; i++) {
		event("MODIFIED", "a", 11 + i);
		send_text("garbage\n");
		clock_virtual_advance(&clock_, trouble_ms);
		watches_from(printed("%d", 11 + i));
		open_stream();
	}
	stop();
}

TEST(a_410_answer_lists_again_at_once_and_a_second_one_waits)
{
	start_streaming_at(10);
	clock_virtual_advance(&clock_, 5000);
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	answer(410, "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Gone\",\"message\":\"too old\"}");
	clock_virtual_advance(&clock_, 0);
	CHECK(listing());
	CHECK_INT(trouble_count, ==, 0);
	answer(200, list(20, "", item("a", 5)));
	watches_from("20");
	answer(410, "");
	waits(1600);
	CHECK(listing());
	stop();
}

TEST(an_error_event_with_410_lists_again)
{
	start_streaming_at(10);
	error_event(410, "Expired", "too old resource version: 10 (100)");
	clock_virtual_advance(&clock_, 0);
	CHECK_TEXT(last()->url, "http://api/api/v1/pods?limit=500");
	answer(200, list(120, "", item("b", 110)));
	watches_from("120");
	keys_are("b ");
	CHECK_INT(synced, ==, 1);
	open_stream();
	clock_virtual_advance(&clock_, 5000);
	done(last(), 200, 0, false); /* the error was that of another stream */
	clock_virtual_advance(&clock_, 0);
	watches_from("120");
	stop();
}

TEST(any_other_error_event_lists_after_a_pause)
{
	start_streaming_at(10);
	error_event(500, "InternalError", "etcd event received with PrevKv=nil");
	CHECK_CONTAINS(trouble.text, "PrevKv");
	waits(800);
	CHECK(listing());
	stop();
}

TEST(an_error_event_with_429_resumes_the_watch)
{
	start_streaming_at(10);
	error_event(429, "TooManyRequests", "later");
	waits(800);
	watches_from("10");
	stop();
}

TEST(a_cluster_that_was_set_back_is_listed_again)
{
	start_streaming_at(1000);
	clock_virtual_advance(&clock_, 5000);
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	retry_after = "1";
	answer(504, "{\"kind\":\"Status\",\"code\":504,\"reason\":\"Timeout\",\"message\":\"Too large resource version: 1000, "
		"current: 7\"}");
	retry_after = NULL;
	waits(800);
	CHECK(listing());
	answer(200, list(8, "", item("a", 5)));
	watches_from("8");
	stop();
}

TEST(refused_connections_retry_the_watch_and_never_list)
{
	start_streaming_at(10);
	done(last(), 200, ERR_IO, false);
	waits(800);
	for (uint64_t base = 1600; base <= 25600; base *= 2) {
		done(last(), 0, ERR_IO, true);
		waits(base);
		watches_from("10");
	}
	done(last(), 0, ERR_IO, true);
	waits(30000);
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	CHECK(watch_stats(watch).last_error.code != 0);
	open_stream();
	CHECK_INT(watch_stats(watch).last_error.code, ==, 0);
	stop();
}

TEST(a_watch_answered_with_429_waits_as_long_as_the_server_says)
{
	start_streaming_at(10);
	clock_virtual_advance(&clock_, 5000);
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	retry_after = "7";
	answer(429, "");
	retry_after = NULL;
	CHECK_INT(trouble_ms, ==, 7000);
	clock_virtual_advance(&clock_, 6999);
	CHECK_INT(wire_live, ==, 0);
	clock_virtual_advance(&clock_, 1);
	watches_from("10");
	stop();
}

TEST(a_watch_that_is_forbidden_lists_after_a_pause)
{
	start_streaming_at(10);
	clock_virtual_advance(&clock_, 5000);
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	answer(403, "{\"kind\":\"Status\",\"code\":403,\"reason\":\"Forbidden\",\"message\":\"no\"}");
	CHECK_CONTAINS(trouble.text, "watching /api/v1/pods: the server says 403 Forbidden: no");
	waits(800);
	CHECK(listing());
	stop();
}

TEST(seventy_seconds_of_silence_are_a_dead_connection_and_resume_at_once)
{
	start_streaming_at(10);
	clock_virtual_advance(&clock_, 69000);
	bookmark(30);
	clock_virtual_advance(&clock_, 69999);
	CHECK_INT(trouble_count, ==, 0);
	CHECK_INT(wire_count, ==, 2);
	clock_virtual_advance(&clock_, 1);
	CHECK_INT(trouble_count, ==, 1);
	CHECK_INT(trouble_ms, ==, 0);
	CHECK_INT(wire_count, ==, 3);
	watches_from("30");
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	stop();
}

TEST(a_stream_that_the_server_does_not_end_in_time_is_ended_and_resumes_at_once)
{
	start_streaming_at(10);
	int version = 11;
	for (; version < 11 + 300 / 60; version++) { /* timeoutSeconds is 300 at least */
		clock_virtual_advance(&clock_, 60000);
		bookmark(version);
	}
	CHECK_INT(wire_count, ==, 2);
	for (; wire_count == 2 && version < 11 + 630 / 60 + 1; version++) { /* and 600 at most */
		clock_virtual_advance(&clock_, 60000);
		bookmark(version);
		clock_virtual_advance(&clock_, 0);
	}
	CHECK_INT(trouble_count, ==, 0);
	CHECK_INT(wire_count, ==, 3);
	char position[16];
	snprintf(position, sizeof position, "%d", version - 1);
	watches_from(position);
	CHECK_INT(watch_stats(watch).lists, ==, 1);
	stop();
}

TEST(a_watch_that_is_never_answered_is_given_up_after_70_s)
{
	start();
	answer(200, list(10, "", ""));
	clock_virtual_advance(&clock_, 70000);
	waits(800);
	watches_from("10");
	stop();
}

TEST(a_very_short_watch_that_brings_nothing_backs_off)
{
	start_streaming_at(10);
	for (uint64_t base = 800; base <= 6400; base *= 2) {
		clock_virtual_advance(&clock_, 999);
		done(last(), 200, 0, false);
		CHECK_CONTAINS(trouble.text, "within a second");
		waits(base);
		watches_from("10");
		open_stream();
	}
	event("ADDED", "b", 11); /* one that brought something does not */
	done(last(), 200, 0, false);
	clock_virtual_advance(&clock_, 0);
	watches_from("11");
	open_stream(); /* and what it brought does not count for the next */
	done(last(), 200, 0, false);
	waits(12800);
	stop();
}

TEST(events_of_another_kind_are_dropped_and_the_stream_goes_on)
{
	start_streaming_at(10);
	send_text(event_of("ADDED", "Deployment", "x", 11));
	send_text("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"other/v1\",\"metadata\":{\"name\":\"y\"}}}\n");
	send_text("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"z\"}}}\n");
	send_text(event_of("SOMETHING", "Pod", "w", 12));
	CHECK_INT(watch_stats(watch).dropped, ==, 4);
	CHECK_TEXT(cache_position(cache), "10");
	event("ADDED", "b", 13);
	keys_are("a b ");
	CHECK_TEXT(cache_position(cache), "13");
	stop();
}

static void send_line_of(size_t len, size_t piece, int version)
{
	char *line = xmalloc(len + 1);
	int head = snprintf(line, len, "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":"
		"{\"name\":\"big\",\"resourceVersion\":\"%d\"},\"x\":\"", version);
	memset(line + head, 'x', len - (size_t)head);
	memcpy(line + len - 4, "\"}}\n", 4);
	for (size_t at = 0; at < len && wire_live != 0; at += piece)
		send_bytes(line + at, len - at < piece ? len - at : piece);
	free(line);
}

TEST(a_line_of_3_mib_passes)
{
	start_streaming_at(10);
	send_line_of(CACHE_OBJECT_MAX, 16384, 11);
	keys_are("a big ");
	CHECK_TEXT(cache_position(cache), "11");
	stop();
}

TEST(a_longer_line_leads_to_a_list)
{
	start_streaming_at(10);
	send_line_of(WATCH_LINE_MAX + 100, 16384, 11);
	CHECK_CONTAINS(trouble.text, "is longer than");
	waits(800);
	CHECK(listing());
	answer(200, list(20, "", item("a", 5)));
	open_stream();
	send_line_of(WATCH_LINE_MAX + 100, WATCH_LINE_MAX + 100, 21); /* in one piece */
	waits(1600);
	CHECK(listing());
	keys_are("a ");
	stop();
}

TEST(the_same_seed_gives_the_same_pauses_and_another_seed_others)
{
	uint64_t pauses[3][6];
	for (int run = 0; run < 3; run++) {
		start_with((struct watch_options){.seed = run == 2 ? 8 : 7});
		for (int i = 0; i < 6; i++) {
			answer(500, "");
			pauses[run][i] = trouble_ms;
			clock_virtual_advance(&clock_, trouble_ms);
		}
		stop();
		wire_count = 0;
	}
	CHECK_INT(memcmp(pauses[0], pauses[1], sizeof pauses[0]), ==, 0);
	CHECK_INT(memcmp(pauses[0], pauses[2], sizeof pauses[0]), !=, 0);
}

/* --- stopping: stop() itself checks that nothing is left --- */

TEST(a_watch_can_be_stopped_while_it_lists)
{
	start();
	stop();
}

TEST(a_watch_can_be_stopped_between_pages)
{
	start();
	answer(200, list(100, "next", item("a", 5)));
	stop();
}

TEST(a_watch_can_be_stopped_in_the_middle_of_a_page)
{
	start();
	char *items = xmalloc(600 << 10);
	memset(items, ' ', 600 << 10);
	strcpy(items + (300 << 10), item("b", 6));
	items[0] = '5', items[1] = ',';
	struct buffer b;
	buffer_init(&b, 2 << 20);
	buffer_printf(&b, "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[%s,%s]}", items, item("a", 5));
	answer(200, b.data);
	CHECK(clock_next_due_ms(&clock_) != CLOCK_NEVER);
	buffer_deinit(&b);
	free(items);
	stop();
}

TEST(a_watch_can_be_stopped_in_a_pause)
{
	start();
	answer(500, "");
	CHECK_INT(wire_live, ==, 0);
	stop();
}

TEST(a_watch_can_be_stopped_before_its_stream_opens)
{
	start();
	answer(200, list(1, "", ""));
	stop();
}

TEST(a_watch_can_be_stopped_while_half_a_line_waits)
{
	start_streaming_at(10);
	send_text("{\"type\"");
	stop();
}

TEST(a_watch_can_be_stopped_by_a_change_of_its_list)
{
	start();
	stop_on_change = true;
	answer(200, list(100, "next", printed("%s,%s", item("a", 5), item("b", 6))));
	CHECK_INT(changes, ==, 1);
	stop();
}

TEST(a_watch_can_be_stopped_by_an_event)
{
	start_streaming_at(10);
	stop_on_change = true;
	changes = 0;
	send_text(printed("%s%s", event_of("ADDED", "Pod", "b", 11), event_of("ADDED", "Pod", "c", 12)));
	CHECK_INT(changes, ==, 1);
	stop();
}

TEST(a_watch_can_be_stopped_by_synced_and_by_trouble)
{
	start();
	stop_on_synced = true;
	answer(200, list(100, "", ""));
	CHECK_INT(synced, ==, 1);
	stop();
	wire_count = 0;
	start();
	stop_on_trouble = true;
	answer(500, "");
	CHECK_INT(trouble_count, ==, 1);
	stop();
}

/* --- a cluster that fails at random: in the end the cache agrees with it --- */

#define NAMES 5

static int now[NAMES], version, log_count; /* now: version, 0: not there */
static struct { int name, version; bool deleted; } history[20000];

static void server_change(void)
{
	unsigned n = pick(NAMES);
	bool delete = now[n] != 0 && pick(3) == 0;
	history[log_count].name = (int)n;
	history[log_count].version = ++version;
	history[log_count++].deleted = delete;
	now[n] = delete ? 0 : version;
}

static void server_list(void)
{
	char items[2048] = "";
	for (int n = 0; n < NAMES; n++)
		if (now[n] != 0)
			strcat(strcat(items, *items ? "," : ""), item(printed("n%d", n), now[n]));
	answer(200, list(version, "", items));
}

/* Everything behind `from`, cut at any place. */
static void server_stream(int from, bool in_full)
{
	struct buffer b;
	buffer_init(&b, 1 << 20);
	for (int i = 0; i < log_count; i++)
		if (history[i].version > from)
			buffer_add_text(&b, event_of(history[i].deleted ? "DELETED" : "MODIFIED", "Pod",
				printed("n%d", history[i].name), history[i].version));
	size_t len = in_full || b.len == 0 ? b.len : pick((unsigned)b.len);
	for (size_t at = 0, n; at < len; at += n) {
		n = 1 + pick(100);
		n = n < len - at ? n : len - at;
		send_bytes(b.data + at, n);
	}
	buffer_deinit(&b);
}

static void serve(bool in_full)
{
	if (wire_live == 0) {
		clock_virtual_advance(&clock_, clock_next_due_ms(&clock_) - clock_now_ms(&clock_));
		return;
	}
	unsigned luck = in_full ? 9 : pick(10);
	if (luck < 2) {
		done(last(), 0, ERR_IO, true);
	} else if (luck == 2) {
		answer(500, "");
	} else if (listing()) {
		server_list();
	} else if (luck == 3) {
		answer(410, "");
	} else {
		int from = atoi(strstr(last()->url, "resourceVersion=") + strlen("resourceVersion="));
		open_stream();
		server_stream(from, in_full);
		if (luck == 4)
			send_text("garbage\n");
		else if (luck == 5)
			error_event(410, "Expired", "");
		else
			done(last(), 200, luck == 6 ? ERR_IO : 0, false);
	}
}

static void agrees(void)
{
	size_t count = 0;
	for (int n = 0; n < NAMES; n++) {
		struct cache_object o;
		bool there = cache_get(cache, printed("n%d", n), &o);
		CHECK_INT(there, ==, now[n] != 0);
		if (there)
			CHECK_INT(atoi(o.resource_version), ==, now[n]);
		count += there;
	}
	CHECK_INT(cache_count(cache), ==, count);
}

TEST(whatever_breaks_the_cache_agrees_with_the_cluster_in_the_end)
{
	start();
	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i + 1 < wire_count; i++)
			free(wire[i].url), free(wire[i].accept), wire[i].url = wire[i].accept = NULL;
		for (int i = 0; i < 10; i++) {
			if (pick(2))
				server_change();
			serve(false);
		}
		int settled = version;
		for (int i = 0; i < 20 && (atoi(cache_position(cache)) < settled || wire_live == 0); i++)
			serve(true);
		agrees();
		if (wire_count > EXCHANGES / 2) { /* the log of the wire starts over */
			struct http_exchange *x = wire_live ? last() : NULL;
			CHECK(x != NULL);
			done(x, 0, ERR_IO, true);
			for (size_t i = 0; i < wire_count; i++)
				free(wire[i].url), free(wire[i].accept);
			memset(wire, 0, sizeof wire);
			wire_count = 0;
		}
	}
	stop();
}

TEST_MAIN(T(pages_of_500_are_listed_and_then_watched_from_the_first_pages_version),
	T(selectors_are_escaped_into_both_requests), T(the_watch_timeout_is_spread_between_5_and_10_minutes),
	T(metadata_alone_is_asked_for_and_expected), T(a_list_whose_metadata_stands_behind_its_items_is_read),
	T(a_list_without_objects_may_say_null), T(an_answer_that_is_no_list_removes_nothing),
	T(an_item_that_cannot_be_kept_is_left_out_and_the_rest_goes_on),
	T(an_object_that_is_nested_too_deeply_takes_no_others_with_it),
	T(a_page_that_is_too_large_is_asked_for_in_smaller_ones), T(a_page_of_megabytes_is_read_in_several_turns),
	T(expired_on_a_later_page_lists_once_in_full),
	T(a_list_that_fails_backs_off_from_0_8_s_doubling_to_30_s), T(two_minutes_of_health_reset_the_backoff),
	T(events_reach_the_cache_and_move_the_position), T(a_bookmark_moves_the_position_and_passes_our_writes),
	T(an_orderly_end_resumes_at_once_where_it_stood), T(a_broken_stream_resumes_where_it_stood),
	T(half_a_line_is_waited_for_wherever_it_is_cut), T(half_a_line_at_the_end_is_no_event_and_is_told_again),
	T(a_garbled_line_resumes_and_the_third_in_one_place_lists), T(garbled_lines_in_different_places_never_list),
	T(a_410_answer_lists_again_at_once_and_a_second_one_waits), T(an_error_event_with_410_lists_again),
	T(any_other_error_event_lists_after_a_pause), T(an_error_event_with_429_resumes_the_watch),
	T(a_cluster_that_was_set_back_is_listed_again), T(refused_connections_retry_the_watch_and_never_list),
	T(a_watch_answered_with_429_waits_as_long_as_the_server_says), T(a_watch_that_is_forbidden_lists_after_a_pause),
	T(seventy_seconds_of_silence_are_a_dead_connection_and_resume_at_once),
	T(a_stream_that_the_server_does_not_end_in_time_is_ended_and_resumes_at_once),
	T(a_watch_that_is_never_answered_is_given_up_after_70_s), T(a_very_short_watch_that_brings_nothing_backs_off),
	T(events_of_another_kind_are_dropped_and_the_stream_goes_on), T(a_line_of_3_mib_passes),
	T(a_longer_line_leads_to_a_list), T(the_same_seed_gives_the_same_pauses_and_another_seed_others),
	T(a_watch_can_be_stopped_while_it_lists), T(a_watch_can_be_stopped_between_pages),
	T(a_watch_can_be_stopped_in_the_middle_of_a_page), T(a_watch_can_be_stopped_in_a_pause),
	T(a_watch_can_be_stopped_before_its_stream_opens), T(a_watch_can_be_stopped_while_half_a_line_waits),
	T(a_watch_can_be_stopped_by_a_change_of_its_list), T(a_watch_can_be_stopped_by_an_event),
	T(a_watch_can_be_stopped_by_synced_and_by_trouble),
	T(whatever_breaks_the_cache_agrees_with_the_cluster_in_the_end))
