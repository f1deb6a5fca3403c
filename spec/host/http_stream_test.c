/* Answers in pieces, heard over plain sockets. */
#include <stdbool.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "http/server.h"
#include "loop/loop.h"
#include "socket_peer.h"
#include "test.h"

static struct loop *l;
static struct http_server *server;
static struct http_stream *stream;
static struct http_call *kept;
static bool never;
static int ends;
static enum http_stream_end why;
static size_t backlog;

static void wait_ms(uint64_t ms)
{
	loop_run_until(l, &never, ms);
}

static void on_end(void *arg, enum http_stream_end reason)
{
	CHECK_TEXT(arg, "stream");
	ends++;
	why = reason;
	stream = NULL;
}

static struct http_stream *begin(struct http_call *c)
{
	static char arg[] = "stream";
	return http_stream_begin(c, &(struct http_stream_options){.status = 200, .content_type = "application/json",
		.backlog_max = backlog, .on_end = on_end, .arg = arg});
}

/* /stream begins one, /later keeps the call, /write writes to the stream that is open. */
static void on_call(void *arg, struct http_call *c)
{
	(void)arg;
	if (strcmp(c->path, "/stream") == 0) {
		stream = begin(c);
		CHECK(stream != NULL);
	} else if (strcmp(c->path, "/later") == 0) {
		kept = c;
	} else {
		if (strcmp(c->path, "/write") == 0)
			http_stream_write(stream, "written\n", 8);
		http_reply(c, 200, "text/plain", "now", 3);
	}
}

static void start(void)
{
	struct err e = {0};
	l = loop_new();
	server = http_server_open(l, &(struct http_server_options){.address = "127.0.0.1:0", .idle_timeout_s = 1,
		.on_call = on_call}, &e);
	if (server == NULL)
		FAIL("%s", e.text);
}

static void stop(void)
{
	http_server_close(server);
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
}

static int connect_to_server(void)
{
	return peer_connect(http_server_address(server), backlog != 0 ? 4096 : 0); /* a peer of small pockets */
}

static void say(int fd, const char *text)
{
	peer_say(l, fd, text);
}

static const char *hear(int fd)
{
	return peer_hear(l, fd, 60);
}

static int open_stream(void)
{
	int fd = connect_to_server();
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	const char *answer = hear(fd);
	CHECK_CONTAINS(answer, "HTTP/1.1 200");
	CHECK_CONTAINS(answer, "Transfer-Encoding: chunked");
	CHECK_CONTAINS(answer, "Content-Type: application/json");
	return fd;
}

TEST(headers_come_at_once_and_each_piece_when_it_is_written)
{
	start();
	int fd = open_stream();
	CHECK_INT(http_stream_write(stream, "one\n", 4), ==, 0);
	CHECK_TEXT(hear(fd), "4\r\none\n\r\n");
	CHECK_INT(http_stream_write(stream, "", 0), ==, 0); /* no chunk: an empty one would be the end */
	CHECK_TEXT(hear(fd), "");
	http_stream_write(stream, "two\n", 4);
	http_stream_write(stream, "three\n", 6);
	CHECK_TEXT(hear(fd), "A\r\ntwo\nthree\n\r\n");
	http_stream_write(stream, "four\n", 5);
	http_stream_finish(stream);
	CHECK_TEXT(hear(fd), "5\r\nfour\n\r\n0\r\n\r\n");
	CHECK_INT(ends, ==, 0);
	say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"); /* the connection is as good as before */
	CHECK_CONTAINS(hear(fd), "\r\n\r\nnow");
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "chunked");
	http_stream_finish(stream);
	CHECK_TEXT(hear(fd), "0\r\n\r\n");
	close(fd);
	stop();
}

TEST(a_call_that_was_kept_can_become_a_stream)
{
	start();
	int fd = connect_to_server();
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_TEXT(hear(fd), "");
	stream = begin(kept);
	http_stream_write(stream, "late\n", 5);
	CHECK_CONTAINS(hear(fd), "\r\n\r\n5\r\nlate\n\r\n");
	http_stream_finish(stream);
	CHECK_TEXT(hear(fd), "0\r\n\r\n");
	close(fd);
	stop();
}

TEST(a_write_from_inside_another_call_arrives)
{
	start();
	int fd = open_stream(), other = connect_to_server();
	for (int i = 0; i < 3; i++) {
		say(other, "GET /write HTTP/1.1\r\nHost: x\r\n\r\n");
		CHECK_CONTAINS(hear(other), "now");
		CHECK_TEXT(hear(fd), "8\r\nwritten\n\r\n");
	}
	close(other);
	close(fd);
	stop();
}

TEST(a_peer_of_http_1_0_gets_plain_bytes_until_the_connection_closes)
{
	start();
	int fd = connect_to_server();
	say(fd, "GET /stream HTTP/1.0\r\n\r\n");
	CHECK_CONTAINS(hear(fd), " 200 ");
	http_stream_write(stream, "one\n", 4);
	CHECK_TEXT(hear(fd), "one\n");
	http_stream_finish(stream);
	CHECK_TEXT(hear(fd), "<closed>");
	close(fd);
	stop();
}

TEST(a_peer_that_leaves_a_quiet_stream_is_noticed)
{
	start();
	int fd = open_stream();
	close(fd);
	wait_ms(50);
	CHECK_INT(ends, ==, 1);
	CHECK_INT(why, ==, HTTP_STREAM_GONE);
	fd = open_stream();
	shutdown(fd, SHUT_WR); /* half-closed */
	wait_ms(50);
	CHECK_INT(ends, ==, 2);
	CHECK_INT(why, ==, HTTP_STREAM_GONE);
	close(fd);
	fd = open_stream();
	struct linger now = {1, 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd); /* reset */
	wait_ms(50);
	CHECK_INT(ends, ==, 3);
	stop();
}

TEST(a_write_after_the_peer_has_gone_is_refused_and_told_once)
{
	start();
	int fd = open_stream();
	close(fd);
	for (int i = 0; i < 100 && stream != NULL; i++) {
		int rc = http_stream_write(stream, "more\n", 5);
		CHECK(rc == 0 || rc == ERR_CANCELLED);
		wait_ms(2);
	}
	CHECK_INT(ends, ==, 1);
	stop();
}

TEST(a_stream_that_was_finished_after_its_peer_left_tells_nothing)
{
	start();
	int fd = open_stream();
	close(fd);
	usleep(5000);
	http_stream_finish(stream);
	wait_ms(50);
	CHECK_INT(ends, ==, 0);
	stop();
}

TEST(quiet_streams_outlive_the_idle_timeout)
{
	start();
	int fd = open_stream();
	wait_ms(2500);
	CHECK_INT(ends, ==, 0);
	http_stream_write(stream, "still here\n", 11);
	CHECK_TEXT(hear(fd), "B\r\nstill here\n\r\n");
	close(fd);
	stop();
}

TEST(a_reader_that_is_too_slow_is_ended_and_others_are_not)
{
	static char page[10000];
	memset(page, 'x', sizeof page);
	backlog = 100000;
	start();
	int fd = open_stream(), rc = 0, pages = 0;
	struct http_stream *slow = stream;
	for (; rc == 0 && pages < 10000; pages++) {
		wait_ms(1);
		rc = http_stream_write(slow, page, sizeof page);
	}
	CHECK_INT(rc, ==, ERR_TOO_LARGE);
	CHECK_INT(http_stream_write(slow, page, 1), ==, ERR_CANCELLED);
	CHECK_INT(ends, ==, 0); /* not from inside the write */
	wait_ms(50);
	CHECK_INT(ends, ==, 1);
	CHECK_INT(why, ==, HTTP_STREAM_SLOW);
	int other = connect_to_server();
	say(other, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(other), "now");
	close(other);
	close(fd);
	stop();
}

TEST(a_slow_reader_within_the_backlog_gets_every_byte)
{
	static char page[100000], got[1 << 20];
	backlog = 3000000;
	start();
	int fd = open_stream();
	for (int i = 0; i < 20; i++) {
		memset(page, 'a' + i, sizeof page);
		CHECK_INT(http_stream_write(stream, page, sizeof page), ==, 0);
	}
	http_stream_finish(stream);
	size_t counts[20] = {0};
	bool ended = false;
	for (int i = 0; i < 20000 && !ended; i++) {
		wait_ms(1);
		ssize_t n = recv(fd, got, sizeof got, MSG_DONTWAIT);
		for (ssize_t j = 0; j < n; j++)
			if (got[j] >= 'g' && got[j] < 'a' + 20) /* no digits of chunk sizes */
				counts[got[j] - 'a']++;
		ended = n >= 5 && memcmp(got + n - 5, "0\r\n\r\n", 5) == 0;
	}
	CHECK(ended);
	for (int i = 'g' - 'a'; i < 20; i++)
		CHECK_INT(counts[i], ==, sizeof page);
	close(fd);
	stop();
}

static int drains;

/* Twenty pages of 100000 marks, the next when all is sent, and the end. */
static void write_next_page(void *arg)
{
	static char page[100000];
	(void)arg;
	memset(page, '!', sizeof page);
	if (drains++ == 20)
		http_stream_finish(stream);
	else
		CHECK_INT(http_stream_write(stream, page, sizeof page), ==, 0);
}

TEST(an_owner_that_waits_until_all_is_sent_can_say_much_more_than_the_backlog)
{
	static char got[1 << 20];
	backlog = 100000;
	start();
	int fd = connect_to_server();
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_TEXT(hear(fd), "");
	stream = http_stream_begin(kept, &(struct http_stream_options){.status = 200, .backlog_max = backlog,
		.on_drain = write_next_page});
	size_t marks = 0;
	bool ended = false;
	for (int i = 0; i < 20000 && !ended; i++) {
		wait_ms(1);
		ssize_t n = recv(fd, got, sizeof got, MSG_DONTWAIT);
		for (ssize_t j = 0; j < n; j++)
			marks += got[j] == '!';
		ended = n >= 5 && memcmp(got + n - 5, "0\r\n\r\n", 5) == 0;
	}
	CHECK(ended);
	CHECK_INT(marks, ==, 20 * 100000);
	CHECK_INT(drains, ==, 21);
	close(fd);
	stop();
}

TEST(closing_the_server_completes_its_streams)
{
	start();
	int fd = open_stream();
	http_stream_write(stream, "last\n", 5);
	http_server_close(server);
	CHECK_INT(ends, ==, 0); /* not from inside the call */
	CHECK_TEXT(hear(fd), "5\r\nlast\n\r\n0\r\n\r\n<closed>");
	CHECK_INT(ends, ==, 1);
	CHECK_INT(why, ==, HTTP_STREAM_CLOSED);
	CHECK_INT(loop_open_handles(l), ==, 0);
	close(fd);
	loop_free(l);
}

TEST(closing_the_server_cuts_a_stream_whose_peer_does_not_read)
{
	static char page[500000];
	backlog = 1000000;
	start();
	int fd = open_stream();
	CHECK_INT(http_stream_write(stream, page, sizeof page), ==, 0);
	wait_ms(20);
	http_server_close(server);
	wait_ms(20);
	CHECK_INT(ends, ==, 1);
	CHECK_INT(loop_open_handles(l), ==, 0);
	close(fd);
	loop_free(l);
}

TEST(no_stream_begins_for_a_server_that_has_closed)
{
	start();
	int fd = connect_to_server();
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(fd);
	http_server_close(server);
	CHECK(begin(kept) == NULL);
	wait_ms(10);
	CHECK_INT(ends, ==, 0);
	close(fd);
	loop_free(l);
}

TEST_MAIN(T(headers_come_at_once_and_each_piece_when_it_is_written),
	T(a_call_that_was_kept_can_become_a_stream),
	T(a_write_from_inside_another_call_arrives),
	T(a_peer_of_http_1_0_gets_plain_bytes_until_the_connection_closes),
	T(a_peer_that_leaves_a_quiet_stream_is_noticed),
	T(a_write_after_the_peer_has_gone_is_refused_and_told_once),
	T(a_stream_that_was_finished_after_its_peer_left_tells_nothing),
	T(quiet_streams_outlive_the_idle_timeout),
	T(a_reader_that_is_too_slow_is_ended_and_others_are_not),
	T(a_slow_reader_within_the_backlog_gets_every_byte),
	T(an_owner_that_waits_until_all_is_sent_can_say_much_more_than_the_backlog),
	T(closing_the_server_completes_its_streams),
	T(closing_the_server_cuts_a_stream_whose_peer_does_not_read),
	T(no_stream_begins_for_a_server_that_has_closed))
