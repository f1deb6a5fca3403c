/* Between the files of kube/config*.c: parsed kubeconfig files, and saying what is wrong in one. */
#ifndef MOONPHASE_KUBE_CONFIG_PARSE_H
#define MOONPHASE_KUBE_CONFIG_PARSE_H

#include <stddef.h>

#include <cjson/cJSON.h>

#include "kube/config.h"

struct kube_file {
	char *path;
	cJSON *root; /* an object */
};

/* An entry of a list in a file: `kubeconfig /x/y: users[2] "bob"`. */
struct kube_entry {
	const char *file;
	const char *section; /* "clusters", "users", "contexts" */
	int index;
	const char *name;
	cJSON *value;        /* what stands under "cluster", "user", "context"; may be NULL */
	struct err *e;
};

/* Fill `c` from the first of the files that has each name. `context`: NULL for current-context. */
int kube_files_resolve(const struct kube_file *files, size_t count, const char *context, struct kube_config *c,
	struct err *e);
int kube_entry_cluster(const struct kube_entry *at, struct kube_config *c);
int kube_entry_user(const struct kube_entry *at, struct kube_config *c);

/* An error at a field; returns ERR_INVALID. */
int kube_entry_bad(const struct kube_entry *at, const char *field, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The text of a field in *text: NULL if it is absent, null or "". Plain numbers and booleans count as
 * text, as for kubectl. */
int kube_entry_text(const struct kube_entry *at, const cJSON *object, const char *field, const char **text);
int kube_entry_bool(const struct kube_entry *at, const cJSON *object, const char *field, bool *value);
/* The text of a scalar node, or NULL. */
const char *kube_node_text(cJSON *node);

#endif
