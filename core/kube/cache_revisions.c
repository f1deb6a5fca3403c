/* Every generation of a spec that the watch delivered, until a status write has recorded it.
 *
 * Generations only grow, so one number says what was recorded; a list that brings a recorded
 * generation again adds nothing. What is kept is bounded in number and in bytes, the newest
 * winning: a history with a gap shows it as a jump in generation. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache_internal.h"

struct history {
	int64_t recorded;
	size_t count, bytes;
	struct cache_revision list[]; /* oldest first */
};

/* Drop the oldest `n`. */
static void forget_oldest(struct cache *c, struct history *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		h->bytes -= h->list[i].len;
		if (c != NULL)
			c->history_bytes -= h->list[i].len;
		free((char *)(uintptr_t)h->list[i].spec);
	}
	h->count -= n;
	memmove(h->list, h->list + n, h->count * sizeof *h->list);
}

/* Allocations hold exactly `count` revisions: most objects have none or one. */
static struct history *resize(struct cache *c, const char *key, struct history *h, size_t count)
{
	bool is_new = h == NULL;
	h = xrealloc(h, sizeof *h + count * sizeof *h->list);
	if (is_new)
		memset(h, 0, sizeof *h);
	map_set(&c->histories, key, h);
	return h;
}

void history_add(struct cache *c, const char *key, int64_t generation, struct json_span spec)
{
	struct history *h = map_get(&c->histories, key);
	if (spec.at == NULL || generation <= 0)
		return;
	if (h != NULL && (generation <= h->recorded || (h->count && generation <= h->list[h->count - 1].generation)))
		return;
	while (h != NULL && h->count != 0 &&
	       (h->count == CACHE_REVISIONS_MAX || h->bytes + spec.len > CACHE_REVISION_BYTES_MAX))
		forget_oldest(c, h, 1);
	h = resize(c, key, h, h ? h->count + 1 : 1);
	h->list[h->count++] = (struct cache_revision){
		.generation = generation,
		.seen_ms = clock_wall_ms(c->o.clock),
		.spec = xmemdup0(spec.at, spec.len),
		.len = spec.len,
	};
	h->bytes += spec.len;
	c->history_bytes += spec.len;
}

void history_free(struct cache *c, struct history *h)
{
	if (h == NULL)
		return;
	forget_oldest(c, h, h->count);
	free(h);
}

struct history *history_copy(struct cache *c, const char *key, const struct history *h)
{
	struct history *copy = xmalloc(sizeof *h + h->count * sizeof *h->list);
	memcpy(copy, h, sizeof *h + h->count * sizeof *h->list);
	for (size_t i = 0; i < h->count; i++)
		copy->list[i].spec = xmemdup0(h->list[i].spec, h->list[i].len);
	if (c != NULL) {
		c->history_bytes += h->bytes;
		map_set(&c->histories, key, copy);
	}
	return copy;
}

void history_drop(struct cache *c, const char *key)
{
	history_free(c, map_remove(&c->histories, key));
}

void histories_deinit(struct cache *c)
{
	const struct map_slot *slot;
	for (size_t i = 0; (slot = map_next(&c->histories, &i)) != NULL;)
		history_free(c, slot->value);
	map_deinit(&c->histories);
}

size_t cache_revisions(const struct cache *c, const char *key, const struct cache_revision **list)
{
	const struct history *h = map_get(&c->histories, key);
	*list = h ? h->list : NULL;
	return h ? h->count : 0;
}

void cache_revisions_recorded(struct cache *c, const char *key, int64_t generation)
{
	struct history *h = map_get(&c->histories, key);
	if (h == NULL || generation <= h->recorded)
		return;
	size_t n = 0;
	while (n < h->count && h->list[n].generation <= generation)
		n++;
	cache_touch(c);
	forget_oldest(c, h, n);
	h->recorded = generation;
	resize(c, key, h, h->count);
}
