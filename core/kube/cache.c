/* The store under the overlay, and what readers see of both: see cache.h.
 *
 * The one problem: a change may come from an event, a list, a bookmark or a write of our own, and
 * readers must be told exactly when what they see changed because of the watch. So every change
 * that the watch brings goes through cache_apply, which looks at the key before and after, and
 * tells the difference; an event that repeats what the overlay showed makes none. */
#include "kube/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache_internal.h"
#include "kube/cluster.h"

/* --- making one --- */

static const char *const *copy_texts(const char *const *texts, size_t count, const char *const *more, size_t more_count)
{
	char **copy = xcalloc(count + more_count + 1, sizeof *copy);
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(texts[i]);
	for (size_t i = 0; i < more_count; i++)
		copy[count + i] = xstrdup(more[i]);
	return (const char *const *)copy;
}

static void free_texts(const char *const *texts)
{
	for (const char *const *t = texts; t != NULL && *t != NULL; t++)
		free((char *)(uintptr_t)*t);
	free((void *)(uintptr_t)texts);
}

static void copy_projection(struct json_projection *to, const struct json_projection *from)
{
	static const char *const always[] = {"kind", "apiVersion", "metadata.managedFields"};
	size_t count = sizeof always / sizeof *always;
	to->keep = from->keep ? copy_texts(from->keep, from->keep_count, NULL, 0) : NULL;
	to->keep_count = from->keep ? from->keep_count : 0;
	to->drop = copy_texts(from->drop, from->drop ? from->drop_count : 0, always, count);
	to->drop_count = (from->drop ? from->drop_count : 0) + count;
}

struct cache *cache_new(const struct cache_options *o)
{
	struct cache *c = xcalloc(1, sizeof *c);
	c->name = xstrdup(o->name);
	c->o = *o;
	c->o.name = c->name;
	copy_projection(&c->o.keep, &o->keep);
	c->o.index_count = o->index_count < CACHE_INDEXES_MAX ? o->index_count : CACHE_INDEXES_MAX;
	c->base.index_count = c->overlay.index_count = c->o.index_count;
	for (size_t i = 0; i < c->o.index_count; i++) {
		size_t paths = 0;
		while (o->indexes[i].paths[paths] != NULL)
			paths++;
		c->o.indexes[i].name = xstrdup(o->indexes[i].name);
		c->o.indexes[i].paths = copy_texts(o->indexes[i].paths, paths, NULL, 0);
	}
	buffer_init(&c->scratch, CACHE_OBJECT_MAX);
	buffer_init(&c->reading, pack_bound(CACHE_OBJECT_MAX));
	return c;
}

void cache_free(struct cache *c)
{
	if (c == NULL)
		return;
	histories_deinit(c);
	table_deinit(&c->base, c);
	table_deinit(&c->overlay, c);
	packer_deinit(&c->packer);
	buffer_deinit(&c->scratch);
	buffer_deinit(&c->reading);
	free_texts(c->o.keep.keep);
	free_texts(c->o.keep.drop);
	for (size_t i = 0; i < c->o.index_count; i++) {
		free((char *)(uintptr_t)c->o.indexes[i].name);
		free_texts(c->o.indexes[i].paths);
	}
	free(c->name);
	free(c);
}

void cache_on_change(struct cache *c, void (*changed)(void *arg, enum cache_change change,
	const struct cache_object *before, const struct cache_object *after, bool first_list), void *arg)
{
	c->changed = changed;
	c->changed_arg = arg;
}

/* --- what readers see, and telling them --- */

static struct entry *view(const struct cache *c, const char *key)
{
	struct entry *over = table_find(&c->overlay, key);
	if (over != NULL)
		return over->hides ? NULL : over;
	return table_find(&c->base, key);
}

static bool same_version(const struct entry *a, const struct entry *b)
{
	return *entry_version(a) != '\0' && strcmp(entry_version(a), entry_version(b)) == 0 &&
		strcmp(entry_uid(a), entry_uid(b)) == 0;
}

static void tell(struct cache *c, struct entry *before, struct entry *after)
{
	struct cache_object old, new;
	if (c->changed == NULL || before == after || (before && after && same_version(before, after)))
		return;
	if (before != NULL)
		entry_show(before, &old);
	if (after != NULL)
		entry_show(after, &new);
	enum cache_change change = before == NULL ? CACHE_ADDED : after == NULL ? CACHE_REMOVED : CACHE_CHANGED;
	c->changed(c->changed_arg, change, before ? &old : NULL, after ? &new : NULL, !c->synced);
}

void cache_apply(struct cache *c, struct entry *was, struct entry *now, struct entry *passed)
{
	const struct entry *any = now ? now : was ? was : passed;
	if (any == NULL)
		return;
	struct entry *before = view(c, entry_key(any));
	if (passed != NULL)
		table_take(&c->overlay, passed);
	if (was != NULL && was != now)
		table_take(&c->base, was);
	if (now != NULL && was != now)
		table_put(&c->base, now);
	tell(c, before, view(c, entry_key(any)));
	if (was != now)
		entry_free(c, was);
	entry_free(c, passed);
}

/* --- fed by the watch --- */

static struct entry *passed_by(const struct cache *c, const struct head *h, bool deleted)
{
	return overlay_passed_by(c, h->text, h->text + h->uid_at, h->text + h->version_at, deleted);
}

static bool repeats(const struct entry *e, const struct head *h)
{
	return *entry_version(e) != '\0' && strcmp(entry_version(e), h->text + h->version_at) == 0 &&
		strcmp(entry_uid(e), h->text + h->uid_at) == 0;
}

int cache_put(struct cache *c, const char *bytes, size_t len, struct err *e)
{
	struct json_outline object;
	int rc = object_read(c, bytes, len, &object, e);
	return rc == 0 ? cache_put_read(c, &object, e) : rc;
}

int cache_put_read(struct cache *c, const struct json_outline *object, struct err *e)
{
	struct head h;
	int rc = head_read(c, object, &h, e);
	if (rc != 0)
		return rc;
	cache_touch(c);
	struct entry *was = table_find(&c->base, h.text), *now = was;
	if (was != NULL)
		was->seen = c->list_number; /* it exists, even if its new state cannot be kept */
	if (object->bytes.len > CACHE_OBJECT_MAX)
		return err_set(e, ERR_TOO_LARGE, "%s %s has %zu bytes; more than %u are not read, the last state that "
			"was is kept", c->name, h.text, object->bytes.len, CACHE_OBJECT_MAX);
	if (was == NULL || !repeats(was, &h)) {
		rc = entry_make(c, &h, object, &now, e);
		if (rc != 0)
			return rc;
	}
	if (c->o.revisions && was != now) {
		if (was != NULL && strcmp(entry_uid(was), entry_uid(now)) != 0)
			history_drop(c, h.text);
		history_add(c, h.text, h.generation, h.spec);
	}
	cache_apply(c, was, now, passed_by(c, &h, false));
	return 0;
}

int cache_remove(struct cache *c, const char *bytes, size_t len, struct err *e)
{
	struct json_outline object;
	int rc = object_read(c, bytes, len, &object, e);
	return rc == 0 ? cache_remove_read(c, &object, e) : rc;
}

int cache_remove_read(struct cache *c, const struct json_outline *object, struct err *e)
{
	struct head h;
	int rc = head_read(c, object, &h, e);
	if (rc != 0)
		return rc;
	cache_touch(c);
	struct entry *was = table_find(&c->base, h.text), *now = NULL;
	/* A late DELETED of another object of that name. */
	if (was != NULL && strcmp(entry_uid(was), h.text + h.uid_at) != 0 &&
	    resource_version_compare(h.text + h.version_at, entry_version(was)) <= 0)
		now = was;
	if (now == NULL)
		history_drop(c, h.text);
	cache_apply(c, was, now, passed_by(c, &h, true));
	return 0;
}

void cache_list_begin(struct cache *c)
{
	cache_touch(c);
	c->list_number++;
	c->listing = true;
}

void cache_list_abort(struct cache *c)
{
	c->listing = false;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(entry_key(*(const struct entry *const *)a), entry_key(*(const struct entry *const *)b));
}

void entries_sort(struct entry **entries, size_t count)
{
	qsort(entries, count, sizeof *entries, by_key);
}

/* What the list did not bring is gone, and so is what the overlay knows of it, as far as the list
 * is newer. */
static void remove_unseen(struct cache *c, const char *version)
{
	size_t count = 0;
	struct entry *e = NULL, **gone = xcalloc(c->base.count + 1, sizeof *gone);
	for (size_t i = 0; (e = table_next(&c->base, &i, e)) != NULL;)
		if (e->seen != c->list_number)
			gone[count++] = e;
	entries_sort(gone, count);
	for (size_t i = 0; i < count; i++) {
		struct entry *passed = overlay_passed_by(c, entry_key(gone[i]), entry_uid(gone[i]), version, true);
		history_drop(c, entry_key(gone[i]));
		cache_apply(c, gone[i], NULL, passed);
	}
	free(gone);
}

void cache_list_end(struct cache *c, const char *resource_version)
{
	if (!c->listing)
		return;
	cache_touch(c);
	/* A cluster that was set back (etcd restored) numbers anew: nothing that we wrote holds there. */
	bool set_back = resource_version_compare(resource_version, c->position) < 0;
	remove_unseen(c, resource_version);
	cache_position_set(c, resource_version);
	if (set_back)
		overlay_settle(c, true);
	c->listing = false;
	c->synced = true;
}

void cache_position_set(struct cache *c, const char *resource_version)
{
	size_t len = strlen(resource_version);
	if (len == 0 || len > CACHE_RESOURCE_VERSION_MAX)
		return;
	cache_touch(c);
	memcpy(c->position, resource_version, len + 1);
	overlay_settle(c, false);
}

const char *cache_position(const struct cache *c)
{
	return c->position;
}

bool cache_is_synced(const struct cache *c)
{
	return c->synced;
}

/* --- read --- */

bool cache_get(const struct cache *c, const char *key, struct cache_object *o)
{
	struct entry *e = view(c, key);
	if (e != NULL)
		entry_show(e, o);
	return e != NULL;
}

size_t cache_count(const struct cache *c)
{
	size_t count = c->base.count;
	struct entry *e = NULL;
	for (size_t i = 0; (e = table_next(&c->overlay, &i, e)) != NULL;) {
		bool below = table_find(&c->base, entry_key(e)) != NULL;
		count = count + !e->hides - below;
	}
	return count;
}

size_t cache_bytes(const struct cache *c)
{
	return c->base.bytes + c->overlay.bytes + c->history_bytes + c->packer.bytes +
		(c->base.capacity + c->overlay.capacity) * (1 + c->o.index_count) * sizeof(struct entry *);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char **sorted(const char **keys, size_t count)
{
	qsort(keys, count, sizeof *keys, by_text);
	return keys;
}

const char **cache_keys(const struct cache *c, size_t *count)
{
	const char **keys = xcalloc(c->base.count + c->overlay.count + 1, sizeof *keys);
	struct entry *e = NULL;
	*count = 0;
	for (size_t i = 0; (e = table_next(&c->base, &i, e)) != NULL;)
		if (table_find(&c->overlay, entry_key(e)) == NULL)
			keys[(*count)++] = entry_key(e);
	for (size_t i = 0; (e = table_next(&c->overlay, &i, e)) != NULL;)
		if (!e->hides)
			keys[(*count)++] = entry_key(e);
	return sorted(keys, *count);
}

/* The entries of one value, those of the base that the overlay stands over left out; with keys NULL
 * only counted. */
static size_t gather(const struct cache *c, size_t index, const char *value, const char **keys)
{
	size_t count = 0;
	for (const struct entry *e = NULL; (e = table_with(&c->base, index, value, e)) != NULL;)
		if (table_find(&c->overlay, entry_key(e)) == NULL && ++count && keys != NULL)
			keys[count - 1] = entry_key(e);
	for (const struct entry *e = NULL; (e = table_with(&c->overlay, index, value, e)) != NULL;)
		if (++count && keys != NULL)
			keys[count - 1] = entry_key(e);
	return count;
}

const char **cache_find(const struct cache *c, const char *index, const char *value, size_t *count)
{
	size_t i = 0;
	while (i < c->o.index_count && strcmp(c->o.indexes[i].name, index) != 0)
		i++;
	*count = i < c->o.index_count ? gather(c, i, value, NULL) : 0;
	const char **keys = xcalloc(*count + 1, sizeof *keys);
	if (*count != 0)
		gather(c, i, value, keys);
	return sorted(keys, *count);
}
