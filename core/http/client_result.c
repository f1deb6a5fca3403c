/* How an exchange ended, as a sentence for a person.
 *
 * curl's own texts are written for its users ("Failed to connect to h port 1 after 0 ms"). What a
 * reader of a log wants is: which server, what happened, what to look at. The URL's path and
 * query stay out (they may be long, and callers name the object); headers and bodies never get
 * here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "http/client_internal.h"

/* "10.0.0.1:6443", from the URL, or "the socket /run/a.sock"; the caller frees it. */
static char *place_of(const struct http_exchange *x)
{
	if (x->unix_socket != NULL)
		return xasprintf("the socket %s", x->unix_socket);
	char *host = NULL, *port = NULL, *place;
	CURLU *u = curl_url();
	if (curl_url_set(u, CURLUPART_URL, x->url, 0) == CURLUE_OK &&
		curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
		place = xasprintf("%.300s:%s%s", host, port, x->is_proxied ? " through the proxy" : "");
	else
		place = xstrdup("the server");
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return place;
}

static bool was_refused(const struct http_exchange *x, long os_error)
{
	return os_error == ECONNREFUSED || (x->unix_socket != NULL && os_error == ENOENT);
}

static int not_connected(struct http_exchange *x, const char *place, struct http_result *r)
{
	long os_error = 0;
	curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &os_error);
	r->refused = was_refused(x, os_error);
	if (r->refused)
		return err_set(&r->err, ERR_IO,
			"cannot connect to %s: the connection was refused; is the server running there?", place);
	return err_set(&r->err, ERR_IO, "cannot connect to %s: %s", place,
		os_error != 0 ? strerror((int)os_error) : x->curl_text);
}

static int timed_out(struct http_exchange *x, const char *place, struct http_result *r)
{
	curl_off_t pretransfer_us = 0;
	curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &pretransfer_us);
	uint64_t total = x->timeout_ms;
	if (pretransfer_us == 0) {
		uint64_t limit = total != 0 && total < x->connect_timeout_ms ? total : x->connect_timeout_ms;
		return err_set(&r->err, ERR_TIMEOUT, "no connection to %s came about within %g s", place,
			(double)limit / 1000);
	}
	return err_set(&r->err, ERR_TIMEOUT, "%s gave no %sanswer within %g s", place,
		x->headers_told ? "complete " : "", (double)total / 1000);
}

static int reader_gave_up(const struct http_exchange *x, const char *place, struct http_result *r)
{
	if (x->headers_too_large)
		return err_set(&r->err, ERR_TOO_LARGE, "the answer of %s has more than %u bytes of headers", place,
			HEADERS_MAX);
	if (x->reader_code == ERR_TOO_LARGE)
		return err_set(&r->err, ERR_TOO_LARGE, "the answer of %s is larger than its reader allows", place);
	return err_set(&r->err, x->reader_code, "the answer of %s was refused by its reader (%s)", place,
		err_name(x->reader_code));
}

static int broke_off(const struct http_exchange *x, const char *place, struct http_result *r)
{
	const char *when = x->headers_told ? "in the middle of its answer" : "before it answered";
	return err_set(&r->err, ERR_IO, "%s ended the connection %s%s%s", place, when,
		x->curl_text[0] != '\0' ? ": " : "", x->curl_text);
}

static void describe(struct http_exchange *x, CURLcode code, const char *place, struct http_result *r)
{
	const char *text = x->curl_text;
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		not_connected(x, place, r);
		break;
	case CURLE_COULDNT_RESOLVE_HOST:
		err_set(&r->err, ERR_IO, "the name of %s is not known; check the URL and DNS", place);
		break;
	case CURLE_COULDNT_RESOLVE_PROXY:
		err_set(&r->err, ERR_IO, "the proxy's name is not known (on the way to %s)", place);
		break;
	case CURLE_OPERATION_TIMEDOUT:
		timed_out(x, place, r);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
		err_set(&r->err, ERR_INVALID, "the certificate of %s is not accepted: %s; check the certificate "
			"authority and the server name", place, text);
		break;
	case CURLE_SSL_CACERT_BADFILE:
		err_set(&r->err, ERR_INVALID, "the certificate authority given for %s cannot be read: it must be PEM "
			"(%s)", place, text);
		break;
	case CURLE_SSL_CERTPROBLEM:
		err_set(&r->err, ERR_INVALID, "the client certificate for %s cannot be used: certificate and key must "
			"be PEM and belong together (%s)", place, text);
		break;
	case CURLE_SSL_CONNECT_ERROR:
		err_set(&r->err, ERR_IO, "no TLS connection with %s: %s", place, text);
		break;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
		if (x->url != NULL && strncasecmp(x->url, "http", 4) != 0)
			err_set(&r->err, ERR_INVALID, "the URL must begin with http:// or https://");
		else
			err_set(&r->err, ERR_IO, "%s does not speak HTTP/1.1 (%s)", place, text);
		break;
	case CURLE_URL_MALFORMAT:
	case CURLE_LOGIN_DENIED:
		err_set(&r->err, ERR_INVALID, "the request's URL cannot be used: %s", curl_easy_strerror(code));
		break;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		broke_off(x, place, r);
		break;
	default:
		err_set(&r->err, ERR_IO, "the exchange with %s failed: %s", place,
			text[0] != '\0' ? text : curl_easy_strerror(code));
	}
}

void client_result(struct http_exchange *x, CURLcode code, struct http_result *r)
{
	long sent = 0;
	curl_easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &sent);
	*r = (struct http_result){.status = x->headers_told ? x->status : 0, .sent = sent > 0};
	/* curl takes half a head and then the end of the connection for an answer. */
	if (code == CURLE_OK && !x->headers_told)
		code = CURLE_GOT_NOTHING;
	if (code == CURLE_OK)
		return;
	char *place = place_of(x);
	if (x->withheld)
		err_set(&r->err, ERR_FENCED, "the request to %s may not leave any more; it was not sent", place);
	else if (x->reader_code != 0 || x->headers_too_large)
		reader_gave_up(x, place, r);
	else
		describe(x, code, place, r);
	free(place);
}
