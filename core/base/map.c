/* An open-addressing hash table: see map.h. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/xalloc.h"

static uint64_t seed(void)
{
	static uint64_t chosen;
	if (chosen == 0 && (getrandom(&chosen, sizeof chosen, GRND_NONBLOCK) != sizeof chosen || chosen == 0))
		chosen = 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&chosen;
	return chosen;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

/* FNV-1a over a random start, finished with a mixer: short keys, few of them equal in front. */
uint32_t map_hash(const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	uint64_t h = seed() ^ 0xcbf29ce484222325u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return (uint32_t)(mix(h) >> 32);
}

/* Eight bytes a step: it is used on whole objects. */
uint64_t map_hash64(uint64_t so_far, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	uint64_t h = mix(so_far ^ seed() ^ len), word;
	for (; len >= sizeof word; len -= sizeof word, p += sizeof word) {
		memcpy(&word, p, sizeof word);
		h = mix(h ^ word);
	}
	word = 0;
	memcpy(&word, p, len);
	return mix(h ^ word);
}

static struct map_slot *find(const struct map *m, const char *key, uint32_t hash)
{
	for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
		struct map_slot *s = &m->slots[i];
		if (s->key == NULL || (s->hash == hash && strcmp(s->key, key) == 0))
			return s;
	}
}

static void resize(struct map *m, size_t capacity)
{
	struct map old = *m;
	m->capacity = capacity;
	m->slots = xcalloc(capacity, sizeof *m->slots);
	for (size_t i = 0; i < old.capacity; i++)
		if (old.slots[i].key != NULL)
			*find(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
	free(old.slots);
}

void map_deinit(struct map *m)
{
	for (size_t i = 0; i < m->capacity; i++)
		free(m->slots[i].key);
	free(m->slots);
	*m = (struct map){0};
}

void *map_get(const struct map *m, const char *key)
{
	return m->count ? find(m, key, map_hash(key, strlen(key)))->value : NULL;
}

bool map_has(const struct map *m, const char *key)
{
	return m->count && find(m, key, map_hash(key, strlen(key)))->key != NULL;
}

void *map_set(struct map *m, const char *key, void *value)
{
	if ((m->count + 1) * 4 > m->capacity * 3)
		resize(m, m->capacity ? m->capacity * 2 : 16);
	size_t len = strlen(key);
	uint32_t hash = map_hash(key, len);
	struct map_slot *s = find(m, key, hash);
	void *old = s->value;
	if (s->key == NULL) {
		s->key = xmemdup0(key, len);
		s->hash = hash;
		m->count++;
	}
	s->value = value;
	return old;
}

void *map_remove(struct map *m, const char *key)
{
	if (m->count == 0)
		return NULL;
	struct map_slot *s = find(m, key, map_hash(key, strlen(key)));
	if (s->key == NULL)
		return NULL;
	void *old = s->value;
	free(s->key);
	*s = (struct map_slot){0};
	m->count--;
	/* Close the gap: entries behind it move back unless they already sit at home. */
	size_t mask = m->capacity - 1, gap = (size_t)(s - m->slots);
	for (size_t i = (gap + 1) & mask; m->slots[i].key != NULL; i = (i + 1) & mask) {
		size_t home = m->slots[i].hash & mask;
		if (((i - home) & mask) >= ((i - gap) & mask)) {
			m->slots[gap] = m->slots[i];
			m->slots[i] = (struct map_slot){0};
			gap = i;
		}
	}
	return old;
}

const struct map_slot *map_next(const struct map *m, size_t *position)
{
	while (*position < m->capacity) {
		const struct map_slot *s = &m->slots[(*position)++];
		if (s->key != NULL)
			return s;
	}
	return NULL;
}
