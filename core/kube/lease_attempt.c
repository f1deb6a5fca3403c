/* One attempt after the other at a lease: what is asked, what is seen, when to go on.
 *
 * A holder writes at once with the resourceVersion that it knows, and reads only after a failure;
 * everybody else reads first. Of two tries within one attempt the second comes at once (somebody was
 * first: look again), then there is a pause, so that no answer of a server makes us run in circles. A
 * write whose answer was lost needs no case of its own: the next one conflicts, reading shows
 * ourselves, and we write again. */
#include "kube/lease_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"

#define BODY_MAX (256u << 10)

static void read_record(struct lease *l);
static void write_record(struct lease *l);

/* --- what is seen --- */

static const char *holder(const struct lease *l)
{
	return l->record.holder != NULL ? l->record.holder : "";
}

static bool is_ours(const struct lease *l)
{
	return strcmp(holder(l), l->identity) == 0;
}

static void note_holder(struct lease *l)
{
	if (strcmp(l->told_holder, holder(l)) == 0)
		return;
	free(l->told_holder);
	l->told_holder = xstrdup(holder(l));
	l->tell_holder = *l->told_holder != '\0';
	if (l->tell_holder && !is_ours(l))
		log_info("observed holder of the lease", "lease", l->title, "holder", l->told_holder, NULL);
}

/* Takes `seen` over; all zero: the lease is not there. */
static void see(struct lease *l, struct lease_record *seen)
{
	if (!lease_record_is_same(&l->record, seen))
		l->seen_ms = clock_now_ms(l->clock);
	lease_record_deinit(&l->record);
	l->record = *seen;
	l->is_current = true;
	l->maybe_ours = is_ours(l);
	if (!is_ours(l))
		lease_lose(l, seen->version == NULL ? "the lease was deleted" : "the lease has another holder");
	note_holder(l);
}

static uint64_t expires_ms(const struct lease *l)
{
	return l->seen_ms + (l->record.duration_s > 0 ? (uint64_t)l->record.duration_s * 1000 : l->o.lease_ms);
}

/* --- when to go on --- */

/* splitmix64 */
static uint64_t retry_pause(struct lease *l)
{
	uint64_t z = l->random += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	uint64_t spread = l->o.retry_ms * (LEASE_JITTER_TENTHS - 10) / 10;
	return l->o.retry_ms + (z ^ (z >> 31)) % (spread + 1);
}

/* The pause counts from the attempt's beginning: after a hang the next one comes at once. */
void lease_fail(struct lease *l, const char *why)
{
	l->is_current = false;
	if (!l->troubled)
		log_warn("a request for the lease failed; trying again", "lease", l->title, "why", why, NULL);
	l->troubled = true;
	uint64_t due = l->attempt_ms + retry_pause(l), now = clock_now_ms(l->clock);
	clock_arm(l->clock, &l->timer, due > now ? due - now : 0);
}

/* Somebody was first, or the lease went away: look again, once. */
static void look_again(struct lease *l, const char *why)
{
	l->is_current = false;
	if (l->again) {
		lease_fail(l, why);
		return;
	}
	l->again = true;
	read_record(l);
}

static void wait_for_holder(struct lease *l)
{
	l->troubled = false;
	uint64_t pause = retry_pause(l), left = expires_ms(l) - clock_now_ms(l->clock);
	clock_arm(l->clock, &l->timer, left < pause ? left : pause);
}

static void decide(struct lease *l)
{
	if (l->releasing && !is_ours(l))
		lease_end(l, true);
	else if (is_ours(l) || *holder(l) == '\0' || clock_now_ms(l->clock) >= expires_ms(l))
		write_record(l);
	else
		wait_for_holder(l);
}

void lease_attempt(struct lease *l)
{
	l->attempt_ms = clock_now_ms(l->clock);
	l->again = false;
	if (l->is_current && is_ours(l))
		write_record(l);
	else
		read_record(l);
}

/* --- requests --- */

static const char *reason(const struct cluster_answer *a)
{
	if (a->err.code != 0)
		return a->err.text;
	return a->message[0] != '\0' ? a->message : "the API server refused it without a reason";
}

static void on_read(void *arg, struct cluster_answer *a)
{
	struct lease *l = arg;
	struct lease_record seen = {0};
	struct err e = {0};
	lease_enter(l);
	l->call = NULL;
	clock_disarm(l->clock, &l->timer);
	/* Another 404 is that of a proxy, or of a server without this API. */
	bool is_absent = a->err.code == 0 && a->status == 404 && strcmp(a->reason, "NotFound") == 0;
	if (!is_absent && (a->err.code != 0 || a->status != 200))
		lease_fail(l, reason(a));
	else if (!is_absent && lease_record_read(a->body, a->body_len, &seen, &e) != 0)
		lease_fail(l, e.text);
	else {
		see(l, &seen);
		decide(l);
	}
	lease_leave(l);
}

/* The record that our write left behind. */
static void on_taken(struct lease *l, struct lease_record *seen)
{
	see(l, seen);
	if (l->gives_back || (l->releasing && !is_ours(l)))
		lease_end(l, !is_ours(l));
	else if (l->releasing)
		write_record(l); /* this was a renewal that was under way */
	else if (!is_ours(l))
		lease_fail(l, "the API server took the claim and answered with another holder");
	else {
		clock_arm(l->clock, &l->timer, retry_pause(l));
		lease_acknowledge(l);
	}
}

static void on_written(void *arg, struct cluster_answer *a)
{
	struct lease *l = arg;
	struct lease_record seen = {0};
	struct err e = {0};
	lease_enter(l);
	l->call = NULL;
	clock_disarm(l->clock, &l->timer);
	if (a->refused || (a->status >= 400 && a->status < 500))
		l->maybe_ours = l->was_maybe_ours; /* it changed nothing */
	if (a->err.code == 0 && (a->status == 409 || (a->status == 404 && l->record.version != NULL)))
		look_again(l, reason(a));
	else if (a->err.code != 0 || (a->status != 200 && a->status != 201))
		lease_fail(l, reason(a));
	else if (lease_record_read(a->body, a->body_len, &seen, &e) != 0)
		lease_fail(l, e.text);
	else
		on_taken(l, &seen);
	lease_leave(l);
}

static void send(struct lease *l, struct cluster_request *r, void (*done)(void *, struct cluster_answer *))
{
	r->timeout_ms = l->limit_ms;
	r->body_max = BODY_MAX;
	r->regardless = true; /* how else would it begin */
	l->call = cluster_send(l->o.cluster, r, done, l);
	/* The limit of a call is that of one try: here it holds for all of them together. */
	clock_arm(l->clock, &l->timer, l->limit_ms);
}

static void read_record(struct lease *l)
{
	send(l, &(struct cluster_request){.path = l->path}, on_read);
}

static void write_record(struct lease *l)
{
	bool creates = l->record.version == NULL;
	struct lease_claim c = {.name = l->o.name, .version = l->record.version,
		.holder = l->releasing ? "" : l->identity,
		.duration_s = l->releasing ? 1 : (int64_t)(l->o.lease_ms / 1000),
		.now_wall_ms = clock_wall_ms(l->clock), .acquires = !is_ours(l),
		.transitions = creates ? 0 : l->record.transitions + 1};
	struct buffer body;
	buffer_init(&body, LEASE_CLAIM_MAX);
	lease_claim_write(&body, &c);
	l->gives_back = l->releasing;
	l->was_maybe_ours = l->maybe_ours;
	l->maybe_ours = true;
	l->sent_ms = clock_now_ms(l->clock);
	send(l, &(struct cluster_request){.method = creates ? "POST" : "PATCH", .path = creates ? l->folder : l->path,
		.content_type = creates ? NULL : "application/merge-patch+json", .body = body.data, .body_len = body.len},
		on_written);
	buffer_deinit(&body);
}
