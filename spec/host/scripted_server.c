/* See scripted_server.h. One thread accepts, one thread plays each connection; a pipe that is
 * closed tells all of them to stop. */
#include "scripted_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX (8u << 20)
#define STACK_BYTES (256u << 10)

struct scripted_server {
	int fd, port;
	int stop_pipe[2];
	char url[64];
	struct scripted_connection *scripts;
	bool *used;
	size_t script_count;
	bool listening;
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	struct scripted_request **requests;
	size_t request_count, accepted, open;
};

struct player {
	struct scripted_server *server;
	int fd;
	size_t number;
	const struct scripted_step *steps;
	struct scripted_request *ahead; /* read to choose the script, not yet asked for */
	char *in;
	size_t in_len;
	bool closed;
};

static void *must(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static char *copy(const char *from, size_t len)
{
	char *to = must(malloc(len + 1));
	memcpy(to, from, len);
	to[len] = '\0';
	return to;
}

/* Wait until `events` on the connection; false when the server stops or after `ms` (-1: never). */
static bool wait_for(struct player *p, short events, int ms)
{
	struct pollfd fds[2] = {{.fd = p->server->stop_pipe[0], .events = POLLIN}, {.fd = p->fd, .events = events}};
	for (;;) {
		int n = poll(fds, events != 0 ? 2 : 1, ms);
		if (n < 0 && errno == EINTR)
			continue;
		return n > 0 && fds[0].revents == 0;
	}
}

static bool receive(struct player *p)
{
	if (!wait_for(p, POLLIN, -1) || p->in_len > REQUEST_MAX)
		return false;
	p->in = must(realloc(p->in, p->in_len + 65536 + 1));
	ssize_t n = recv(p->fd, p->in + p->in_len, 65536, 0);
	if (n <= 0)
		return false;
	p->in_len += (size_t)n;
	p->in[p->in_len] = '\0';
	return true;
}

static size_t content_length(const char *head)
{
	for (const char *at = head; (at = strchr(at, '\n')) != NULL; )
		if (strncasecmp(++at, "content-length:", 15) == 0)
			return strtoul(at + 15, NULL, 10);
	return 0;
}

/* NULL when the client went away before its request was whole. */
static struct scripted_request *read_request(struct player *p)
{
	const char *blank;
	while (p->in_len == 0 || (blank = memmem(p->in, p->in_len, "\r\n\r\n", 4)) == NULL)
		if (!receive(p))
			return NULL;
	size_t head_len = (size_t)(blank - p->in) + 4;
	size_t body_len = content_length(p->in);
	while (p->in_len < head_len + body_len)
		if (!receive(p))
			return NULL;
	struct scripted_request *r = must(calloc(1, sizeof *r));
	size_t line_len = (size_t)((const char *)memmem(p->in, p->in_len, "\r\n", 2) - p->in);
	r->line = copy(p->in, line_len);
	r->head = copy(p->in + line_len + 2, head_len - 2 - line_len - 2);
	r->body = copy(p->in + head_len, body_len);
	r->body_len = body_len;
	r->connection = p->number;
	p->in_len -= head_len + body_len;
	memmove(p->in, p->in + head_len + body_len, p->in_len + 1);
	return r;
}

static void record(struct scripted_server *s, struct scripted_request *r)
{
	pthread_mutex_lock(&s->lock);
	s->requests = must(realloc(s->requests, (s->request_count + 1) * sizeof(struct scripted_request *)));
	s->requests[s->request_count++] = r;
	pthread_mutex_unlock(&s->lock);
}

static bool send_all(struct player *p, const char *bytes, size_t len)
{
	while (len != 0) {
		ssize_t n = send(p->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (!wait_for(p, POLLOUT, -1))
				return false;
			continue;
		}
		if (n < 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

static bool send_pieces(struct player *p, const struct scripted_step *step)
{
	size_t len = step->len != 0 ? step->len : strlen(step->text);
	size_t piece = step->piece != 0 ? step->piece : len;
	for (size_t at = 0; at < len; at += piece) {
		if (at != 0)
			wait_for(p, 0, step->ms);
		if (!send_all(p, step->text + at, len - at < piece ? len - at : piece))
			return false;
	}
	return true;
}

static bool send_answer(struct player *p, const struct scripted_step *step)
{
	char head[256];
	size_t len = step->len != 0 ? step->len : strlen(step->text);
	int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
		step->status, len);
	return send_all(p, head, (size_t)n) && send_all(p, step->text, len);
}

static bool send_chunk(struct player *p, const struct scripted_step *step)
{
	char size[32];
	size_t len = step->len != 0 ? step->len : strlen(step->text);
	int n = snprintf(size, sizeof size, "%zx\r\n", len);
	return send_all(p, size, (size_t)n) && send_all(p, step->text, len) && send_all(p, "\r\n", 2);
}

static bool step_read(struct player *p)
{
	struct scripted_request *r = p->ahead;
	p->ahead = NULL;
	if (r == NULL && (r = read_request(p)) != NULL)
		record(p->server, r);
	return r != NULL;
}

static bool step_take(struct player *p, size_t len)
{
	while (p->in_len < len)
		if (!receive(p))
			return false;
	struct scripted_request *r = must(calloc(1, sizeof *r));
	r->line = copy("", 0);
	r->head = copy("", 0);
	r->body = copy(p->in, len);
	r->body_len = len;
	r->connection = p->number;
	p->in_len -= len;
	memmove(p->in, p->in + len, p->in_len + 1);
	record(p->server, r);
	return true;
}

/* Gone before its thread is: `open` counts what a client could still be connected to. */
static void hang_up(struct player *p, bool with_reset)
{
	if (p->closed)
		return;
	p->closed = true;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	if (with_reset)
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(p->fd);
}

static void stay_silent(struct player *p)
{
	while (receive(p))
		;
}

static bool play(struct player *p, const struct scripted_step *step)
{
	switch (step->kind) {
	case SCRIPTED_READ:
		return step_read(p);
	case SCRIPTED_TAKE:
		return step_take(p, step->len);
	case SCRIPTED_SEND:
		return send_pieces(p, step);
	case SCRIPTED_ANSWER:
		return send_answer(p, step);
	case SCRIPTED_CHUNK:
		return send_chunk(p, step);
	case SCRIPTED_WAIT:
		wait_for(p, 0, step->ms);
		return true;
	case SCRIPTED_CLOSE:
		hang_up(p, false);
		return true;
	case SCRIPTED_RESET:
		hang_up(p, true);
		return true;
	case SCRIPTED_SILENT:
		stay_silent(p);
		return true;
	default:
		return false;
	}
}

/* The next unused connection of the script that fits; the last one when none is left. */
static const struct scripted_step *choose(struct scripted_server *s, const char *line, bool *needs_line)
{
	const struct scripted_step *found = NULL;
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->script_count && found == NULL && !*needs_line; i++) {
		const char *match = s->scripts[i].match;
		bool is_last = i + 1 == s->script_count;
		if (s->used[i] && !is_last)
			continue;
		if (match != NULL && line == NULL)
			*needs_line = true;
		else if (match == NULL || is_last || strstr(line, match) != NULL) {
			s->used[i] = true;
			found = s->scripts[i].steps;
		}
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

static void choose_script(struct player *p)
{
	bool needs_line = false;
	p->steps = choose(p->server, NULL, &needs_line);
	if (!needs_line)
		return;
	p->ahead = read_request(p);
	if (p->ahead == NULL)
		return;
	record(p->server, p->ahead);
	needs_line = false;
	p->steps = choose(p->server, p->ahead->line, &needs_line);
}

static void *connection_main(void *arg)
{
	struct player *p = arg;
	struct scripted_server *s = p->server;
	choose_script(p);
	for (const struct scripted_step *step = p->steps; step != NULL && step->kind != SCRIPTED_END; ) {
		if (step->kind == SCRIPTED_REPEAT) {
			step = p->steps;
			continue;
		}
		if (!play(p, step) || p->closed)
			break;
		step++;
	}
	hang_up(p, false);
	free(p->in);
	free(p);
	pthread_mutex_lock(&s->lock);
	s->open--;
	pthread_cond_signal(&s->ended);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void begin(struct scripted_server *s, int fd)
{
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct player *p = must(calloc(1, sizeof *p));
	p->server = s;
	p->fd = fd;
	pthread_mutex_lock(&s->lock);
	p->number = s->accepted++;
	s->open++;
	pthread_mutex_unlock(&s->lock);
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	pthread_t thread;
	if (pthread_create(&thread, &small, connection_main, p) != 0)
		abort();
	pthread_attr_destroy(&small);
}

static void *acceptor_main(void *arg)
{
	struct scripted_server *s = arg;
	struct pollfd fds[2] = {{.fd = s->stop_pipe[0], .events = POLLIN}, {.fd = s->fd, .events = POLLIN}};
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents != 0)
			return NULL;
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			begin(s, fd);
	}
}

/* A port that is bound and not listened on is ours, and refuses. */
struct scripted_server *scripted_start_refusing(const struct scripted_connection *connections, size_t count)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	struct scripted_server *s = must(calloc(1, sizeof *s));
	s->scripts = must(calloc(count, sizeof *s->scripts));
	memcpy(s->scripts, connections, count * sizeof *s->scripts);
	s->used = must(calloc(count, sizeof *s->used));
	s->script_count = count;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->ended, NULL);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || pipe2(s->stop_pipe, O_CLOEXEC) != 0 || bind(s->fd, (struct sockaddr *)&address, len) != 0 ||
		getsockname(s->fd, (struct sockaddr *)&address, &len) != 0)
		abort();
	s->port = ntohs(address.sin_port);
	snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", s->port);
	return s;
}

void scripted_listen(struct scripted_server *s)
{
	/* Signals are for the test's own thread. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	s->listening = true;
	if (listen(s->fd, 2048) != 0 || pthread_create(&s->acceptor, NULL, acceptor_main, s) != 0)
		abort();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct scripted_server *scripted_start(const struct scripted_connection *connections, size_t count)
{
	struct scripted_server *s = scripted_start_refusing(connections, count);
	scripted_listen(s);
	return s;
}

int scripted_port(const struct scripted_server *s)
{
	return s->port;
}

const char *scripted_url(const struct scripted_server *s)
{
	return s->url;
}

static size_t read_locked(struct scripted_server *s, const size_t *value)
{
	pthread_mutex_lock(&s->lock);
	size_t n = *value;
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t scripted_requests(struct scripted_server *s)
{
	return read_locked(s, &s->request_count);
}

size_t scripted_connections(struct scripted_server *s)
{
	return read_locked(s, &s->accepted);
}

size_t scripted_open(struct scripted_server *s)
{
	return read_locked(s, &s->open);
}

const struct scripted_request *scripted_request(struct scripted_server *s, size_t i)
{
	pthread_mutex_lock(&s->lock);
	const struct scripted_request *r = i < s->request_count ? s->requests[i] : NULL;
	pthread_mutex_unlock(&s->lock);
	return r;
}

void scripted_stop(struct scripted_server *s)
{
	close(s->stop_pipe[1]);
	if (s->listening)
		pthread_join(s->acceptor, NULL);
	pthread_mutex_lock(&s->lock);
	while (s->open != 0)
		pthread_cond_wait(&s->ended, &s->lock);
	pthread_mutex_unlock(&s->lock);
	close(s->stop_pipe[0]);
	close(s->fd);
	for (size_t i = 0; i < s->request_count; i++) {
		free(s->requests[i]->line);
		free(s->requests[i]->head);
		free(s->requests[i]->body);
		free(s->requests[i]);
	}
	free(s->requests);
	free(s->scripts);
	free(s->used);
	free(s);
}
