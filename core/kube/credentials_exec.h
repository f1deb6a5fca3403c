/* An exec credential plugin: a program that prints who we are.
 * client-go's contract: KUBERNETES_EXEC_INFO in its environment, an ExecCredential on its
 * standard output (k8s.io/client-go pkg/apis/clientauthentication/v1). */
#ifndef MOONPHASE_KUBE_CREDENTIALS_EXEC_H
#define MOONPHASE_KUBE_CREDENTIALS_EXEC_H

#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "kube/config.h"
#include "loop/loop.h"

#define EXEC_TIMEOUT_MS 60000
#define EXEC_OUTPUT_MAX (1u << 20)

struct exec_answer { /* strings are owned, NULL: not given */
	char *token;
	char *cert_pem, *key_pem;
	int64_t expires_ms; /* wall time; INT64_MAX: never */
};
void exec_answer_deinit(struct exec_answer *a);

/* Read what a plugin printed. The error never quotes it: it holds the token. */
int exec_answer_parse(const char *json, size_t len, const char *api_version, struct exec_answer *a, struct err *e);

struct exec_plugin;

/* `config` must outlive it and has an exec part. */
struct exec_plugin *exec_plugin_new(struct loop *loop, struct clock *clock, const struct kube_config *config);
/* Kills a run that is under way; its `done` is not called. */
void exec_plugin_free(struct exec_plugin *p);
/* Run it; `done` comes later, once. One run at a time. */
void exec_plugin_run(struct exec_plugin *p, uint64_t timeout_ms,
	void (*done)(void *arg, struct exec_answer *a, const struct err *err), void *arg);

#endif
