/* Our own writes, on top of what the watch has brought.
 *
 * The one problem: a write's answer and the events of the same object come by two roads, in any
 * order. What orders them is the resourceVersion: an answer enters only if it is ahead of all
 * that the watch has told (its position), and stands over the watch's state until the watch
 * has passed it. A delete has no resourceVersion to wait for, so its tombstone names a UID and
 * carries the version of the state that it hid: it goes when that UID is told as deleted, when
 * something newer bears the name under another UID, or when the watch has passed that version
 * and does not hold the object (it was created and deleted between two events). */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache_internal.h"
#include "kube/cluster.h"

static bool is_uid(const struct entry *e, const char *uid)
{
	return strcmp(entry_uid(e), uid) == 0;
}

struct entry *overlay_passed_by(const struct cache *c, const char *key, const char *uid, const char *version,
	bool deleted)
{
	struct entry *over = table_find(&c->overlay, key);
	if (over == NULL)
		return NULL;
	if (over->hides && is_uid(over, uid))
		return deleted ? over : NULL;
	int order = resource_version_compare(version, entry_version(over));
	return order > 0 || (order == 0 && !over->hides) ? over : NULL;
}

static bool is_passed(const struct cache *c, const struct entry *over)
{
	if (resource_version_compare(entry_version(over), c->position) > 0)
		return false;
	if (!over->hides)
		return true;
	const struct entry *below = table_find(&c->base, entry_key(over));
	return below == NULL || !is_uid(below, entry_uid(over));
}

void overlay_settle(struct cache *c, bool all)
{
	if (c->overlay.count == 0)
		return;
	size_t count = 0;
	struct entry *e = NULL, **passed = xcalloc(c->overlay.count, sizeof *passed);
	for (size_t i = 0; (e = table_next(&c->overlay, &i, e)) != NULL;)
		if (all || is_passed(c, e))
			passed[count++] = e;
	entries_sort(passed, count);
	for (size_t i = 0; i < count; i++) {
		struct entry *below = table_find(&c->base, entry_key(passed[i]));
		cache_apply(c, below, below, passed[i]);
	}
	free(passed);
}

/* Whether a write's answer is newer than all that is known of its key. */
static bool is_news(const struct cache *c, const struct head *h)
{
	const char *version = h->text + h->version_at;
	const struct entry *over = table_find(&c->overlay, h->text), *below = table_find(&c->base, h->text);
	if (resource_version_compare(version, c->position) <= 0)
		return false;
	if (below != NULL && resource_version_compare(version, entry_version(below)) <= 0)
		return false;
	if (over == NULL)
		return true;
	if (over->hides && is_uid(over, h->text + h->uid_at))
		return false;
	return resource_version_compare(version, entry_version(over)) > 0;
}

/* Our own change of what readers see: nobody is told. */
static void replace(struct cache *c, struct entry *was, struct entry *now)
{
	cache_touch(c);
	if (was != NULL)
		table_take(&c->overlay, was);
	table_put(&c->overlay, now);
	entry_free(c, was);
}

int cache_wrote(struct cache *c, const char *bytes, size_t len, struct err *e)
{
	struct head h;
	struct entry *now;
	struct json_outline object;
	int rc = object_read(c, bytes, len, &object, e);
	if (rc == 0)
		rc = head_read(c, &object, &h, e);
	if (rc != 0)
		return rc;
	if (len > CACHE_OBJECT_MAX)
		return err_set(e, ERR_TOO_LARGE, "the answer to a write of %s %s has %zu bytes; at most %u are kept",
			c->name, h.text, len, CACHE_OBJECT_MAX);
	if (!is_news(c, &h))
		return 0;
	rc = entry_make(c, &h, &object, &now, e);
	if (rc != 0)
		return rc;
	now->ours = true;
	replace(c, table_find(&c->overlay, h.text), now);
	return 0;
}

void cache_deleted(struct cache *c, const char *key, const char *uid)
{
	struct entry *over = table_find(&c->overlay, key);
	const struct entry *hidden = over ? over : table_find(&c->base, key);
	if (hidden == NULL || hidden->hides || !is_uid(hidden, uid))
		return; /* the watch was faster, or the name has another bearer by now */
	replace(c, over, entry_make_tombstone(hidden));
}
