/* Where the way to the cluster is written down.
 *
 * The order is client-go's, and each step has its own idea of "not there": a path that was given
 * must exist; of the files in KUBECONFIG some may be missing; no service account means that this
 * is no pod; and only when ~/.kube/config is missing as well is it an error, which then lists all
 * that was tried. */
#include "kube/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "base/yaml.h"
#include "kube/config_files.h"
#include "kube/config_parse.h"

#define FILES_MAX 64

static const char *account_folder;

void kube_config_set_account_folder(const char *folder)
{
	account_folder = folder;
}

static void free_list(char **list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		free(list[i]);
	free(list);
}

void kube_config_deinit(struct kube_config *c)
{
	if (c == NULL)
		return;
	if (c->exec != NULL) {
		free_list(c->exec->argv);
		free_list(c->exec->env);
		free(c->exec->api_version);
		free(c->exec->install_hint);
		free(c->exec);
	}
	free_list(c->impersonate_groups);
	char *texts[] = {c->source, c->context, c->server, c->namespace_, c->ca_pem, c->ca_file, c->tls_server_name,
		c->proxy_url, c->cert_pem, c->key_pem, c->cert_file, c->key_file, c->token, c->token_file, c->username,
		c->password, c->impersonate_user};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(texts[i]);
	*c = (struct kube_config){0};
}

/* --- kubeconfig files --- */

static int parse_file(const char *path, struct kube_file *f, struct err *e)
{
	size_t len;
	cJSON *documents = NULL;
	struct err why = {0};
	char *text = kube_read_file(path, &len, &why);
	if (text == NULL)
		return err_set(e, why.code, "kubeconfig %s", why.text);
	char *name = xasprintf("kubeconfig %s", path);
	int rc = yaml_parse(text, len, name, &documents, e);
	if (rc == 0) {
		f->root = cJSON_GetArraySize(documents) > 0 ? cJSON_DetachItemFromArray(documents, 0) : cJSON_CreateObject();
		f->path = xstrdup(path);
		if (!cJSON_IsObject(f->root))
			rc = err_set(e, ERR_INVALID, "%s: must be a mapping with clusters, users and contexts", name);
	}
	cJSON_Delete(documents);
	free(name);
	free(text);
	return rc;
}

static void free_files(struct kube_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(files[i].path);
		cJSON_Delete(files[i].root);
	}
}

static char *join_paths(const struct kube_file *files, size_t count)
{
	struct buffer b;
	buffer_init(&b, 1u << 20);
	for (size_t i = 0; i < count; i++)
		buffer_printf(&b, "%s%s", i ? ":" : "", files[i].path);
	return buffer_take(&b, NULL);
}

static int load_file(const char *path, const char *context, struct kube_config *c, struct err *e)
{
	struct kube_file file = {0};
	int rc = parse_file(path, &file, e);
	if (rc == 0)
		rc = kube_files_resolve(&file, 1, context, c, e);
	if (rc == 0)
		c->source = xstrdup(path);
	free_files(&file, 1);
	return rc;
}

/* Parse what exists of a colon-separated list. */
static int parse_list(char *list, struct kube_file *files, size_t *count, struct err *e)
{
	char *rest = NULL;
	for (char *path = strtok_r(list, ":", &rest); path != NULL; path = strtok_r(NULL, ":", &rest)) {
		struct err why = {0};
		if (*count == FILES_MAX)
			return err_set(e, ERR_TOO_LARGE, "KUBECONFIG lists more than %d files", FILES_MAX);
		int rc = parse_file(path, &files[*count], &why);
		if (rc == ERR_NOT_FOUND)
			continue;
		++*count;
		if (rc != 0)
			return err_set(e, rc, "%s", why.text);
	}
	return 0;
}

static int load_list(const char *list, const char *context, struct kube_config *c, struct err *e)
{
	struct kube_file files[FILES_MAX] = {{0}};
	size_t count = 0;
	char *copy = xstrdup(list);
	int rc = parse_list(copy, files, &count, e);
	if (rc == 0 && count == 0)
		rc = err_set(e, ERR_NOT_FOUND, "KUBECONFIG is set to %s, but no such file exists", list);
	if (rc == 0)
		rc = kube_files_resolve(files, count, context, c, e);
	if (rc == 0)
		c->source = join_paths(files, count);
	free_files(files, count);
	free(copy);
	return rc;
}

/* --- the pod's account --- */

static char *account_file(const char *name)
{
	return xasprintf("%s/%s", account_folder != NULL ? account_folder : "/var/run/secrets/kubernetes.io/serviceaccount",
		name);
}

static char *account_namespace(void)
{
	char *path = account_file("namespace");
	char *name = kube_read_token(path, NULL);
	free(path);
	return name != NULL ? name : xstrdup("default");
}

/* ERR_NOT_FOUND: this is no pod, or one without an account; *e says which. */
static int load_account(struct kube_config *c, struct err *e)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	if (host == NULL || *host == '\0' || port == NULL || *port == '\0')
		return err_set(e, ERR_NOT_FOUND, "this is no pod (KUBERNETES_SERVICE_HOST is not set)");
	if (port[strspn(port, "0123456789")] != '\0' || strpbrk(host, "/@?# \t\r\n") != NULL)
		return err_set(e, ERR_INVALID, "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no host and port");
	char *path = account_file("token");
	char *token = kube_read_token(path, e);
	if (token == NULL) {
		free(path);
		err_prefix(e, "the pod's service account");
		return ERR_NOT_FOUND;
	}
	free(token);
	c->token_file = path;
	c->ca_file = account_file("ca.crt");
	c->ca_pem = kube_read_file(c->ca_file, NULL, e);
	if (c->ca_pem == NULL)
		return err_prefix(e, "the pod's service account"), ERR_INVALID;
	bool is_v6 = strchr(host, ':') != NULL && host[0] != '[';
	c->server = xasprintf(is_v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
	c->namespace_ = account_namespace();
	c->source = xstrdup("the pod's service account");
	c->context = xstrdup("in-cluster");
	return 0;
}

static int load_home(const char *context, const struct err *no_account, struct kube_config *c, struct err *e)
{
	struct err why = {0};
	const char *home = getenv("HOME");
	char *path = xasprintf("%s/.kube/config", home != NULL ? home : "");
	int rc = load_file(path, context, c, &why);
	if (rc == ERR_NOT_FOUND)
		err_set(e, rc, "no cluster is configured: --kubeconfig is not given, KUBECONFIG is not set, %s, and %s does "
			"not exist", no_account->text, path);
	else if (rc != 0)
		err_set(e, rc, "%s", why.text);
	free(path);
	return rc;
}

static int load(const struct kube_config_options *o, struct kube_config *c, struct err *e)
{
	const char *list = getenv("KUBECONFIG");
	if (o->path != NULL)
		return load_file(o->path, o->context, c, e);
	if (list != NULL && *list != '\0')
		return load_list(list, o->context, c, e);
	struct err why = {0};
	err_set(&why, ERR_NOT_FOUND, "--context asks for a kubeconfig file");
	int rc = o->context != NULL ? ERR_NOT_FOUND : load_account(c, &why);
	if (rc == ERR_NOT_FOUND) {
		kube_config_deinit(c);
		return load_home(o->context, &why, c, e);
	}
	return rc == 0 ? 0 : err_set(e, rc, "%s", why.text);
}

int kube_config_load(const struct kube_config_options *o, struct kube_config *c, struct err *e)
{
	struct err mine = {0};
	*c = (struct kube_config){0};
	int rc = load(o, c, &mine);
	if (rc == 0)
		return 0;
	kube_config_deinit(c);
	return err_set(e, rc, "%s", mine.text);
}
