/* Kubeconfig files, good and broken, the lists of KUBECONFIG, and the account of a pod.
 * Every sentence is written out: it is what a person has when nothing works. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base64.h"
#include "base/xalloc.h"
#include "kube/config.h"
#include "temporary.h"
#include "test.h"

#define CERT "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define KEY "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"

static const char *dir;
static struct kube_config c;
static struct err e;

/* A folder of its own; nothing of the machine's shines in. */
static void begin(void)
{
	dir = temporary_folder();
	setenv("HOME", dir, 1);
	unsetenv("KUBECONFIG");
	unsetenv("KUBERNETES_SERVICE_HOST");
	unsetenv("KUBERNETES_SERVICE_PORT");
}

static char *at(const char *name)
{
	static char paths[8][200];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static const char *write_file(const char *name, const char *text)
{
	char *path = at(name);
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	fputs(text, f);
	fclose(f);
	return path;
}

static char *encoded(const char *text)
{
	struct buffer b;
	buffer_init(&b, 10000);
	base64_encode(text, strlen(text), &b);
	return buffer_take(&b, NULL);
}

/* The error with the folder written as DIR. */
static const char *error_text(void)
{
	static char text[ERR_TEXT_MAX * 2];
	char *out = text;
	for (const char *in = e.text; *in != '\0';) {
		if (strncmp(in, dir, strlen(dir)) == 0) {
			out = stpcpy(out, "DIR");
			in += strlen(dir);
		} else {
			*out++ = *in++;
		}
	}
	*out = '\0';
	return text;
}

static int load_as(const char *path, const char *context)
{
	return kube_config_load(&(struct kube_config_options){path, context}, &c, &e);
}

static void load_well(const char *path, const char *context)
{
	if (load_as(path, context) != 0)
		FAIL("%s", e.text);
}

#define HEAD "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
#define CONTEXT "contexts: [{name: c, context: {cluster: k, user: u, namespace: apps}}]\n"
#define CLUSTER "clusters: [{name: k, cluster: {server: 'https://host:6443/'}}]\n"

/* --- good files --- */

TEST(a_file_with_everything_inline_is_read)
{
	begin();
	char *cert = encoded(CERT), *key = encoded(KEY);
	char *text = xasprintf(HEAD CONTEXT
		"clusters:\n- name: k\n  cluster:\n    server: https://host:6443/\n    certificate-authority-data: %s\n"
		"    tls-server-name: inner\n    proxy-url: socks5://proxy:1080\n    disable-compression: true\n"
		"users:\n- name: u\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n    token: sesame\n"
		"    as: jane\n    as-groups: [dev, ops]\npreferences: {}\nx-unknown: [1, 2]\n", cert, cert, key);
	const char *path = write_file("config", text);
	load_well(path, NULL);
	CHECK_TEXT(c.source, path);
	CHECK_TEXT(c.context, "c");
	CHECK_TEXT(c.server, "https://host:6443");
	CHECK_TEXT(c.namespace_, "apps");
	CHECK_TEXT(c.ca_pem, CERT);
	CHECK(c.ca_file == NULL);
	CHECK_TEXT(c.tls_server_name, "inner");
	CHECK_TEXT(c.proxy_url, "socks5://proxy:1080");
	CHECK_TEXT(c.cert_pem, CERT);
	CHECK_TEXT(c.key_pem, KEY);
	CHECK_TEXT(c.token, "sesame");
	CHECK_TEXT(c.impersonate_user, "jane");
	CHECK_TEXT(c.impersonate_groups[0], "dev");
	CHECK_TEXT(c.impersonate_groups[1], "ops");
	CHECK(c.impersonate_groups[2] == NULL);
	CHECK(!c.insecure);
	kube_config_deinit(&c);
	free(cert);
	free(key);
	free(text);
}

TEST(files_are_found_beside_the_kubeconfig)
{
	begin();
	mkdir(at("pki"), 0700);
	write_file("pki/ca.pem", CERT);
	write_file("pki/me.pem", CERT);
	const char *key = write_file("key.pem", KEY);
	write_file("token", "  sesame\n");
	char *text = xasprintf(HEAD CONTEXT
		"clusters: [{name: k, cluster: {server: 'http://host', certificate-authority: pki/ca.pem}}]\n"
		"users: [{name: u, user: {client-certificate: ./pki/me.pem, client-key: %s, tokenFile: token}}]\n", key);
	load_well(write_file("config", text), NULL);
	CHECK_TEXT(c.ca_pem, CERT);
	CHECK_TEXT(c.ca_file, at("pki/ca.pem"));
	CHECK_TEXT(c.cert_file, at("./pki/me.pem"));
	CHECK_TEXT(c.key_file, key);
	CHECK(c.cert_pem == NULL);
	CHECK_TEXT(c.token_file, at("token"));
	kube_config_deinit(&c);
	free(text);
}

TEST(data_wins_over_a_file_of_the_same_field)
{
	begin();
	char *cert = encoded(CERT);
	char *text = xasprintf(HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://host', "
		"certificate-authority: gone.pem, certificate-authority-data: %s}}]\nusers: [{name: u, user: {}}]\n", cert);
	load_well(write_file("config", text), NULL);
	CHECK_TEXT(c.ca_pem, CERT);
	CHECK(c.ca_file == NULL);
	kube_config_deinit(&c);
	free(cert);
	free(text);
}

TEST(an_exec_plugin_is_read)
{
	begin();
	load_well(write_file("config", HEAD CONTEXT CLUSTER "users:\n- name: u\n  user:\n    exec:\n"
		"      apiVersion: client.authentication.k8s.io/v1beta1\n      command: ./bin/plugin\n"
		"      args: [get-token, 7, true]\n      env: [{name: REGION, value: eu}, {name: EMPTY, value: ''}]\n"
		"      installHint: Install it.\n      provideClusterInfo: true\n      interactiveMode: IfAvailable\n"), NULL);
	CHECK_TEXT(c.exec->argv[0], at("./bin/plugin"));
	CHECK_TEXT(c.exec->argv[1], "get-token");
	CHECK_TEXT(c.exec->argv[2], "7");
	CHECK_TEXT(c.exec->argv[3], "true");
	CHECK(c.exec->argv[4] == NULL);
	CHECK_TEXT(c.exec->env[0], "REGION=eu");
	CHECK_TEXT(c.exec->env[1], "EMPTY=");
	CHECK(c.exec->env[2] == NULL);
	CHECK_TEXT(c.exec->api_version, "client.authentication.k8s.io/v1beta1");
	CHECK_TEXT(c.exec->install_hint, "Install it.");
	CHECK(c.exec->provide_cluster_info);
	kube_config_deinit(&c);
	load_well(write_file("config", HEAD CONTEXT CLUSTER "users: [{name: u, user: {exec: {command: aws, "
		"apiVersion: client.authentication.k8s.io/v1}}}]\n"), NULL);
	CHECK_TEXT(c.exec->argv[0], "aws"); /* a bare name is looked for in PATH */
	kube_config_deinit(&c);
	load_well(write_file("config", HEAD CONTEXT CLUSTER "users: [{name: u, user: {token: t, exec: {command: aws, "
		"apiVersion: client.authentication.k8s.io/v1}}}]\n"), NULL);
	CHECK(c.exec == NULL); /* a token wins, as in client-go */
	kube_config_deinit(&c);
}

TEST(plain_numbers_are_text_where_text_is_wanted)
{
	begin();
	load_well(write_file("config", "current-context: 7\ncontexts: [{name: 7, context: {cluster: 8, user: 9}}]\n"
		"clusters: [{name: 8, cluster: {server: 'https://host', insecure-skip-tls-verify: true}}]\n"
		"users: [{name: 9, user: {username: true, password: 12345678901}}]\n"), NULL);
	CHECK_TEXT(c.context, "7");
	CHECK_TEXT(c.username, "true");
	CHECK_TEXT(c.password, "12345678901");
	CHECK_TEXT(c.namespace_, "default");
	CHECK(c.insecure);
	kube_config_deinit(&c);
}

TEST(a_context_without_user_is_anonymous)
{
	begin();
	load_well(write_file("config", HEAD CLUSTER "contexts: [{name: c, context: {cluster: k}}]\n"), NULL);
	CHECK(c.token == NULL && c.username == NULL && c.exec == NULL);
	kube_config_deinit(&c);
}

TEST(json_is_a_kubeconfig_too)
{
	begin();
	load_well(write_file("config", "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\"}}],"
		"\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"https://[::1]:6443\"}}]}"), NULL);
	CHECK_TEXT(c.server, "https://[::1]:6443");
	kube_config_deinit(&c);
}

TEST(the_context_can_be_chosen)
{
	begin();
	const char *path = write_file("config", HEAD CLUSTER "contexts:\n- {name: c, context: {cluster: none}}\n"
		"- {name: other, context: {cluster: k, namespace: n2}}\n");
	load_well(path, "other");
	CHECK_TEXT(c.context, "other");
	CHECK_TEXT(c.namespace_, "n2");
	kube_config_deinit(&c);
}

/* --- broken files --- */

static const struct {
	const char *text, *sentence;
} broken[] = {
	{"", "kubeconfig DIR/config: it has no contexts"},
	{"[]", "kubeconfig DIR/config: must be a mapping with clusters, users and contexts"},
	{"contexts: 7", "kubeconfig DIR/config: it has no contexts"},
	{HEAD "contexts: 7", "kubeconfig DIR/config: contexts: must be a list"},
	{CONTEXT CLUSTER, "kubeconfig DIR/config: current-context is not set; name one with --context: c"},
	{"current-context: x\n" CLUSTER "contexts: [{name: a, context: {}}, {name: b}]",
		"kubeconfig DIR/config: there is no context \"x\"; there are: a, b"},
	{HEAD "contexts: [{name: c}, {name: c}]", "kubeconfig DIR/config: contexts[1] \"c\": name: stands twice in this file"},
	{HEAD "contexts: [{name: c, context: []}]", "kubeconfig DIR/config: contexts[0] \"c\": context: must be a mapping"},
	{HEAD "contexts: [{name: c}]", "kubeconfig DIR/config: contexts[0] \"c\": cluster: is missing"},
	{HEAD CONTEXT, "kubeconfig DIR/config: contexts[0] \"c\": cluster: there is no entry \"k\" in clusters"},
	{HEAD CONTEXT CLUSTER "users: [{name: v}, {name: w}]",
		"kubeconfig DIR/config: contexts[0] \"c\": user: there is no entry \"u\" in users; there are: v, w"},
	{HEAD CONTEXT "clusters: [{name: k}]", "kubeconfig DIR/config: clusters[0] \"k\": server: is missing"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: [a]}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": server: must be text"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'host:6443'}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": server: must begin with https:// (or http://)"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://me:secret@host'}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": server: must be an address like https://host:6443"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', proxy-url: 'ftp://me:secret@p'}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": proxy-url: must begin with http://, https:// or socks5://"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority-data: '*'}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": certificate-authority-data: not base64"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority: none.pem}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": certificate-authority: DIR/none.pem: cannot be opened: No such file or directory"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority: .}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": certificate-authority: DIR/.: is no file"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority: config}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": certificate-authority: holds no PEM block \"CERTIFICATE\""},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', insecure-skip-tls-verify: maybe}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": insecure-skip-tls-verify: must be true or false"},
	{HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://h', insecure-skip-tls-verify: true, certificate-authority: ca.pem}}]",
		"kubeconfig DIR/config: clusters[0] \"k\": insecure-skip-tls-verify: a certificate-authority is given as well; keep one of them"},
};

static const struct {
	const char *user, *sentence; /* behind `kubeconfig DIR/config: users[1] "u": ` */
} broken_users[] = {
	{"{client-certificate-data: 'c2VjcmV0!'}", "client-certificate-data: not base64"},
	{"{client-certificate-data: c2VjcmV0}", "client-certificate-data: holds no PEM block \"CERTIFICATE\""},
	{"{client-certificate: ca.pem}", "client-key: is missing, but client-certificate is given"},
	{"{client-key: key.pem}", "client-certificate: is missing, but client-key is given"},
	{"{client-certificate: ca.pem, client-key: ca.pem}", "client-key: holds no PEM block \"PRIVATE KEY\""},
	{"{client-certificate: ca.pem, client-key: locked.pem}", "client-key: is encrypted, which is not supported"},
	{"{token: \"two\\nlines\"}", "token: has control characters in it"},
	{"{token: 1.5}", "token: must be text (put it in quotes)"},
	{"{tokenFile: none}", "tokenFile: DIR/none: cannot be opened: No such file or directory"},
	{"{tokenFile: empty}", "tokenFile: DIR/empty: holds no token"},
	{"{tokenFile: ca.pem}", "tokenFile: DIR/ca.pem: is no token (it has more than one line)"},
	{"{token: t, username: u, password: p}", "username: a token is given as well; keep one of them"},
	{"{as-groups: [a]}", "as-groups: needs the user in \"as\""},
	{"{as: a, as-groups: b}", "as-groups: must be a list"},
	{"{as: a, as-groups: [[]]}", "as-groups: must be a list of names"},
	{"{as: a, as-uid: b}", "as-uid: is not supported; as and as-groups are"},
	{"{as: a, as-user-extra: {}}", "as-user-extra: is not supported; as and as-groups are"},
	{"{auth-provider: {name: gcp}}", "auth-provider: gcp is a provider of old kubectl versions, which no client supports "
		"any more; use an exec plugin (exec: command: ...)"},
	{"{exec: aws}", "exec: must be a mapping"},
	{"{exec: {}}", "exec: command: is missing"},
	{"{exec: {command: a, args: b}}", "exec: args: must be a list"},
	{"{exec: {command: a, args: [b, {}]}}", "exec: args[1]: must be text"},
	{"{exec: {command: a, env: [{value: b}]}}", "exec: env[0]: needs a name and a value"},
	{"{exec: {command: a}}", "exec: apiVersion: must be client.authentication.k8s.io/v1 (or v1beta1)"},
	{"{exec: {command: a, apiVersion: client.authentication.k8s.io/v1alpha1}}",
		"exec: apiVersion: must be client.authentication.k8s.io/v1 (or v1beta1)"},
	{"{exec: {command: a, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}}",
		"exec: interactiveMode: is Always, but nobody sits here to answer"},
	{"{exec: {command: a, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Now}}",
		"exec: interactiveMode: must be Never or IfAvailable"},
};

static void write_pieces(void)
{
	write_file("ca.pem", CERT);
	write_file("key.pem", KEY);
	write_file("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMHcC\n-----END ENCRYPTED PRIVATE KEY-----\n");
	write_file("empty", " \n");
}

TEST(each_broken_file_has_its_sentence)
{
	begin();
	write_pieces();
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		CHECK_INT(load_as(write_file("config", broken[i].text), NULL), ==, ERR_INVALID);
		CHECK_TEXT(error_text(), broken[i].sentence);
		CHECK(c.server == NULL);
	}
}

TEST(each_broken_user_has_its_sentence_and_no_secret_in_it)
{
	begin();
	write_pieces();
	for (size_t i = 0; i < sizeof broken_users / sizeof *broken_users; i++) {
		char *text = xasprintf(HEAD CONTEXT CLUSTER "users: [{name: first}, {name: u, user: %s}]", broken_users[i].user);
		char *sentence = xasprintf("kubeconfig DIR/config: users[1] \"u\": %s", broken_users[i].sentence);
		CHECK_INT(load_as(write_file("config", text), NULL), ==, ERR_INVALID);
		CHECK_TEXT(error_text(), sentence);
		free(text);
		free(sentence);
	}
}

TEST(bad_yaml_names_file_and_line)
{
	begin();
	CHECK_INT(load_as(write_file("config", "contexts: []\nusers: {\n"), NULL), ==, ERR_INVALID);
	CHECK_CONTAINS(error_text(), "kubeconfig DIR/config");
	CHECK_CONTAINS(error_text(), "line ");
}

TEST(a_given_path_must_exist_and_be_of_a_sane_size)
{
	begin();
	CHECK_INT(load_as(at("none"), NULL), ==, ERR_NOT_FOUND);
	CHECK_TEXT(error_text(), "kubeconfig DIR/none: cannot be opened: No such file or directory");
	char *large = xmalloc((1 << 20) + 2);
	memset(large, ' ', (1 << 20) + 1);
	large[(1 << 20) + 1] = '\0';
	CHECK_INT(load_as(write_file("large", large), NULL), ==, ERR_TOO_LARGE);
	CHECK_TEXT(error_text(), "kubeconfig DIR/large: is larger than 1048576 bytes");
	free(large);
	CHECK_INT(load_as(dir, NULL), ==, ERR_INVALID);
	CHECK_TEXT(error_text(), "kubeconfig DIR: is no file");
}

TEST(a_context_that_was_asked_for_and_does_not_exist_is_an_error)
{
	begin();
	CHECK_INT(load_as(write_file("config", HEAD CONTEXT CLUSTER), "prod"), ==, ERR_INVALID);
	CHECK_TEXT(error_text(), "kubeconfig DIR/config: there is no context \"prod\"; there are: c");
}

/* --- where it is looked for --- */

static void set_list(const char *list)
{
	setenv("KUBECONFIG", list, 1);
}

TEST(the_first_file_of_the_list_that_sets_a_value_wins)
{
	begin();
	const char *a = write_file("a", "current-context: ''\nclusters: [{name: k, cluster: {server: 'https://first'}}]\n");
	mkdir(at("sub"), 0700);
	write_file("sub/token", "of-b");
	const char *b = write_file("sub/b", HEAD CONTEXT "clusters: [{name: k, cluster: {server: 'https://second', "
		"tls-server-name: second}}]\nusers: [{name: u, user: {tokenFile: token}}]\n");
	char *list = xasprintf("%s::%s:%s", a, at("missing"), b);
	set_list(list);
	load_well(NULL, NULL);
	CHECK_TEXT(c.server, "https://first");
	CHECK(c.tls_server_name == NULL); /* the entry counts whole */
	CHECK_TEXT(c.token_file, at("sub/token"));
	char *source = xasprintf("%s:%s", a, b);
	CHECK_TEXT(c.source, source);
	kube_config_deinit(&c);
	free(source);
	free(list);
}

TEST(a_list_of_missing_files_is_an_error)
{
	begin();
	char *list = xasprintf("%s:%s", at("x"), at("y"));
	set_list(list);
	CHECK_INT(load_as(NULL, NULL), ==, ERR_NOT_FOUND);
	CHECK_TEXT(error_text(), "KUBECONFIG is set to DIR/x:DIR/y, but no such file exists");
	free(list);
}

TEST(a_broken_file_in_the_list_is_an_error_even_behind_a_good_one)
{
	begin();
	char *list = xasprintf("%s:%s", write_file("a", HEAD CONTEXT CLUSTER), write_file("b", "- x"));
	set_list(list);
	CHECK_INT(load_as(NULL, NULL), ==, ERR_INVALID);
	CHECK_TEXT(error_text(), "kubeconfig DIR/b: must be a mapping with clusters, users and contexts");
	free(list);
}

TEST(the_path_wins_over_the_environment)
{
	begin();
	set_list(write_file("env", HEAD "contexts: [{name: c, context: {cluster: k}}]\n"
		"clusters: [{name: k, cluster: {server: 'https://env'}}]\n"));
	load_well(write_file("given", HEAD "contexts: [{name: c, context: {cluster: k}}]\n"
		"clusters: [{name: k, cluster: {server: 'https://given'}}]\n"), NULL);
	CHECK_TEXT(c.server, "https://given");
	kube_config_deinit(&c);
}

static void enter_pod(const char *host)
{
	setenv("KUBERNETES_SERVICE_HOST", host, 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	kube_config_set_account_folder(dir);
}

TEST(a_pod_uses_its_service_account)
{
	begin();
	enter_pod("fd00::1");
	write_file("token", "pod-token\n");
	write_file("ca.crt", CERT);
	write_file("namespace", "primehub\n");
	load_well(NULL, NULL);
	CHECK_TEXT(c.source, "the pod's service account");
	CHECK_TEXT(c.server, "https://[fd00::1]:443");
	CHECK_TEXT(c.token_file, at("token"));
	CHECK_TEXT(c.ca_file, at("ca.crt"));
	CHECK_TEXT(c.ca_pem, CERT);
	CHECK_TEXT(c.namespace_, "primehub");
	kube_config_deinit(&c);
	setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
	unlink(at("namespace"));
	load_well(NULL, NULL);
	CHECK_TEXT(c.server, "https://10.0.0.1:443");
	CHECK_TEXT(c.namespace_, "default");
	kube_config_deinit(&c);
}

TEST(a_pod_without_an_authority_is_an_error)
{
	begin();
	enter_pod("10.0.0.1");
	write_file("token", "pod-token\n");
	CHECK_INT(load_as(NULL, NULL), ==, ERR_INVALID);
	CHECK_TEXT(error_text(), "the pod's service account: DIR/ca.crt: cannot be opened: No such file or directory");
	enter_pod("evil/../host");
	CHECK_INT(load_as(NULL, NULL), ==, ERR_INVALID);
	CHECK_TEXT(error_text(), "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no host and port");
}

TEST(home_comes_last)
{
	begin();
	mkdir(at(".kube"), 0700);
	write_file(".kube/config", HEAD CLUSTER "contexts: [{name: c, context: {cluster: k}}]\n");
	load_well(NULL, NULL);
	CHECK_TEXT(c.source, at(".kube/config"));
	kube_config_deinit(&c);
	enter_pod("10.0.0.1"); /* without a token: not an account */
	load_well(NULL, NULL);
	CHECK_TEXT(c.source, at(".kube/config"));
	kube_config_deinit(&c);
	write_file("token", "pod-token\n");
	write_file("ca.crt", CERT);
	load_well(NULL, NULL);
	CHECK_TEXT(c.source, "the pod's service account");
	kube_config_deinit(&c);
	load_well(NULL, "c"); /* a context is asked for: a file it must be */
	CHECK_TEXT(c.source, at(".kube/config"));
	kube_config_deinit(&c);
}

TEST(when_nothing_is_found_all_places_are_named)
{
	begin();
	CHECK_INT(load_as(NULL, NULL), ==, ERR_NOT_FOUND);
	CHECK_TEXT(error_text(), "no cluster is configured: --kubeconfig is not given, KUBECONFIG is not set, this is no pod "
		"(KUBERNETES_SERVICE_HOST is not set), and DIR/.kube/config does not exist");
	enter_pod("10.0.0.1");
	CHECK_INT(load_as(NULL, NULL), ==, ERR_NOT_FOUND);
	CHECK_CONTAINS(error_text(), "the pod's service account: DIR/token: cannot be opened");
}

TEST_MAIN(T(a_file_with_everything_inline_is_read), T(files_are_found_beside_the_kubeconfig),
	T(data_wins_over_a_file_of_the_same_field), T(an_exec_plugin_is_read),
	T(plain_numbers_are_text_where_text_is_wanted), T(a_context_without_user_is_anonymous), T(json_is_a_kubeconfig_too),
	T(the_context_can_be_chosen), T(each_broken_file_has_its_sentence),
	T(each_broken_user_has_its_sentence_and_no_secret_in_it), T(bad_yaml_names_file_and_line),
	T(a_given_path_must_exist_and_be_of_a_sane_size), T(a_context_that_was_asked_for_and_does_not_exist_is_an_error),
	T(the_first_file_of_the_list_that_sets_a_value_wins), T(a_list_of_missing_files_is_an_error),
	T(a_broken_file_in_the_list_is_an_error_even_behind_a_good_one), T(the_path_wins_over_the_environment),
	T(a_pod_uses_its_service_account), T(a_pod_without_an_authority_is_an_error), T(home_comes_last),
	T(when_nothing_is_found_all_places_are_named))
