/* TLS: whom the client trusts, as whom it shows itself, and that connections of one identity are
 * never used for another. The peer is our own server, and openssl's where it must ask for a
 * certificate. Certificates are made by the openssl command. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "http/client.h"
#include "http/server.h"
#include "loop/loop.h"
#include "test.h"

static struct loop *l;
static struct http_client *client;
static struct http_server *server;
static char folder[64];
static int port;

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...)
{
	char command[2000];
	va_list args;
	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	if (system(command) != 0)
		FAIL("this failed: %s", command);
}

/* An authority NAME-ca and a certificate NAME for `san`, signed by it. */
static void make_pair(const char *name, const char *san)
{
	shell("cd %s && ("
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=%s-ca "
		"-keyout %s-ca.key -out %s-ca.pem && "
		"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s -keyout %s.key -out %s.csr && "
		"printf 'subjectAltName=%s' > ext && "
		"openssl x509 -req -in %s.csr -CA %s-ca.pem -CAkey %s-ca.key -CAcreateserial -days 2 -extfile ext -out %s.pem"
		") 2>log || { cat %s/log; exit 1; }", folder, name, name, name, name, name, name, san, name, name, name, name,
		folder);
}

static char *file(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static char *text_of(const char *name)
{
	char *path = file(name), text[8192];
	FILE *f = fopen(path, "r");
	CHECK(f != NULL);
	size_t n = fread(text, 1, sizeof text, f);
	fclose(f);
	free(path);
	return xmemdup0(text, n);
}

static const char *client_ca; /* of the next server */
static unsigned patience_s = 60; /* with a request; of the next server */

/* The Host header; of a server with client_ca who calls: "127.0.0.1 NAME", or "127.0.0.1 -" where nobody stands for the caller. */
static void on_call(void *arg, struct http_call *c)
{
	(void)arg;
	char text[200];
	const char *name = http_call_client(c);
	int len = client_ca == NULL ? snprintf(text, sizeof text, "%s", http_call_header(c, "Host")) :
		snprintf(text, sizeof text, "%s %s", http_call_peer(c), name != NULL ? name : "-");
	http_reply(c, 200, "text/plain", text, (size_t)len);
}

static void set_up(const char *san)
{
	struct err e;
	snprintf(folder, sizeof folder, "/tmp/moonphase-tls-test-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	make_pair("server", san);
	char *cert = text_of("server.pem"), *key = text_of("server.key");
	l = loop_new();
	client = http_client_new(l);
	server = http_server_open(l, &(struct http_server_options){.address = "127.0.0.1:0", .cert_pem = cert,
		.key_pem = key, .client_ca_pem = client_ca, .request_timeout_s = patience_s, .idle_timeout_s = 5, .per_address_max = 40,
		.on_call = on_call}, &e);
	if (server == NULL)
		FAIL("%s", e.text);
	port = atoi(strrchr(http_server_address(server), ':') + 1);
	free(cert);
	free(key);
}

static void tear_down(void)
{
	http_client_free(client);
	http_server_close(server);
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
	shell("rm -rf %s", folder);
}

static struct http_result result;
static struct buffer body;
static bool done;

static int on_data(void *arg, const char *bytes, size_t len)
{
	(void)arg;
	return buffer_add(&body, bytes, len);
}

static void on_done(void *arg, const struct http_result *r)
{
	(void)arg;
	result = *r;
	done = true;
}

static void get(const char *host, const struct http_tls *tls)
{
	static const struct http_handlers handlers = {NULL, on_data, on_done};
	char *url = xasprintf("https://%s:%d/", host, port);
	struct transport *t = http_client_transport(client);
	buffer_deinit(&body);
	buffer_init(&body, 1 << 20);
	done = false;
	t->start(t, &(struct http_request){.method = "GET", .url = url, .tls = tls, .timeout_ms = 8000}, &handlers, NULL);
	CHECK(loop_run_until(l, &done, 10000));
	free(url);
}

static void check_good(void)
{
	if (result.err.code != 0)
		FAIL("%s", result.err.text);
	CHECK_INT(result.status, ==, 200);
}

TEST(the_right_authority_is_accepted_as_text_and_as_file)
{
	set_up("IP:127.0.0.1");
	char *ca = text_of("server-ca.pem"), *path = file("server-ca.pem");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca});
	check_good();
	get("127.0.0.1", &(struct http_tls){.ca_file = path});
	check_good();
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .ca_file = "/nowhere"}); /* text wins */
	check_good();
	free(ca);
	free(path);
	tear_down();
}

TEST(a_wrong_authority_none_and_a_wrong_name_are_refused_with_a_sentence)
{
	set_up("IP:127.0.0.1");
	make_pair("other", "IP:127.0.0.1");
	char *ca = text_of("server-ca.pem"), *other = text_of("other-ca.pem");
	get("127.0.0.1", &(struct http_tls){.ca_pem = other});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	CHECK_CONTAINS(result.err.text, "the certificate of 127.0.0.1:");
	CHECK_CONTAINS(result.err.text, "is not accepted");
	CHECK_CONTAINS(result.err.text, "check the certificate authority");
	CHECK(!result.sent);
	CHECK_INT(result.status, ==, 0);
	get("127.0.0.1", NULL);
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	get("localhost", &(struct http_tls){.ca_pem = ca});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	CHECK_CONTAINS(result.err.text, "localhost");
	get("127.0.0.1", &(struct http_tls){.ca_pem = "nonsense"});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	CHECK_CONTAINS(result.err.text, "it must be PEM");
	get("127.0.0.1", &(struct http_tls){.ca_file = "/nowhere/ca.pem"});
	CHECK_INT(result.err.code, ==, ERR_NOT_FOUND);
	CHECK_CONTAINS(result.err.text, "cannot open the certificate file /nowhere/ca.pem");
	free(ca);
	free(other);
	tear_down();
}

TEST(insecure_accepts_any_certificate)
{
	set_up("IP:127.0.0.1");
	get("localhost", &(struct http_tls){.insecure = true});
	check_good();
	/* and a connection made so is not used by somebody who does check */
	get("localhost", NULL);
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	tear_down();
}

TEST(tls_server_name_is_checked_in_place_of_the_host)
{
	set_up("DNS:kubernetes.default.svc");
	char *ca = text_of("server-ca.pem"), *host = xasprintf("127.0.0.1:%d", port);
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .server_name = "kubernetes.default.svc"});
	check_good();
	CHECK_TEXT(buffer_text(&body), host); /* the Host header is the real host's */
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .server_name = "other.default.svc"});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	CHECK_CONTAINS(result.err.text, "other.default.svc");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .server_name = "bad name/"});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	CHECK_CONTAINS(result.err.text, "URL cannot be used");
	free(ca);
	free(host);
	tear_down();
}

TEST(a_plain_server_behind_https_is_an_error)
{
	struct err e;
	set_up("IP:127.0.0.1");
	struct http_server *plain = http_server_open(l, &(struct http_server_options){.address = "127.0.0.1:0",
		.on_call = on_call}, &e);
	port = atoi(strrchr(http_server_address(plain), ':') + 1);
	get("127.0.0.1", &(struct http_tls){.insecure = true});
	CHECK_INT(result.err.code, ==, ERR_IO);
	CHECK_CONTAINS(result.err.text, "no TLS connection with 127.0.0.1");
	http_server_close(plain);
	tear_down();
}

/* openssl's server, asking for a certificate of authority `ca`; sets `port`. */
static FILE *openssl_server(const char *ca)
{
	char command[1000], line[200];
	snprintf(command, sizeof command, "cd %s && exec timeout 60 openssl s_server -accept 127.0.0.1:0 -cert server.pem "
		"-key server.key -Verify 1 -verify_return_error -CAfile %s -www 2>/dev/null & "
		"echo pid $!; wait", folder, ca);
	FILE *f = popen(command, "r");
	while (fgets(line, sizeof line, f) != NULL) {
		if (strncmp(line, "pid ", 4) == 0)
			port = -atoi(line + 4);
		if (strncmp(line, "ACCEPT ", 7) == 0) {
			int pid = -port;
			port = atoi(strrchr(line, ':') + 1);
			char text[32];
			snprintf(text, sizeof text, "%d", pid);
			setenv("OPENSSL_SERVER", text, 1);
			return f;
		}
	}
	FAIL("openssl s_server did not start");
}

static void stop_openssl(FILE *f)
{
	kill(atoi(getenv("OPENSSL_SERVER")), SIGTERM);
	pclose(f);
}

TEST(a_client_certificate_is_shown_as_text_and_as_file_and_its_lack_is_an_error)
{
	set_up("IP:127.0.0.1");
	make_pair("user", "DNS:user");
	FILE *f = openssl_server("user-ca.pem");
	char *ca = text_of("server-ca.pem"), *cert = text_of("user.pem"), *key = text_of("user.key"),
		*cert_file = file("user.pem"), *key_file = file("user.key"), *both = xasprintf("%s%s", cert, key);
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca});
	CHECK_INT(result.err.code, ==, ERR_IO);
	CHECK_CONTAINS(result.err.text, "certificate required");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .cert_pem = cert, .key_pem = key});
	check_good();
	CHECK_CONTAINS(buffer_text(&body), "DNS:user");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .cert_file = cert_file, .key_file = key_file});
	check_good();
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .cert_pem = both});
	check_good();
	char *wrong = text_of("server.key");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .cert_pem = cert, .key_pem = wrong});
	CHECK_INT(result.err.code, ==, ERR_INVALID);
	CHECK_CONTAINS(result.err.text, "the client certificate for 127.0.0.1");
	CHECK(strstr(result.err.text, "BEGIN") == NULL);
	free(wrong);
	free(ca);
	free(cert);
	free(key);
	free(cert_file);
	free(key_file);
	free(both);
	stop_openssl(f);
	tear_down();
}

static int connections(void)
{
	int count = 0;
	char command[200], line[200];
	snprintf(command, sizeof command, "ls -l /proc/%d/fd | grep -c socket", (int)getpid());
	FILE *f = popen(command, "r");
	if (fgets(line, sizeof line, f) != NULL)
		count = atoi(line);
	pclose(f);
	return count;
}

TEST(connections_are_kept_for_one_identity_and_not_shared_with_another)
{
	set_up("IP:127.0.0.1");
	make_pair("user", "DNS:user");
	make_pair("renewed", "DNS:user");
	char *ca = file("server-ca.pem"), *cert = file("user.pem"), *key = file("user.key");
	struct http_tls first = {.ca_file = ca, .cert_file = cert, .key_file = key, .revision = 1};
	struct http_tls second = first;
	second.revision = 2;
	get("127.0.0.1", &first);
	check_good();
	int one = connections();
	get("127.0.0.1", &first);
	get("127.0.0.1", &first);
	CHECK_INT(connections(), ==, one); /* kept */
	shell("cd %s && cp renewed.pem user.pem && cp renewed.key user.key", folder);
	get("127.0.0.1", &second); /* same names of files, other content */
	check_good();
	CHECK_INT(connections(), ==, one + 2); /* both ends are ours */
	free(ca);
	free(cert);
	free(key);
	tear_down();
}

/* --- our own server's side --- */

static char *set_of(const char *name)
{
	make_pair(name, "IP:127.0.0.1");
	char *path = xasprintf("%s.pem", name), *text = text_of(path);
	free(path);
	return text;
}

static char *key_of(const char *name)
{
	char *path = xasprintf("%s.key", name), *text = text_of(path);
	free(path);
	return text;
}

TEST(a_new_certificate_is_shown_from_the_next_handshake_on_and_a_bad_one_changes_nothing)
{
	set_up("IP:127.0.0.1");
	struct err e;
	char *ca = text_of("server-ca.pem"), *old_cert = text_of("server.pem");
	char *cert = set_of("next"), *key = key_of("next"), *next_ca = text_of("next-ca.pem");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca});
	check_good();
	CHECK_INT(http_server_set_certificate(server, old_cert, key, NULL, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "belongs to another certificate");
	CHECK_INT(http_server_set_certificate(server, cert, key, NULL, &e), ==, 0);
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca}); /* on the connection that is open */
	check_good();
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .revision = 2});
	check_good(); /* the same bytes: the same connection */
	get("127.0.0.1", &(struct http_tls){.ca_pem = next_ca});
	check_good();
	for (int i = 0; i < 20; i++) { /* there and back, with connections of both */
		char *one = i % 2 ? cert : old_cert;
		char *own = i % 2 ? xstrdup(key) : text_of("server.key");
		CHECK_INT(http_server_set_certificate(server, one, own, NULL, &e), ==, 0);
		get("localhost", &(struct http_tls){.ca_pem = i % 2 ? next_ca : ca, .server_name = "127.0.0.1"});
		free(own);
	}
	free(ca);
	free(old_cert);
	free(cert);
	free(key);
	free(next_ca);
	tear_down();
}

TEST(a_client_is_known_by_a_certificate_that_an_authority_stands_for_and_no_other)
{
	snprintf(folder, sizeof folder, "/tmp/moonphase-tls-test-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	char *clients = (free(set_of("user")), text_of("user-ca.pem"));
	char *cert = text_of("user.pem"), *key = text_of("user.key");
	shell("rm -rf %s", folder);
	client_ca = clients;
	set_up("IP:127.0.0.1");
	char *ca = text_of("server-ca.pem"), *stranger = set_of("stranger"), *stranger_key = key_of("stranger");
	char *others = text_of("stranger-ca.pem");
	struct err e;
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca});
	CHECK_TEXT(buffer_text(&body), "127.0.0.1 -");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .cert_pem = cert, .key_pem = key});
	CHECK_TEXT(buffer_text(&body), "127.0.0.1 user");
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca, .cert_pem = stranger, .key_pem = stranger_key});
	CHECK_TEXT(buffer_text(&body), "127.0.0.1 -");
	/* other authorities, from the next connection on */
	char *own = text_of("server.pem"), *own_key = text_of("server.key");
	CHECK_INT(http_server_set_certificate(server, own, own_key, others, &e), ==, 0);
	get("localhost", &(struct http_tls){.ca_pem = ca, .cert_pem = stranger, .key_pem = stranger_key, .server_name = "127.0.0.1"});
	CHECK_TEXT(buffer_text(&body), "127.0.0.1 stranger");
	get("localhost", &(struct http_tls){.ca_pem = ca, .cert_pem = cert, .key_pem = key, .server_name = "127.0.0.1"});
	CHECK_TEXT(buffer_text(&body), "127.0.0.1 -");
	char *all[] = {clients, cert, key, ca, stranger, stranger_key, others, own, own_key};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]);
	client_ca = NULL;
	tear_down();
}

static void pass(uint64_t ms)
{
	bool never = false;
	loop_run_until(l, &never, ms);
}

static int connect_plain(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
	return fd;
}

static bool was_closed(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

TEST(whoever_takes_too_long_to_ask_is_shown_out_however_it_drips)
{
	patience_s = 1;
	set_up("IP:127.0.0.1");
	char *ca = text_of("server-ca.pem");
	int silent = connect_plain(), dripping = connect_plain();
	bool both = false;
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	for (int i = 0; i < 60 && !both; i++) { /* a byte of a handshake each 100 ms: never idle */
		send(dripping, hello + i % 11, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		pass(100);
		both = was_closed(silent) && was_closed(dripping);
	}
	CHECK(both);
	get("127.0.0.1", &(struct http_tls){.ca_pem = ca});
	check_good();
	close(silent);
	close(dripping);
	free(ca);
	tear_down();
}

TEST(one_address_has_a_bounded_number_of_connections)
{
	set_up("IP:127.0.0.1");
	int fds[60], closed = 0;
	for (int i = 0; i < 60; i++)
		fds[i] = connect_plain();
	for (int round = 0; round < 50 && closed < 20; round++) {
		pass(200);
		closed = 0;
		for (int i = 0; i < 60; i++)
			closed += was_closed(fds[i]);
	}
	CHECK_INT(closed, ==, 20);
	for (int i = 0; i < 60; i++)
		close(fds[i]);
	tear_down();
}

TEST_MAIN(T(the_right_authority_is_accepted_as_text_and_as_file),
	T(a_wrong_authority_none_and_a_wrong_name_are_refused_with_a_sentence),
	T(insecure_accepts_any_certificate),
	T(tls_server_name_is_checked_in_place_of_the_host),
	T(a_plain_server_behind_https_is_an_error),
	T(a_client_certificate_is_shown_as_text_and_as_file_and_its_lack_is_an_error),
	T(connections_are_kept_for_one_identity_and_not_shared_with_another),
	T(a_new_certificate_is_shown_from_the_next_handshake_on_and_a_bad_one_changes_nothing),
	T(a_client_is_known_by_a_certificate_that_an_authority_stands_for_and_no_other),
	T_TIMED(whoever_takes_too_long_to_ask_is_shown_out_however_it_drips),
	T(one_address_has_a_bounded_number_of_connections))
