/* Who we are, at this moment.
 *
 * Credentials change behind our back: the kubelet rewrites token files hourly, certificates are
 * renewed, plugins hand out tokens that live minutes. Nothing here polls: whoever is about to
 * send a request asks, and what is older than its age limit is looked at again then. A failed
 * look keeps what we have, because an old token may still be good and none is surely not.
 *
 * Exchanges hold the TLS material that they were started with; an old set is freed when its last
 * holder drops it. */
#include "kube/credentials.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "http/certificate.h"
#include "kube/config_files.h"
#include "kube/credentials_exec.h"

#define TOKEN_AGE_MS 60000        /* client-go transport/token_source.go */
#define CERTIFICATE_AGE_MS 300000 /* client-go transport/cert_rotation.go */
#define CERTIFICATE_AGAIN_MS 10000 /* when what was read makes no sense yet */
#define EXPIRY_LEEWAY_MS 10000
#define FAILURE_AGE_MS 1000 /* a plugin that failed is not asked again by everyone at once */

struct tls_set {
	struct http_tls tls; /* first: what is handed out points to the whole */
	char *ca, *cert, *key;
	unsigned holders;
	struct tls_set *next; /* in credentials.old */
};

struct credentials {
	struct clock *clock;
	const struct kube_config *config;
	char *authorization; /* a header line, or NULL */
	struct tls_set *tls;
	struct tls_set *old; /* held by exchanges, used for nothing new */
	uint64_t revision;
	uint64_t token_read_ms, tls_read_ms;
	/* with a plugin only */
	struct exec_plugin *plugin;
	bool asking, answered;
	int64_t expires_ms;
	uint64_t failed_ms;
	struct err *failure;
	struct credentials_wait *waiting, **waiting_end;
};

/* --- TLS material --- */

static void tls_set_free(struct tls_set *s)
{
	free(s->ca);
	free(s->cert);
	free(s->key);
	free(s);
}

/* Takes the three texts over. Revisions are counted in the whole process: one HTTP client may
 * serve several clusters. */
static struct tls_set *tls_set_new(const struct kube_config *config, char *ca, char *cert, char *key)
{
	static uint64_t revisions;
	struct tls_set *s = xcalloc(1, sizeof *s);
	s->ca = ca;
	s->cert = cert;
	s->key = key;
	s->tls = (struct http_tls){.ca_pem = ca, .cert_pem = cert, .key_pem = key,
		.server_name = config->tls_server_name, .insecure = config->insecure, .revision = ++revisions};
	return s;
}

static void use_tls(struct credentials *c, struct tls_set *s)
{
	struct tls_set *before = c->tls;
	c->tls = s;
	c->revision++;
	if (before != NULL && before->holders > 0) {
		before->next = c->old;
		c->old = before;
	} else if (before != NULL) {
		tls_set_free(before);
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static char *copy(const char *text)
{
	return text != NULL ? xstrdup(text) : NULL;
}

/* Take the texts into use if they differ from what is in use; they are taken over. */
static void offer_tls(struct credentials *c, char *ca, char *cert, char *key)
{
	if (c->tls != NULL && same_text(ca, c->tls->ca) && same_text(cert, c->tls->cert) && same_text(key, c->tls->key)) {
		free(ca);
		free(cert);
		free(key);
		return;
	}
	use_tls(c, tls_set_new(c->config, ca, cert, key));
}

static int read_certificate(const struct kube_config *config, char **cert, char **key, struct err *e)
{
	*cert = config->cert_file != NULL ? kube_read_file(config->cert_file, NULL, e) : copy(config->cert_pem);
	if (*cert == NULL && config->cert_file != NULL)
		return err_prefix(e, "client certificate");
	*key = config->key_file != NULL ? kube_read_file(config->key_file, NULL, e) : copy(config->key_pem);
	if (*key != NULL || config->key_file == NULL)
		return 0;
	free(*cert);
	*cert = NULL;
	return err_prefix(e, "client key");
}

static int first_tls(struct credentials *c, struct err *e)
{
	char *cert, *key;
	int rc = read_certificate(c->config, &cert, &key, e);
	if (rc == 0)
		offer_tls(c, copy(c->config->ca_pem), cert, key);
	return rc;
}

/* Of what comes from files. Who renews those writes one after the other: half of one, or a certificate beside the key of before,
 * is not to be used. */
static int check_tls(const struct kube_config *config, const char *ca, const char *cert, const char *key, struct err *e)
{
	struct certificate_info info;
	if (config->ca_file != NULL && ca != NULL && certificate_read(ca, &info, e) != 0)
		return err_prefix(e, "certificate authority");
	if ((config->cert_file != NULL || config->key_file != NULL) && cert != NULL && key != NULL &&
		certificate_check(cert, key, NULL, NULL, 0, e) != 0)
		return err_prefix(e, "client certificate");
	return 0;
}

static void reread_tls(struct credentials *c)
{
	struct err e;
	char *cert = NULL, *key = NULL, *ca = NULL;
	c->tls_read_ms = clock_now_ms(c->clock);
	if (c->plugin != NULL && c->answered) { /* the plugin's certificate, not the file's */
		cert = copy(c->tls->cert);
		key = copy(c->tls->key);
	} else if (read_certificate(c->config, &cert, &key, &e) != 0) {
		log_warn("the client certificate could not be read again, the old one stays in use", "why", e.text, NULL);
		return;
	}
	if (c->config->ca_file != NULL && (ca = kube_read_file(c->config->ca_file, NULL, &e)) == NULL)
		log_warn("the certificate authority could not be read again, the old one stays in use", "why", e.text, NULL);
	if (ca == NULL)
		ca = copy(c->tls->ca);
	if (check_tls(c->config, ca, cert, key, &e) != 0) {
		log_warn("certificates that were read again make no sense yet, the old ones stay in use", "why", e.text, NULL);
		c->tls_read_ms -= CERTIFICATE_AGE_MS - CERTIFICATE_AGAIN_MS;
		free(ca);
		free(cert);
		free(key);
		return;
	}
	offer_tls(c, ca, cert, key);
}

void credentials_hold(struct credentials *c, const struct http_tls *tls)
{
	(void)c;
	((struct tls_set *)(uintptr_t)tls)->holders++;
}

void credentials_drop(struct credentials *c, const struct http_tls *tls)
{
	struct tls_set *s = (struct tls_set *)(uintptr_t)tls;
	if (--s->holders > 0 || s == c->tls)
		return;
	for (struct tls_set **at = &c->old; *at != NULL; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	tls_set_free(s);
}

/* --- tokens --- */

/* Takes `line` over; whether it differs from the one in use. */
static bool use_authorization(struct credentials *c, char *line)
{
	if (same_text(line, c->authorization)) {
		free(line);
		return false;
	}
	free(c->authorization);
	c->authorization = line;
	c->revision++;
	return true;
}

static char *bearer(const char *token)
{
	return xasprintf("Authorization: Bearer %s", token);
}

static char *basic(const char *username, const char *password)
{
	struct buffer line;
	char *pair = xasprintf("%s:%s", username, password != NULL ? password : "");
	buffer_init(&line, 2 * KUBE_FILE_MAX);
	buffer_add_text(&line, "Authorization: Basic ");
	base64_encode(pair, strlen(pair), &line);
	free(pair);
	return buffer_take(&line, NULL);
}

static int first_token(struct credentials *c, struct err *e)
{
	const struct kube_config *config = c->config;
	char *token;
	if (config->token_file != NULL && (token = kube_read_token(config->token_file, e)) != NULL) {
		use_authorization(c, bearer(token));
		free(token);
	} else if (config->token != NULL) {
		use_authorization(c, bearer(config->token));
	} else if (config->token_file != NULL) {
		return err_prefix(e, "token file");
	} else if (config->username != NULL) {
		use_authorization(c, basic(config->username, config->password));
	}
	return 0;
}

/* Whether another token was there. */
static bool reread_token(struct credentials *c)
{
	struct err e;
	c->token_read_ms = clock_now_ms(c->clock);
	char *token = kube_read_token(c->config->token_file, &e);
	if (token == NULL) {
		log_warn("the token file could not be read again, the old token stays in use", "why", e.text, NULL);
		return false;
	}
	bool changed = use_authorization(c, bearer(token));
	free(token);
	return changed;
}

static void look_again(struct credentials *c)
{
	const struct kube_config *config = c->config;
	uint64_t now = clock_now_ms(c->clock);
	if (config->token_file != NULL && now - c->token_read_ms >= TOKEN_AGE_MS)
		reread_token(c);
	if ((config->ca_file != NULL || config->cert_file != NULL || config->key_file != NULL) &&
		now - c->tls_read_ms >= CERTIFICATE_AGE_MS)
		reread_tls(c);
}

/* --- the plugin --- */

static bool is_plugin_answer_good(const struct credentials *c)
{
	return c->answered &&
		(c->expires_ms == INT64_MAX || clock_wall_ms(c->clock) < c->expires_ms - EXPIRY_LEEWAY_MS);
}

static void give(struct credentials *c, struct credentials_wait *w, const struct err *failure)
{
	w->revision = c->revision;
	if (failure != NULL)
		w->ready(w, NULL, NULL, failure);
	else
		w->ready(w, c->authorization, &c->tls->tls, NULL);
}

static void use_plugin_answer(struct credentials *c, struct exec_answer *a)
{
	use_authorization(c, a->token != NULL ? bearer(a->token) : NULL);
	offer_tls(c, copy(c->tls->ca), a->cert_pem, a->key_pem);
	a->cert_pem = a->key_pem = NULL;
	c->expires_ms = a->expires_ms;
	c->answered = true;
	c->revision++;
}

static void remember_failure(struct credentials *c, const struct err *err)
{
	if (c->failure == NULL)
		c->failure = xmalloc(sizeof *c->failure);
	*c->failure = *err;
	c->failed_ms = clock_now_ms(c->clock);
}

static void on_plugin(void *arg, struct exec_answer *a, const struct err *err)
{
	struct credentials *c = arg;
	c->asking = false;
	if (err == NULL)
		use_plugin_answer(c, a);
	else
		remember_failure(c, err);
	struct credentials_wait *w;
	while ((w = c->waiting) != NULL) {
		c->waiting = w->next;
		if (c->waiting == NULL)
			c->waiting_end = &c->waiting;
		give(c, w, err != NULL ? c->failure : NULL);
	}
}

static void wait_for_plugin(struct credentials *c, struct credentials_wait *w)
{
	w->next = NULL;
	*c->waiting_end = w;
	c->waiting_end = &w->next;
	if (c->asking)
		return;
	c->asking = true;
	free(c->failure);
	c->failure = NULL;
	exec_plugin_run(c->plugin, EXEC_TIMEOUT_MS, on_plugin, c);
}

/* --- what callers see --- */

void credentials_get(struct credentials *c, struct credentials_wait *w)
{
	look_again(c);
	if (c->plugin == NULL || is_plugin_answer_good(c))
		give(c, w, NULL);
	else if (!c->asking && c->failure != NULL && clock_now_ms(c->clock) - c->failed_ms < FAILURE_AGE_MS)
		give(c, w, c->failure);
	else
		wait_for_plugin(c, w);
}

void credentials_cancel(struct credentials *c, struct credentials_wait *w)
{
	for (struct credentials_wait **at = &c->waiting; *at != NULL; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			if (*at == NULL)
				c->waiting_end = at;
			return;
		}
}

bool credentials_refused(struct credentials *c, uint64_t revision)
{
	if (revision != c->revision)
		return true;
	if (c->plugin != NULL) {
		c->answered = false;
		return true;
	}
	return c->config->token_file != NULL && reread_token(c);
}

struct credentials *credentials_new(struct loop *loop, struct clock *clock, const struct kube_config *config,
	struct err *e)
{
	struct credentials *c = xcalloc(1, sizeof *c);
	c->clock = clock;
	c->config = config;
	c->waiting_end = &c->waiting;
	c->token_read_ms = c->tls_read_ms = clock_now_ms(clock);
	int rc = first_tls(c, e);
	if (rc == 0)
		rc = first_token(c, e);
	if (rc == 0 && config->exec != NULL && loop == NULL)
		rc = err_set(e, ERR_INVALID, "the credential plugin %s cannot run on virtual time", config->exec->argv[0]);
	if (rc == 0 && config->exec != NULL)
		c->plugin = exec_plugin_new(loop, clock, config);
	if (rc == 0)
		return c;
	credentials_free(c);
	return NULL;
}

void credentials_free(struct credentials *c)
{
	if (c == NULL)
		return;
	exec_plugin_free(c->plugin);
	if (c->tls != NULL)
		tls_set_free(c->tls);
	while (c->old != NULL) {
		struct tls_set *next = c->old->next;
		tls_set_free(c->old);
		c->old = next;
	}
	free(c->authorization);
	free(c->failure);
	free(c);
}
