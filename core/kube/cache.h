/* What the watches have seen, as bytes by key, with what we wrote ourselves on top.
 *
 * One cache belongs to one kind and scope. An object is the JSON that came, cut down to what
 * was declared (without managedFields) and packed (base/pack.h), in one allocation with its key and a
 * small record of metadata; its text and a Lua table exist only while somebody reads it. Besides managedFields, the top
 * level's kind and apiVersion are dropped: the items of a list have none, watched objects do, and
 * the bytes of an object must not depend on how it came. An object that comes again with the
 * resourceVersion that is held is no change.
 *
 * The overlay. The answer of a write is newer than what the watch has brought: it enters the
 * overlay if its resourceVersion is ahead of the watch's position, and leaves when the watch
 * (event, bookmark or list) has passed it. So a reconcile that follows a write sees the write,
 * and an answer that arrives after the event that outdates it is dropped. A delete hides its
 * UID until the watch says DELETED, a list comes without it, or another UID bears the name (a
 * DELETE's answer has no resourceVersion).
 *
 * Revisions. A queue may skip states, a history must not: where asked for, every generation of
 * `spec` that the watch delivers is kept until a status write has recorded it
 * (at most CACHE_REVISIONS_MAX an object, and 4 MiB of them: the newest).
 *
 * Indexes. An index is a name and paths; the first path that holds a text (not an empty one) gives
 * the object's value in it. An object without one, or with one over 1024 bytes, is not in the
 * index. A step with dots in it stands in brackets: "metadata.labels[primehub.io/phdeployment]". A path with "=" before it takes
 * a number, true or false too, as it is written. The value "owner UID" is the path
 * "@owner": the UID of the controller among metadata.ownerReferences. */
#ifndef MOONPHASE_KUBE_CACHE_H
#define MOONPHASE_KUBE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"

#define CACHE_OBJECT_MAX (3u << 20)
#define CACHE_REVISIONS_MAX 64
#define CACHE_INDEXES_MAX 6

struct cache;

struct cache_index {
	const char *name;
	const char *const *paths; /* NULL behind the last; syntax of json_projection */
};

struct cache_options {
	const char *name; /* for messages: "pods" */
	struct clock *clock;
	struct json_projection keep; /* managedFields is dropped in any case */
	struct cache_index indexes[CACHE_INDEXES_MAX];
	size_t index_count;
	bool revisions;
	bool unpacked; /* texts are kept as they are: for a cache that is small and read often */
};

struct cache_object { /* valid until the next call that changes the cache */
	const char *key;   /* "namespace/name", or "name" */
	const char *uid;
	const char *resource_version;
	int64_t generation; /* 0: none */
	bool deleting;      /* has a deletionTimestamp */
	bool ours;          /* comes from the overlay */
	struct entry *entry; /* the cache's own: cache_read and cache_content know it */
	const char *index_values[CACHE_INDEXES_MAX]; /* NULL: none */
};

enum cache_change { CACHE_ADDED, CACHE_CHANGED, CACHE_REMOVED };

struct cache *cache_new(const struct cache_options *o); /* copies what it needs */
void cache_free(struct cache *c);

/* Told of each change of what cache_get answers that came from the watch (not of our own writes,
 * nor of the event that merely repeats what the overlay showed). `before` and `after` may be NULL;
 * an object that was replaced by another of its name (another UID) is one CACHE_CHANGED. `changed`
 * may read the cache, not change it. */
void cache_on_change(struct cache *c, void (*changed)(void *arg, enum cache_change change,
	const struct cache_object *before, const struct cache_object *after, bool first_list), void *arg);

/* --- fed by the watch --- */
/* An ADDED or MODIFIED object's bytes. Errors (no name, too large, not JSON) leave the cache as
 * it was; an object that is too large counts as seen by a list, so that its last state stays. */
int cache_put(struct cache *c, const char *bytes, size_t len, struct err *e);
int cache_remove(struct cache *c, const char *bytes, size_t len, struct err *e);
/* The same of bytes whose outline is known. */
int cache_put_read(struct cache *c, const struct json_outline *object, struct err *e);
int cache_remove_read(struct cache *c, const struct json_outline *object, struct err *e);
/* A whole list: begin, put each item, end with the list's resourceVersion. What was not put is
 * removed (and told as CACHE_REMOVED). Until end, get still answers the old content for what has not come. */
void cache_list_begin(struct cache *c);
void cache_list_end(struct cache *c, const char *resource_version);
void cache_list_abort(struct cache *c);
/* A bookmark or an event's resourceVersion: the watch's position. */
void cache_position_set(struct cache *c, const char *resource_version);
const char *cache_position(const struct cache *c); /* "" before the first list */
bool cache_is_synced(const struct cache *c);       /* a list was completed */

/* --- fed by our writes --- */
int cache_wrote(struct cache *c, const char *bytes, size_t len, struct err *e);
void cache_deleted(struct cache *c, const char *key, const char *uid);

/* --- read --- */
/* False if there is none. */
bool cache_get(const struct cache *c, const char *key, struct cache_object *o);
/* The object's JSON, with a NUL behind it; valid until the next cache_read and the next change. */
const char *cache_read(struct cache *c, const struct cache_object *o, size_t *len);
/* A hash of what people and operators write of an object: all of it but status, resourceVersion and generation.
 * Equal hashes, within this process: nothing that a diff looks at has changed. 0 only for no object. */
uint64_t cache_content(struct cache *c, const struct cache_object *o);
size_t cache_count(const struct cache *c);
size_t cache_bytes(const struct cache *c); /* memory held, roughly */
/* Keys, sorted; the array and its strings live until the next change; *count of them. Free the array. */
const char **cache_keys(const struct cache *c, size_t *count);
const char **cache_find(const struct cache *c, const char *index, const char *value, size_t *count);

/* --- revisions --- */
struct cache_revision {
	int64_t generation;
	int64_t seen_ms;      /* wall clock when the watch brought it */
	const char *spec;     /* JSON of spec */
	size_t len;
};
size_t cache_revisions(const struct cache *c, const char *key, const struct cache_revision **list); /* oldest first */
/* A status write has recorded every generation up to this one. */
void cache_revisions_recorded(struct cache *c, const char *key, int64_t generation);

/* --- as a value, for the checker (only of an unpacked cache) --- */
/* All that it holds, as it is now; stays as it is whatever happens to the cache, and may outlive it. */
struct cache_saved *cache_save(const struct cache *c);
/* Whether it is a save of this cache: no other may be restored. */
bool cache_has_saved(const struct cache *c, const struct cache_saved *saved);
/* Hold again what it held when it was saved. Nobody is told. Costs nothing if nothing happened since. */
void cache_restore(struct cache *c, const struct cache_saved *saved);
/* Whether nothing has changed since. */
bool cache_is_as_saved(const struct cache *c, const struct cache_saved *saved);
void cache_saved_free(struct cache_saved *saved);

#endif
