/* A TCP server that does exactly what a test wrote down, faults included.
 *
 * Plain sockets and threads, nothing of ours: it can misbehave in every way that a real peer
 * can. A script is a list of connections; a connection is a list of steps. Connections are taken
 * in the order of the script as clients connect; a connection with a `match` is taken by the first
 * client whose first request line contains that text (so that clients that connect side by side
 * can each find theirs). When none is left, the last one of the script serves again.
 *
 *     static const struct scripted_step list[] = {S_READ, S_ANSWER("200 OK", "{\"items\":[]}"), S_END};
 *     static const struct scripted_step watch[] = {S_READ, S_STREAM, S_CHUNK("{...}\n"), S_RESET, S_END};
 *     struct scripted_server *s = scripted_start((struct scripted_connection[]){
 *         {.match = "watch=1", .steps = watch}, {.steps = list}}, 2);
 *     ... connect to 127.0.0.1, scripted_port(s); run the loop ...
 *     CHECK_CONTAINS(scripted_request(s, 0)->line, "GET /api/v1/pods");
 *     scripted_stop(s);
 *
 * Scripts (and their texts) must live until scripted_stop. Start it in the process of the test
 * (TEST forks), not before. */
#ifndef MOONPHASE_SPEC_SCRIPTED_SERVER_H
#define MOONPHASE_SPEC_SCRIPTED_SERVER_H

#include <stddef.h>

enum scripted_kind {
	SCRIPTED_END,
	SCRIPTED_READ,   /* one request: up to the blank line, and Content-Length bytes behind it */
	SCRIPTED_TAKE,   /* `len` bytes, whatever they are; recorded as the body of a request */
	SCRIPTED_SEND,   /* bytes; in pieces of `piece` with `ms` between them if piece != 0 */
	SCRIPTED_ANSWER, /* status line of `status`, Content-Length, and `text` as JSON */
	SCRIPTED_CHUNK,  /* `text` as one chunk of a chunked body */
	SCRIPTED_WAIT,   /* ms */
	SCRIPTED_CLOSE,  /* in order (FIN) */
	SCRIPTED_RESET,  /* RST: what the client did not read yet is lost */
	SCRIPTED_SILENT, /* nothing at all, until the client closes or scripted_stop */
	SCRIPTED_REPEAT, /* begin again with the first step */
};

struct scripted_step {
	enum scripted_kind kind;
	const char *text;
	size_t len;   /* 0: strlen(text) */
	size_t piece;
	int ms;
	const char *status;
};

#define S_READ {.kind = SCRIPTED_READ}
#define S_TAKE(len_) {.kind = SCRIPTED_TAKE, .len = (len_)}
#define S_SEND(text_) {.kind = SCRIPTED_SEND, .text = (text_)}
#define S_SEND_BYTES(bytes_, len_) {.kind = SCRIPTED_SEND, .text = (bytes_), .len = (len_)}
#define S_PIECES(text_, piece_, ms_) {.kind = SCRIPTED_SEND, .text = (text_), .piece = (piece_), .ms = (ms_)}
/* A whole answer; S_ANSWER("404 Not Found", "{}"). The connection stays open. */
#define S_ANSWER(status_, body_) {.kind = SCRIPTED_ANSWER, .status = (status_), .text = (body_)}
/* A chunked answer: S_STREAM, S_CHUNK(...), ..., S_STREAM_END. */
#define S_STREAM {.kind = SCRIPTED_SEND, .text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" \
	"Transfer-Encoding: chunked\r\n\r\n"}
#define S_CHUNK(text_) {.kind = SCRIPTED_CHUNK, .text = (text_)}
#define S_STREAM_END {.kind = SCRIPTED_SEND, .text = "0\r\n\r\n"}
#define S_WAIT(ms_) {.kind = SCRIPTED_WAIT, .ms = (ms_)}
#define S_CLOSE {.kind = SCRIPTED_CLOSE}
#define S_RESET {.kind = SCRIPTED_RESET}
#define S_SILENT {.kind = SCRIPTED_SILENT}
#define S_REPEAT {.kind = SCRIPTED_REPEAT}
/* Ends a script; closes the connection if it is still open. */
#define S_END {.kind = SCRIPTED_END}

struct scripted_connection {
	const char *match; /* NULL: whoever comes */
	const struct scripted_step *steps;
};

struct scripted_request {
	char *line;   /* "GET /path HTTP/1.1" */
	char *head;   /* the header lines behind it, each with its \r\n */
	char *body;
	size_t body_len;
	size_t connection; /* 0: the first that was accepted */
};

struct scripted_server;

/* Listens on a free port of 127.0.0.1. The array is copied. */
struct scripted_server *scripted_start(const struct scripted_connection *connections, size_t count);
/* The same, but its port refuses connections until scripted_listen. */
struct scripted_server *scripted_start_refusing(const struct scripted_connection *connections, size_t count);
void scripted_listen(struct scripted_server *s);
int scripted_port(const struct scripted_server *s);
/* "http://127.0.0.1:PORT" */
const char *scripted_url(const struct scripted_server *s);
/* How many requests were read, and how many connections were accepted, so far. */
size_t scripted_requests(struct scripted_server *s);
size_t scripted_connections(struct scripted_server *s);
/* Connections that are open now. */
size_t scripted_open(struct scripted_server *s);
/* The i-th request in the order of arrival (valid until scripted_stop), or NULL. */
const struct scripted_request *scripted_request(struct scripted_server *s, size_t i);
/* Close everything and wait for the threads. */
void scripted_stop(struct scripted_server *s);

#endif
