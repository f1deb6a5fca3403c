/* A plain HTTP client that asks as fast as it is answered: the measure of the sandbox.
 *
 *   load HOST:PORT METHOD PATH COUNT CONNECTIONS [BODY-FILE]
 *
 * COUNT requests over CONNECTIONS kept-alive connections, one in flight on each. In a body each "@NUMBER@@" becomes the number
 * of the request, in nine digits. Prints, as JSON, wall seconds and how many answers were 2xx. It knows of HTTP/1.1 what it needs
 * (Content-Length), so that it costs little beside the server that is measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define ANSWER_MAX (4u << 20)
#define BODY_MAX (1u << 20)
#define MARK "@NUMBER@@"

struct connection {
	int fd;
	char *answer;
	size_t length;
};

static struct {
	const char *method, *path, *host;
	char *request; /* scratch for one request */
	char *body;
	size_t body_length;
	long count, sent, done, good;
} run;

static void fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void read_body(const char *path)
{
	FILE *f = fopen(path, "r");
	if (f == NULL)
		fail(path);
	run.body = malloc(BODY_MAX);
	if (run.body == NULL)
		fail("memory");
	run.body_length = fread(run.body, 1, BODY_MAX - 1, f);
	run.body[run.body_length] = '\0';
	fclose(f);
}

static int open_connection(const char *host, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		fail("the address must be numbers");
	int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	return fd;
}

/* The next request on a connection: small enough for the socket's buffer, so that a blocking write does not wait. */
static void send_next(struct connection *c)
{
	if (run.sent == run.count)
		return;
	char number[16];
	snprintf(number, sizeof number, "%09ld", run.sent++);
	int length = snprintf(run.request, BODY_MAX, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nUser-Agent: load\r\n"
		"%sContent-Length: %zu\r\n\r\n", run.method, run.path, run.host,
		run.body ? "Content-Type: application/json\r\n" : "", run.body_length);
	char *to = run.request + length;
	if (run.body)
		memcpy(to, run.body, run.body_length + 1);
	for (char *mark = run.body ? strstr(to, MARK) : NULL; mark != NULL; mark = strstr(mark, MARK))
		memcpy(mark, number, strlen(MARK));
	size_t total = (size_t)length + run.body_length;
	for (size_t at = 0; at < total;) {
		ssize_t n = write(c->fd, run.request + at, total - at);
		if (n <= 0)
			fail("write");
		at += (size_t)n;
	}
}

/* Whether the answer is whole. */
static int is_whole(const struct connection *c)
{
	const char *end = memmem(c->answer, c->length, "\r\n\r\n", 4);
	if (end == NULL)
		return 0;
	for (const char *line = c->answer; line < end;) {
		const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
		if (strncasecmp(line, "content-length:", 15) == 0)
			return c->length >= (size_t)(end + 4 - c->answer) + strtoul(line + 15, NULL, 10);
		line = next + 2;
	}
	fprintf(stderr, "load: an answer without Content-Length\n");
	exit(1);
}

static void receive(struct connection *c)
{
	ssize_t n = read(c->fd, c->answer + c->length, ANSWER_MAX - 1 - c->length);
	if (n <= 0)
		fail("the server hung up");
	c->length += (size_t)n;
	c->answer[c->length] = '\0';
	if (!is_whole(c))
		return;
	run.done++;
	run.good += strncmp(c->answer, "HTTP/1.1 2", 10) == 0;
	c->length = 0;
	send_next(c);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	char *colon = argc >= 6 ? strchr(argv[1], ':') : NULL;
	int connections = argc >= 6 ? atoi(argv[5]) : 0;
	if (colon == NULL || connections < 1 || connections > CONNECTIONS_MAX) {
		fprintf(stderr, "usage: load HOST:PORT METHOD PATH COUNT CONNECTIONS [BODY-FILE]\n");
		return 2;
	}
	*colon = '\0';
	run.host = argv[1], run.method = argv[2], run.path = argv[3], run.count = atol(argv[4]);
	run.request = malloc(2 * BODY_MAX);
	if (run.request == NULL)
		fail("memory");
	if (argc > 6)
		read_body(argv[6]);
	static struct connection all[CONNECTIONS_MAX];
	static struct pollfd polls[CONNECTIONS_MAX];
	for (int i = 0; i < connections; i++) {
		all[i] = (struct connection){.fd = open_connection(argv[1], atoi(colon + 1)), .answer = malloc(ANSWER_MAX)};
		if (all[i].answer == NULL)
			fail("memory");
		polls[i] = (struct pollfd){.fd = all[i].fd, .events = POLLIN};
	}
	double started = now();
	for (int i = 0; i < connections; i++)
		send_next(&all[i]);
	while (run.done < run.count) {
		if (poll(polls, (nfds_t)connections, 10000) <= 0)
			fail("no answer for 10 s");
		for (int i = 0; i < connections; i++)
			if (polls[i].revents != 0)
				receive(&all[i]);
	}
	printf("{\"seconds\":%.6f,\"count\":%ld,\"good\":%ld}\n", now() - started, run.count, run.good);
	return 0;
}
