/* One kind, listed and followed: its life, its pauses, what it tells. See watch.h; the list is
 * watch_list.c, the stream and the meaning of its end watch_stream.c.
 *
 * The one problem: everything here runs in callbacks (of calls, of the timer), and each of them
 * may reach a user's callback that stops the watch. So each is framed by watch_enter and
 * watch_leave; watch_stop leaves every waiting place at once and frees when the frame ends. */
#include "kube/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "kube/watch_internal.h"

#define PAUSE_FIRST_MS 800
#define PAUSE_MOST_MS 30000
#define HEALTH_MS 120000

/* --- pauses --- */

/* splitmix64 */
uint32_t watch_random(struct watch *w, uint32_t below)
{
	uint64_t z = w->random += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)(((z ^ (z >> 31)) >> 32) * below >> 32);
}

/* client-go's: the pause is between once and twice its base, which doubles up to 30 s. */
uint64_t watch_backoff(struct watch *w, bool *healthy)
{
	uint64_t now = clock_now_ms(w->clock);
	bool fresh = w->pause_ms == 0 || (now > w->paused_until_ms && now - w->paused_until_ms >= HEALTH_MS);
	if (healthy != NULL)
		*healthy = fresh;
	uint64_t base = fresh ? PAUSE_FIRST_MS : w->pause_ms;
	uint64_t delay = base + watch_random(w, (uint32_t)base);
	w->pause_ms = base * 2 < PAUSE_MOST_MS ? base * 2 : PAUSE_MOST_MS;
	w->paused_until_ms = now + delay;
	return delay;
}

void watch_again(struct watch *w, void (*next)(struct watch *w), uint64_t delay_ms, const struct err *err)
{
	if (w->stopped)
		return;
	w->next = next;
	clock_arm(w->clock, &w->timer, delay_ms);
	if (err == NULL)
		return;
	w->stats.last_error = *err;
	if (w->o.trouble != NULL)
		w->o.trouble(w->o.arg, err, delay_ms);
}

bool watch_is_expired(int status, const char *reason)
{
	return status == 410 || strcmp(reason, "Expired") == 0 || strcmp(reason, "Gone") == 0;
}

/* Counted, and said once per stream or list: the next may be a flood. */
void watch_dropped(struct watch *w, const struct err *why)
{
	w->stats.dropped++;
	if (!w->warned)
		log_warn("dropped what a watch brought", "path", w->o.path, "why", why->text, NULL);
	w->warned = true;
}

/* --- requests --- */

void watch_url_add(struct buffer *url, const char *name, const char *value)
{
	buffer_add_byte(url, strchr(buffer_text(url), '?') != NULL ? '&' : '?');
	buffer_add_text(url, name);
	buffer_add_byte(url, '=');
	cluster_escape(url, value);
}

void watch_url(const struct watch *w, struct buffer *url)
{
	buffer_init(url, WATCH_URL_MAX);
	buffer_add_text(url, w->o.path);
	if (w->o.label_selector != NULL)
		watch_url_add(url, "labelSelector", w->o.label_selector);
	if (w->o.field_selector != NULL)
		watch_url_add(url, "fieldSelector", w->o.field_selector);
}

/* --- life --- */

static void destroy(struct watch *w)
{
	watch_page_drop(&w->page);
	free(w->token);
	buffer_deinit(&w->line);
	free((char *)(uintptr_t)w->o.path);
	free((char *)(uintptr_t)w->o.label_selector);
	free((char *)(uintptr_t)w->o.field_selector);
	free((char *)(uintptr_t)w->o.api_version);
	free((char *)(uintptr_t)w->o.kind);
	free(w);
}

void watch_enter(struct watch *w)
{
	w->busy++;
}

void watch_leave(struct watch *w)
{
	if (--w->busy == 0 && w->stopped)
		destroy(w);
}

static void on_timer(struct clock_timer *t)
{
	struct watch *w = t->data;
	watch_enter(w);
	w->next(w);
	watch_leave(w);
}

static double read_age(void *arg)
{
	const struct watch *w = arg;
	return (double)(clock_now_ms(w->clock) - w->stats.last_byte_ms) / 1000;
}

static double read_nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void register_metrics(struct watch *w)
{
	static const char *const by_kind[] = {"kind", NULL}, *const by_path[] = {"kind", "path", NULL};
	w->lists = metric_with(metric_register(METRIC_COUNTER, "moonphase_watch_lists_total",
		"Lists of a kind that were begun; more than one per watch means that a watch could not be resumed.",
		by_kind, NULL, 0), (const char *const[]){w->o.kind});
	w->events = metric_with(metric_register(METRIC_COUNTER, "moonphase_watch_events_total",
		"Events that watches brought, by kind.", by_kind, NULL, 0), (const char *const[]){w->o.kind});
	w->age = metric_with(metric_register(METRIC_GAUGE, "moonphase_watch_last_byte_age_seconds",
		"Seconds since the API server last sent anything on this watch; healthy is below 70.", by_path, NULL, 0),
		(const char *const[]){w->o.kind, w->o.path});
	metric_compute(w->age, read_age, w);
}

static char *copy(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

struct watch *watch_start(const struct watch_options *o)
{
	struct watch *w = xcalloc(1, sizeof *w);
	w->o = *o;
	w->o.path = copy(o->path);
	w->o.label_selector = copy(o->label_selector);
	w->o.field_selector = copy(o->field_selector);
	w->o.api_version = copy(o->api_version);
	w->o.kind = copy(o->kind);
	if (w->o.silence_ms == 0)
		w->o.silence_ms = WATCH_SILENCE_MS;
	w->clock = cluster_clock(o->cluster);
	w->timer.fire = on_timer;
	w->timer.data = w;
	w->random = o->seed;
	buffer_init(&w->line, WATCH_LINE_MAX);
	w->stats.last_byte_ms = clock_now_ms(w->clock);
	register_metrics(w);
	watch_list(w);
	return w;
}

void watch_stop(struct watch *w)
{
	if (w == NULL || w->stopped)
		return;
	w->stopped = true;
	cluster_cancel(w->call);
	w->call = NULL;
	clock_disarm(w->clock, &w->timer);
	cache_list_abort(w->o.cache);
	metric_compute(w->age, read_nothing, NULL);
	if (w->busy == 0)
		destroy(w);
}

struct watch_stats watch_stats(const struct watch *w)
{
	return w->stats;
}
