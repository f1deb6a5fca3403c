/* What a cache holds, as a value.
 *
 * The checker goes back to a state thousands of times a second, and most caches have not changed since: a stamp tells that. It
 * is another one at each change, never used twice by one cache, and comes back with what it stood for.
 * A save has copies of the entries: an entry is chained into its tables and cannot be in two. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache_internal.h"

struct saved_history {
	char *key;
	struct history *history;
};

struct cache_saved {
	const struct cache *of; /* only compared: it may be gone */
	uint64_t stamp;
	struct entry **base, **overlay;
	struct saved_history *histories;
	size_t base_count, overlay_count, history_count, index_count;
	uint32_t list_number;
	bool synced;
	char position[CACHE_RESOURCE_VERSION_MAX + 1];
};

void cache_touch(struct cache *c)
{
	c->stamp = ++c->stamps;
}

static struct entry *copy_entry(const struct entry *e)
{
	struct entry *copy = xmalloc(entry_size(e));
	memcpy(copy, e, entry_size(e));
	return copy;
}

static struct entry **copy_table(const struct table *t, size_t *count)
{
	struct entry *e = NULL, **list = xcalloc(t->count + 1, sizeof *list);
	*count = 0;
	for (size_t i = 0; (e = table_next(t, &i, e)) != NULL;)
		list[(*count)++] = copy_entry(e);
	return list;
}

static void put_copies(struct table *t, struct entry **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		table_put(t, copy_entry(list[i]));
}

/* Out of the table and gone; its room stays. */
static void empty_table(struct cache *c, struct table *t)
{
	for (size_t i = 0; i < t->capacity; i++) {
		for (struct entry *e = t->buckets[i], *next; e != NULL; e = next) {
			next = e->chain;
			entry_free(c, e);
		}
		t->buckets[i] = NULL;
		for (size_t k = 0; k < t->index_count; k++)
			t->values[k][i] = NULL;
	}
	t->count = t->bytes = 0;
}

static void free_entries(struct entry **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

struct cache_saved *cache_save(const struct cache *c)
{
	struct cache_saved *s = xcalloc(1, sizeof *s);
	const struct map_slot *slot;
	s->of = c;
	s->index_count = c->o.index_count;
	s->stamp = c->stamp;
	s->base = copy_table(&c->base, &s->base_count);
	s->overlay = copy_table(&c->overlay, &s->overlay_count);
	s->histories = xcalloc(c->histories.count + 1, sizeof *s->histories);
	for (size_t i = 0; (slot = map_next(&c->histories, &i)) != NULL;) {
		struct saved_history *h = &s->histories[s->history_count++];
		h->key = xstrdup(slot->key);
		h->history = history_copy(NULL, slot->key, slot->value);
	}
	s->list_number = c->list_number;
	s->synced = c->synced;
	memcpy(s->position, c->position, sizeof s->position);
	return s;
}

bool cache_has_saved(const struct cache *c, const struct cache_saved *saved)
{
	return saved->of == c && saved->index_count == c->o.index_count; /* entries have room for so many links */
}

bool cache_is_as_saved(const struct cache *c, const struct cache_saved *saved)
{
	return c->stamp == saved->stamp;
}

void cache_restore(struct cache *c, const struct cache_saved *saved)
{
	if (cache_is_as_saved(c, saved))
		return;
	empty_table(c, &c->base);
	empty_table(c, &c->overlay);
	put_copies(&c->base, saved->base, saved->base_count);
	put_copies(&c->overlay, saved->overlay, saved->overlay_count);
	histories_deinit(c);
	for (size_t i = 0; i < saved->history_count; i++)
		history_copy(c, saved->histories[i].key, saved->histories[i].history);
	c->list_number = saved->list_number;
	c->synced = saved->synced;
	c->listing = false;
	memcpy(c->position, saved->position, sizeof c->position);
	c->stamp = saved->stamp;
}

void cache_saved_free(struct cache_saved *s)
{
	if (s == NULL)
		return;
	free_entries(s->base, s->base_count);
	free_entries(s->overlay, s->overlay_count);
	for (size_t i = 0; i < s->history_count; i++) {
		history_free(NULL, s->histories[i].history);
		free(s->histories[i].key);
	}
	free(s->histories);
	free(s);
}
