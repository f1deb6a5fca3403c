/* The HTTP server, asked over plain sockets: the peer says exactly these bytes. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "http/server.h"
#include "loop/loop.h"
#include "socket_peer.h"
#include "test.h"

static struct loop *l;
static struct http_server *server;
static bool never;
static struct http_call *kept[8];
static int kept_count, calls;
static struct buffer seen;

static void wait_ms(uint64_t ms)
{
	loop_run_until(l, &never, ms);
}

static void see_argument(void *arg, const char *name, const char *value, size_t value_len)
{
	buffer_printf(arg, " %s=%s", name, value);
	if (strlen(value) != value_len)
		buffer_printf(arg, "[%zu]", value_len);
}

/* /now answers at once, /later keeps the call, /echo gives the body back. */
static void on_call(void *arg, struct http_call *c)
{
	CHECK_TEXT(arg, "arg");
	calls++;
	buffer_clear(&seen);
	const char *q = http_call_query(c, "q"), *h = http_call_header(c, "X-TEST");
	buffer_printf(&seen, "%s %s q=%s x=%s body=%zu", c->method, c->path, q != NULL ? q : "-", h != NULL ? h : "-",
		c->body_len);
	if (strcmp(c->path, "/pot") == 0)
		http_call_each_query(c, see_argument, &seen);
	if (strcmp(c->path, "/headers") == 0) {
		http_call_add_header(c, "Retry-After", "3");
		http_call_add_header(c, "X-Broken", "a\r\nX-Smuggled: yes");
	}
	if (strcmp(c->path, "/later") == 0)
		kept[kept_count++] = c;
	else if (strcmp(c->path, "/echo") == 0)
		http_reply(c, 200, "application/json", c->body, c->body_len);
	else if (strcmp(c->path, "/close") == 0) {
		http_reply(c, 200, "text/plain", "bye", 3);
		http_server_close(server);
	} else
		http_reply(c, 200, "text/plain", "now", 3);
}

static struct http_server *open_with(struct http_server_options o, struct err *e)
{
	static char arg[] = "arg";
	o.on_call = on_call;
	o.arg = arg;
	return http_server_open(l, &o, e);
}

static void start(void)
{
	struct err e = {0};
	l = loop_new();
	buffer_init(&seen, 4096);
	server = open_with((struct http_server_options){.address = "127.0.0.1:0", .body_max = 1000}, &e);
	if (server == NULL)
		FAIL("%s", e.text);
}

static void stop(void)
{
	http_server_close(server);
	buffer_deinit(&seen);
	loop_free(l);
}

static int connect_to_server(void)
{
	return peer_connect(http_server_address(server), 0);
}

static void say(int fd, const char *text)
{
	peer_say(l, fd, text);
}

static const char *hear(int fd)
{
	return peer_hear(l, fd, 120);
}

TEST(a_call_arrives_with_method_path_query_headers_and_body)
{
	start();
	int fd = connect_to_server();
	say(fd, "POST /echo%2Fa%20b?q=1%202&r HTTP/1.1\r\nHost: x\r\nx-test: yes\r\nContent-Length: 2\r\n\r\n{}");
	const char *answer = hear(fd);
	CHECK_CONTAINS(answer, "HTTP/1.1 200");
	CHECK_CONTAINS(answer, "\r\n\r\nnow");
	CHECK_TEXT(buffer_text(&seen), "POST /echo%2Fa%20b q=1 2 x=yes body=2");
	close(fd);
	stop();
}

TEST(a_path_arrives_as_it_was_sent_and_is_refused_where_an_escape_is_none)
{
	static const char *const paths[][2] = {{"/now/a%00b?q=1", "GET /now/a%00b q=1 x=- body=0"},
		{"/now/a%2541", "GET /now/a%2541 q=- x=- body=0"}, {"http://x/now?q=2", "GET /now q=2 x=- body=0"},
		{"https://x:1?q=3", "GET / q=3 x=- body=0"}};
	start();
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		int fd = connect_to_server();
		char request[128];
		snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i][0]);
		say(fd, request);
		CHECK_CONTAINS(hear(fd), "HTTP/1.1 200");
		CHECK_TEXT(buffer_text(&seen), paths[i][1]);
		close(fd);
	}
	static const char *const wrong[] = {"/%zz", "/a%4", "/%"};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		int fd = connect_to_server();
		char request[128];
		snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", wrong[i]);
		say(fd, request);
		CHECK_CONTAINS(hear(fd), "HTTP/1.1 400");
		close(fd);
	}
	CHECK_INT(calls, ==, 4);
	stop();
}

TEST(a_kept_connection_carries_several_calls)
{
	start();
	int fd = connect_to_server();
	for (int i = 0; i < 3; i++) {
		say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
		const char *answer = hear(fd);
		CHECK_CONTAINS(answer, "Content-Type: application/json");
		CHECK_CONTAINS(answer, "\r\n\r\n{\"a\":1}");
		CHECK(strstr(answer, "<closed>") == NULL);
	}
	CHECK_INT(calls, ==, 3);
	close(fd);
	stop();
}

TEST(a_call_can_be_answered_later_while_others_are_answered)
{
	start();
	int slow = connect_to_server(), fast = connect_to_server();
	say(slow, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_TEXT(hear(slow), "");
	CHECK_INT(kept_count, ==, 1);
	say(fast, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fast), "now");
	http_reply(kept[0], 202, "text/plain", "later", 5);
	const char *answer = hear(slow);
	CHECK_CONTAINS(answer, "HTTP/1.1 202");
	CHECK_CONTAINS(answer, "\r\n\r\nlater");
	CHECK_INT(calls, ==, 2); /* asked again by the library, not of the handler */
	say(slow, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(slow), "now");
	close(slow);
	close(fast);
	stop();
}

TEST(a_caller_who_left_before_a_late_answer_is_no_trouble)
{
	start();
	int fd = connect_to_server();
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(fd);
	close(fd);
	wait_ms(20);
	http_reply(kept[0], 200, "text/plain", "later", 5);
	wait_ms(20);
	stop();
}

TEST(a_request_that_never_becomes_whole_is_no_call_and_leaves_nothing)
{
	static const char *const halves[] = {"G", "GET /now HTTP/1.1", "GET /now HTTP/1.1\r\n", "GET /now HTTP/1.1\r\nHost: x\r\n",
		"POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"};
	int fds[sizeof halves / sizeof *halves];
	start();
	for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
		fds[i] = connect_to_server();
		say(fds[i], "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
		CHECK_CONTAINS(hear(fds[i]), "now");
		say(fds[i], halves[i]);
		wait_ms(10);
		if (i % 2 == 0)
			close(fds[i]);
	}
	wait_ms(20);
	CHECK_INT(calls, ==, 5);
	stop(); /* the others are open still */
	for (size_t i = 1; i < sizeof halves / sizeof *halves; i += 2)
		close(fds[i]);
}

TEST(a_body_over_the_limit_is_answered_413_announced_or_not)
{
	start();
	int fd = connect_to_server();
	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
	for (int i = 0; i < 100; i++)
		say(fd, "ten bytes ");
	CHECK_TEXT(hear(fd), ""); /* a client reads the answer for certain only when it has sent all */
	say(fd, "x");
	CHECK_CONTAINS(hear(fd), "HTTP/1.1 413");
	say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "now");
	calls--;
	close(fd);
	static const char *const at_once[] = {"Content-Length: 16001\r\n\r\n",
		"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n"};
	for (int i = 0; i < 2; i++) {
		fd = connect_to_server();
		say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\n");
		say(fd, at_once[i]);
		CHECK_CONTAINS(hear(fd), "HTTP/1.1 413");
		close(fd);
	}
	char chunk[600];
	memset(chunk, 'x', sizeof chunk);
	chunk[sizeof chunk - 1] = '\0';
	fd = connect_to_server();
	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 3; i++) {
		say(fd, "257\r\n"); /* 599 */
		say(fd, chunk);
		say(fd, "\r\n");
	}
	say(fd, "0\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "HTTP/1.1 413");
	CHECK_INT(calls, ==, 0);
	close(fd);
	stop();
}

TEST(a_body_of_exactly_the_limit_is_read)
{
	start();
	char body[1001];
	memset(body, 'y', 1000);
	body[1000] = '\0';
	int fd = connect_to_server();
	say(fd, "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
	say(fd, body);
	CHECK_CONTAINS(hear(fd), "HTTP/1.1 200");
	CHECK_CONTAINS(buffer_text(&seen), "body=1000");
	close(fd);
	stop();
}

TEST(an_endless_body_is_cut_off)
{
	start();
	char chunk[4097];
	memset(chunk, 'x', 4096);
	chunk[4096] = '\0';
	int fd = connect_to_server();
	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 50; i++) {
		say(fd, "1000\r\n");
		say(fd, chunk);
		say(fd, "\r\n");
	}
	CHECK_CONTAINS(hear(fd), "<closed>");
	CHECK_INT(calls, ==, 0);
	close(fd);
	stop();
}

TEST(unknown_methods_endless_headers_and_garbage_are_refused)
{
	start();
	int fd = connect_to_server();
	say(fd, "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n");
	const char *answer = hear(fd);
	CHECK_CONTAINS(answer, "HTTP/1.1 405");
	CHECK_CONTAINS(answer, "Allow: GET");
	close(fd);
	fd = connect_to_server();
	say(fd, "\1\2\3\r\n\r\n");
	hear(fd);
	close(fd);
	fd = connect_to_server();
	say(fd, "GET / HTTP/1.1\r\nHost: x\r\n");
	char line[1025];
	memset(line, 'a', 1024);
	memcpy(line, "X-H: ", 5);
	memcpy(line + 1022, "\r\n", 3);
	for (int i = 0; i < 60; i++)
		say(fd, line);
	answer = hear(fd);
	CHECK(strstr(answer, " 431 ") != NULL || strstr(answer, " 413 ") != NULL || strstr(answer, "<closed>") != NULL);
	CHECK_INT(calls, ==, 0);
	close(fd);
	fd = connect_to_server();
	say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "now");
	close(fd);
	stop();
}

TEST(an_answer_has_the_headers_that_were_added_and_no_smuggled_ones)
{
	start();
	int fd = connect_to_server();
	say(fd, "GET /headers HTTP/1.1\r\nHost: x\r\n\r\n");
	const char *answer = hear(fd);
	CHECK_CONTAINS(answer, "\r\nRetry-After: 3\r\n");
	CHECK(strstr(answer, "Smuggled") == NULL);
	close(fd);
	stop();
}

TEST(a_server_of_any_method_hears_of_all_and_every_query_argument_is_visited)
{
	l = loop_new();
	buffer_init(&seen, 4096);
	server = open_with((struct http_server_options){.address = "127.0.0.1:0", .any_method = true}, NULL);
	int fd = connect_to_server();
	say(fd, "BREW /pot?a=1&b&a=%20&c=%00d HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "HTTP/1.1 200");
	CHECK_TEXT(buffer_text(&seen), "BREW /pot q=- x=- body=0 a=1 b= a=  c=[2]");
	close(fd);
	stop();
}

TEST(an_idle_connection_is_closed)
{
	l = loop_new();
	buffer_init(&seen, 4096);
	server = open_with((struct http_server_options){.address = "127.0.0.1:0", .idle_timeout_s = 1}, NULL);
	int fd = connect_to_server();
	say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "now");
	wait_ms(2300);
	CHECK_CONTAINS(hear(fd), "<closed>");
	close(fd);
	stop();
}

TEST(closing_answers_what_is_open_with_503_and_late_replies_go_nowhere)
{
	start();
	int fd = connect_to_server(), idle = connect_to_server();
	say(idle, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(idle);
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	hear(fd);
	CHECK_INT(kept_count, ==, 1);
	http_server_close(server);
	CHECK_CONTAINS(hear(fd), "HTTP/1.1 503");
	CHECK_CONTAINS(hear(idle), "<closed>");
	CHECK_TEXT(kept[0]->path, "/later"); /* its handler still has it */
	CHECK(http_call_header(kept[0], "Host") == NULL);
	http_reply(kept[0], 200, "text/plain", "x", 1);
	CHECK_INT(loop_open_handles(l), ==, 0);
	close(fd);
	close(idle);
	buffer_deinit(&seen);
	loop_free(l);
}

TEST(a_handler_can_close_the_server)
{
	start();
	int fd = connect_to_server();
	say(fd, "GET /close HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "bye");
	CHECK_INT(loop_open_handles(l), ==, 0);
	close(fd);
	buffer_deinit(&seen);
	loop_free(l);
}

TEST(an_address_in_use_and_bad_addresses_are_sentences)
{
	start();
	struct err e;
	CHECK(open_with((struct http_server_options){.address = http_server_address(server)}, &e) == NULL);
	CHECK_INT(e.code, ==, ERR_CONFLICT);
	CHECK_CONTAINS(e.text, http_server_address(server));
	CHECK_CONTAINS(e.text, "the address is in use; stop what uses it or choose another");
	static const char *const bad[] = {"8080", "::1:80", "localhost:", "x:y", "1.2.3.4:70000", ":99999999999",
		"no such host:1"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK(open_with((struct http_server_options){.address = bad[i]}, &e) == NULL);
		CHECK_INT(e.code, ==, ERR_INVALID);
		CHECK_CONTAINS(e.text, bad[i]);
	}
	stop();
}

TEST(no_host_means_all_addresses)
{
	l = loop_new();
	buffer_init(&seen, 4096);
	server = open_with((struct http_server_options){.address = ":0"}, NULL);
	CHECK(server != NULL);
	int fd = connect_to_server(); /* over IPv4 */
	say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "now");
	close(fd);
	stop();
}

static char socket_path[64];

static int connect_unix(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof a.sun_path, "%s", socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	close(fd);
	return -1;
}

TEST(a_unix_socket_is_private_answers_and_goes_with_the_server)
{
	l = loop_new();
	buffer_init(&seen, 4096);
	snprintf(socket_path, sizeof socket_path, "/tmp/moonphase-server-test-%d", (int)getpid());
	struct err e = {0};
	umask(0);
	server = open_with((struct http_server_options){.unix_path = socket_path}, &e);
	CHECK_TEXT(e.text, "");
	struct stat st;
	CHECK(stat(socket_path, &st) == 0);
	CHECK_INT(st.st_mode & 0777, ==, 0600);
	CHECK_INT(umask(0), ==, 0);
	int fd = connect_unix();
	CHECK_INT(fd, >=, 0);
	say(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
	CHECK_CONTAINS(hear(fd), "now");
	CHECK(open_with((struct http_server_options){.unix_path = socket_path}, &e) == NULL);
	CHECK_INT(e.code, ==, ERR_CONFLICT);
	CHECK_CONTAINS(e.text, "another process listens there");
	close(fd);
	stop();
	CHECK(stat(socket_path, &st) != 0);
}

TEST(a_stale_unix_socket_is_replaced_and_a_file_is_not)
{
	l = loop_new();
	buffer_init(&seen, 4096);
	snprintf(socket_path, sizeof socket_path, "/tmp/moonphase-server-test-%d", (int)getpid());
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof a.sun_path, "%s", socket_path);
	int stale = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(stale, (struct sockaddr *)&a, sizeof a) == 0);
	close(stale);
	server = open_with((struct http_server_options){.unix_path = socket_path}, NULL);
	CHECK(server != NULL);
	int fd = connect_unix();
	CHECK_INT(fd, >=, 0);
	close(fd);
	http_server_close(server);
	FILE *f = fopen(socket_path, "w");
	fputs("precious", f);
	fclose(f);
	struct err e;
	CHECK(open_with((struct http_server_options){.unix_path = socket_path}, &e) == NULL);
	CHECK_CONTAINS(e.text, "is no socket");
	struct stat st;
	CHECK(stat(socket_path, &st) == 0 && st.st_size == 8);
	unlink(socket_path);
	buffer_deinit(&seen);
	loop_free(l);
}

static int open_files(void)
{
	int count = 0;
	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

TEST(a_bad_certificate_is_a_sentence_and_leaves_no_socket)
{
	l = loop_new();
	struct err e;
	for (int i = 0, before = 0; i < 3; i++) {
		CHECK(open_with((struct http_server_options){.address = "127.0.0.1:0", .cert_pem = "nonsense",
			.key_pem = "nonsense"}, &e) == NULL);
		CHECK_CONTAINS(e.text, "cannot start");
		CHECK_CONTAINS(e.text, "the certificate holds no certificate in PEM");
		if (i != 0)
			CHECK_INT(open_files(), ==, before);
		before = open_files();
	}
	loop_free(l);
}

TEST_MAIN(T(a_call_arrives_with_method_path_query_headers_and_body),
	T(a_path_arrives_as_it_was_sent_and_is_refused_where_an_escape_is_none),
	T(a_kept_connection_carries_several_calls),
	T(a_call_can_be_answered_later_while_others_are_answered),
	T(a_caller_who_left_before_a_late_answer_is_no_trouble),
	T(a_request_that_never_becomes_whole_is_no_call_and_leaves_nothing),
	T(a_body_over_the_limit_is_answered_413_announced_or_not),
	T(a_body_of_exactly_the_limit_is_read),
	T(an_endless_body_is_cut_off),
	T(unknown_methods_endless_headers_and_garbage_are_refused),
	T(an_answer_has_the_headers_that_were_added_and_no_smuggled_ones),
	T(a_server_of_any_method_hears_of_all_and_every_query_argument_is_visited),
	T(an_idle_connection_is_closed),
	T(closing_answers_what_is_open_with_503_and_late_replies_go_nowhere),
	T(a_handler_can_close_the_server),
	T(an_address_in_use_and_bad_addresses_are_sentences),
	T(no_host_means_all_addresses),
	T(a_unix_socket_is_private_answers_and_goes_with_the_server),
	T(a_stale_unix_socket_is_replaced_and_a_file_is_not),
	T(a_bad_certificate_is_a_sentence_and_leaves_no_socket))
