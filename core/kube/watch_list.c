/* The list: page by page into the cache.
 *
 * A page is handed to the cache item by item from its bytes, a portion per turn of the loop (a
 * page may be megabytes); the next page is asked for when this one is done. Members of a list come
 * in any order (custom resources have `metadata` behind `items`), so what a page says about the
 * whole is looked at when it ends. Only a list that came in full removes anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/watch_internal.h"

#define TURN_BYTES (64u << 10)
#define WHOLE_MAX (512u << 20) /* of a list without pages */
#define PAGE_DIVISOR 4         /* of a page that is larger than an answer may be */

static void ask(struct watch *w);

void watch_page_drop(struct page *p)
{
	free(p->body);
	free(p->next);
	*p = (struct page){0};
}

static void forget(struct watch *w)
{
	watch_page_drop(&w->page);
	free(w->token);
	w->token = NULL;
}

static void fail(struct watch *w, const struct err *err)
{
	forget(w);
	cache_list_abort(w->o.cache);
	watch_again(w, watch_list, watch_backoff(w, NULL), err);
}

/* --- a page --- */

static void read_metadata(struct page *p, struct json_span m)
{
	char *version = json_find_string(m.at, m.len, "resourceVersion", NULL);
	char *next = json_find_string(m.at, m.len, "continue", NULL);
	if (version != NULL && strlen(version) <= WATCH_VERSION_MAX)
		snprintf(p->version, sizeof p->version, "%s", version);
	free(version);
	free(p->next);
	p->next = NULL;
	if (next != NULL && *next != '\0')
		p->next = next;
	else
		free(next);
}

/* Behind the name of a member of the list. */
static bool read_member(struct page *p)
{
	struct json_span value;
	if (json_text_is(&p->r, "items")) {
		enum json_token t = json_next(&p->r);
		p->in_items = t == JSON_ARRAY_BEGIN;
		p->had_items = p->in_items || t == JSON_NULL;
		return p->had_items;
	}
	bool metadata = json_text_is(&p->r, "metadata");
	if (!json_skip_value(&p->r, &value))
		return false;
	if (metadata)
		read_metadata(p, value);
	return true;
}

static void put(struct watch *w, const struct json_outline *item)
{
	struct err e = {0};
	if (cache_put_read(w->o.cache, item, &e) != 0)
		watch_dropped(w, &e);
}

/* The next object, if there is one. What is nested too deeply is passed over by its brackets: who may write one object must not
 * take all others from us. */
static int read_item(struct watch *w, struct err *e)
{
	struct page *p = &w->page;
	struct json_reader before = p->r;
	struct json_outline item;
	if (json_read_outline(&p->r, &item)) {
		put(w, &item);
		return 0;
	}
	p->in_items = p->r.error != NULL;
	if (!p->in_items)
		return 0;
	if (json_error(&p->r, e) != ERR_TOO_LARGE)
		return e->code;
	p->r = before;
	if (json_next(&p->r) != JSON_OBJECT_BEGIN || !json_leave_level(&p->r))
		return json_error(&p->r, e);
	watch_dropped(w, e);
	return 0;
}

/* One portion. 1: it was the last one, 0: there is more, or an error. */
static int read_portion(struct watch *w, struct err *e)
{
	struct page *p = &w->page;
	const char *from = p->r.at;
	while (p->r.at - from < (ptrdiff_t)TURN_BYTES && !w->stopped) {
		if (p->in_items) {
			if (read_item(w, e) != 0)
				return e->code;
			continue;
		}
		enum json_token t = json_next(&p->r);
		if (t == JSON_END)
			return 1;
		if (t == JSON_ERROR || (t == JSON_KEY && !read_member(p)))
			return json_error(&p->r, e);
	}
	return 0;
}

static int check_page(struct watch *w, struct err *e)
{
	const struct page *p = &w->page;
	if (!p->had_items)
		return err_set(e, ERR_INVALID, "the answer is no list: it has no items");
	if (*p->version == '\0')
		return err_set(e, ERR_INVALID, "the list has no metadata.resourceVersion");
	if (p->next != NULL && strlen(p->next) > WATCH_CONTINUE_MAX)
		return err_set(e, ERR_TOO_LARGE, "the list's continue token is longer than %d bytes", WATCH_CONTINUE_MAX);
	return 0;
}

static void complete(struct watch *w)
{
	bool first = !cache_is_synced(w->o.cache);
	forget(w);
	w->garbage = 0;
	cache_list_end(w->o.cache, w->list_version);
	if (w->stopped)
		return;
	watch_stream(w);
	if (first && w->o.synced != NULL)
		w->o.synced(w->o.arg);
}

static void load(struct watch *w)
{
	struct err e = {0};
	int rc = read_portion(w, &e);
	if (w->stopped)
		return;
	if (rc == 0) {
		watch_again(w, load, 0, NULL);
		return;
	}
	if (rc == 1)
		rc = check_page(w, &e);
	if (rc < 0) {
		err_prefix(&e, "listing %s", w->o.path);
		fail(w, &e);
		return;
	}
	/* The first page's version: what happened while later pages came is told again. */
	if (*w->list_version == '\0')
		memcpy(w->list_version, w->page.version, sizeof w->list_version);
	char *token = w->page.next;
	w->page.next = NULL;
	forget(w);
	w->token = token;
	if (token != NULL)
		ask(w);
	else
		complete(w);
}

/* --- asking --- */

static void start(struct watch *w, bool whole)
{
	forget(w);
	w->whole = whole;
	w->warned = false;
	w->limit = WATCH_PAGE;
	*w->list_version = '\0';
	w->stats.lists++;
	metric_add(w->lists, 1);
	cache_list_begin(w->o.cache);
	ask(w);
}

static void refused(struct watch *w, const struct cluster_answer *a)
{
	struct err e = a->err;
	if (e.code == ERR_TOO_LARGE && !w->whole && w->limit > 1) { /* the same page again, smaller: its token holds for any size */
		w->limit = w->limit > PAGE_DIVISOR ? w->limit / PAGE_DIVISOR : 1;
		ask(w);
		return;
	}
	if (e.code == 0 && w->token != NULL && !w->whole && watch_is_expired(a->status, a->reason)) {
		start(w, true); /* the pages are gone: once, in full */
		return;
	}
	if (e.code == 0)
		err_set(&e, a->status == 404 ? ERR_NOT_FOUND : ERR_IO, "the server says %d%s%s: %s", a->status,
			*a->reason ? " " : "", a->reason, a->message);
	err_prefix(&e, "listing %s", w->o.path);
	fail(w, &e);
}

static void answered(void *arg, struct cluster_answer *a)
{
	struct watch *w = arg;
	watch_enter(w);
	w->call = NULL;
	w->stats.last_byte_ms = clock_now_ms(w->clock);
	if (a->err.code != 0 || a->status != 200 || a->body == NULL) {
		refused(w, a);
	} else {
		w->page = (struct page){.body = a->body};
		json_reader_init(&w->page.r, a->body, a->body_len);
		a->body = NULL;
		load(w);
	}
	watch_leave(w);
}

static void ask(struct watch *w)
{
	struct buffer url;
	char limit[16];
	snprintf(limit, sizeof limit, "%u", w->limit);
	watch_url(w, &url);
	if (!w->whole)
		watch_url_add(&url, "limit", limit);
	if (w->token != NULL)
		watch_url_add(&url, "continue", w->token);
	struct cluster_request r = {
		.path = url.data,
		.accept = w->o.metadata_only ?
			"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json" : NULL,
		.body_max = w->whole ? WHOLE_MAX : 0,
	};
	w->call = cluster_send(w->o.cluster, &r, answered, w);
	buffer_deinit(&url);
}

void watch_list(struct watch *w)
{
	start(w, false);
}
