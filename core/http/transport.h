/* One HTTP exchange, whoever carries it.
 *
 * The client over libcurl implements this (client.h); tests and the simulated cluster implement
 * it in memory, on virtual time. Everything above (credentials, list and watch, lease) takes a
 * struct transport and cannot tell the difference. */
#ifndef MOONPHASE_HTTP_TRANSPORT_H
#define MOONPHASE_HTTP_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* What a connection is made with. Shared and unchanged while exchanges use it: the owner makes a
 * new one when a certificate changes (`revision` differs, connections are not shared). PEM texts
 * win over files. Any field may be NULL. */
struct http_tls {
	const char *ca_pem;
	const char *ca_file;
	const char *cert_pem, *key_pem;
	const char *cert_file, *key_file;
	const char *server_name; /* checked against the certificate (and sent as SNI) in place of the host */
	bool insecure;           /* do not check the server's certificate */
	uint64_t revision;
};

struct http_request {
	const char *method;          /* "GET" ... */
	const char *url;             /* http:// or https:// */
	const char *const *headers;  /* "Name: value", NULL behind the last; may be NULL */
	const void *body;
	size_t body_len;
	const struct http_tls *tls;  /* must live until done */
	const char *proxy_url;       /* http, https, socks5; NULL: none (the environment is not read) */
	const char *unix_socket;     /* path; NULL: TCP */
	uint64_t connect_timeout_ms; /* 0: 10 s */
	uint64_t timeout_ms;         /* whole exchange; 0: none (watches) */
	bool keep_alive_probes;      /* TCP keepalive and TCP_USER_TIMEOUT, for long streams */
	/* Asked, with the exchange's `arg`, when a connection is there and the first byte is about to leave, and again
	 * if it has to be sent on another one: false ends it with ERR_FENCED, and nothing was sent. NULL: it may. */
	bool (*may_leave)(void *arg);
};

struct http_result {
	int status;      /* HTTP status; 0: no answer came */
	struct err err;  /* code 0: the exchange ended in order, whatever the status */
	bool refused;    /* nobody listened: the connection was refused */
	bool sent;       /* some byte of the request may have reached the server */
};

/* Callbacks run on the loop, never from inside transport_start. Each may be NULL but on_done. */
struct http_handlers {
	/* Once, before the first byte of the body. `header` looks one up (case-insensitive; NULL if
	 * absent) and is valid during the callback only. */
	void (*on_headers)(void *arg, int status, const char *(*header)(void *headers, const char *name),
		void *headers);
	/* Return 0 to go on, or an err_code to end the exchange with it. */
	int (*on_data)(void *arg, const char *bytes, size_t len);
	/* Exactly once, unless cancelled. The exchange is gone by then: it cannot be cancelled. */
	void (*on_done)(void *arg, const struct http_result *r);
};

struct http_exchange;

struct transport {
	/* Copies the request (not tls). Never NULL: what cannot start is reported by on_done. */
	struct http_exchange *(*start)(struct transport *t, const struct http_request *r,
		const struct http_handlers *h, void *arg);
	/* No callback comes after this. Safe inside on_headers and on_data of the same exchange. */
	void (*cancel)(struct transport *t, struct http_exchange *x);
};

#endif
