/* From names to entries: which context, and the cluster and user that it names.
 *
 * Several files act as one: the first file that has a name wins, and its entry counts whole (a
 * user of the same name in a later file adds nothing), as the kubectl documentation says. So
 * nothing is merged here, files are searched in order. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "kube/config_parse.h"

#define NAMES_SHOWN 20

/* --- fields, and what is wrong with them --- */

int kube_entry_bad(const struct kube_entry *at, const char *field, const char *format, ...)
{
	char what[ERR_TEXT_MAX / 2];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	return err_set(at->e, ERR_INVALID, "kubeconfig %s: %s[%d] \"%.100s\": %s: %s", at->file, at->section, at->index,
		at->name, field, what);
}

/* kubectl's YAML reader makes text of what a text field holds: `password: 1234` is "1234". A
 * fraction is left alone, because how it was written is lost. */
const char *kube_node_text(cJSON *node)
{
	char *text = NULL;
	if (node == NULL || cJSON_IsString(node))
		return node != NULL ? node->valuestring : NULL;
	if (cJSON_IsRaw(node))
		return node->valuestring;
	if (cJSON_IsBool(node))
		text = xstrdup(cJSON_IsTrue(node) ? "true" : "false");
	else if (cJSON_IsNumber(node) && node->valuedouble > -9e15 && node->valuedouble < 9e15 &&
		node->valuedouble - (double)(long long)node->valuedouble == 0)
		text = xasprintf("%lld", (long long)node->valuedouble);
	if (text == NULL)
		return NULL;
	node->type = cJSON_String;
	node->valuestring = text; /* cJSON frees with free(), unless told otherwise, and nobody does */
	return text;
}

int kube_entry_text(const struct kube_entry *at, const cJSON *object, const char *field, const char **text)
{
	cJSON *node = cJSON_GetObjectItemCaseSensitive(object, field);
	*text = NULL;
	if (node == NULL || cJSON_IsNull(node))
		return 0;
	const char *found = kube_node_text(node);
	if (found == NULL)
		return kube_entry_bad(at, field, "must be text%s", cJSON_IsNumber(node) ? " (put it in quotes)" : "");
	*text = *found != '\0' ? found : NULL;
	return 0;
}

int kube_entry_bool(const struct kube_entry *at, const cJSON *object, const char *field, bool *value)
{
	const cJSON *node = cJSON_GetObjectItemCaseSensitive(object, field);
	*value = cJSON_IsTrue(node);
	if (node == NULL || cJSON_IsNull(node) || cJSON_IsBool(node))
		return 0;
	return kube_entry_bad(at, field, "must be true or false");
}

/* --- finding an entry --- */

static const char *name_of(cJSON *item)
{
	return kube_node_text(cJSON_GetObjectItemCaseSensitive(item, "name"));
}

/* 1: found in this file. The name may stand once. */
static int find_in(const struct kube_file *f, const char *section, const char *member, const char *name,
	struct kube_entry *found)
{
	cJSON *list = cJSON_GetObjectItemCaseSensitive(f->root, section), *item;
	int index = 0, hits = 0;
	if (list != NULL && !cJSON_IsNull(list) && !cJSON_IsArray(list))
		return err_set(found->e, ERR_INVALID, "kubeconfig %s: %s: must be a list", f->path, section);
	cJSON_ArrayForEach(item, list) {
		const char *its = name_of(item);
		if (its != NULL && strcmp(its, name) == 0) {
			struct kube_entry entry = {f->path, section, index, its,
				cJSON_GetObjectItemCaseSensitive(item, member), found->e};
			*found = entry;
			if (hits++ > 0)
				return kube_entry_bad(found, "name", "stands twice in this file");
		}
		index++;
	}
	if (hits && found->value != NULL && !cJSON_IsNull(found->value) && !cJSON_IsObject(found->value))
		return kube_entry_bad(found, member, "must be a mapping");
	return hits;
}

static int find(const struct kube_file *files, size_t count, const char *section, const char *member,
	const char *name, struct kube_entry *found)
{
	for (size_t i = 0; i < count; i++) {
		int rc = find_in(&files[i], section, member, name, found);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* "a, b, c" of a section in all files, for a message. */
static char *names_in(const struct kube_file *files, size_t count, const char *section)
{
	struct buffer b;
	size_t shown = 0;
	buffer_init(&b, 4096);
	for (size_t i = 0; i < count; i++) {
		cJSON *item;
		cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(files[i].root, section)) {
			const char *name = name_of(item);
			if (name == NULL || shown++ >= NAMES_SHOWN)
				continue;
			buffer_printf(&b, "%s%.100s", b.len ? ", " : "", name);
		}
	}
	if (shown > NAMES_SHOWN)
		buffer_printf(&b, " and %zu more", shown - NAMES_SHOWN);
	return buffer_take(&b, NULL);
}

static int no_context(const struct kube_file *files, size_t count, const char *name, struct err *e)
{
	char *names = names_in(files, count, "contexts");
	const char *more = count > 1 ? " (and the other files of KUBECONFIG)" : "";
	int rc;
	if (name == NULL && *names != '\0')
		rc = err_set(e, ERR_INVALID, "kubeconfig %s%s: current-context is not set; name one with --context: %s",
			files[0].path, more, names);
	else if (*names != '\0')
		rc = err_set(e, ERR_INVALID, "kubeconfig %s%s: there is no context \"%.100s\"; there are: %s", files[0].path,
			more, name, names);
	else
		rc = err_set(e, ERR_INVALID, "kubeconfig %s%s: it has no contexts", files[0].path, more);
	free(names);
	return rc;
}

static const char *current_context(const struct kube_file *files, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = kube_node_text(cJSON_GetObjectItemCaseSensitive(files[i].root, "current-context"));
		if (name != NULL && *name != '\0')
			return name;
	}
	return NULL;
}

/* --- following the context --- */

/* Follow a field of the context ("cluster", "user") to the entry that it names. */
static int follow(const struct kube_file *files, size_t count, const struct kube_entry *context, const char *member,
	const char *section, const char *name, struct kube_entry *found)
{
	found->e = context->e;
	int rc = find(files, count, section, member, name, found);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	char *names = names_in(files, count, section);
	rc = kube_entry_bad(context, member, "there is no entry \"%.100s\" in %s%s%s", name, section,
		*names != '\0' ? "; there are: " : "", names);
	free(names);
	return rc;
}

static int resolve_cluster(const struct kube_file *files, size_t count, const struct kube_entry *context,
	struct kube_config *c)
{
	const char *name;
	struct kube_entry cluster;
	int rc = kube_entry_text(context, context->value, "cluster", &name);
	if (rc == 0 && name == NULL)
		rc = kube_entry_bad(context, "cluster", "is missing");
	if (rc == 0)
		rc = follow(files, count, context, "cluster", "clusters", name, &cluster);
	return rc != 0 ? rc : kube_entry_cluster(&cluster, c);
}

/* A context without a user is anonymous. */
static int resolve_user(const struct kube_file *files, size_t count, const struct kube_entry *context,
	struct kube_config *c)
{
	const char *name;
	struct kube_entry user;
	int rc = kube_entry_text(context, context->value, "user", &name);
	if (rc != 0 || name == NULL)
		return rc;
	rc = follow(files, count, context, "user", "users", name, &user);
	return rc != 0 ? rc : kube_entry_user(&user, c);
}

int kube_files_resolve(const struct kube_file *files, size_t count, const char *context, struct kube_config *c,
	struct err *e)
{
	struct kube_entry at = {.e = e};
	const char *namespace_;
	const char *name = context != NULL ? context : current_context(files, count);
	int rc = name != NULL ? find(files, count, "contexts", "context", name, &at) : 0;
	if (rc == 0)
		return no_context(files, count, name, e);
	if (rc < 0)
		return rc;
	rc = kube_entry_text(&at, at.value, "namespace", &namespace_);
	if (rc == 0)
		rc = resolve_cluster(files, count, &at, c);
	if (rc == 0)
		rc = resolve_user(files, count, &at, c);
	if (rc != 0)
		return rc;
	c->context = xstrdup(at.name);
	c->namespace_ = xstrdup(namespace_ != NULL ? namespace_ : "default");
	return 0;
}
