/* Text keys to pointers: the one hash table of the core.
 *
 * Open addressing with linear probing; the keys are copied. Hashing is seeded per process,
 * because keys (names of objects) are chosen by users of the cluster. Iteration order is
 * therefore not repeatable: sort before order can matter. */
#ifndef MOONPHASE_BASE_MAP_H
#define MOONPHASE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
	char *key; /* NULL: free */
	uint32_t hash;
	void *value;
};

struct map {
	struct map_slot *slots;
	size_t count, capacity; /* capacity is 0 or a power of two */
};

/* A zeroed struct map is an empty map. Values belong to the caller. */
void map_deinit(struct map *m);
/* NULL if absent. */
void *map_get(const struct map *m, const char *key);
bool map_has(const struct map *m, const char *key);
/* Returns the old value, or NULL. */
void *map_set(struct map *m, const char *key, void *value);
/* Returns the value that was removed, or NULL. */
void *map_remove(struct map *m, const char *key);
/* `for (size_t i = 0; (slot = map_next(m, &i)) != NULL;)`; the map must not change meanwhile. */
const struct map_slot *map_next(const struct map *m, size_t *position);
/* A seeded 64-bit hash that goes on from `so_far` (0 at first): equal within this process for equal bytes in equal
 * pieces, and for telling things apart, not against an adversary who sees it. */
uint64_t map_hash64(uint64_t so_far, const void *bytes, size_t len);
/* The process's seeded hash of `len` bytes, also for others who hash names from outside. */
uint32_t map_hash(const void *bytes, size_t len);

#endif
