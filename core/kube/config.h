/* Which cluster, and as who: kubeconfig files and the in-cluster account.
 *
 * Looked for in the order of client-go: the path given, KUBECONFIG (a list of files, merged,
 * the first one to set a value wins), the service account mounted into a pod, ~/.kube/config.
 * What is found is checked field by field; an error says which file, which field and what was
 * expected. Relative paths inside a file are relative to its folder. Unknown fields are passed
 * over, as kubectl does; what would change who we are and is not supported is refused
 * (auth-provider, as-uid, as-user-extra). With --context the pod's account is passed over.
 * Fields: k8s.io/client-go tools/clientcmd/api/types.go. */
#ifndef MOONPHASE_KUBE_CONFIG_H
#define MOONPHASE_KUBE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct kube_exec { /* an exec credential plugin; argv and env as process.h wants them */
	char **argv;
	char **env;
	char *api_version;    /* client.authentication.k8s.io/v1 or v1beta1 */
	char *install_hint;   /* may be NULL */
	bool provide_cluster_info;
};

struct kube_config { /* every string is owned; NULL: not set */
	char *source;         /* "/root/.kube/config", "the pod's service account" */
	char *context;        /* its name */
	char *server;         /* "https://host:port", no slash at the end; may hold a path */
	char *namespace_;     /* of the context; default "default" */
	char *ca_pem;         /* read from file or data */
	char *ca_file;        /* where it came from, to be read again */
	char *tls_server_name;
	bool insecure;
	char *proxy_url;
	char *cert_pem, *key_pem;   /* from data */
	char *cert_file, *key_file; /* to be read, and read again */
	char *token;
	char *token_file;
	char *username, *password;
	struct kube_exec *exec;
	char *impersonate_user;
	char **impersonate_groups;  /* NULL behind the last */
};

struct kube_config_options {
	const char *path;     /* --kubeconfig, or NULL */
	const char *context;  /* --context, or NULL: current-context */
};

int kube_config_load(const struct kube_config_options *o, struct kube_config *c, struct err *e);
void kube_config_deinit(struct kube_config *c);
/* Where the pod's service account is mounted; NULL: /var/run/secrets/kubernetes.io/serviceaccount.
 * For tests. The text must live on. */
void kube_config_set_account_folder(const char *folder);

#endif
