/* Admission reviews at a fixed rate, as an API server posts them: over TLS with a client certificate, on kept-alive connections.
 *
 *   reviews PORT CA CERT KEY RATE SECONDS CONNECTIONS (+|-)BODY-FILE...
 *
 * A review is sent when it is due, by whichever connection's turn it is, and its time counts from then: a server that stalls
 * is seen to stall. The bodies take turns; "+" is one that must be allowed, "-" one that must be refused. In a body each "@NUMBER@@"
 * becomes the number of the review, in nine digits. Prints one line of JSON. One thread a connection, blocking: it costs
 * little beside the server that is measured. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#define BODIES_MAX 16
#define ANSWER_MAX 65536
#define MARK "@NUMBER@@"

struct body {
	char *text;
	size_t len;
	bool allowed;
};

static struct {
	SSL_CTX *tls;
	int port;
	long total, rate, connections;
	struct body bodies[BODIES_MAX];
	long body_count;
	double began;
	double *latency; /* by number; below 0: it failed */
} run;

static void fail(const char *what)
{
	fprintf(stderr, "reviews: %s: %s\n", what, errno != 0 ? strerror(errno) : "failed");
	ERR_print_errors_fp(stderr);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void wait_until(double when)
{
	double left = when - now();
	if (left <= 0)
		return;
	struct timespec t = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
	nanosleep(&t, NULL);
}

static void read_body(const char *path, struct body *b)
{
	FILE *f = fopen(path + 1, "r");
	if (f == NULL)
		fail(path);
	b->text = malloc(1 << 20);
	b->len = fread(b->text, 1, (1 << 20) - 1, f);
	b->text[b->len] = '\0';
	b->allowed = path[0] == '+';
	fclose(f);
}

static SSL *connect_tls(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)run.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	SSL *ssl = SSL_new(run.tls);
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		fail("handshake");
	return ssl;
}

/* The request with its number in it, one write. */
static size_t write_request(char *to, const struct body *b, long number)
{
	char digits[24];
	snprintf(digits, sizeof digits, "%09ld", number);
	int head = sprintf(to, "POST /quota?timeout=5s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
		"Accept: application/json, */*\r\nContent-Length: %zu\r\n\r\n", run.port, b->len);
	memcpy(to + head, b->text, b->len + 1);
	for (char *at = strstr(to + head, MARK); at != NULL; at = strstr(at, MARK))
		memcpy(at, digits, strlen(MARK));
	return (size_t)head + b->len;
}

/* Whether a whole answer with status 200 came, and what it says. */
static bool read_answer(SSL *ssl, char *answer, bool *allowed)
{
	size_t len = 0;
	for (;;) {
		int n = SSL_read(ssl, answer + len, (int)(ANSWER_MAX - 1 - len));
		if (n <= 0)
			return false;
		len += (size_t)n;
		answer[len] = '\0';
		const char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "content-length:");
		if (end == NULL || length == NULL || length > end)
			continue;
		if (len >= (size_t)(end + 4 - answer) + strtoul(length + 15, NULL, 10)) {
			*allowed = strstr(end, "\"allowed\":true") != NULL;
			return strncmp(answer, "HTTP/1.1 200", 12) == 0;
		}
	}
}

static void *work(void *arg)
{
	long mine = (long)(intptr_t)arg;
	SSL *ssl = connect_tls();
	char *request = malloc(1 << 20), *answer = malloc(ANSWER_MAX);
	for (long i = mine; i < run.total; i += run.connections) {
		const struct body *b = &run.bodies[i % run.body_count];
		size_t len = write_request(request, b, i);
		double due = run.began + (double)i / (double)run.rate;
		bool allowed = false;
		wait_until(due);
		if (SSL_write(ssl, request, (int)len) <= 0 || !read_answer(ssl, answer, &allowed) || allowed != b->allowed)
			run.latency[i] = -1;
		else
			run.latency[i] = (now() - due) * 1000;
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double at(long failed, double part)
{
	long good = run.total - failed;
	return good > 0 ? run.latency[failed + (long)((double)(good - 1) * part)] : -1;
}

int main(int argc, char **argv)
{
	if (argc < 9 || argc - 8 > BODIES_MAX)
		fail("usage: reviews PORT CA CERT KEY RATE SECONDS CONNECTIONS (+|-)BODY-FILE...");
	run.port = atoi(argv[1]);
	run.tls = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_verify(run.tls, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_load_verify_locations(run.tls, argv[2], NULL) != 1 || SSL_CTX_use_certificate_file(run.tls, argv[3], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_use_PrivateKey_file(run.tls, argv[4], SSL_FILETYPE_PEM) != 1)
		fail("certificates");
	run.rate = atol(argv[5]);
	run.total = run.rate * atol(argv[6]);
	run.connections = atol(argv[7]);
	run.body_count = argc - 8;
	for (long i = 0; i < run.body_count; i++)
		read_body(argv[8 + i], &run.bodies[i]);
	run.latency = calloc((size_t)run.total, sizeof *run.latency);
	run.began = now() + 1; /* handshakes first */
	pthread_t threads[256];
	for (long i = 0; i < run.connections && i < 256; i++)
		pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i);
	for (long i = 0; i < run.connections && i < 256; i++)
		pthread_join(threads[i], NULL);
	double lasted = now() - run.began;
	qsort(run.latency, (size_t)run.total, sizeof *run.latency, compare);
	long failed = 0;
	while (failed < run.total && run.latency[failed] < 0)
		failed++;
	printf("{\"seconds\":%f,\"total\":%ld,\"failed\":%ld,\"p50\":%f,\"p99\":%f,\"p999\":%f,\"max\":%f}\n", lasted, run.total, failed,
		at(failed, 0.5), at(failed, 0.99), at(failed, 0.999), at(failed, 1));
	return 0;
}
