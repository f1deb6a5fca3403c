/* The stream: from the cache's position to its end, and what that end means.
 *
 * Every end is put into one of four classes (the table is client-go's, with what we do better):
 *   in order, after it lived          the watch again, at once
 *   not at its time: a proxy keeps it the watch again, at once
 *   open, or a server that does not
 *   know timeoutSeconds
 *   silent for 70 s                   the watch again, at once: it waited long enough, and the
 *                                     server's history of 75 s still has what was missed
 *   broken, refused, 429, 503 with    the watch again, after a pause
 *   Retry-After, shorter than 1 s
 *   without moving, a garbled line
 *   expired (410)                     a new list: at once if all was well, else after a pause
 *   anything else: a line too long,   a new list, after a pause
 *   403, 404, 500, the third garbled
 *   line in one place */
#include <stdio.h>
#include <string.h>

#include "kube/watch_internal.h"

#define LIFE_MS 1000      /* a stream that ends earlier without having moved is an error */
#define GARBAGE_MOST 3    /* streams that may break in one place */
#define TIMEOUT_LEAST_S 300
#define TIMEOUT_SPREAD_S 301
#define GRACE_MS 30000 /* that a server may take longer than it was asked to */

/* --- events --- */

static void apply(struct watch *w, const struct watch_event *v)
{
	struct err e = {0};
	int rc = 0;
	w->stats.events++;
	metric_add(w->events, 1);
	if (v->type == EVENT_DELETED)
		rc = cache_remove_read(w->o.cache, &v->object, &e);
	else
		rc = cache_put_read(w->o.cache, &v->object, &e);
	if (rc != 0)
		watch_dropped(w, &e);
}

static void move_to(struct watch *w, const char *version)
{
	if (*version == '\0' || strcmp(version, cache_position(w->o.cache)) == 0)
		return;
	cache_position_set(w->o.cache, version);
	w->moved = true;
	w->garbage = 0;
}

static int on_line(void *arg, const char *line, size_t len)
{
	struct watch *w = arg;
	struct watch_event v;
	struct err e = {0};
	if (watch_event_read(w, line, len, &v, &e) != 0) {
		watch_dropped(w, &e);
		return e.code == ERR_TOO_LARGE ? 0 : ERR_INVALID; /* one object that is nested too deeply is no broken stream */
	}
	if (v.type == EVENT_ERROR) {
		watch_event_refusal(&v, &w->refusal);
		return ERR_CANCELLED;
	}
	if (v.type == EVENT_OTHER || !v.is_ours) {
		err_set(&e, ERR_INVALID, "an event is not about a %s of %s", w->o.kind, w->o.api_version);
		watch_dropped(w, &e);
		return 0;
	}
	if (v.type == EVENT_BOOKMARK)
		w->stats.bookmarks++;
	else
		apply(w, &v);
	if (!w->stopped)
		move_to(w, v.version);
	return w->stopped ? ERR_CANCELLED : 0;
}

static int on_bytes(void *arg, const char *bytes, size_t len)
{
	struct watch *w = arg;
	watch_enter(w);
	w->stats.last_byte_ms = clock_now_ms(w->clock);
	int rc = watch_lines(&w->line, bytes, len, on_line, w);
	if (rc == 0 && w->line.len == 0 && w->stats.last_byte_ms - w->opened_ms > w->life_ms + GRACE_MS) {
		w->overdue = true; /* one that says nothing more ends by its silence */
		rc = ERR_CANCELLED;
	}
	watch_leave(w);
	return rc;
}

/* --- its end --- */

static void list_expired(struct watch *w)
{
	bool healthy;
	uint64_t delay = watch_backoff(w, &healthy);
	struct err e;
	err_set(&e, ERR_NOT_FOUND, "watching %s: the server no longer has what followed resourceVersion %s", w->o.path,
		cache_position(w->o.cache));
	watch_again(w, watch_list, healthy ? 0 : delay, healthy ? NULL : &e);
}

static void end_refused(struct watch *w, const struct refusal *r)
{
	struct err e;
	if (watch_is_expired(r->status, r->reason)) {
		list_expired(w);
		return;
	}
	err_set(&e, r->status == 404 ? ERR_NOT_FOUND : ERR_IO, "watching %s: the server says %d%s%s: %s", w->o.path,
		r->status, *r->reason ? " " : "", r->reason, r->message);
	uint64_t delay = watch_backoff(w, NULL);
	bool may_resume = r->status == 429 || (r->status >= 500 && r->retry_after_s > 0);
	if (strstr(r->message, "Too large resource version") != NULL)
		may_resume = false; /* the cluster was set back: it will not get there soon */
	if (may_resume && r->retry_after_s > 0 && (uint64_t)r->retry_after_s * 1000 > delay)
		delay = (r->retry_after_s > 3600 ? 3600 : (uint64_t)r->retry_after_s) * 1000;
	watch_again(w, may_resume ? watch_stream : watch_list, delay, &e);
}

static void end_broken(struct watch *w, const struct cluster_answer *a)
{
	struct err e = a->err;
	void (*next)(struct watch *) = watch_stream;
	if (a->status == 200 && e.code == ERR_TIMEOUT) {
		watch_again(w, watch_stream, 0, &e);
		return;
	}
	if (e.code == ERR_TOO_LARGE) {
		err_set(&e, ERR_TOO_LARGE, "watching %s: a line is longer than %u bytes", w->o.path, WATCH_LINE_MAX);
		next = watch_list;
	} else if (e.code == ERR_INVALID && a->status == 200) {
		err_set(&e, ERR_INVALID, "watching %s: a line cannot be read", w->o.path);
		if (++w->garbage >= GARBAGE_MOST)
			next = watch_list;
	}
	watch_again(w, next, watch_backoff(w, NULL), &e);
}

static void end_in_order(struct watch *w)
{
	struct err e;
	if (w->moved || clock_now_ms(w->clock) - w->opened_ms >= LIFE_MS) {
		watch_again(w, watch_stream, 0, NULL);
		return;
	}
	err_set(&e, ERR_IO, "watching %s: the stream ended within a second and brought nothing", w->o.path);
	watch_again(w, watch_stream, watch_backoff(w, NULL), &e);
}

static void on_opened(void *arg)
{
	struct watch *w = arg;
	w->stats.streaming = true;
	w->stats.last_byte_ms = w->opened_ms = clock_now_ms(w->clock);
	w->stats.last_error.code = 0;
}

static void on_ended(void *arg, struct cluster_answer *a)
{
	struct watch *w = arg;
	watch_enter(w);
	w->call = NULL;
	w->stats.streaming = false;
	buffer_deinit(&w->line); /* half a line is not an event; it comes again */
	if (w->refusal.status != 0) {
		end_refused(w, &w->refusal);
	} else if (w->overdue) {
		end_in_order(w);
	} else if (a->err.code != 0) {
		end_broken(w, a);
	} else if (a->status == 200) {
		end_in_order(w);
	} else {
		struct refusal r = {.status = a->status, .retry_after_s = a->retry_after_s};
		memcpy(r.reason, a->reason, sizeof r.reason);
		memcpy(r.message, a->message, sizeof r.message);
		end_refused(w, &r);
	}
	watch_leave(w);
}

void watch_stream(struct watch *w)
{
	static const struct cluster_stream_handlers handlers = {.opened = on_opened, .bytes = on_bytes, .ended = on_ended};
	struct buffer url;
	char seconds[16];
	unsigned life_s = TIMEOUT_LEAST_S + watch_random(w, TIMEOUT_SPREAD_S);
	snprintf(seconds, sizeof seconds, "%u", life_s);
	watch_url(w, &url);
	watch_url_add(&url, "watch", "true");
	watch_url_add(&url, "resourceVersion", cache_position(w->o.cache));
	watch_url_add(&url, "allowWatchBookmarks", "true");
	watch_url_add(&url, "timeoutSeconds", seconds);
	w->refusal.status = 0;
	w->life_ms = (uint64_t)life_s * 1000;
	w->moved = w->warned = w->overdue = false;
	w->stats.watches++;
	struct cluster_request r = {
		.path = url.data,
		.timeout_ms = w->o.silence_ms,
		.accept = w->o.metadata_only ?
			"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json" : NULL,
	};
	w->call = cluster_stream(w->o.cluster, &r, &handlers, w);
	buffer_deinit(&url);
}
