/* Entries by key and by index values: hash tables that chain the entries themselves.
 *
 * base/map copies its keys; an entry holds its key and its index values already, and there are
 * many of them, so here a table costs an entry eight bytes and an index sixteen and eight. Entries
 * of one value share a bucket, and a few others with them: whoever walks it compares. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache_internal.h"

void table_deinit(struct table *t, struct cache *c)
{
	for (size_t i = 0; i < t->capacity; i++) {
		for (struct entry *e = t->buckets[i], *next; e != NULL; e = next) {
			next = e->chain;
			entry_free(c, e);
		}
	}
	free(t->buckets);
	for (size_t i = 0; i < CACHE_INDEXES_MAX; i++)
		free(t->values[i]);
	*t = (struct table){0};
}

static struct entry **value_bucket(const struct table *t, size_t i, const char *value)
{
	return &t->values[i][map_hash(value, strlen(value)) & (t->capacity - 1)];
}

static void link_in(struct table *t, struct entry *e)
{
	struct entry **bucket = &t->buckets[e->hash & (t->capacity - 1)];
	e->chain = *bucket;
	*bucket = e;
	for (size_t i = 0; i < e->link_count; i++) {
		if (entry_value(e, i) == NULL)
			continue;
		bucket = value_bucket(t, i, entry_value(e, i));
		e->links[i] = (struct entry_link){NULL, *bucket};
		if (*bucket != NULL)
			(*bucket)->links[i].prev = e;
		*bucket = e;
	}
}

static void grow(struct table *t)
{
	struct entry **old = t->buckets;
	size_t old_capacity = t->capacity;
	t->capacity = old_capacity ? old_capacity * 2 : 16;
	t->buckets = xcalloc(t->capacity, sizeof(struct entry *));
	for (size_t i = 0; i < t->index_count; i++) {
		free(t->values[i]);
		t->values[i] = xcalloc(t->capacity, sizeof(struct entry *));
	}
	for (size_t i = 0; i < old_capacity; i++) {
		for (struct entry *e = old[i], *next; e != NULL; e = next) {
			next = e->chain;
			link_in(t, e);
		}
	}
	free(old);
}

struct entry *table_find(const struct table *t, const char *key)
{
	if (t->count == 0)
		return NULL;
	uint32_t hash = map_hash(key, strlen(key));
	struct entry *e = t->buckets[hash & (t->capacity - 1)];
	while (e != NULL && (e->hash != hash || strcmp(entry_key(e), key) != 0))
		e = e->chain;
	return e;
}

struct entry *table_with(const struct table *t, size_t index, const char *value, const struct entry *e)
{
	struct entry *next = NULL;
	if (e != NULL)
		next = e->links[index].next;
	else if (t->capacity != 0)
		next = *value_bucket(t, index, value);
	while (next != NULL && strcmp(entry_value(next, index), value) != 0)
		next = next->links[index].next;
	return next;
}

void table_put(struct table *t, struct entry *e)
{
	if (t->count >= t->capacity)
		grow(t);
	link_in(t, e);
	t->count++;
	t->bytes += entry_size(e);
}

void table_take(struct table *t, struct entry *e)
{
	struct entry **at = &t->buckets[e->hash & (t->capacity - 1)];
	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	t->count--;
	t->bytes -= entry_size(e);
	for (size_t i = 0; i < e->link_count; i++) {
		struct entry_link l = e->links[i];
		if (entry_value(e, i) == NULL)
			continue;
		if (l.next != NULL)
			l.next->links[i].prev = l.prev;
		*(l.prev != NULL ? &l.prev->links[i].next : value_bucket(t, i, entry_value(e, i))) = l.next;
	}
}

struct entry *table_next(const struct table *t, size_t *bucket, const struct entry *e)
{
	if (e != NULL && e->chain != NULL)
		return e->chain;
	while (*bucket < t->capacity) {
		struct entry *first = t->buckets[(*bucket)++];
		if (first != NULL)
			return first;
	}
	return NULL;
}
