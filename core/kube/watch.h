/* One kind, listed once and then followed: the reflector.
 *
 * Pages of 500, then a watch from the list's resourceVersion, with bookmarks. Each way in which
 * that can end has its answer (numbers: design section 6; reasons: client-go's reflector):
 * an orderly end resumes the watch where it stood, at once; so do 70 s without a byte (a dead
 * connection); a broken stream, a refused connection, 429 and 503 with Retry-After resume it after
 * a pause; 410 or an ERROR event with Expired or Gone lists again (at once; the second time
 * within two minutes after a pause); Expired on a later page lists once in full; any other
 * answer lists after a pause. A watch that ends within a second and brought nothing pauses too.
 * Pauses are 0.8 s doubling to 30 s, each stretched up to twice by the seed, and start over after
 * 2 minutes of health. Events of another kind are dropped and counted; half a line is waited for;
 * a line that cannot be read ends its stream, which resumes, and the third in one place lists;
 * a line over 3 MiB leads to a list. Only a list that came in full removes anything. Pages are
 * taken over in portions, so that no turn of the loop is long.
 *
 * Runs on a struct cluster (clock and transport are its parameters) and feeds a struct cache. */
#ifndef MOONPHASE_KUBE_WATCH_H
#define MOONPHASE_KUBE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "kube/cache.h"
#include "kube/cluster.h"

#define WATCH_PAGE 500
#define WATCH_SILENCE_MS 70000
#define WATCH_LINE_MAX ((3u << 20) + 65536)

struct watch;

struct watch_options {
	struct cluster *cluster;
	struct cache *cache;
	const char *path;           /* "/apis/apps/v1/namespaces/hub/deployments" */
	const char *label_selector; /* may be NULL */
	const char *field_selector; /* may be NULL */
	const char *api_version, *kind; /* of the items: "apps/v1", "Deployment" */
	bool metadata_only;         /* ask for PartialObjectMetadata */
	uint64_t seed;              /* of the jitter */
	uint64_t silence_ms;        /* without a byte: the connection is dead; 0: WATCH_SILENCE_MS */
	/* The first list is complete, and: a list or watch failed and will be tried again in `retry_ms`
	 * (message for people; 0: at once). Either may be NULL. */
	void (*synced)(void *arg);
	void (*trouble)(void *arg, const struct err *err, uint64_t retry_ms);
	void *arg;
};

struct watch *watch_start(const struct watch_options *o);
/* Frees it; no callback follows. May be called inside its callbacks and the cache's. Cache and cluster
 * must live until then. */
void watch_stop(struct watch *w);

struct watch_stats {
	uint64_t lists, watches, events, bookmarks, dropped; /* dropped: of another kind, or unreadable */
	uint64_t last_byte_ms; /* clock time */
	bool streaming;
	struct err last_error; /* of the trouble that goes on; code 0: none */
};
struct watch_stats watch_stats(const struct watch *w);

#endif
