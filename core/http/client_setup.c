/* A request as curl options.
 *
 * curl comes with the habits of a command-line tool: it reads proxies from the environment,
 * trusts the system's certificates beside the ones it was given, asks "Expect: 100-continue",
 * installs signal handlers. An API client must have none of these; each is turned off here, by
 * name. A request comes from our own code, yet its parts (a server's URL from a kubeconfig, a
 * token from a file) come from outside: what could smuggle in a second header line is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/version.h"
#include "base/xalloc.h"
#include "http/client_internal.h"

#define TIMEOUT_MAX_MS (24ul * 24 * 3600 * 1000) /* fits curl's int milliseconds */
#define BUFFER_BYTES (16l << 10) /* a TLS record; one to receive, one to send */
#define STREAM_BUFFER_BYTES (4l << 10) /* an event or two; there may be thousands of watches */

static int add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *grown = curl_slist_append(*list, line);
	if (grown == NULL)
		return ERR_NOMEM;
	*list = grown;
	return 0;
}

static bool is_named(const char *header, const char *name)
{
	size_t len = strlen(name);
	return strncasecmp(header, name, len) == 0 && header[len] == ':';
}

static bool has_header(const struct http_request *r, const char *name)
{
	for (const char *const *h = r->headers; h != NULL && *h != NULL; h++)
		if (is_named(*h, name))
			return true;
	return false;
}

/* The value is not shown: it may be a token. */
static int check_header(const char *header, struct err *e)
{
	const char *colon = strchr(header, ':');
	if (colon == NULL || colon == header)
		return err_set(e, ERR_INVALID, "a request header has no name");
	for (const unsigned char *p = (const unsigned char *)header; *p != '\0'; p++)
		if ((*p < ' ' && *p != '\t') || *p == 0x7f)
			return err_set(e, ERR_INVALID,
				"the request header %.*s holds a control character (a line end in a token file?)",
				(int)(colon - header < 60 ? colon - header : 60), header);
	return 0;
}

static int set_headers(struct http_exchange *x, const struct http_request *r, struct err *e)
{
	int rc = add_line(&x->headers, "Expect:");
	for (const char *const *h = r->headers; h != NULL && *h != NULL && rc == 0; h++) {
		rc = check_header(*h, e);
		if (rc != 0)
			return rc;
		rc = add_line(&x->headers, *h);
	}
	if (rc == 0 && !has_header(r, "Content-Type"))
		rc = add_line(&x->headers, "Content-Type:"); /* curl would call it a form */
	if (rc != 0)
		return err_set(e, rc, "no memory for the request's headers");
	curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
	return 0;
}

static int set_method(struct http_exchange *x, const struct http_request *r, struct err *e)
{
	if (r->method == NULL || r->method[0] == '\0' ||
		strspn(r->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != strlen(r->method))
		return err_set(e, ERR_INVALID, "the request has no method");
	bool writes = strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0 ||
		strcmp(r->method, "PATCH") == 0;
	if (r->body_len != 0 || writes) {
		x->body = xmemdup0(r->body != NULL ? r->body : "", r->body_len);
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->body);
		curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
	} else if (strcmp(r->method, "HEAD") == 0) {
		curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1l);
		return 0;
	}
	curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, r->method);
	return 0;
}

/* One PEM from text or file; `given` tells whether there was any. */
static int pem(struct http_exchange *x, CURLoption option, const char *text, const char *file,
	uint64_t revision, bool *given, struct err *e)
{
	struct curl_blob blob;
	*given = true;
	if (text != NULL) {
		blob = (struct curl_blob){.data = (void *)(uintptr_t)text, .len = strlen(text),
			.flags = CURL_BLOB_NOCOPY};
	} else if (file != NULL) {
		int rc = client_pem_read(x->client, file, revision, &blob, e);
		if (rc != 0)
			return rc;
	} else {
		*given = false;
		return 0;
	}
	CURLcode code = curl_easy_setopt(x->easy, option, &blob);
	if (code != CURLE_OK)
		return err_set(e, ERR_NOMEM, "cannot hand a certificate to curl: %s", curl_easy_strerror(code));
	return 0;
}

static int set_tls(struct http_exchange *x, const struct http_tls *t, struct err *e)
{
	bool has_ca, has_cert, has_key;
	int rc = pem(x, CURLOPT_CAINFO_BLOB, t->ca_pem, t->ca_file, t->revision, &has_ca, e);
	if (rc == 0)
		rc = pem(x, CURLOPT_SSLCERT_BLOB, t->cert_pem, t->cert_file, t->revision, &has_cert, e);
	if (rc == 0)
		rc = pem(x, CURLOPT_SSLKEY_BLOB, t->key_pem, t->key_file, t->revision, &has_key, e);
	if (rc == 0 && has_cert && !has_key) /* both may stand in one file */
		rc = pem(x, CURLOPT_SSLKEY_BLOB, t->cert_pem, t->cert_file, t->revision, &has_key, e);
	if (rc != 0)
		return rc;
	/* curl would go on trusting the folder of the system's authorities beside ours. */
	if (has_ca)
		curl_easy_setopt(x->easy, CURLOPT_CAPATH, NULL);
	if (t->insecure) {
		curl_easy_setopt(x->easy, CURLOPT_SSL_VERIFYPEER, 0l);
		curl_easy_setopt(x->easy, CURLOPT_SSL_VERIFYHOST, 0l);
	}
	return 0;
}

static int bad_url(struct err *e, CURLUcode code)
{
	return err_set(e, ERR_INVALID, "the request's URL cannot be used: %s", curl_url_strerror(code));
}

/* curl checks (and sends as SNI) the host of the URL. So the URL names `name`, the connection is
 * led to where the URL really points, and the Host header keeps the real host. */
static int rename_server(struct http_exchange *x, const struct http_request *r, struct err *e)
{
	const char *name = r->tls->server_name;
	char *host = NULL, *port = NULL, *default_port = NULL, *url = NULL;
	char *lead = NULL, *host_header = NULL, *bracketed = NULL;
	if (strchr(name, ':') != NULL && name[0] != '[')
		bracketed = xasprintf("[%s]", name);
	CURLU *u = curl_url();
	CURLUcode code = curl_url_set(u, CURLUPART_URL, r->url, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(u, CURLUPART_HOST, &host, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(u, CURLUPART_PORT, &default_port, CURLU_DEFAULT_PORT);
	if (code == CURLUE_OK)
		code = curl_url_set(u, CURLUPART_HOST, bracketed != NULL ? bracketed : name, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(u, CURLUPART_URL, &url, 0);
	int rc = code == CURLUE_OK ? 0 : bad_url(e, code);
	if (rc == 0) {
		curl_url_get(u, CURLUPART_PORT, &port, 0); /* only if it was written out */
		lead = xasprintf("%s:%s:%s:%s", bracketed != NULL ? bracketed : name, default_port, host, default_port);
		host_header = xasprintf("Host: %s%s%s", host, port != NULL ? ":" : "", port != NULL ? port : "");
		rc = add_line(&x->connect_to, lead);
		if (rc == 0 && !has_header(r, "Host"))
			rc = add_line(&x->headers, host_header);
		if (rc != 0)
			err_set(e, rc, "no memory for the request's headers");
	}
	if (rc == 0) {
		curl_easy_setopt(x->easy, CURLOPT_CONNECT_TO, x->connect_to);
		curl_easy_setopt(x->easy, CURLOPT_URL, url);
	}
	curl_url_cleanup(u);
	curl_free(host);
	curl_free(port);
	curl_free(default_port);
	curl_free(url);
	free(lead);
	free(host_header);
	free(bracketed);
	return rc;
}

/* As Go's client does, a SOCKS proxy resolves names itself: it may know names that we do not. */
static void set_route(struct http_exchange *x, const struct http_request *r)
{
	static const char socks[] = "socks5://";
	const char *proxy = r->proxy_url != NULL ? r->proxy_url : "";
	if (strncasecmp(proxy, socks, sizeof socks - 1) == 0) {
		char *resolving = xasprintf("socks5h://%s", proxy + sizeof socks - 1);
		curl_easy_setopt(x->easy, CURLOPT_PROXY, resolving);
		free(resolving);
	} else {
		curl_easy_setopt(x->easy, CURLOPT_PROXY, proxy); /* "" keeps the environment out */
	}
	curl_easy_setopt(x->easy, CURLOPT_NOPROXY, "");
	curl_easy_setopt(x->easy, CURLOPT_SOCKS5_AUTH, (long)CURLAUTH_BASIC); /* and not Kerberos */
	curl_easy_setopt(x->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1l);
	if (r->unix_socket != NULL)
		curl_easy_setopt(x->easy, CURLOPT_UNIX_SOCKET_PATH, r->unix_socket);
	x->is_proxied = proxy[0] != '\0';
	x->unix_socket = r->unix_socket != NULL ? xstrdup(r->unix_socket) : NULL;
	x->over_tls = strncasecmp(r->url, "https:", 6) == 0;
}

static long milliseconds(uint64_t ms)
{
	return (long)(ms < TIMEOUT_MAX_MS ? ms : TIMEOUT_MAX_MS);
}

/* curl asks when the connection is made, or a kept one was found, and before it writes to it. */
static int before_request(void *exchange, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
	struct http_exchange *x = exchange;
	(void)peer_ip, (void)local_ip, (void)peer_port, (void)local_port;
	if (x->cancelled)
		return CURL_PREREQFUNC_ABORT;
	x->withheld = !x->may_leave(x->arg);
	return x->withheld ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void set_fence(struct http_exchange *x, const struct http_request *r)
{
	x->may_leave = r->may_leave;
	if (r->may_leave == NULL)
		return;
	curl_easy_setopt(x->easy, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(x->easy, CURLOPT_PREREQDATA, x);
}

static void set_habits(struct http_exchange *x, const struct http_request *r)
{
	CURL *easy = x->easy;
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1l);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1l);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1l);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, r->keep_alive_probes ? STREAM_BUFFER_BYTES : BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
	char agent[96];
	snprintf(agent, sizeof agent, "moonphase/%s", moonphase_version);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, agent); /* curl keeps a copy */
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->curl_text);
	curl_easy_setopt(easy, CURLOPT_SHARE, x->client->share);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, client_socket_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, x->client);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, client_socket_close);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, x->client);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(x->connect_timeout_ms));
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(x->timeout_ms));
}

int client_setup(struct http_exchange *x, const struct http_request *r, struct err *e)
{
	set_habits(x, r);
	set_fence(x, r);
	set_route(x, r);
	int rc = set_method(x, r, e);
	if (rc == 0 && r->tls != NULL && r->tls->server_name != NULL && r->tls->server_name[0] != '\0')
		rc = rename_server(x, r, e);
	else if (rc == 0)
		curl_easy_setopt(x->easy, CURLOPT_URL, r->url);
	if (rc == 0)
		rc = set_headers(x, r, e);
	if (rc == 0 && r->tls != NULL && strncasecmp(r->url, "https:", 6) == 0)
		rc = set_tls(x, r->tls, e);
	return rc;
}
