/* Sends recorded requests again, with nothing else to do: the measure of a storm.
 *
 *   replay FILE N    FILE holds a JSON object a line: {"method","path","content_type","body"}
 *
 * It uses the program's own HTTP client (libcurl) with N requests in flight and prints, as JSON,
 * how many were sent, how many were refused, wall time and processor time. What moonphase takes
 * beyond this is what watching, deciding and comparing cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cjson/cJSON.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "http/client.h"
#include "kube/config.h"
#include "loop/loop.h"

struct request {
	char *method, *url, *content_type, *body;
};

static struct {
	struct loop *loop;
	struct transport *transport;
	struct http_tls tls;
	char *authorization;
	struct request *requests;
	size_t count, next, done, refused;
} run;

static char *text_of(const cJSON *object, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
	return cJSON_IsString(item) ? xstrdup(item->valuestring) : NULL;
}

static void read_requests(const char *path, const char *server)
{
	FILE *f = fopen(path, "r");
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, f) > 0) {
		cJSON *o = cJSON_Parse(line);
		if (o == NULL)
			continue;
		run.requests = xrealloc(run.requests, (run.count + 1) * sizeof *run.requests);
		char *target = text_of(o, "path"), *type = text_of(o, "content_type");
		run.requests[run.count++] = (struct request){
			.method = text_of(o, "method"), .url = xasprintf("%s%s", server, target),
			.content_type = xasprintf("Content-Type: %s", type ? type : "application/json"),
			.body = text_of(o, "body")};
		free(target);
		free(type);
		cJSON_Delete(o);
	}
	free(line);
	fclose(f);
}

static void send_next(void);

static void headers_came(void *arg, int status, const char *(*header)(void *, const char *), void *headers)
{
	(void)arg, (void)header, (void)headers;
	/* 404 is the answer of a look before a first write */
	if (status >= 400 && status != 404)
		run.refused++;
}

static void answered(void *arg, const struct http_result *r)
{
	(void)arg;
	if (r->err.code != 0)
		run.refused++;
	if (++run.done == run.count)
		loop_stop(run.loop);
	else
		send_next();
}

static void send_next(void)
{
	if (run.next == run.count)
		return;
	const struct request *q = &run.requests[run.next++];
	const char *headers[] = {run.authorization, q->content_type, "Accept: application/json", NULL};
	const struct http_request r = {.method = q->method, .url = q->url, .headers = headers, .body = q->body,
		.body_len = q->body ? strlen(q->body) : 0, .tls = &run.tls, .timeout_ms = 60000};
	const struct http_handlers h = {.on_headers = headers_came, .on_done = answered};
	run.transport->start(run.transport, &r, &h, NULL);
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct kube_config config;
	struct err e = {0};
	if (argc != 3 || kube_config_load(&(struct kube_config_options){0}, &config, &e) != 0) {
		fprintf(stderr, "usage: replay FILE N (with KUBECONFIG set) %s\n", e.text);
		return 2;
	}
	run.loop = loop_new();
	struct http_client *client = http_client_new(run.loop);
	run.transport = http_client_transport(client);
	run.tls = (struct http_tls){.ca_pem = config.ca_pem, .ca_file = config.ca_file};
	run.authorization = xasprintf("Authorization: Bearer %s", config.token ? config.token : "");
	read_requests(argv[1], config.server);
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	uint64_t started = clock_now_ms(loop_clock(run.loop));
	for (long i = 0; i < strtol(argv[2], NULL, 10); i++)
		send_next();
	if (run.count > 0)
		loop_run(run.loop);
	getrusage(RUSAGE_SELF, &after);
	printf("{\"requests\":%zu,\"refused\":%zu,\"wall\":%.3f,\"cpu\":%.3f}\n", run.count, run.refused,
		(double)(clock_now_ms(loop_clock(run.loop)) - started) / 1000,
		seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) - seconds(before.ru_stime));
	http_client_free(client);
	loop_free(run.loop);
	kube_config_deinit(&config);
	return 0;
}
