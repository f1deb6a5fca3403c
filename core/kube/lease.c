/* The lease: its life and what it holds. See lease.h; what is asked and seen is lease_attempt.c, the
 * record as JSON lease_record.c.
 *
 * The one problem: to be sure of what we hold although any answer may be late, lost or old. So
 * nothing is concluded from what was sent, only from what came back. A claim counts from before it
 * was sent, because the server may have taken it at any time since; somebody else's record counts from
 * when it arrived here, because it may have been taken just then. Both err to the safe side, and lease
 * minus deadline is what remains between them.
 *
 * At every moment until the end either a call is under way or the timer is armed. Users are told at the
 * end of a frame, when all of this is settled again, because they may stop or release it. */
#include "kube/lease_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"

#define PATH_MAX_BYTES 2048

/* --- frames --- */

static void destroy(struct lease *l)
{
	lease_record_deinit(&l->record);
	free(l->identity);
	free(l->title);
	free(l->folder);
	free(l->path);
	free(l->told_holder);
	free(l);
}

void lease_enter(struct lease *l)
{
	l->busy++;
}

static bool take(const struct lease *l, bool *flag)
{
	bool was = *flag;
	*flag = false;
	return was && !l->stopped;
}

/* A user may stop or release it in each of these: none is told that no longer holds. */
static void tell(struct lease *l)
{
	if (take(l, &l->tell_lost) && !l->releasing && l->o.lost != NULL)
		l->o.lost(l->o.arg);
	if (take(l, &l->tell_holder) && !l->releasing && l->o.observed != NULL)
		l->o.observed(l->o.arg, l->told_holder);
	if (take(l, &l->tell_started) && l->held && l->o.started != NULL)
		l->o.started(l->o.arg);
	if (take(l, &l->tell_released) && l->released != NULL)
		l->released(l->released_arg, l->given_back);
}

void lease_leave(struct lease *l)
{
	if (l->busy == 1)
		tell(l);
	if (--l->busy == 0 && l->stopped)
		destroy(l);
}

/* --- what we hold --- */

static void gain(struct lease *l)
{
	l->held = l->tell_started = true;
	metric_set(l->status, 1);
	log_info("acquired the lease: this process leads", "lease", l->title, "identity", l->identity, NULL);
}

void lease_lose(struct lease *l, const char *why)
{
	if (!l->held)
		return;
	l->held = false;
	l->tell_lost = true;
	clock_disarm(l->clock, &l->deadline);
	metric_set(l->status, 0);
	log_warn("lost the lease: nothing is written until it is ours again", "lease", l->title, "why", why, NULL);
}

static bool is_fresh(const struct lease *l)
{
	return clock_now_ms(l->clock) - l->acked_ms < l->o.deadline_ms;
}

/* Late timers are no reason to lead on: whoever slept has lost it, even if the answer that waited
 * gives it back. */
void lease_acknowledge(struct lease *l)
{
	if (!is_fresh(l))
		lease_lose(l, "no renewal was acknowledged in time");
	l->acked_ms = l->sent_ms;
	if (!is_fresh(l))
		return;
	l->troubled = false;
	clock_arm(l->clock, &l->deadline, l->acked_ms + l->o.deadline_ms - clock_now_ms(l->clock));
	if (!l->held)
		gain(l);
}

void lease_end(struct lease *l, bool given_back)
{
	if (given_back && l->gives_back)
		log_info("released the lease", "lease", l->title, NULL);
	l->ended = true;
	l->given_back = given_back;
	l->tell_released = true;
	cluster_cancel(l->call);
	l->call = NULL;
	clock_disarm(l->clock, &l->timer);
	clock_disarm(l->clock, &l->deadline);
}

/* --- timers --- */

static void on_timer(struct clock_timer *t)
{
	struct lease *l = t->data;
	lease_enter(l);
	if (l->call != NULL) {
		cluster_cancel(l->call);
		l->call = NULL;
		lease_fail(l, "no answer came in time");
	} else if (l->ended)
		l->tell_released = true;
	else
		lease_attempt(l);
	lease_leave(l);
}

static void on_deadline(struct clock_timer *t)
{
	struct lease *l = t->data;
	lease_enter(l);
	if (l->releasing) {
		log_warn("could not give the lease back: others wait until it expires", "lease", l->title, NULL);
		lease_end(l, false);
	} else
		lease_lose(l, "no renewal was acknowledged in time");
	lease_leave(l);
}

/* --- life --- */

static char *made_identity(void)
{
	char host[128] = "";
	uint64_t random[2] = {0};
	gethostname(host, sizeof host - 1);
	if (getrandom(random, sizeof random, 0) != sizeof random)
		random[0] = (uint64_t)getpid();
	return xasprintf("%s_%016llx%016llx", host, (unsigned long long)random[0], (unsigned long long)random[1]);
}

static int check(const struct lease_options *o, struct err *e)
{
	const char *names[] = {o->namespace_, o->name, o->identity != NULL ? o->identity : "made"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i] == NULL || *names[i] == '\0' || strlen(names[i]) > LEASE_IDENTITY_MAX)
			return err_set(e, ERR_INVALID, "a lease needs a namespace, a name and an identity, each of at most "
				"%d characters", LEASE_IDENTITY_MAX);
	if (o->lease_ms % 1000 != 0 || o->lease_ms / 1000 > INT32_MAX || o->lease_ms <= o->deadline_ms ||
		o->deadline_ms <= o->retry_ms * LEASE_JITTER_TENTHS / 10)
		return err_set(e, ERR_INVALID, "a lease of %llu ms with a renew deadline of %llu ms and a retry period of "
			"%llu ms cannot work: it must be whole seconds and longer than the deadline, and that longer than 1.2 "
			"retry periods", (unsigned long long)o->lease_ms, (unsigned long long)o->deadline_ms,
			(unsigned long long)o->retry_ms);
	return 0;
}

static void make_paths(struct lease *l)
{
	struct buffer b;
	buffer_init(&b, PATH_MAX_BYTES);
	buffer_add_text(&b, "/apis/coordination.k8s.io/v1/namespaces/");
	cluster_escape(&b, l->o.namespace_);
	buffer_add_text(&b, "/leases");
	l->folder = xstrdup(buffer_text(&b));
	buffer_add_byte(&b, '/');
	cluster_escape(&b, l->o.name);
	l->path = buffer_take(&b, NULL);
}

static void set_up(struct lease *l)
{
	static const char *const by_name[] = {"name", NULL};
	struct lease_options *o = &l->o;
	l->clock = cluster_clock(o->cluster);
	/* Two requests that hang and the longest pause between them fit into the deadline. */
	l->limit_ms = (o->deadline_ms - o->retry_ms * LEASE_JITTER_TENTHS / 10) / 2;
	l->limit_ms = l->limit_ms > 0 ? l->limit_ms : 1;
	l->identity = o->identity != NULL ? xstrdup(o->identity) : made_identity();
	l->title = xasprintf("%s/%s", o->namespace_, o->name);
	make_paths(l);
	o->name = l->title + strlen(o->namespace_) + 1;
	o->namespace_ = o->identity = NULL;
	l->random = o->seed;
	l->told_holder = xstrdup("");
	l->timer.fire = on_timer;
	l->deadline.fire = on_deadline;
	l->timer.data = l->deadline.data = l;
	l->status = metric_with(metric_register(METRIC_GAUGE, "leader_election_master_status",
		"Whether this process holds the lease: 1 leads, 0 waits.", by_name, NULL, 0), (const char *const[]){o->name});
	metric_set(l->status, 0);
}

struct lease *lease_start(const struct lease_options *o, struct err *e)
{
	struct lease_options full = *o;
	full.lease_ms = o->lease_ms ? o->lease_ms : LEASE_DURATION_MS;
	full.deadline_ms = o->deadline_ms ? o->deadline_ms : LEASE_DEADLINE_MS;
	full.retry_ms = o->retry_ms ? o->retry_ms : LEASE_RETRY_MS;
	if (check(&full, e) != 0)
		return NULL;
	struct lease *l = xcalloc(1, sizeof *l);
	l->o = full;
	set_up(l);
	lease_attempt(l);
	return l;
}

bool lease_may_write(const struct lease *l)
{
	return l->held && is_fresh(l);
}

void lease_look(struct lease *l)
{
	if (l->call == NULL && !l->held && !l->releasing && !l->stopped)
		clock_arm(l->clock, &l->timer, 0);
}

const char *lease_identity(const struct lease *l)
{
	return l->identity;
}

const char *lease_holder(const struct lease *l)
{
	return l->told_holder;
}

void lease_release(struct lease *l, void (*released)(void *arg, bool given_back), void *arg)
{
	if (l->releasing || l->stopped)
		return;
	l->releasing = true;
	l->released = released;
	l->released_arg = arg;
	l->held = l->tell_started = false;
	metric_set(l->status, 0);
	clock_arm(l->clock, &l->deadline, l->o.deadline_ms);
	if (l->call != NULL && l->maybe_ours)
		return; /* its answer goes on from here */
	cluster_cancel(l->call);
	l->call = NULL;
	if (l->maybe_ours)
		lease_attempt(l);
	else {
		lease_end(l, true);
		l->tell_released = false;
		clock_arm(l->clock, &l->timer, 0);
	}
}

void lease_free(struct lease *l)
{
	if (l == NULL || l->stopped)
		return;
	l->stopped = true;
	cluster_cancel(l->call);
	l->call = NULL;
	clock_disarm(l->clock, &l->timer);
	clock_disarm(l->clock, &l->deadline);
	metric_set(l->status, 0);
	if (l->busy == 0)
		destroy(l);
}
