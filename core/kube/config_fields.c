/* The fields of a cluster and of a user.
 *
 * A wrong credential shows as "Unauthorized" an hour later on somebody else's screen; so
 * everything that can be checked without the server is checked here, where file, entry and field
 * are known. What is secret is never quoted. */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/buffer.h"
#include "base/xalloc.h"
#include "kube/config_files.h"
#include "kube/config_parse.h"

#define LIST_MAX 256

/* --- paths and PEM --- */

/* `path` as seen from the folder of the file; the caller frees it. */
static char *resolve_path(const struct kube_entry *at, const char *path)
{
	const char *slash = strrchr(at->file, '/');
	if (path[0] == '/' || slash == NULL)
		return xstrdup(path);
	return xasprintf("%.*s%s", (int)(slash - at->file + 1), at->file, path);
}

static int check_pem(const struct kube_entry *at, const char *field, const char *pem, const char *what)
{
	const char *begin = strstr(pem, "-----BEGIN ");
	if (begin == NULL || strstr(begin, what) == NULL)
		return kube_entry_bad(at, field, "holds no PEM block \"%s\"", what);
	/* Whoever loads it would ask for the password on the terminal. */
	if (strstr(begin, "ENCRYPTED") != NULL)
		return kube_entry_bad(at, field, "is encrypted, which is not supported");
	return 0;
}

static int read_pem_data(const struct kube_entry *at, const char *field, const char *text, const char *what, char **pem)
{
	struct buffer decoded;
	buffer_init(&decoded, KUBE_FILE_MAX);
	if (base64_decode(text, strlen(text), &decoded) != 0) {
		buffer_deinit(&decoded);
		return kube_entry_bad(at, field, "not base64");
	}
	*pem = buffer_take(&decoded, NULL);
	return check_pem(at, field, *pem, what);
}

/* Reads the file to check it; the text is handed on in *pem if that is not NULL. */
static int read_pem_file(const struct kube_entry *at, const char *field, const char *name, const char *what,
	char **path, char **pem)
{
	struct err why = {0};
	*path = resolve_path(at, name);
	char *text = kube_read_file(*path, NULL, &why);
	if (text == NULL)
		return kube_entry_bad(at, field, "%s", why.text);
	int rc = check_pem(at, field, text, what);
	if (pem != NULL)
		*pem = text;
	else
		free(text);
	return rc;
}

/* FIELD-data wins over FIELD, as for kubectl. */
static int read_pem(const struct kube_entry *at, const char *field, const char *what, char **pem, char **path,
	char **file_pem)
{
	const char *data, *name;
	char *data_field = xasprintf("%s-data", field);
	int rc = kube_entry_text(at, at->value, data_field, &data);
	if (rc == 0)
		rc = kube_entry_text(at, at->value, field, &name);
	if (rc == 0 && data != NULL)
		rc = read_pem_data(at, data_field, data, what, pem);
	else if (rc == 0 && name != NULL)
		rc = read_pem_file(at, field, name, what, path, file_pem);
	free(data_field);
	return rc;
}

/* --- a cluster --- */

static int read_server(const struct kube_entry *at, struct kube_config *c)
{
	const char *server;
	int rc = kube_entry_text(at, at->value, "server", &server);
	if (rc != 0)
		return rc;
	if (server == NULL)
		return kube_entry_bad(at, "server", "is missing");
	bool secure = strncmp(server, "https://", 8) == 0;
	if (!secure && strncmp(server, "http://", 7) != 0)
		return kube_entry_bad(at, "server", "must begin with https:// (or http://)");
	const char *host = server + (secure ? 8 : 7);
	if (*host == '\0' || *host == '/' || strpbrk(host, "@?# ") != NULL || !kube_is_header_text(server))
		return kube_entry_bad(at, "server", "must be an address like https://host:6443");
	size_t len = strlen(server);
	while (server[len - 1] == '/')
		len--;
	c->server = xmemdup0(server, len);
	return 0;
}

/* It may hold a password and is not shown. */
static int read_proxy(const struct kube_entry *at, struct kube_config *c)
{
	const char *url;
	int rc = kube_entry_text(at, at->value, "proxy-url", &url);
	if (rc != 0 || url == NULL)
		return rc;
	bool known = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0 ||
		strncmp(url, "socks5://", 9) == 0;
	if (!known || !kube_is_header_text(url))
		return kube_entry_bad(at, "proxy-url", "must begin with http://, https:// or socks5://");
	c->proxy_url = xstrdup(url);
	return 0;
}

static int copy_text(const struct kube_entry *at, const char *field, char **out)
{
	const char *text;
	int rc = kube_entry_text(at, at->value, field, &text);
	if (rc != 0 || text == NULL)
		return rc;
	if (!kube_is_header_text(text))
		return kube_entry_bad(at, field, "has control characters in it");
	*out = xstrdup(text);
	return 0;
}

int kube_entry_cluster(const struct kube_entry *at, struct kube_config *c)
{
	int rc = read_server(at, c);
	if (rc == 0)
		rc = read_pem(at, "certificate-authority", "CERTIFICATE", &c->ca_pem, &c->ca_file, &c->ca_pem);
	if (rc == 0)
		rc = kube_entry_bool(at, at->value, "insecure-skip-tls-verify", &c->insecure);
	if (rc == 0 && c->insecure && c->ca_pem != NULL)
		rc = kube_entry_bad(at, "insecure-skip-tls-verify", "a certificate-authority is given as well; keep one of them");
	if (rc == 0)
		rc = copy_text(at, "tls-server-name", &c->tls_server_name);
	return rc != 0 ? rc : read_proxy(at, c);
}

/* --- a user --- */

static int read_certificate(const struct kube_entry *at, struct kube_config *c)
{
	int rc = read_pem(at, "client-certificate", "CERTIFICATE", &c->cert_pem, &c->cert_file, NULL);
	if (rc == 0)
		rc = read_pem(at, "client-key", "PRIVATE KEY", &c->key_pem, &c->key_file, NULL);
	if (rc != 0)
		return rc;
	bool cert = c->cert_pem != NULL || c->cert_file != NULL, key = c->key_pem != NULL || c->key_file != NULL;
	if (cert != key)
		return kube_entry_bad(at, cert ? "client-key" : "client-certificate", "is missing, but client-%s is given",
			cert ? "certificate" : "key");
	return 0;
}

static int read_token_file(const struct kube_entry *at, struct kube_config *c)
{
	const char *name;
	struct err why = {0};
	int rc = kube_entry_text(at, at->value, "tokenFile", &name);
	if (rc != 0 || name == NULL)
		return rc;
	c->token_file = resolve_path(at, name);
	char *token = kube_read_token(c->token_file, &why);
	if (token == NULL && c->token == NULL)
		return kube_entry_bad(at, "tokenFile", "%s", why.text);
	free(token);
	return 0;
}

static int read_tokens(const struct kube_entry *at, struct kube_config *c)
{
	int rc = copy_text(at, "token", &c->token);
	if (rc == 0)
		rc = read_token_file(at, c);
	if (rc == 0)
		rc = copy_text(at, "username", &c->username);
	if (rc == 0)
		rc = copy_text(at, "password", &c->password);
	if (rc == 0 && c->username != NULL && (c->token != NULL || c->token_file != NULL))
		rc = kube_entry_bad(at, "username", "a token is given as well; keep one of them");
	return rc;
}

/* The list at `field`: up to LIST_MAX items; *count is 0 if it is absent. */
static int read_list(const struct kube_entry *at, const cJSON *object, const char *field, const char *label,
	const cJSON **list, size_t *count)
{
	*list = cJSON_GetObjectItemCaseSensitive(object, field);
	*count = 0;
	if (*list == NULL || cJSON_IsNull(*list))
		return 0;
	if (!cJSON_IsArray(*list))
		return kube_entry_bad(at, label, "must be a list");
	*count = (size_t)cJSON_GetArraySize(*list);
	return *count <= LIST_MAX ? 0 : kube_entry_bad(at, label, "has more than %d entries", LIST_MAX);
}

static int read_impersonation(const struct kube_entry *at, struct kube_config *c)
{
	static const char *const refused[] = {"as-uid", "as-user-extra"};
	const cJSON *list;
	cJSON *item;
	size_t count, n = 0;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		if (cJSON_GetObjectItemCaseSensitive(at->value, refused[i]) != NULL)
			return kube_entry_bad(at, refused[i], "is not supported; as and as-groups are");
	int rc = copy_text(at, "as", &c->impersonate_user);
	if (rc == 0)
		rc = read_list(at, at->value, "as-groups", "as-groups", &list, &count);
	if (rc != 0 || count == 0)
		return rc;
	if (c->impersonate_user == NULL)
		return kube_entry_bad(at, "as-groups", "needs the user in \"as\"");
	c->impersonate_groups = xcalloc(count + 1, sizeof *c->impersonate_groups);
	cJSON_ArrayForEach(item, list) {
		const char *group = kube_node_text(item);
		if (group == NULL || !kube_is_header_text(group))
			return kube_entry_bad(at, "as-groups", "must be a list of names");
		c->impersonate_groups[n++] = xstrdup(group);
	}
	return 0;
}

/* --- an exec plugin --- */

static int read_command(const struct kube_entry *at, const cJSON *exec, struct kube_exec *x)
{
	const char *command;
	const cJSON *list;
	cJSON *item;
	size_t count, n = 0;
	int rc = kube_entry_text(at, exec, "command", &command);
	if (rc == 0 && command == NULL)
		rc = kube_entry_bad(at, "exec", "command: is missing");
	if (rc == 0)
		rc = read_list(at, exec, "args", "exec: args", &list, &count);
	if (rc != 0)
		return rc;
	x->argv = xcalloc(count + 2, sizeof *x->argv);
	/* A path is relative to the file, a bare name is looked for in PATH. */
	x->argv[n++] = strchr(command, '/') != NULL ? resolve_path(at, command) : xstrdup(command);
	cJSON_ArrayForEach(item, list) {
		const char *arg = kube_node_text(item);
		if (arg == NULL)
			return kube_entry_bad(at, "exec", "args[%zu]: must be text", n - 1);
		x->argv[n++] = xstrdup(arg);
	}
	return 0;
}

static int read_environment(const struct kube_entry *at, const cJSON *exec, struct kube_exec *x)
{
	const cJSON *list;
	cJSON *item;
	size_t count, n = 0;
	int rc = read_list(at, exec, "env", "exec: env", &list, &count);
	if (rc != 0 || count == 0)
		return rc;
	x->env = xcalloc(count + 1, sizeof *x->env);
	cJSON_ArrayForEach(item, list) {
		const char *name = kube_node_text(cJSON_GetObjectItemCaseSensitive(item, "name"));
		const char *value = kube_node_text(cJSON_GetObjectItemCaseSensitive(item, "value"));
		if (name == NULL || *name == '\0' || strchr(name, '=') != NULL)
			return kube_entry_bad(at, "exec", "env[%zu]: needs a name and a value", n);
		x->env[n++] = xasprintf("%s=%s", name, value != NULL ? value : "");
	}
	return 0;
}

static int read_mode(const struct kube_entry *at, const cJSON *exec)
{
	const char *mode;
	int rc = kube_entry_text(at, exec, "interactiveMode", &mode);
	if (rc != 0 || mode == NULL || strcmp(mode, "Never") == 0 || strcmp(mode, "IfAvailable") == 0)
		return rc;
	if (strcmp(mode, "Always") == 0)
		return kube_entry_bad(at, "exec", "interactiveMode: is Always, but nobody sits here to answer");
	return kube_entry_bad(at, "exec", "interactiveMode: must be Never or IfAvailable");
}

static int read_version(const struct kube_entry *at, const cJSON *exec, struct kube_exec *x)
{
	const char *version;
	int rc = kube_entry_text(at, exec, "apiVersion", &version);
	if (rc != 0)
		return rc;
	if (version == NULL || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
		strcmp(version, "client.authentication.k8s.io/v1beta1") != 0))
		return kube_entry_bad(at, "exec", "apiVersion: must be client.authentication.k8s.io/v1 (or v1beta1)");
	x->api_version = xstrdup(version);
	return 0;
}

static int read_exec(const struct kube_entry *at, struct kube_config *c)
{
	const char *hint;
	const cJSON *exec = cJSON_GetObjectItemCaseSensitive(at->value, "exec");
	if (exec == NULL || cJSON_IsNull(exec))
		return 0;
	if (!cJSON_IsObject(exec))
		return kube_entry_bad(at, "exec", "must be a mapping");
	/* Static credentials win over a plugin, as in client-go. */
	if (c->token != NULL || c->token_file != NULL || c->username != NULL)
		return 0;
	struct kube_exec *x = c->exec = xcalloc(1, sizeof *c->exec);
	int rc = read_command(at, exec, x);
	if (rc == 0)
		rc = read_environment(at, exec, x);
	if (rc == 0)
		rc = read_version(at, exec, x);
	if (rc == 0)
		rc = read_mode(at, exec);
	if (rc == 0)
		rc = kube_entry_bool(at, exec, "provideClusterInfo", &x->provide_cluster_info);
	if (rc == 0)
		rc = kube_entry_text(at, exec, "installHint", &hint);
	if (rc == 0 && hint != NULL)
		x->install_hint = xstrdup(hint);
	return rc;
}

static int refuse_provider(const struct kube_entry *at)
{
	const cJSON *provider = cJSON_GetObjectItemCaseSensitive(at->value, "auth-provider");
	if (provider == NULL || cJSON_IsNull(provider))
		return 0;
	const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(provider, "name"));
	return kube_entry_bad(at, "auth-provider", "%s%.50s is a provider of old kubectl versions, which no client "
		"supports any more; use an exec plugin (exec: command: ...)", name != NULL ? "" : "it", name != NULL ? name : "");
}

int kube_entry_user(const struct kube_entry *at, struct kube_config *c)
{
	int rc = refuse_provider(at);
	if (rc == 0)
		rc = read_certificate(at, c);
	if (rc == 0)
		rc = read_tokens(at, c);
	if (rc == 0)
		rc = read_exec(at, c);
	return rc != 0 ? rc : read_impersonation(at, c);
}
