/* Asking a program who we are.
 *
 * The plugin is somebody else's program: it may be missing, hang, print gigabytes or print
 * nonsense. Each of these must become one sentence that says which program and what to do, and
 * none may show what it printed on standard output, because that is the token. What it says on
 * standard error is for people and is shown, cut to a line. */
#include "kube/credentials_exec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/xalloc.h"
#include "kube/config_files.h"
#include "loop/process.h"

#define HINTS_PER_HOUR 10 /* client-go exec.go: "sometimes" */
#define HOUR_MS 3600000
#define ERRORS_SHOWN 300

struct exec_run;

struct exec_plugin {
	struct loop *loop;
	struct clock *clock;
	const struct kube_config *config;
	struct exec_run *run; /* NULL: none */
	uint64_t hints_since_ms;
	unsigned hints;
};

struct exec_run {
	struct exec_plugin *plugin;
	struct process *process;
	void (*done)(void *arg, struct exec_answer *a, const struct err *err);
	void *arg;
};

/* --- the answer --- */

void exec_answer_deinit(struct exec_answer *a)
{
	free(a->token);
	free(a->cert_pem);
	free(a->key_pem);
	*a = (struct exec_answer){0};
}

static bool read_number(const char **at, int digits, int *value)
{
	*value = 0;
	for (int i = 0; i < digits; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + (**at - '0');
	}
	return true;
}

/* "Z", "+02:00": seconds east of UTC. */
static bool read_offset(const char **at, int *offset_s)
{
	int hours, minutes, sign = **at == '-' ? -1 : 1;
	*offset_s = 0;
	if (**at == 'Z' || **at == 'z')
		return (*at)++, true;
	if (**at != '+' && **at != '-')
		return false;
	(*at)++;
	if (!read_number(at, 2, &hours) || *(*at)++ != ':' || !read_number(at, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*offset_s = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* RFC 3339, e.g. "2026-03-01T12:00:00.5+02:00". */
static bool read_time(const char *text, int64_t *wall_ms)
{
	struct tm tm = {0};
	int offset_s;
	if (!read_number(&text, 4, &tm.tm_year) || *text++ != '-' || !read_number(&text, 2, &tm.tm_mon) || *text++ != '-' ||
		!read_number(&text, 2, &tm.tm_mday) || (*text != 'T' && *text != 't'))
		return false;
	text++;
	if (!read_number(&text, 2, &tm.tm_hour) || *text++ != ':' || !read_number(&text, 2, &tm.tm_min) ||
		*text++ != ':' || !read_number(&text, 2, &tm.tm_sec))
		return false;
	if (*text == '.') {
		size_t digits = strspn(text + 1, "0123456789");
		if (digits == 0)
			return false;
		text += 1 + digits;
	}
	if (!read_offset(&text, &offset_s) || *text != '\0' || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
		tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*wall_ms = ((int64_t)timegm(&tm) - offset_s) * 1000;
	return true;
}

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
	return text != NULL && *text != '\0' ? text : NULL;
}

static int read_credential(const cJSON *status, struct exec_answer *a, struct err *e)
{
	const char *token = text_of(status, "token"), *expires = text_of(status, "expirationTimestamp");
	const char *cert = text_of(status, "clientCertificateData"), *key = text_of(status, "clientKeyData");
	if (token == NULL && cert == NULL && key == NULL)
		return err_set(e, ERR_INVALID, "its answer has neither status.token nor status.clientCertificateData");
	if ((cert == NULL) != (key == NULL))
		return err_set(e, ERR_INVALID, "its answer has status.%s without status.%s",
			cert != NULL ? "clientCertificateData" : "clientKeyData",
			cert != NULL ? "clientKeyData" : "clientCertificateData");
	if (token != NULL && !kube_is_header_text(token))
		return err_set(e, ERR_INVALID, "status.token of its answer has control characters in it");
	if (expires != NULL && !read_time(expires, &a->expires_ms))
		return err_set(e, ERR_INVALID, "status.expirationTimestamp of its answer is no RFC 3339 time");
	a->token = token != NULL ? xstrdup(token) : NULL;
	a->cert_pem = cert != NULL ? xstrdup(cert) : NULL;
	a->key_pem = key != NULL ? xstrdup(key) : NULL;
	return 0;
}

int exec_answer_parse(const char *json, size_t len, const char *api_version, struct exec_answer *a, struct err *e)
{
	*a = (struct exec_answer){.expires_ms = INT64_MAX};
	cJSON *root = cJSON_ParseWithLength(json, len);
	const char *kind = text_of(root, "kind"), *version = text_of(root, "apiVersion");
	int rc;
	if (!cJSON_IsObject(root))
		rc = err_set(e, ERR_INVALID, "what it printed is no JSON object; an ExecCredential was expected");
	else if (kind == NULL || strcmp(kind, "ExecCredential") != 0)
		rc = err_set(e, ERR_INVALID, "the kind of its answer is not ExecCredential");
	else if (version == NULL || strcmp(version, api_version) != 0)
		rc = err_set(e, ERR_INVALID, "its answer has another apiVersion than the %s that kubeconfig asks for", api_version);
	else
		rc = read_credential(cJSON_GetObjectItemCaseSensitive(root, "status"), a, e);
	cJSON_Delete(root);
	return rc;
}

/* --- the question --- */

static void add_cluster(cJSON *spec, const struct kube_config *config)
{
	cJSON *cluster = cJSON_AddObjectToObject(spec, "cluster");
	cJSON_AddStringToObject(cluster, "server", config->server);
	if (config->tls_server_name != NULL)
		cJSON_AddStringToObject(cluster, "tls-server-name", config->tls_server_name);
	if (config->insecure)
		cJSON_AddTrueToObject(cluster, "insecure-skip-tls-verify");
	if (config->proxy_url != NULL)
		cJSON_AddStringToObject(cluster, "proxy-url", config->proxy_url);
	if (config->ca_pem != NULL) {
		struct buffer data;
		buffer_init(&data, 2 * KUBE_FILE_MAX);
		base64_encode(config->ca_pem, strlen(config->ca_pem), &data);
		cJSON_AddStringToObject(cluster, "certificate-authority-data", buffer_text(&data));
		buffer_deinit(&data);
	}
}

/* The line for its environment; the caller frees it. */
static char *make_question(const struct kube_config *config)
{
	cJSON *root = cJSON_CreateObject();
	cJSON_AddStringToObject(root, "kind", "ExecCredential");
	cJSON_AddStringToObject(root, "apiVersion", config->exec->api_version);
	cJSON *spec = cJSON_AddObjectToObject(root, "spec");
	if (config->exec->provide_cluster_info)
		add_cluster(spec, config);
	cJSON_AddFalseToObject(spec, "interactive");
	char *json = cJSON_PrintUnformatted(root);
	char *line = xasprintf("KUBERNETES_EXEC_INFO=%s", json);
	cJSON_free(json);
	cJSON_Delete(root);
	return line;
}

/* --- a run --- */

static bool may_hint(struct exec_plugin *p)
{
	uint64_t now = clock_now_ms(p->clock);
	if (p->hints == 0 || now - p->hints_since_ms >= HOUR_MS) {
		p->hints_since_ms = now;
		p->hints = 0;
	}
	return p->hints < HINTS_PER_HOUR && ++p->hints != 0;
}

/* One printable line of what it said on standard error, "" if it said nothing. */
static void excerpt(const char *text, size_t len, char out[ERRORS_SHOWN + 8])
{
	size_t n = 0, i = 0;
	for (; i < len && n < ERRORS_SHOWN; i++) {
		char byte = text[i] > ' ' && text[i] <= '~' ? text[i] : ' ';
		if (byte != ' ' || (n > 0 && out[n - 1] != ' '))
			out[n++] = byte;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	snprintf(out + n, 4, "%s", i < len ? "..." : "");
}

static int describe_failure(struct exec_plugin *p, const struct process_result *r, struct err *e)
{
	const struct kube_exec *exec = p->config->exec;
	char said[ERRORS_SHOWN + 8];
	excerpt(r->errors != NULL ? r->errors : "", r->errors_len, said);
	const char *colon = *said != '\0' ? ": " : "";
	bool missing = r->err.code == ERR_NOT_FOUND || r->err.code == ERR_IO || (r->err.code == 0 && r->status == 127);
	const char *hint = missing && exec->install_hint != NULL && may_hint(p) ? exec->install_hint : "";
	bool asks = *said == '\0' && r->err.text[0] != '\0' && r->err.text[strlen(r->err.text) - 1] == '?';
	const char *gap = *hint == '\0' ? "" : asks ? " " : ". ";
	if (r->err.code != 0)
		return err_set(e, r->err.code, "credential plugin %s%s%s%s%s", r->err.text, colon, said, gap, hint);
	return err_set(e, ERR_IO, "credential plugin %s ended with status %d%s%s%s%s", exec->argv[0], r->status, colon,
		said, gap, hint);
}

static void on_end(void *arg, const struct process_result *r)
{
	struct exec_run *run = arg;
	struct exec_plugin *p = run->plugin;
	struct exec_answer a = {0};
	struct err e = {0};
	const struct kube_exec *exec = p->config->exec;
	int rc;
	if (r->err.code != 0 || r->status != 0)
		rc = describe_failure(p, r, &e);
	else if ((rc = exec_answer_parse(r->output, r->output_len, exec->api_version, &a, &e)) != 0)
		err_prefix(&e, "credential plugin %s", exec->argv[0]);
	p->run = NULL;
	run->done(run->arg, rc == 0 ? &a : NULL, rc == 0 ? NULL : &e);
	exec_answer_deinit(&a);
	free(run);
}

void exec_plugin_run(struct exec_plugin *p, uint64_t timeout_ms,
	void (*done)(void *arg, struct exec_answer *a, const struct err *err), void *arg)
{
	const struct kube_exec *exec = p->config->exec;
	size_t count = 0;
	while (exec->env != NULL && exec->env[count] != NULL)
		count++;
	char *question = make_question(p->config);
	const char **env = xcalloc(count + 2, sizeof *env);
	for (size_t i = 0; i < count; i++)
		env[i] = exec->env[i];
	env[count] = question;
	struct process_options o = {.argv = (const char *const *)exec->argv, .env = env, .output_max = EXEC_OUTPUT_MAX,
		.timeout_ms = timeout_ms};
	struct exec_run *run = xcalloc(1, sizeof *run);
	run->plugin = p;
	run->done = done;
	run->arg = arg;
	p->run = run;
	run->process = process_start(p->loop, &o, on_end, run);
	free(env);
	free(question);
}

struct exec_plugin *exec_plugin_new(struct loop *loop, struct clock *clock, const struct kube_config *config)
{
	struct exec_plugin *p = xcalloc(1, sizeof *p);
	p->loop = loop;
	p->clock = clock;
	p->config = config;
	return p;
}

void exec_plugin_free(struct exec_plugin *p)
{
	if (p == NULL)
		return;
	if (p->run != NULL)
		process_abandon(p->run->process);
	free(p->run);
	free(p);
}
