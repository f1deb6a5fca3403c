/* What the watch's files share (watch.c, watch_list.c, watch_stream.c, watch_event.c); nobody else
 * includes it.
 *
 * A watch does one thing at a time: a call is under way (`call`), or its timer is armed and will do
 * `next`. Both are NULL and disarmed only while one of its own functions runs. */
#ifndef MOONPHASE_KUBE_WATCH_INTERNAL_H
#define MOONPHASE_KUBE_WATCH_INTERNAL_H

#include "base/buffer.h"
#include "base/json.h"
#include "base/metrics.h"
#include "kube/watch.h"

#define WATCH_VERSION_MAX 128
#define WATCH_URL_MAX 65536 /* the cluster refuses much less, in words */
#define WATCH_CONTINUE_MAX 4096

/* One page of a list, read in portions, so that a turn of the loop stays short. */
struct page {
	char *body; /* owned; NULL: none */
	struct json_reader r;
	bool in_items, had_items;
	char version[WATCH_VERSION_MAX + 1];
	char *next; /* the continue token, NULL on the last page; owned */
};

/* The server's no: of a request, or inside a stream as an ERROR event. */
struct refusal {
	int status;
	char reason[64];
	char message[ERR_TEXT_MAX];
	int64_t retry_after_s;
};

struct watch {
	struct watch_options o; /* its texts are owned */
	struct clock *clock;
	struct cluster_call *call;
	struct clock_timer timer;
	void (*next)(struct watch *w);
	/* watch_stop inside one of our callbacks: `busy` is their depth, `stopped` asks for the end */
	unsigned busy;
	bool stopped;

	/* a list */
	struct page page;
	char *token;   /* of the page to ask for; NULL: the first */
	bool whole;    /* one list without pages */
	unsigned limit; /* objects of a page */
	char list_version[WATCH_VERSION_MAX + 1];

	/* a stream */
	struct buffer line;      /* the half of one that came */
	struct refusal refusal;  /* status 0: none */
	uint64_t opened_ms;
	uint64_t life_ms;        /* after which the server was asked to end it */
	bool overdue;            /* it did not, and we do */
	bool moved;              /* the position has moved since it was opened */
	bool warned;             /* about something dropped from this stream */
	unsigned garbage;        /* streams in a row that broke on the same unreadable line */

	/* backoff */
	uint64_t random, pause_ms, paused_until_ms;

	struct watch_stats stats;
	struct metric_series *lists, *events, *age;
};

/* watch.c */
/* Do `next` after `delay_ms`, and tell the user why (err NULL: no trouble). */
void watch_again(struct watch *w, void (*next)(struct watch *w), uint64_t delay_ms, const struct err *err);
/* The next delay of the backoff; `healthy` (may be NULL) says whether there was no trouble for two minutes. */
uint64_t watch_backoff(struct watch *w, bool *healthy);
uint32_t watch_random(struct watch *w, uint32_t below);
/* Make `url` the path with the selectors; the caller adds to it and frees it. */
void watch_url(const struct watch *w, struct buffer *url);
void watch_url_add(struct buffer *url, const char *name, const char *value);
void watch_dropped(struct watch *w, const struct err *why);
/* Our callbacks begin and end with these. After watch_leave the watch may be gone. */
void watch_enter(struct watch *w);
void watch_leave(struct watch *w);
bool watch_is_expired(int status, const char *reason);

/* watch_list.c */
void watch_list(struct watch *w); /* from the first page */
void watch_page_drop(struct page *p);

/* watch_stream.c */
void watch_stream(struct watch *w); /* from the cache's position */

/* watch_event.c */
enum watch_event_type { EVENT_OTHER, EVENT_ADDED, EVENT_MODIFIED, EVENT_DELETED, EVENT_BOOKMARK, EVENT_ERROR };

struct watch_event {
	enum watch_event_type type;
	struct json_outline object;
	bool is_ours; /* the object's kind and apiVersion are those of the watch */
	char version[WATCH_VERSION_MAX + 1]; /* "": none */
};

/* A line without its end. ERR_INVALID: it is no event. */
int watch_event_read(const struct watch *w, const char *line, size_t len, struct watch_event *v, struct err *e);
void watch_event_refusal(const struct watch_event *v, struct refusal *r);
/* Give each whole line of what came to `line`, keep the rest in `half`. Ends with the first code
 * that is not 0, or with ERR_TOO_LARGE. */
int watch_lines(struct buffer *half, const char *bytes, size_t len,
	int (*line)(void *arg, const char *line, size_t len), void *arg);

#endif
