/* What the cache's files share (cache.c, cache_entry.c, cache_table.c, cache_overlay.c,
 * cache_revisions.c, cache_save.c); nobody else includes it. */
#ifndef MOONPHASE_KUBE_CACHE_INTERNAL_H
#define MOONPHASE_KUBE_CACHE_INTERNAL_H

#include "base/map.h"
#include "base/pack.h"
#include "kube/cache.h"

#define CACHE_NAME_MAX 512           /* of a name, namespace or UID, as escaped JSON */
#define CACHE_RESOURCE_VERSION_MAX 128
#define CACHE_VALUE_MAX 1024         /* longer texts are not indexed */
#define CACHE_REVISION_BYTES_MAX (4u << 20) /* of one object's unrecorded revisions */

/* One object, in one allocation: links into the indexes, then the texts (key, UID,
 * resourceVersion, index values), then the kept bytes, packed. A tombstone (`hides`) has no bytes. */
struct entry_link {
	struct entry *prev, *next;
};

struct entry {
	struct entry *chain; /* in its table's bucket */
	int64_t generation;
	struct pack_dictionary *packed_with;
	uint64_t content; /* cache_content's answer; 0: not asked yet */
	uint32_t hash, bytes_at, packed_len, len;
	uint32_t seen;       /* number of the list that had it last */
	uint16_t uid_at, version_at, value_at[CACHE_INDEXES_MAX]; /* 0: no value */
	bool deleting, ours, hides;
	uint8_t link_count;
	struct entry_link links[];
};

/* What is read of an object before it is kept: the texts of an entry, in its layout. */
struct head {
	char text[3 * CACHE_NAME_MAX + CACHE_RESOURCE_VERSION_MAX + CACHE_INDEXES_MAX * CACHE_VALUE_MAX + 64];
	size_t len;
	uint16_t uid_at, version_at, value_at[CACHE_INDEXES_MAX];
	int64_t generation;
	bool deleting;
	struct json_span spec; /* in the bytes that were read */
};

/* Entries by key and, for each index, by value. It does not own the entries. */
struct table {
	struct entry **buckets;                   /* by key, chained through `chain` */
	struct entry **values[CACHE_INDEXES_MAX]; /* by index value, chained through `links` */
	size_t count, capacity, bytes, index_count;
};

struct cache {
	struct cache_options o; /* deep copies */
	char *name;
	struct table base, overlay;
	struct map histories;   /* key to struct history */
	size_t history_bytes;
	char position[CACHE_RESOURCE_VERSION_MAX + 1];
	uint64_t stamp, stamps;  /* of what it holds now, and how many there were: cache_save.c */
	uint32_t list_number;
	bool listing, synced;
	struct buffer scratch;  /* a projection on its way into an entry */
	struct buffer reading;  /* what cache_read gave last */
	struct packer packer;
	void (*changed)(void *arg, enum cache_change change, const struct cache_object *before,
		const struct cache_object *after, bool first_list);
	void *changed_arg;
};

/* cache_entry.c */
int head_read(const struct cache *c, const struct json_outline *object, struct head *h, struct err *e);
int entry_make(struct cache *c, const struct head *h, const struct json_outline *object, struct entry **made,
	struct err *e);
/* The outline of a whole document. */
int object_read(const struct cache *c, const char *bytes, size_t len, struct json_outline *o, struct err *e);
struct entry *entry_make_tombstone(const struct entry *of);
void entry_free(struct cache *c, struct entry *e); /* NULL is allowed */
size_t entry_size(const struct entry *e);
const char *entry_key(const struct entry *e);
const char *entry_uid(const struct entry *e);
const char *entry_version(const struct entry *e);
const char *entry_value(const struct entry *e, size_t index); /* NULL: none */
void entry_show(struct entry *e, struct cache_object *o);

/* cache_table.c */
void table_deinit(struct table *t, struct cache *c);  /* frees the entries too */
struct entry *table_find(const struct table *t, const char *key);
void table_put(struct table *t, struct entry *e); /* the key must not be there */
void table_take(struct table *t, struct entry *e);
/* The entries of an index value, one after the other: e is NULL at first. */
struct entry *table_with(const struct table *t, size_t index, const char *value, const struct entry *e);
/* All entries, in no order: `for (size_t i = 0; (e = table_next(t, &i, e)) != NULL;)` with e NULL
 * at first; the table must not change meanwhile. */
struct entry *table_next(const struct table *t, size_t *bucket, const struct entry *e);

/* cache.c: put `now` in the place of `was` (either may be NULL, and they may be the same), let the
 * overlay's entry `passed` (or NULL) go, tell if that changed what readers see, and free what left. */
void cache_apply(struct cache *c, struct entry *was, struct entry *now, struct entry *passed);
/* By key: who is told of several changes at once is told in an order that repeats. */
void entries_sort(struct entry **entries, size_t count);

/* cache_overlay.c: the overlay's entry of `key` that an event about uid at version outdates, or NULL. */
struct entry *overlay_passed_by(const struct cache *c, const char *key, const char *uid, const char *version,
	bool deleted);
/* Let everything go that the position has passed; with `all`, everything. */
void overlay_settle(struct cache *c, bool all);

/* cache_save.c: what is held is about to change. */
void cache_touch(struct cache *c);

/* cache_revisions.c */
void history_add(struct cache *c, const char *key, int64_t generation, struct json_span spec);
void history_drop(struct cache *c, const char *key);
void histories_deinit(struct cache *c);
/* A copy, in the cache `c` or (NULL) in no cache; free that one with history_free. */
struct history *history_copy(struct cache *c, const char *key, const struct history *h);
void history_free(struct cache *c, struct history *h);

#endif
