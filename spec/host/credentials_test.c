/* Credentials that change while we run: token files and certificates on virtual time, exec
 * plugins as real shell scripts on the real loop. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/xalloc.h"
#include "http/certificate.h"
#include "kube/credentials.h"
#include "kube/credentials_exec.h"
#include "temporary.h"
#include "test.h"

#define CERT(n) "-----BEGIN CERTIFICATE-----\n" n "\n-----END CERTIFICATE-----\n"

static const char *dir;
static struct kube_config config;
static struct clock *clock_;
static struct clock virtual_clock;
static struct loop *loop;
static struct credentials *credentials;
static struct err e;

static void begin(void)
{
	dir = temporary_folder();
	config = (struct kube_config){.server = xstrdup("https://host")};
}

static char *at(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

static void write_file(const char *name, const char *text)
{
	char *path = at(name);
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	fputs(text, f);
	fclose(f);
	chmod(path, 0755);
	free(path);
}

static void remove_file(const char *name)
{
	char *path = at(name);
	unlink(path);
	free(path);
}

static void open_virtual(void)
{
	clock_init_virtual(&virtual_clock, 1000000);
	clock_ = &virtual_clock;
	credentials = credentials_new(NULL, clock_, &config, &e);
	if (credentials == NULL)
		FAIL("%s", e.text);
}

static void close_all(void)
{
	credentials_free(credentials);
	if (loop != NULL)
		loop_free(loop);
	else
		clock_deinit(&virtual_clock);
	kube_config_deinit(&config);
}

/* --- asking --- */

struct asked {
	struct credentials_wait wait;
	int calls;
	char authorization[200];
	const struct http_tls *tls;
	struct err err;
	bool done;
};

static void on_ready(struct credentials_wait *w, const char *authorization, const struct http_tls *tls,
	const struct err *err)
{
	struct asked *a = w->data;
	a->calls++;
	a->done = true;
	snprintf(a->authorization, sizeof a->authorization, "%s", authorization != NULL ? authorization : "(none)");
	a->tls = tls;
	a->err = err != NULL ? *err : (struct err){0};
}

static void ask(struct asked *a)
{
	*a = (struct asked){.wait = {.ready = on_ready, .data = a}};
	credentials_get(credentials, &a->wait);
}

static const char *authorization_now(void)
{
	static struct asked a;
	ask(&a);
	CHECK_INT(a.calls, ==, 1);
	return a.authorization;
}

static const struct http_tls *tls_now(void)
{
	struct asked a;
	ask(&a);
	CHECK_INT(a.calls, ==, 1);
	return a.tls;
}

/* --- token files --- */

TEST(without_credentials_no_header_is_sent)
{
	begin();
	open_virtual();
	CHECK_TEXT(authorization_now(), "(none)");
	CHECK(tls_now()->cert_pem == NULL);
	close_all();
}

TEST(a_token_file_is_read_again_after_a_minute)
{
	begin();
	write_file("token", "one\n");
	config.token_file = at("token");
	open_virtual();
	CHECK_TEXT(authorization_now(), "Authorization: Bearer one");
	write_file("token", "two\n");
	clock_virtual_advance(clock_, 59999);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer one");
	clock_virtual_advance(clock_, 1);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer two");
	close_all();
}

TEST(a_token_that_vanishes_or_is_empty_stays_in_use)
{
	begin();
	write_file("token", "one\n");
	config.token_file = at("token");
	open_virtual();
	remove_file("token");
	clock_virtual_advance(clock_, 60000);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer one");
	write_file("token", "");
	clock_virtual_advance(clock_, 60000);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer one");
	write_file("token", "a\nb");
	clock_virtual_advance(clock_, 60000);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer one");
	write_file("token", "back");
	clock_virtual_advance(clock_, 60000);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer back");
	close_all();
}

TEST(a_token_file_must_be_there_at_the_start_unless_a_token_is_given)
{
	begin();
	config.token_file = at("token");
	clock_init_virtual(&virtual_clock, 0);
	clock_ = &virtual_clock;
	CHECK(credentials_new(NULL, clock_, &config, &e) == NULL);
	CHECK_CONTAINS(e.text, "token file: ");
	CHECK_CONTAINS(e.text, "/token: cannot be opened: No such file or directory");
	config.token = xstrdup("fixed");
	open_virtual();
	CHECK_TEXT(authorization_now(), "Authorization: Bearer fixed");
	write_file("token", "of the file");
	clock_virtual_advance(clock_, 60000);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer of the file");
	close_all();
}

TEST(a_refused_token_makes_sense_again_only_if_there_is_another)
{
	struct asked a;
	begin();
	write_file("token", "one");
	config.token_file = at("token");
	open_virtual();
	ask(&a);
	CHECK(!credentials_refused(credentials, a.wait.revision));
	write_file("token", "two");
	CHECK(credentials_refused(credentials, a.wait.revision));
	/* a second request that was refused with the old token: no need to look again */
	remove_file("token");
	CHECK(credentials_refused(credentials, a.wait.revision));
	CHECK_TEXT(authorization_now(), "Authorization: Bearer two");
	close_all();
}

/* --- certificates --- */

static struct certificate_set pairs[3]; /* real ones: what makes no sense is not taken into use */

static const struct certificate_set *pair(int i)
{
	static const char *const names[] = {"moonphase", NULL};
	if (pairs[i].certificate == NULL)
		CHECK_INT(certificate_make(&(struct certificate_request){.subject = "moonphase", .names = names, .not_after = 4000000000},
			&pairs[i], &e), ==, 0);
	return &pairs[i];
}

static void write_pair(int i)
{
	write_file("cert", pair(i)->certificate);
	write_file("key", pair(i)->key);
}

static void use_certificate_files(void)
{
	begin();
	write_pair(0);
	config.cert_file = at("cert");
	config.key_file = at("key");
	open_virtual();
}

TEST(a_changed_certificate_is_used_after_five_minutes_under_another_revision)
{
	use_certificate_files();
	const struct http_tls *tls = tls_now();
	CHECK_TEXT(tls->cert_pem, pair(0)->certificate);
	CHECK_TEXT(tls->key_pem, pair(0)->key);
	uint64_t revision = tls->revision;
	clock_virtual_advance(clock_, 300000);
	CHECK(tls_now() == tls); /* unchanged: the same */
	write_pair(1);
	clock_virtual_advance(clock_, 299999);
	CHECK_TEXT(tls_now()->cert_pem, pair(0)->certificate);
	clock_virtual_advance(clock_, 1);
	CHECK_TEXT(tls_now()->cert_pem, pair(1)->certificate);
	CHECK_TEXT(tls_now()->key_pem, pair(1)->key);
	CHECK(tls_now()->revision != revision);
	close_all();
}

TEST(a_certificate_that_is_half_renewed_is_not_used_and_looked_at_again_after_ten_seconds)
{
	use_certificate_files();
	write_file("cert", pair(1)->certificate); /* beside the key of before */
	clock_virtual_advance(clock_, 300000);
	CHECK_TEXT(tls_now()->cert_pem, pair(0)->certificate);
	write_file("cert", "-----BEGIN CERTIF");
	clock_virtual_advance(clock_, 10000);
	CHECK_TEXT(tls_now()->cert_pem, pair(0)->certificate);
	write_pair(1);
	clock_virtual_advance(clock_, 9999);
	CHECK_TEXT(tls_now()->cert_pem, pair(0)->certificate);
	clock_virtual_advance(clock_, 1);
	CHECK_TEXT(tls_now()->cert_pem, pair(1)->certificate);
	CHECK_TEXT(tls_now()->key_pem, pair(1)->key);
	close_all();
}

TEST(old_certificates_live_as_long_as_they_are_held)
{
	use_certificate_files();
	const struct http_tls *first = tls_now();
	credentials_hold(credentials, first);
	credentials_hold(credentials, first);
	for (int i = 0; i < 3; i++) {
		write_pair(i % 2 ? 2 : 1);
		clock_virtual_advance(clock_, 300000);
		tls_now();
	}
	CHECK_TEXT(first->cert_pem, pair(0)->certificate);
	credentials_drop(credentials, first);
	CHECK_TEXT(first->cert_pem, pair(0)->certificate);
	credentials_drop(credentials, first);
	close_all();
}

TEST(a_certificate_that_vanishes_stays_in_use)
{
	use_certificate_files();
	remove_file("key");
	clock_virtual_advance(clock_, 300000);
	CHECK_TEXT(tls_now()->key_pem, pair(0)->key);
	close_all();
}

TEST(a_changed_authority_is_used_after_five_minutes)
{
	begin();
	write_file("ca", pair(1)->authority);
	config.ca_file = at("ca");
	config.ca_pem = xstrdup(pair(0)->authority);
	open_virtual();
	CHECK_TEXT(tls_now()->ca_pem, pair(0)->authority);
	clock_virtual_advance(clock_, 300000);
	CHECK_TEXT(tls_now()->ca_pem, pair(1)->authority);
	write_file("ca", "");
	clock_virtual_advance(clock_, 300000);
	CHECK_TEXT(tls_now()->ca_pem, pair(1)->authority);
	remove_file("ca");
	clock_virtual_advance(clock_, 300000);
	CHECK_TEXT(tls_now()->ca_pem, pair(1)->authority);
	close_all();
}

/* --- what a plugin prints --- */

#define V1 "client.authentication.k8s.io/v1"
#define ANSWER(status) "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":" status "}"

static int64_t expiry(const char *text)
{
	struct exec_answer a;
	char *json = xasprintf(ANSWER("{\"token\":\"t\",\"expirationTimestamp\":\"%s\"}"), text);
	int rc = exec_answer_parse(json, strlen(json), V1, &a, &e);
	int64_t result = rc == 0 ? a.expires_ms : -1;
	exec_answer_deinit(&a);
	free(json);
	return result;
}

TEST(expiry_is_read_as_rfc_3339)
{
	CHECK_INT(expiry("1970-01-01T00:00:10Z"), ==, 10000);
	CHECK_INT(expiry("2026-03-01T12:00:00Z"), ==, 1772366400000);
	CHECK_INT(expiry("2026-03-01T12:00:00.123456789Z"), ==, 1772366400000);
	CHECK_INT(expiry("2026-03-01t14:00:00+02:00"), ==, 1772366400000);
	CHECK_INT(expiry("2026-03-01T06:30:00-05:30"), ==, 1772366400000);
	static const char *const bad[] = {"tomorrow", "2026-03-01", "2026-03-01T12:00:00", "2026-13-01T12:00:00Z",
		"2026-03-01T25:00:00Z", "2026-03-01T12:00:00Zx", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00+2:00", "1"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_INT(expiry(bad[i]), ==, -1);
}

TEST(an_answer_that_is_no_credential_is_refused_without_being_quoted)
{
	static const char *const rows[][2] = {
		{"sesame", "what it printed is no JSON object; an ExecCredential was expected"},
		{"", "what it printed is no JSON object; an ExecCredential was expected"},
		{"[\"sesame\"]", "what it printed is no JSON object; an ExecCredential was expected"},
		{"{\"kind\":\"sesame\"}", "the kind of its answer is not ExecCredential"},
		{"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}",
			"its answer has another apiVersion than the " V1 " that kubeconfig asks for"},
		{ANSWER("{}"), "its answer has neither status.token nor status.clientCertificateData"},
		{ANSWER("[]"), "its answer has neither status.token nor status.clientCertificateData"},
		{ANSWER("{\"clientCertificateData\":\"sesame\"}"),
			"its answer has status.clientCertificateData without status.clientKeyData"},
		{ANSWER("{\"token\":\"t\",\"clientKeyData\":\"sesame\"}"),
			"its answer has status.clientKeyData without status.clientCertificateData"},
		{ANSWER("{\"token\":\"sesame\\r\\nHost: x\"}"), "status.token of its answer has control characters in it"},
		{ANSWER("{\"token\":\"sesame\",\"expirationTimestamp\":\"soon\"}"),
			"status.expirationTimestamp of its answer is no RFC 3339 time"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct exec_answer a;
		CHECK_INT(exec_answer_parse(rows[i][0], strlen(rows[i][0]), V1, &a, &e), ==, ERR_INVALID);
		CHECK_TEXT(e.text, rows[i][1]);
		CHECK(a.token == NULL && a.cert_pem == NULL);
	}
}

/* --- plugins --- */

static void set_plugin(const char *script)
{
	begin();
	struct kube_exec *x = config.exec = xcalloc(1, sizeof *config.exec);
	char *text = xasprintf("#!/bin/sh\nD=%s\necho run >> $D/runs\n%s\n", dir, script);
	write_file("plugin", text);
	free(text);
	x->argv = xcalloc(3, sizeof(char *));
	x->argv[0] = at("plugin");
	x->argv[1] = xstrdup("get-token");
	x->env = xcalloc(2, sizeof(char *));
	x->env[0] = xstrdup("REGION=eu");
	x->api_version = xstrdup(V1);
	x->install_hint = xstrdup("Install it with: apt install plugin");
}

static void open_real(void)
{
	loop = loop_new();
	clock_ = loop_clock(loop);
	credentials = credentials_new(loop, clock_, &config, &e);
	if (credentials == NULL)
		FAIL("%s", e.text);
}

static void wait_for(struct asked *a)
{
	CHECK(loop_run_until(loop, &a->done, 10000));
}

/* How often the plugin was started. */
static int runs(void)
{
	int n = 0, byte;
	char *path = at("runs");
	FILE *f = fopen(path, "r");
	free(path);
	while (f != NULL && (byte = getc(f)) != EOF)
		n += byte == '\n';
	if (f != NULL)
		fclose(f);
	return n;
}

#define PRINT(status) "echo '" ANSWER(status) "'"

TEST(a_plugin_is_asked_once_for_all_who_wait_and_its_answer_kept)
{
	struct asked a, b, c;
	set_plugin("sleep 0.1\n" PRINT("{\"token\":\"fresh\"}"));
	open_real();
	ask(&a);
	ask(&b);
	ask(&c);
	CHECK_INT(a.calls, ==, 0);
	credentials_cancel(credentials, &c.wait);
	wait_for(&a);
	CHECK_TEXT(a.authorization, "Authorization: Bearer fresh");
	CHECK_TEXT(b.authorization, "Authorization: Bearer fresh");
	CHECK_INT(c.calls, ==, 0);
	CHECK_TEXT(authorization_now(), "Authorization: Bearer fresh");
	CHECK_INT(runs(), ==, 1);
	close_all();
}

TEST(a_plugin_is_told_what_is_wanted)
{
	struct asked a;
	set_plugin("[ \"$1\" = get-token ] && [ $REGION = eu ] || exit 9\n"
		"echo \"$KUBERNETES_EXEC_INFO\" > $D/info\n" PRINT("{\"token\":\"t\"}"));
	config.exec->provide_cluster_info = true;
	config.ca_pem = xstrdup("foobar");
	open_real();
	ask(&a);
	wait_for(&a);
	CHECK_TEXT(a.err.text, "");
	char text[1000] = "", *path = at("info");
	FILE *f = fopen(path, "r");
	CHECK(f != NULL && fgets(text, sizeof text, f) != NULL);
	fclose(f);
	free(path);
	CHECK_TEXT(text, "{\"kind\":\"ExecCredential\",\"apiVersion\":\"" V1 "\",\"spec\":{\"cluster\":{"
		"\"server\":\"https://host\",\"certificate-authority-data\":\"Zm9vYmFy\"},\"interactive\":false}}\n");
	close_all();
}

TEST(an_expired_answer_is_asked_for_anew)
{
	struct asked a, b;
	/* valid for another 10.8 s, of which 10 are leeway */
	set_plugin("T=$(date -u -d '+11 seconds' +%Y-%m-%dT%H:%M:%SZ)\n"
		"echo '{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\",\"expirationTimestamp\":\"'$T'\"}}'");
	open_real();
	ask(&a);
	wait_for(&a);
	CHECK_TEXT(a.authorization, "Authorization: Bearer t");
	bool never = false;
	loop_run_until(loop, &never, 1200);
	ask(&b);
	CHECK_INT(b.calls, ==, 0);
	wait_for(&b);
	CHECK_INT(runs(), ==, 2);
	close_all();
}

TEST(a_401_asks_the_plugin_again_but_once_for_all)
{
	struct asked a, b;
	set_plugin("echo '{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t'$(wc -l < $D/runs)'\"}}'");
	open_real();
	ask(&a);
	wait_for(&a);
	CHECK_TEXT(a.authorization, "Authorization: Bearer t1");
	CHECK(credentials_refused(credentials, a.wait.revision));
	ask(&b);
	CHECK(credentials_refused(credentials, a.wait.revision)); /* another request with t1, meanwhile */
	wait_for(&b);
	CHECK_TEXT(b.authorization, "Authorization: Bearer t2");
	CHECK(credentials_refused(credentials, a.wait.revision)); /* and one that comes late */
	CHECK_TEXT(authorization_now(), "Authorization: Bearer t2");
	CHECK_INT(runs(), ==, 2);
	close_all();
}

TEST(a_certificate_of_a_plugin_is_used)
{
	struct asked a;
	set_plugin(PRINT("{\"clientCertificateData\":\"CC\",\"clientKeyData\":\"KK\"}"));
	config.ca_pem = xstrdup(CERT("ca"));
	open_real();
	ask(&a);
	wait_for(&a);
	CHECK_TEXT(a.authorization, "(none)");
	CHECK_TEXT(a.tls->cert_pem, "CC");
	CHECK_TEXT(a.tls->key_pem, "KK");
	CHECK_TEXT(a.tls->ca_pem, CERT("ca"));
	close_all();
}

TEST(a_plugin_that_fails_is_quoted_from_its_error_output_only)
{
	struct asked a, b;
	set_plugin("echo sesame\necho 'no login:' >&2\necho '  run plugin login' >&2\nexit 3");
	open_real();
	ask(&a);
	wait_for(&a);
	CHECK_INT(a.err.code, ==, ERR_IO);
	CHECK_CONTAINS(a.err.text, "/plugin ended with status 3: no login: run plugin login");
	CHECK(strstr(a.err.text, "sesame") == NULL);
	CHECK(strstr(a.err.text, "apt install") == NULL); /* it is installed */
	ask(&b); /* at once: the failure is known */
	CHECK_INT(b.calls, ==, 1);
	CHECK_TEXT(b.err.text, a.err.text);
	CHECK_INT(runs(), ==, 1);
	bool never = false;
	loop_run_until(loop, &never, 1100);
	ask(&b);
	wait_for(&b);
	CHECK_INT(runs(), ==, 2);
	close_all();
}

TEST(garbage_from_a_plugin_is_not_shown)
{
	struct asked a;
	set_plugin("echo sesame sesame");
	open_real();
	ask(&a);
	wait_for(&a);
	CHECK_CONTAINS(a.err.text, "/plugin: what it printed is no JSON object; an ExecCredential was expected");
	CHECK(strstr(a.err.text, "sesame") == NULL);
	close_all();
}

static struct err plugin_error;
static bool plugin_done;

static void on_plugin(void *arg, struct exec_answer *a, const struct err *err)
{
	CHECK(arg == &plugin_done);
	CHECK(a == NULL);
	plugin_error = *err;
	plugin_done = true;
}

static void run_plugin(struct exec_plugin *p, uint64_t timeout_ms)
{
	plugin_done = false;
	exec_plugin_run(p, timeout_ms, on_plugin, &plugin_done);
	CHECK(!plugin_done);
	CHECK(loop_run_until(loop, &plugin_done, 10000));
}

TEST(a_plugin_that_hangs_is_ended)
{
	set_plugin("exec sleep 100");
	open_real();
	struct exec_plugin *p = exec_plugin_new(loop, clock_, &config);
	run_plugin(p, 200);
	CHECK_INT(plugin_error.code, ==, ERR_TIMEOUT);
	CHECK_CONTAINS(plugin_error.text, "/plugin did not end within 0.2 s");
	exec_plugin_free(p);
	close_all();
}

TEST(a_plugin_that_is_missing_is_answered_with_the_hint_ten_times_an_hour)
{
	set_plugin("");
	remove_file("plugin");
	open_real();
	struct exec_plugin *p = exec_plugin_new(loop, clock_, &config);
	for (int i = 0; i < 12; i++) {
		run_plugin(p, 1000);
		CHECK_CONTAINS(plugin_error.text, "/plugin cannot be started: no such file or directory");
		CHECK_INT(strstr(plugin_error.text, " and in PATH? Install it with: apt install plugin") != NULL, ==, i < 10);
	}
	exec_plugin_free(p);
	close_all();
}

TEST(credentials_can_go_while_a_plugin_runs)
{
	struct asked a;
	set_plugin("sleep 5");
	open_real();
	ask(&a);
	close_all();
	CHECK_INT(a.calls, ==, 0);
}

TEST(a_plugin_needs_a_loop)
{
	set_plugin("");
	clock_init_virtual(&virtual_clock, 0);
	CHECK(credentials_new(NULL, &virtual_clock, &config, &e) == NULL);
	CHECK_CONTAINS(e.text, "/plugin cannot run on virtual time");
	close_all();
}

TEST_MAIN(T(without_credentials_no_header_is_sent), T(a_token_file_is_read_again_after_a_minute),
	T(a_token_that_vanishes_or_is_empty_stays_in_use),
	T(a_token_file_must_be_there_at_the_start_unless_a_token_is_given),
	T(a_refused_token_makes_sense_again_only_if_there_is_another),
	T(a_changed_certificate_is_used_after_five_minutes_under_another_revision),
	T(a_certificate_that_is_half_renewed_is_not_used_and_looked_at_again_after_ten_seconds),
	T(old_certificates_live_as_long_as_they_are_held), T(a_certificate_that_vanishes_stays_in_use),
	T(a_changed_authority_is_used_after_five_minutes), T(expiry_is_read_as_rfc_3339),
	T(an_answer_that_is_no_credential_is_refused_without_being_quoted),
	T(a_plugin_is_asked_once_for_all_who_wait_and_its_answer_kept), T(a_plugin_is_told_what_is_wanted),
	T(an_expired_answer_is_asked_for_anew), T(a_401_asks_the_plugin_again_but_once_for_all),
	T(a_certificate_of_a_plugin_is_used), T(a_plugin_that_fails_is_quoted_from_its_error_output_only),
	T(garbage_from_a_plugin_is_not_shown), T(a_plugin_that_hangs_is_ended),
	T(a_plugin_that_is_missing_is_answered_with_the_hint_ten_times_an_hour), T(credentials_can_go_while_a_plugin_runs),
	T(a_plugin_needs_a_loop))
