/* The HTTP client against a server that answers, stalls, lies and dies. Each end of an exchange
 * must be reported exactly once, and nothing may stay open behind it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "host/scripted_server.h"
#include "http/client.h"
#include "loop/loop.h"
#include "test.h"

#define LIMIT_MS 10000

static struct loop *the_loop;
static struct http_client *client;
static struct transport *transport;

/* One exchange and what was heard of it. */
struct talk {
	struct http_exchange *exchange;
	struct http_result result;
	struct buffer body;
	char content_type[100];
	int headers_status, headers_count, done_count;
	int data_count;
	bool done, cancel_in_data, cancel_in_headers;
	int answer_data_with;
	void (*then)(struct talk *);
	struct talk *other;
};

static void on_headers(void *arg, int status, const char *(*header)(void *, const char *), void *headers)
{
	struct talk *t = arg;
	t->headers_status = status;
	t->headers_count++;
	const char *type = header(headers, "content-type");
	snprintf(t->content_type, sizeof t->content_type, "%s", type != NULL ? type : "(none)");
	CHECK(header(headers, "x-not-there") == NULL);
	if (t->cancel_in_headers)
		transport->cancel(transport, t->exchange);
}

static int on_data(void *arg, const char *bytes, size_t len)
{
	struct talk *t = arg;
	CHECK_INT(t->headers_count, ==, 1);
	t->data_count++;
	if (t->then != NULL)
		t->then(t);
	if (t->cancel_in_data)
		transport->cancel(transport, t->exchange);
	if (t->answer_data_with != 0)
		return t->answer_data_with;
	return buffer_add(&t->body, bytes, len);
}

static void on_done(void *arg, const struct http_result *r)
{
	struct talk *t = arg;
	t->done_count++;
	t->done = true;
	t->result = *r;
}

static const struct http_handlers handlers = {on_headers, on_data, on_done};

static void open_client(void)
{
	the_loop = loop_new();
	client = http_client_new(the_loop);
	transport = http_client_transport(client);
}

static void close_client(void)
{
	http_client_free(client);
	CHECK_INT(loop_open_handles(the_loop), ==, 0);
	loop_free(the_loop);
}

static void begin(struct talk *t, const struct http_request *r)
{
	buffer_init(&t->body, 1 << 20);
	t->exchange = transport->start(transport, r, &handlers, t);
	CHECK(!t->done); /* never from inside of start */
}

static void finish(struct talk *t)
{
	CHECK(loop_run_until(the_loop, &t->done, LIMIT_MS));
	bool never = false;
	loop_run_until(the_loop, &never, 20); /* a second report would come now */
	CHECK_INT(t->done_count, ==, 1);
}

static void fetch(struct talk *t, const struct http_request *r)
{
	begin(t, r);
	finish(t);
}

static void end(struct talk *t)
{
	buffer_deinit(&t->body);
}

static struct scripted_server *serve(const struct scripted_step *steps)
{
	return scripted_start((struct scripted_connection[]){{.steps = steps}}, 1);
}

/* GET / of a server that plays `steps`; leaves the talk to look at. */
static struct talk get_from(const struct scripted_step *steps, uint64_t timeout_ms)
{
	struct scripted_server *s = serve(steps);
	open_client();
	static struct talk t;
	t = (struct talk){0};
	fetch(&t, &(struct http_request){.method = "GET", .url = scripted_url(s), .timeout_ms = timeout_ms});
	close_client();
	scripted_stop(s);
	return t;
}

TEST(an_answer_arrives_whole_with_status_headers_and_body)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{\"kind\":\"Status\"}"), S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, 0);
	CHECK_INT(t.result.status, ==, 200);
	CHECK_INT(t.headers_status, ==, 200);
	CHECK_TEXT(t.content_type, "application/json");
	CHECK_TEXT(buffer_text(&t.body), "{\"kind\":\"Status\"}");
	CHECK(t.result.sent);
	CHECK(!t.result.refused);
	end(&t);
}

TEST(a_404_is_an_answer_and_no_error)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("404 Not Found", "{}"), S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, 0);
	CHECK_INT(t.result.status, ==, 404);
	end(&t);
}

TEST(a_redirect_is_not_followed)
{
	static const struct scripted_step steps[] = {S_READ,
		S_SEND("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, 0);
	CHECK_INT(t.result.status, ==, 302);
	end(&t);
}

TEST(a_100_continue_is_not_taken_for_the_answer)
{
	static const struct scripted_step steps[] = {S_READ, S_SEND("HTTP/1.1 100 Continue\r\n\r\n"), S_WAIT(20),
		S_ANSWER("201 Created", "{}"), S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.headers_count, ==, 1);
	CHECK_INT(t.headers_status, ==, 201);
	CHECK_INT(t.result.status, ==, 201);
	end(&t);
}

TEST(the_request_leaves_as_it_was_given_and_without_curls_habits)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_END};
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
	struct scripted_server *s = serve(steps);
	open_client();
	struct talk t = {0};
	char *url = xasprintf("%s/apis/../x?fieldManager=moonphase&force=true", scripted_url(s));
	const char *headers[] = {"Content-Type: application/apply-patch+yaml", "Authorization: Bearer t0ken", NULL};
	fetch(&t, &(struct http_request){.method = "PATCH", .url = url, .headers = headers,
		.body = "{\"a\":\0 1}", .body_len = 9});
	const struct scripted_request *r = scripted_request(s, 0);
	CHECK_TEXT(r->line, "PATCH /apis/../x?fieldManager=moonphase&force=true HTTP/1.1");
	CHECK_CONTAINS(r->head, "Content-Type: application/apply-patch+yaml\r\n");
	CHECK_CONTAINS(r->head, "Authorization: Bearer t0ken\r\n");
	CHECK_CONTAINS(r->head, "User-Agent: moonphase/");
	CHECK(strstr(r->head, "Expect") == NULL);
	CHECK(strstr(r->head, "Accept-Encoding") == NULL);
	CHECK_INT(r->body_len, ==, 9);
	CHECK(memcmp(r->body, "{\"a\":\0 1}", 9) == 0);
	end(&t);
	free(url);
	close_client();
	scripted_stop(s);
}

TEST(each_method_and_body_leaves_in_the_right_form)
{
	static const struct scripted_step steps[] = {S_READ, S_SEND("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), S_REPEAT};
	static const struct { const char *method, *body, *line, *has, *hasnt; } cases[] = {
		{"DELETE", NULL, "DELETE / HTTP/1.1", "Host:", "Content-Length"},
		{"DELETE", "{}", "DELETE / HTTP/1.1", "Content-Length: 2", "Content-Type"},
		{"POST", NULL, "POST / HTTP/1.1", "Content-Length: 0", "Content-Type"},
		{"PUT", "{}", "PUT / HTTP/1.1", "Content-Length: 2", "Content-Type"},
		{"HEAD", NULL, "HEAD / HTTP/1.1", "Host:", "Content-Length"},
		{"GET", NULL, "GET / HTTP/1.1", "Host:", "Content-Length"},
	};
	struct scripted_server *s = serve(steps);
	open_client();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk t = {0};
		fetch(&t, &(struct http_request){.method = cases[i].method, .url = scripted_url(s),
			.body = cases[i].body, .body_len = cases[i].body != NULL ? strlen(cases[i].body) : 0});
		CHECK_INT(t.result.status, ==, 200);
		const struct scripted_request *r = scripted_request(s, i);
		CHECK_TEXT(r->line, cases[i].line);
		CHECK_CONTAINS(r->head, cases[i].has);
		CHECK(strstr(r->head, cases[i].hasnt) == NULL);
		end(&t);
	}
	CHECK_INT(scripted_connections(s), ==, 1); /* all over one kept connection */
	close_client();
	scripted_stop(s);
}

TEST(a_large_body_is_sent_whole)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_END};
	struct scripted_server *s = serve(steps);
	open_client();
	size_t len = 3 << 20;
	char *body = xmalloc(len);
	memset(body, 'x', len);
	struct talk t = {0};
	fetch(&t, &(struct http_request){.method = "POST", .url = scripted_url(s), .body = body, .body_len = len});
	CHECK_INT(t.result.status, ==, 200);
	CHECK_INT(scripted_request(s, 0)->body_len, ==, len);
	CHECK(memcmp(scripted_request(s, 0)->body, body, len) == 0);
	end(&t);
	free(body);
	close_client();
	scripted_stop(s);
}

static int leave_asked, leave_until;

static bool may_leave(void *arg)
{
	CHECK(arg != NULL && !((struct talk *)arg)->done);
	return ++leave_asked <= leave_until;
}

TEST(a_request_that_may_not_leave_any_more_is_not_sent_although_the_connection_is_there)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_REPEAT};
	struct scripted_server *s = serve(steps);
	const struct http_request write = {.method = "PATCH", .url = scripted_url(s), .body = "{}", .body_len = 2,
		.may_leave = may_leave};
	open_client();
	for (int i = 0; i < 4; i++) { /* on a new connection, on a kept one */
		struct talk t = {0};
		leave_asked = 0;
		leave_until = i % 2;
		fetch(&t, &write);
		CHECK_INT(leave_asked, ==, 1);
		CHECK_INT(t.result.err.code, ==, i % 2 ? 0 : ERR_FENCED);
		CHECK_INT(t.result.status, ==, i % 2 ? 200 : 0);
		CHECK(t.result.sent == (i % 2 == 1));
		end(&t);
	}
	CHECK_INT(scripted_requests(s), ==, 2);
	CHECK(scripted_connections(s) >= 2);
	close_client();
	scripted_stop(s);
}

TEST(a_request_that_is_sent_again_on_another_connection_is_asked_about_again)
{
	static const struct scripted_step dies[] = {S_READ, S_ANSWER("200 OK", "{}"), S_READ, S_CLOSE, S_END};
	static const struct scripted_step lives[] = {S_READ, S_ANSWER("200 OK", "{}"), S_END};
	struct scripted_server *s = scripted_start((struct scripted_connection[]){{.steps = dies}, {.steps = lives}}, 2);
	const struct http_request write = {.method = "PATCH", .url = scripted_url(s), .body = "{}", .body_len = 2,
		.may_leave = may_leave};
	open_client();
	leave_until = 2;
	for (int i = 0; i < 2; i++) {
		struct talk t = {0};
		fetch(&t, &write);
		CHECK_INT(t.result.err.code, ==, i == 0 ? 0 : ERR_FENCED);
		end(&t);
	}
	CHECK_INT(leave_asked, ==, 3);
	CHECK_INT(scripted_requests(s), ==, 2);
	close_client();
	scripted_stop(s);
}

/* A port on which nobody listens: bound, so that nobody else gets it. */
static int closed_port(int *fd)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	*fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(*fd, (struct sockaddr *)&a, len) == 0);
	CHECK(getsockname(*fd, (struct sockaddr *)&a, &len) == 0);
	return ntohs(a.sin_port);
}

TEST(a_refused_connection_says_so_and_that_nothing_was_sent)
{
	int fd;
	char *url = xasprintf("http://127.0.0.1:%d/", closed_port(&fd));
	open_client();
	struct talk t = {0};
	fetch(&t, &(struct http_request){.method = "GET", .url = url});
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK(t.result.refused);
	CHECK(!t.result.sent);
	CHECK_INT(t.result.status, ==, 0);
	CHECK_INT(t.headers_count, ==, 0);
	CHECK_CONTAINS(t.result.err.text, "the connection was refused; is the server running there?");
	end(&t);
	close(fd);
	free(url);
	close_client();
}

TEST(a_silent_server_ends_in_a_timeout_even_as_the_last_exchange)
{
	static const struct scripted_step steps[] = {S_READ, S_SILENT, S_END};
	struct talk t = get_from(steps, 150);
	CHECK_INT(t.result.err.code, ==, ERR_TIMEOUT);
	CHECK_CONTAINS(t.result.err.text, "gave no answer within 0.15 s");
	CHECK(t.result.sent);
	CHECK(!t.result.refused);
	CHECK_INT(t.result.status, ==, 0);
	end(&t);
}

TEST(a_timeout_in_the_middle_of_an_answer_says_so)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("half"), S_SILENT, S_END};
	struct talk t = get_from(steps, 150);
	CHECK_INT(t.result.err.code, ==, ERR_TIMEOUT);
	CHECK_CONTAINS(t.result.err.text, "gave no complete answer");
	CHECK_INT(t.result.status, ==, 200);
	CHECK_TEXT(buffer_text(&t.body), "half");
	end(&t);
}

TEST(a_connection_that_is_never_accepted_times_out_as_such)
{
	/* A full backlog drops what comes: connecting hangs. */
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0), fill[8];
	CHECK(bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 0) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	for (size_t i = 0; i < 8; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		int rc = connect(fill[i], (struct sockaddr *)&a, len);
		CHECK(rc == 0 || rc == -1);
	}
	char *url = xasprintf("http://127.0.0.1:%d/", ntohs(a.sin_port));
	open_client();
	struct talk t = {0};
	fetch(&t, &(struct http_request){.method = "GET", .url = url, .connect_timeout_ms = 200});
	CHECK_INT(t.result.err.code, ==, ERR_TIMEOUT);
	CHECK_CONTAINS(t.result.err.text, "came about within 0.2 s");
	CHECK(!t.result.sent);
	end(&t);
	close_client();
	free(url);
	for (size_t i = 0; i < 8; i++)
		close(fill[i]);
	close(fd);
}

TEST(a_reset_before_the_answer_is_reported_once)
{
	static const struct scripted_step steps[] = {S_READ, S_RESET, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK_CONTAINS(t.result.err.text, "ended the connection before it answered");
	CHECK(t.result.sent);
	CHECK(!t.result.refused);
	end(&t);
}

TEST(a_reset_in_a_stream_is_reported_once)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("{\"type\":\"ADDED\"}\n"), S_WAIT(30),
		S_RESET, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK_INT(t.result.status, ==, 200);
	CHECK_CONTAINS(t.result.err.text, "in the middle of its answer");
	CHECK_TEXT(buffer_text(&t.body), "{\"type\":\"ADDED\"}\n");
	end(&t);
}

TEST(a_connection_closed_without_an_answer_is_reported)
{
	static const struct scripted_step steps[] = {S_READ, S_CLOSE, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK_INT(t.result.status, ==, 0);
	CHECK_CONTAINS(t.result.err.text, "before it answered");
	end(&t);
}

TEST(half_a_body_is_an_error_and_not_a_short_answer)
{
	static const struct scripted_step steps[] = {S_READ,
		S_SEND("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"items\":["), S_CLOSE, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK_INT(t.result.status, ==, 200);
	CHECK_CONTAINS(t.result.err.text, "in the middle of its answer");
	end(&t);
}

TEST(a_chunked_body_that_stops_short_is_an_error)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("[1,"), S_CLOSE, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	end(&t);
}

TEST(half_a_head_is_an_error)
{
	static const struct scripted_step steps[] = {S_READ, S_SEND("HTTP/1.1 200 OK\r\nContent-Ty"), S_CLOSE, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK_CONTAINS(t.result.err.text, "before it answered");
	CHECK_INT(t.result.status, ==, 0);
	CHECK_INT(t.headers_count, ==, 0);
	end(&t);
}

TEST(a_garbage_status_line_is_no_answer)
{
	static const struct scripted_step steps[] = {S_READ, S_SEND("SSH-2.0-OpenSSH_9.2\r\n\r\nhello"), S_CLOSE, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, ERR_IO);
	CHECK_CONTAINS(t.result.err.text, "does not speak HTTP/1.1");
	CHECK_INT(t.result.status, ==, 0);
	CHECK_INT(t.data_count, ==, 0);
	end(&t);
}

TEST(endless_headers_are_cut_off)
{
	size_t line = 1024, lines = 400;
	char *head = xmalloc(line * lines + 64), *at = head;
	at += sprintf(at, "HTTP/1.1 200 OK\r\n");
	for (size_t i = 0; i < lines; i++) {
		memset(at, 'a', line);
		memcpy(at, "X-H: ", 5);
		memcpy(at + line - 2, "\r\n", 2);
		at += line;
	}
	const struct scripted_step steps[] = {S_READ, S_SEND_BYTES(head, (size_t)(at - head)), S_SILENT, S_END};
	struct talk t = get_from(steps, 5000);
	CHECK_INT(t.result.err.code, ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(t.result.err.text, "bytes of headers");
	end(&t);
	free(head);
}

TEST(a_stream_arrives_as_it_is_sent)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("one\n"), S_WAIT(40), S_CHUNK("two\n"),
		S_WAIT(40), S_PIECES("6\r\nthree\n\r\n", 3, 10), S_STREAM_END, S_SILENT, S_END};
	struct talk t = get_from(steps, 0);
	CHECK_INT(t.result.err.code, ==, 0);
	CHECK_TEXT(buffer_text(&t.body), "one\ntwo\nthree\n");
	CHECK_INT(t.data_count, >=, 3);
	end(&t);
}

TEST(a_reader_that_finds_the_body_too_large_ends_the_exchange)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("0123456789"), S_SILENT, S_END};
	struct scripted_server *s = serve(steps);
	open_client();
	struct talk t = {.answer_data_with = ERR_TOO_LARGE};
	fetch(&t, &(struct http_request){.method = "GET", .url = scripted_url(s)});
	CHECK_INT(t.result.err.code, ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(t.result.err.text, "larger than its reader allows");
	CHECK_INT(t.data_count, ==, 1);
	end(&t);
	close_client();
	scripted_stop(s);
}

TEST(cancelling_inside_on_data_and_on_headers_is_the_last_that_is_heard)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("one"), S_CHUNK("two"), S_STREAM_END,
		S_SILENT, S_END};
	struct scripted_server *s = serve(steps);
	open_client();
	for (int in_headers = 0; in_headers < 2; in_headers++) {
		struct talk t = {.cancel_in_data = in_headers == 0, .cancel_in_headers = in_headers == 1};
		begin(&t, &(struct http_request){.method = "GET", .url = scripted_url(s)});
		loop_run_until(the_loop, &t.done, 200);
		CHECK_INT(t.done_count, ==, 0);
		CHECK_INT(t.headers_count, ==, 1);
		CHECK_INT(t.data_count, ==, in_headers ? 0 : 1);
		CHECK_INT(http_client_active(client), ==, 0);
		end(&t);
	}
	close_client();
	scripted_stop(s);
}

static void cancel_other(struct talk *t)
{
	if (t->other != NULL && t->other->exchange != NULL)
		transport->cancel(transport, t->other->exchange);
	t->other = NULL;
}

TEST(an_exchange_can_cancel_another_from_its_own_callback)
{
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("one"), S_WAIT(30), S_CHUNK("two"),
		S_STREAM_END, S_SILENT, S_END};
	static const struct scripted_step endless[] = {S_READ, S_STREAM, S_CHUNK("one"), S_SILENT, S_END};
	struct scripted_server *s = serve(steps), *other = serve(endless);
	open_client();
	struct talk b = {0}, a = {.then = cancel_other, .other = &b};
	begin(&b, &(struct http_request){.method = "GET", .url = scripted_url(other)});
	fetch(&a, &(struct http_request){.method = "GET", .url = scripted_url(s)});
	CHECK_INT(a.result.err.code, ==, 0);
	CHECK_INT(b.done_count, ==, 0);
	CHECK_INT(http_client_active(client), ==, 0);
	end(&a);
	end(&b);
	close_client();
	scripted_stop(s);
	scripted_stop(other);
}

static void start_and_drop(struct talk *t)
{
	struct http_request r = {.method = "GET", .url = "http://127.0.0.1:1/"};
	for (int i = 0; i < 3; i++) {
		struct talk unheard = {0};
		struct http_exchange *x = transport->start(transport, &r, &handlers, &unheard);
		transport->cancel(transport, x);
	}
	t->then = NULL;
	begin(t->other, &(struct http_request){.method = "GET", .url = t->other->content_type});
}

TEST(an_exchange_can_be_started_inside_a_callback_of_another)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_REPEAT};
	struct scripted_server *s = serve(steps);
	open_client();
	struct talk b = {0}, a = {.then = start_and_drop, .other = &b};
	snprintf(b.content_type, sizeof b.content_type, "%s", scripted_url(s));
	fetch(&a, &(struct http_request){.method = "GET", .url = scripted_url(s)});
	finish(&b);
	CHECK_INT(b.result.status, ==, 200);
	end(&a);
	end(&b);
	close_client();
	scripted_stop(s);
}

TEST(what_cannot_start_is_reported_later_and_once)
{
	static const struct { const char *url, *method, *header, *text; } cases[] = {
		{"http://127.0.0.1:1/", "GET", "X: a\r\nEvil: b", "control character"},
		{"http://127.0.0.1:1/", "GET", "nonsense", "no name"},
		{"http://127.0.0.1:1/", "GET / HTTP/1.1\r\nX:", NULL, "no method"},
		{"ftp://127.0.0.1/", "GET", NULL, "http:// or https://"},
		{"http://user:pass@127.0.0.1:1/", "GET", NULL, "URL cannot be used"},
		{"http://[::1/", "GET", NULL, "URL cannot be used"},
	};
	open_client();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct talk t = {0};
		fetch(&t, &(struct http_request){.method = cases[i].method, .url = cases[i].url,
			.headers = (const char *[]){cases[i].header, NULL}});
		CHECK_INT(t.result.err.code, ==, ERR_INVALID);
		CHECK_CONTAINS(t.result.err.text, cases[i].text);
		CHECK(strstr(t.result.err.text, "pass") == NULL);
		CHECK(!t.result.sent);
		end(&t);
	}
	struct talk t = {0};
	begin(&t, &(struct http_request){.method = "", .url = "http://127.0.0.1:1/"});
	transport->cancel(transport, t.exchange); /* also before its failure was told */
	loop_run_until(the_loop, &t.done, 30);
	CHECK_INT(t.done_count, ==, 0);
	close_client();
}

TEST(a_thousand_watches_opened_and_cancelled_leave_nothing_open)
{
	enum { N = 1000 };
	static const struct scripted_step steps[] = {S_READ, S_STREAM, S_CHUNK("{}\n"), S_SILENT, S_END};
	static struct talk talks[N];
	struct scripted_server *s = serve(steps);
	open_client();
	for (size_t i = 0; i < N; i++)
		begin(&talks[i], &(struct http_request){.method = "GET", .url = scripted_url(s), .keep_alive_probes = true});
	CHECK_INT(http_client_active(client), ==, N);
	bool never = false;
	size_t streaming = 0;
	for (int turn = 0; turn < 600 && streaming < N; turn++) {
		loop_run_until(the_loop, &never, 50);
		streaming = 0;
		for (size_t i = 0; i < N; i++)
			streaming += talks[i].data_count != 0;
	}
	CHECK_INT(streaming, ==, N);
	CHECK_INT(scripted_open(s), ==, N);
	CHECK_INT(loop_open_handles(the_loop), ==, N);
	for (size_t i = 0; i < N; i++)
		transport->cancel(transport, talks[i].exchange);
	CHECK_INT(http_client_active(client), ==, 0);
	CHECK_INT(loop_open_handles(the_loop), ==, 0);
	for (size_t i = 0; i < N; i++) {
		CHECK_INT(talks[i].done_count, ==, 0);
		end(&talks[i]);
	}
	for (int turn = 0; turn < 100 && scripted_open(s) != 0; turn++)
		loop_run_until(the_loop, &never, 20);
	CHECK_INT(scripted_open(s), ==, 0);
	close_client();
	scripted_stop(s);
}

TEST(the_client_closes_with_kept_connections_and_exchanges_open)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_REPEAT};
	static const struct scripted_step silent[] = {S_READ, S_SILENT, S_END};
	struct scripted_server *s = serve(steps), *quiet = serve(silent);
	open_client();
	struct talk t[8] = {0}, u = {0};
	for (int i = 0; i < 8; i++)
		begin(&t[i], &(struct http_request){.method = "GET", .url = scripted_url(s)});
	for (int i = 0; i < 8; i++)
		CHECK(loop_run_until(the_loop, &t[i].done, LIMIT_MS));
	begin(&u, &(struct http_request){.method = "GET", .url = scripted_url(quiet)});
	bool never = false;
	for (int turn = 0; turn < 100 && scripted_requests(quiet) == 0; turn++)
		loop_run_until(the_loop, &never, 50);
	CHECK_INT(scripted_open(s), ==, 8);
	CHECK_INT(scripted_requests(quiet), ==, 1);
	close_client();
	CHECK_INT(u.done_count, ==, 0);
	for (int i = 0; i < 8; i++)
		end(&t[i]);
	scripted_stop(s);
	scripted_stop(quiet);
}

TEST(thirty_two_side_by_side_reuse_their_connections)
{
	enum { SIDE = 32, ROUNDS = 20 };
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_REPEAT};
	struct scripted_server *s = serve(steps);
	open_client();
	for (int round = 0; round < ROUNDS; round++) {
		struct talk t[SIDE] = {0};
		for (int i = 0; i < SIDE; i++)
			begin(&t[i], &(struct http_request){.method = "GET", .url = scripted_url(s)});
		for (int i = 0; i < SIDE; i++) {
			CHECK(loop_run_until(the_loop, &t[i].done, LIMIT_MS));
			CHECK_INT(t[i].result.status, ==, 200);
			end(&t[i]);
		}
	}
	CHECK_INT(scripted_requests(s), ==, SIDE * ROUNDS);
	CHECK_INT(scripted_connections(s), <=, SIDE);
	close_client();
	scripted_stop(s);
}

TEST(many_watches_do_not_push_out_connections_of_requests)
{
	enum { WATCHES = 150 };
	static const struct scripted_step watch[] = {S_READ, S_STREAM, S_CHUNK("{}\n"), S_SILENT, S_END};
	static const struct scripted_step answer[] = {S_READ, S_ANSWER("200 OK", "{}"), S_REPEAT};
	struct scripted_server *w = serve(watch), *s = serve(answer);
	open_client();
	static struct talk t[WATCHES];
	for (int i = 0; i < WATCHES; i++)
		begin(&t[i], &(struct http_request){.method = "GET", .url = scripted_url(w)});
	for (int i = 0; i < 20; i++) {
		struct talk u = {0};
		fetch(&u, &(struct http_request){.method = "GET", .url = scripted_url(s)});
		end(&u);
	}
	CHECK_INT(scripted_connections(s), ==, 1);
	close_client();
	for (int i = 0; i < WATCHES; i++)
		end(&t[i]);
	scripted_stop(w);
	scripted_stop(s);
}

TEST(a_kept_connection_that_died_is_replaced_without_an_error)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_CLOSE, S_END};
	struct scripted_server *s = serve(steps);
	open_client();
	for (int i = 0; i < 5; i++) {
		struct talk t = {0};
		fetch(&t, &(struct http_request){.method = "GET", .url = scripted_url(s)});
		CHECK_INT(t.result.status, ==, 200);
		end(&t);
	}
	CHECK_INT(scripted_connections(s), ==, 5);
	close_client();
	scripted_stop(s);
}

TEST(forgetting_connections_spares_the_exchanges_under_way)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_REPEAT};
	static const struct scripted_step slow[] = {S_READ, S_STREAM, S_CHUNK("one "), S_WAIT(150), S_CHUNK("two"),
		S_STREAM_END, S_REPEAT};
	struct scripted_server *s = serve(steps), *w = serve(slow);
	open_client();
	struct talk t = {0}, u = {0}, v = {0};
	fetch(&t, &(struct http_request){.method = "GET", .url = scripted_url(s)});
	begin(&u, &(struct http_request){.method = "GET", .url = scripted_url(w)});
	bool never = false;
	loop_run_until(the_loop, &never, 50);
	http_client_forget_connections(client);
	fetch(&v, &(struct http_request){.method = "GET", .url = scripted_url(s)});
	CHECK_INT(scripted_connections(s), ==, 2);
	finish(&u);
	CHECK_TEXT(buffer_text(&u.body), "one two");
	loop_run_until(the_loop, &never, 50);
	CHECK_INT(scripted_open(w), ==, 0); /* and its connection is not kept */
	end(&t);
	end(&u);
	end(&v);
	close_client();
	scripted_stop(s);
	scripted_stop(w);
}

TEST(an_http_proxy_is_used_when_it_is_given)
{
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_END};
	struct scripted_server *s = serve(steps);
	open_client();
	struct talk t = {0};
	fetch(&t, &(struct http_request){.method = "GET", .url = "http://far.example/x", .proxy_url = scripted_url(s)});
	CHECK_INT(t.result.status, ==, 200);
	CHECK_TEXT(scripted_request(s, 0)->line, "GET http://far.example/x HTTP/1.1");
	end(&t);
	close_client();
	scripted_stop(s);
}

TEST(a_socks_proxy_is_given_the_name_and_not_an_address)
{
	static const struct scripted_step steps[] = {S_TAKE(3), S_SEND_BYTES("\5\0", 2), S_TAKE(18),
		S_SEND_BYTES("\5\0\0\1\0\0\0\0\0\0", 10), S_READ, S_ANSWER("200 OK", "{}"), S_END};
	struct scripted_server *s = serve(steps);
	open_client();
	struct talk t = {0};
	char *proxy = xasprintf("socks5://127.0.0.1:%d", scripted_port(s));
	fetch(&t, &(struct http_request){.method = "GET", .url = "http://far.example/x", .proxy_url = proxy});
	CHECK_INT(t.result.status, ==, 200);
	CHECK(memcmp(scripted_request(s, 1)->body, "\5\1\0\3\13far.example\0\120", 18) == 0);
	CHECK_TEXT(scripted_request(s, 2)->line, "GET /x HTTP/1.1");
	end(&t);
	free(proxy);
	close_client();
	scripted_stop(s);
}

TEST_MAIN(T(an_answer_arrives_whole_with_status_headers_and_body),
	T(a_404_is_an_answer_and_no_error),
	T(a_redirect_is_not_followed),
	T(a_100_continue_is_not_taken_for_the_answer),
	T(the_request_leaves_as_it_was_given_and_without_curls_habits),
	T(each_method_and_body_leaves_in_the_right_form),
	T(a_large_body_is_sent_whole),
	T(a_request_that_may_not_leave_any_more_is_not_sent_although_the_connection_is_there),
	T(a_request_that_is_sent_again_on_another_connection_is_asked_about_again),
	T(a_refused_connection_says_so_and_that_nothing_was_sent),
	T_TIMED(a_silent_server_ends_in_a_timeout_even_as_the_last_exchange),
	T_TIMED(a_timeout_in_the_middle_of_an_answer_says_so),
	T(a_connection_that_is_never_accepted_times_out_as_such),
	T(a_reset_before_the_answer_is_reported_once),
	T(a_reset_in_a_stream_is_reported_once),
	T(a_connection_closed_without_an_answer_is_reported),
	T(half_a_body_is_an_error_and_not_a_short_answer),
	T(a_chunked_body_that_stops_short_is_an_error),
	T(half_a_head_is_an_error),
	T(a_garbage_status_line_is_no_answer),
	T(endless_headers_are_cut_off),
	T(a_stream_arrives_as_it_is_sent),
	T(a_reader_that_finds_the_body_too_large_ends_the_exchange),
	T_TIMED(cancelling_inside_on_data_and_on_headers_is_the_last_that_is_heard),
	T(an_exchange_can_cancel_another_from_its_own_callback),
	T(an_exchange_can_be_started_inside_a_callback_of_another),
	T(what_cannot_start_is_reported_later_and_once),
	T(a_thousand_watches_opened_and_cancelled_leave_nothing_open),
	T(the_client_closes_with_kept_connections_and_exchanges_open),
	T(thirty_two_side_by_side_reuse_their_connections),
	T(many_watches_do_not_push_out_connections_of_requests),
	T(a_kept_connection_that_died_is_replaced_without_an_error),
	T(forgetting_connections_spares_the_exchanges_under_way),
	T(an_http_proxy_is_used_when_it_is_given),
	T(a_socks_proxy_is_given_the_name_and_not_an_address))
