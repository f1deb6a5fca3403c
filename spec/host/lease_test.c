/* Leases over the real cluster.c, against an API server that holds one Lease, millisecond by
 * millisecond. Each process has a clock of its own, whose wall time is wrong by hours and which may
 * stand still (the process sleeps) while the time of the world goes on. Requests reach the server, and
 * answers come back, when and if the test's weather says so; a request that was given up still
 * arrives. */
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/xalloc.h"
#include "kube/lease.h"
#include "test.h"

/* --- the server --- */

#define PATH "/apis/coordination.k8s.io/v1/namespaces/hub/leases"

static struct {
	cJSON *lease; /* NULL: there is none */
	int version, gets, posts, patches;
} server;

static cJSON *at(cJSON *o, const char *a, const char *b)
{
	o = cJSON_GetObjectItemCaseSensitive(o, a);
	return b != NULL ? cJSON_GetObjectItemCaseSensitive(o, b) : o;
}

static const char *field(const char *name)
{
	const char *text = cJSON_GetStringValue(at(server.lease, "spec", name));
	return text != NULL ? text : "(none)";
}

static int number(const char *name)
{
	cJSON *n = at(server.lease, "spec", name);
	return n != NULL ? n->valueint : -1;
}

/* RFC 7396 */
static void merge(cJSON *into, const cJSON *patch)
{
	for (const cJSON *p = patch->child; p != NULL; p = p->next) {
		cJSON *old = cJSON_GetObjectItemCaseSensitive(into, p->string);
		if (cJSON_IsObject(p) && cJSON_IsObject(old)) {
			merge(old, p);
			continue;
		}
		cJSON_DeleteItemFromObjectCaseSensitive(into, p->string);
		if (!cJSON_IsNull(p))
			cJSON_AddItemToObject(into, p->string, cJSON_Duplicate(p, true));
	}
}

static void stamp(void)
{
	char version[16];
	snprintf(version, sizeof version, "%d", ++server.version);
	cJSON *metadata = at(server.lease, "metadata", NULL);
	cJSON_DeleteItemFromObjectCaseSensitive(metadata, "resourceVersion");
	cJSON_AddStringToObject(metadata, "resourceVersion", version);
}

static void set_lease(const char *json)
{
	cJSON_Delete(server.lease);
	server.lease = json != NULL ? cJSON_Parse(json) : NULL;
	CHECK(json == NULL || server.lease != NULL);
	if (json != NULL)
		stamp();
}

/* Somebody else's process renews. */
static void patch_lease(const char *json)
{
	cJSON *patch = cJSON_Parse(json);
	CHECK(patch != NULL);
	merge(server.lease, patch);
	stamp();
	cJSON_Delete(patch);
}

static int refuse(int status, const char *why, char **body)
{
	*body = xasprintf("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"%s\","
		"\"message\":\"it is %s\",\"code\":%d}", why, why, status);
	return status;
}

static int give(int status, char **body)
{
	*body = cJSON_PrintUnformatted(server.lease);
	return status;
}

static int serve_patch(cJSON *patch, char **body)
{
	server.patches++;
	const char *base = cJSON_GetStringValue(at(patch, "metadata", "resourceVersion"));
	CHECK(base != NULL); /* never without */
	if (server.lease == NULL)
		return refuse(404, "NotFound", body);
	if (strcmp(base, cJSON_GetStringValue(at(server.lease, "metadata", "resourceVersion"))) != 0)
		return refuse(409, "Conflict", body);
	merge(server.lease, patch);
	stamp();
	return give(200, body);
}

static int serve_post(cJSON *object, char **body)
{
	server.posts++;
	CHECK_TEXT(cJSON_GetStringValue(at(object, "kind", NULL)), "Lease");
	CHECK_TEXT(cJSON_GetStringValue(at(object, "metadata", "name")), "moonphase");
	if (server.lease != NULL)
		return refuse(409, "AlreadyExists", body);
	server.lease = cJSON_Duplicate(object, true);
	stamp();
	return give(201, body);
}

static int serve(const char *method, const char *url, const char *type, const char *sent, char **body)
{
	bool posts = strcmp(method, "POST") == 0;
	CHECK_TEXT(url, posts ? "http://api" PATH : "http://api" PATH "/moonphase");
	if (strcmp(method, "GET") == 0) {
		server.gets++;
		return server.lease != NULL ? give(200, body) : refuse(404, "NotFound", body);
	}
	CHECK_TEXT(type, posts ? "Content-Type: application/json" : "Content-Type: application/merge-patch+json");
	cJSON *object = cJSON_Parse(sent);
	CHECK(object != NULL);
	int status = posts ? serve_post(object, body) : serve_patch(object, body);
	cJSON_Delete(object);
	return status;
}

/* --- the wire --- */

enum fate {
	FINE,
	REFUSED, /* nobody listens */
	DROPPED, /* never arrives, hangs */
	MUTE,    /* is done, hangs */
	BROKEN,  /* is done, then the connection breaks */
	BUSY,    /* 503 without Retry-After, not done */
	MANY,    /* 429, not done; cluster.c itself tries again each second */
	NOISE,   /* a proxy answers 200 with a page */
	PAGE404, /* a proxy answers 404 with a page */
};

struct process {
	struct clock clock;
	struct cluster *cluster;
	struct lease *lease;
	bool asleep, leading; /* leading: what it was told */
	int started, lost, observed, released;
	bool given_back, stop_in_started, stop_in_lost, release_in_lost;
	uint64_t lost_ms, started_ms;
	char holder[64];
};

struct http_exchange { /* a message on its way; it outlives a client that gave up */
	struct http_exchange *next;
	struct process *from;
	struct http_handlers h;
	void *arg;
	char method[8], url[128], type[64], *sent, *body;
	bool given_up, arrived;
	enum fate fate;
	int status;
	uint64_t due_ms, back_ms;
};

static uint64_t now; /* of the world */
static struct http_exchange *wire;
static enum fate weather, once[8];
static size_t once_count, once_next;
static uint64_t to_ms, back_ms; /* how long ways take */
static void (*draw_fate)(struct http_exchange *x);
static struct process p[2];

static struct process *whose(struct transport *t);

static struct http_exchange *wire_start(struct transport *t, const struct http_request *r,
	const struct http_handlers *h, void *arg)
{
	struct http_exchange *x = xcalloc(1, sizeof *x), **end = &wire;
	*x = (struct http_exchange){.from = whose(t), .h = *h, .arg = arg, .due_ms = now + to_ms, .back_ms = back_ms,
		.fate = once_next < once_count ? once[once_next++] : weather};
	snprintf(x->method, sizeof x->method, "%s", r->method);
	snprintf(x->url, sizeof x->url, "%s", r->url);
	for (const char *const *line = r->headers; *line != NULL; line++)
		if (strncmp(*line, "Content-Type: ", 14) == 0)
			snprintf(x->type, sizeof x->type, "%s", *line);
	x->sent = r->body != NULL ? xmemdup0(r->body, r->body_len) : NULL;
	if (draw_fate != NULL)
		draw_fate(x);
	while (*end != NULL)
		end = &(*end)->next;
	*end = x;
	return x;
}

static void wire_cancel(struct transport *t, struct http_exchange *x)
{
	(void)t;
	CHECK(!x->given_up);
	x->given_up = true;
}

static struct transport transports[2] = {{wire_start, wire_cancel}, {wire_start, wire_cancel}};

static struct process *whose(struct transport *t)
{
	return &p[t - transports];
}

static const char *no_header(void *headers, const char *name)
{
	(void)headers, (void)name;
	return NULL;
}

static void arrive(struct http_exchange *x)
{
	x->arrived = true;
	x->due_ms = now + x->back_ms;
	if (x->fate == FINE || x->fate == MUTE || x->fate == BROKEN)
		x->status = serve(x->method, x->url, x->type, x->sent, &x->body);
	else if (x->fate == BUSY)
		x->status = refuse(503, "ServiceUnavailable", &x->body);
	else if (x->fate == MANY)
		x->status = refuse(429, "TooManyRequests", &x->body);
	else if (x->fate == NOISE || x->fate == PAGE404) {
		x->status = x->fate == NOISE ? 200 : 404;
		x->body = xstrdup("<html>a page</html>");
	}
	if (x->fate == MUTE || x->fate == DROPPED)
		x->due_ms = UINT64_MAX;
}

static void come_back(struct http_exchange *x)
{
	struct http_result r = {.status = x->status, .sent = true};
	if (x->fate == REFUSED || x->fate == BROKEN) {
		r.status = 0;
		r.refused = x->fate == REFUSED;
		err_set(&r.err, ERR_IO, "the wire broke");
	} else {
		x->h.on_headers(x->arg, x->status, no_header, NULL);
		int rc = x->h.on_data(x->arg, x->body, strlen(x->body));
		CHECK_INT(rc, ==, 0);
	}
	x->given_up = true; /* over */
	x->h.on_done(x->arg, &r);
}

/* One message that is due, if there is one. */
static bool deliver(void)
{
	for (struct http_exchange **link = &wire, *x; (x = *link) != NULL; link = &x->next) {
		bool is_over = x->given_up && (x->arrived || x->fate == DROPPED || x->fate == REFUSED);
		if (!is_over && (x->due_ms > now || (x->arrived && x->from->asleep)))
			continue;
		if (!is_over && !x->arrived) {
			arrive(x);
			return true;
		}
		*link = x->next;
		if (!is_over)
			come_back(x);
		free(x->sent);
		free(x->body);
		free(x);
		return true;
	}
	return false;
}

static void settle(void)
{
	for (bool more = true; more;) {
		more = deliver();
		for (size_t i = 0; i < 2; i++) {
			if (p[i].cluster == NULL || p[i].asleep || clock_next_due_ms(&p[i].clock) > now)
				continue;
			clock_run_due(&p[i].clock);
			more = true;
		}
	}
}

static void move_to(uint64_t ms)
{
	now = ms;
	for (size_t i = 0; i < 2; i++)
		p[i].clock.virtual_now_ms = now;
	settle();
}

static void live(uint64_t ms)
{
	settle();
	for (uint64_t end = now + ms; now < end;)
		move_to(now + 1);
}

static size_t under_way(const struct process *who)
{
	size_t n = 0;
	for (const struct http_exchange *x = wire; x != NULL; x = x->next)
		n += x->from == who && !x->given_up;
	return n;
}

/* --- processes --- */

static void stop(struct process *who)
{
	lease_free(who->lease);
	who->lease = NULL;
	CHECK_INT(under_way(who), ==, 0);
	CHECK(clock_next_due_ms(&who->clock) == CLOCK_NEVER);
}

static void on_released(void *arg, bool given_back)
{
	struct process *who = arg;
	who->released++;
	who->given_back = given_back;
}

static void on_started(void *arg)
{
	struct process *who = arg;
	who->started++;
	CHECK(!who->leading);
	who->leading = true;
	who->started_ms = now;
	CHECK(lease_may_write(who->lease));
	if (who->stop_in_started)
		stop(who);
}

static void on_lost(void *arg)
{
	struct process *who = arg;
	who->lost++;
	who->lost_ms = now;
	CHECK(who->leading);
	who->leading = false;
	if (who->stop_in_lost)
		stop(who);
	else if (who->release_in_lost)
		lease_release(who->lease, on_released, who);
}

static void on_observed(void *arg, const char *holder)
{
	struct process *who = arg;
	who->observed++;
	snprintf(who->holder, sizeof who->holder, "%s", holder);
	CHECK_TEXT(lease_holder(who->lease), holder);
}

static void open_process(struct process *who)
{
	struct err e = {0};
	log_configure(LOG_ERROR, LOG_TEXT);
	/* One lives in 2001, the other in 2033. */
	clock_init_virtual(&who->clock, who == &p[0] ? 1000000000123 : 2000000000000);
	who->clock.virtual_now_ms = now;
	struct kube_config *config = xcalloc(1, sizeof *config);
	config->server = xstrdup("http://api");
	config->namespace_ = xstrdup("default");
	who->cluster = cluster_new(&(struct cluster_options){.clock = &who->clock, .transport = &transports[who - p],
		.config = config}, &e);
	if (who->cluster == NULL)
		FAIL("%s", e.text);
}

static void start_as(struct process *who, struct lease_options o)
{
	struct err e = {0};
	if (who->cluster == NULL)
		open_process(who);
	who->leading = false;
	o.cluster = who->cluster;
	o.namespace_ = "hub";
	o.name = "moonphase";
	o.started = on_started;
	o.lost = on_lost;
	o.observed = on_observed;
	o.arg = who;
	who->lease = lease_start(&o, &e);
	if (who->lease == NULL)
		FAIL("%s", e.text);
	CHECK_TEXT(e.text, "");
}

static void start(struct process *who)
{
	start_as(who, (struct lease_options){.identity = who == &p[0] ? "a" : "b", .seed = (uint64_t)(who - p)});
}

static bool leads(const struct process *who)
{
	return who->lease != NULL && lease_may_write(who->lease);
}

static void finish(void)
{
	for (size_t i = 0; i < 2; i++) {
		if (p[i].cluster == NULL)
			continue;
		stop(&p[i]);
		cluster_free(p[i].cluster);
		clock_deinit(&p[i].clock);
	}
	for (struct http_exchange *x; (x = wire) != NULL;) {
		wire = x->next;
		free(x->sent), free(x->body), free(x);
	}
	cJSON_Delete(server.lease);
}

static void next_fates(enum fate a, enum fate b)
{
	once[0] = a;
	once[1] = b;
	once_count = 2;
	once_next = 0;
}

#define HELD_BY(holder, renewed) "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":" \
	"{\"name\":\"moonphase\",\"namespace\":\"hub\",\"labels\":{\"team\":\"ml\"}},\"spec\":{\"holderIdentity\":\"" \
	holder "\",\"leaseDurationSeconds\":15,\"acquireTime\":\"2020-01-01T00:00:00.000000Z\",\"renewTime\":\"" \
	renewed "\",\"leaseTransitions\":7,\"strategy\":\"OldestEmulationVersion\"}}"
#define RENEWED(text) "{\"spec\":{\"renewTime\":\"" text "\"}}"

static double status_metric(void)
{
	static const char *const by_name[] = {"name", NULL};
	return metric_value(metric_with(metric_register(METRIC_GAUGE, "leader_election_master_status",
		"Whether this process holds the lease: 1 leads, 0 waits.", by_name, NULL, 0),
		(const char *const[]){"moonphase"}));
}

/* Its claim was sent at 0. */
static void lead(void)
{
	start(&p[0]);
	settle();
	CHECK_INT(p[0].started, ==, 1);
	CHECK(leads(&p[0]));
}

/* --- acquiring --- */

TEST(the_first_one_creates_the_lease_and_leads)
{
	start(&p[0]);
	CHECK(!leads(&p[0]));
	settle();
	CHECK(leads(&p[0]));
	CHECK_INT(p[0].started, ==, 1);
	CHECK_TEXT(p[0].holder, "a");
	CHECK_TEXT(field("holderIdentity"), "a");
	CHECK_INT(number("leaseDurationSeconds"), ==, 15);
	CHECK_INT(number("leaseTransitions"), ==, 0);
	CHECK_TEXT(field("acquireTime"), "2001-09-09T01:46:40.123000Z");
	CHECK_TEXT(field("renewTime"), "2001-09-09T01:46:40.123000Z");
	CHECK_INT(status_metric(), ==, 1);
	finish();
	CHECK_INT(status_metric(), ==, 0);
}

TEST(of_two_that_create_it_at_once_one_leads)
{
	to_ms = back_ms = 5;
	start(&p[0]);
	start(&p[1]);
	live(100);
	CHECK_INT(server.posts, ==, 2);
	CHECK(leads(&p[0]) && !leads(&p[1]));
	CHECK_INT(p[1].started, ==, 0);
	CHECK_TEXT(p[1].holder, "a");
	live(60000);
	CHECK(leads(&p[0]) && !leads(&p[1]));
	CHECK_INT(p[0].lost, ==, 0);
	finish();
}

TEST(a_lease_that_nobody_holds_is_taken_and_what_others_wrote_into_it_stays)
{
	set_lease(HELD_BY("", "2020-01-01T00:00:00.000000Z"));
	lead();
	CHECK_INT(number("leaseTransitions"), ==, 8);
	CHECK_TEXT(field("acquireTime"), "2001-09-09T01:46:40.123000Z");
	live(10000);
	CHECK_INT(number("leaseTransitions"), ==, 8);
	CHECK_TEXT(field("acquireTime"), "2001-09-09T01:46:40.123000Z");
	CHECK_TEXT(field("strategy"), "OldestEmulationVersion");
	CHECK_TEXT(cJSON_GetStringValue(at(at(server.lease, "metadata", "labels"), "team", NULL)), "ml");
	finish();
}

TEST(a_lease_without_a_spec_is_taken)
{
	set_lease("{\"kind\":\"Lease\",\"metadata\":{\"name\":\"moonphase\"}}");
	lead();
	CHECK_TEXT(field("holderIdentity"), "a");
	CHECK_INT(number("leaseTransitions"), ==, 1);
	finish();
}

TEST(a_dead_holder_is_followed_15_s_after_its_record_was_first_seen)
{
	live(1000000); /* whatever came before does not count */
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	start(&p[0]);
	live(14999);
	CHECK_INT(p[0].started, ==, 0);
	CHECK_TEXT(p[0].holder, "c");
	CHECK_INT(server.patches, ==, 0);
	live(1);
	CHECK(leads(&p[0]));
	CHECK_INT(p[0].started_ms, ==, 1015000);
	CHECK_TEXT(p[0].holder, "a");
	CHECK_INT(number("leaseTransitions"), ==, 8);
	finish();
}

TEST(a_holder_that_renews_keeps_it_whatever_its_clock_says)
{
	static const char *const renewals[] = {RENEWED("2099-01-01T00:00:00.000000Z"),
		RENEWED("1970-01-01T00:00:00.000000Z"), RENEWED("yesterday"), RENEWED("2020-01-01T00:00:00.000000Z")};
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	start(&p[0]);
	for (size_t i = 0; i < 20; i++) {
		live(12000);
		patch_lease(renewals[i % 4]);
	}
	CHECK_INT(p[0].started, ==, 0);
	CHECK_INT(p[0].observed, ==, 1);
	CHECK_INT(server.patches, ==, 0);
	live(15000);
	CHECK_INT(p[0].started, ==, 0); /* it was seen up to 2.4 s later */
	live(2400);
	CHECK(leads(&p[0]));
	finish();
}

TEST(a_label_on_the_lease_is_no_renewal)
{
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	start(&p[0]);
	for (size_t i = 0; i < 14; i++) {
		live(1000);
		patch_lease(i % 2 ? "{\"metadata\":{\"labels\":{\"x\":\"1\"}}}" : "{\"metadata\":{\"labels\":{\"x\":null}}}");
	}
	live(1000);
	CHECK(leads(&p[0]));
	finish();
}

TEST(the_duration_in_the_record_is_what_its_holder_has)
{
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	patch_lease("{\"spec\":{\"leaseDurationSeconds\":60}}");
	start(&p[0]);
	live(59999);
	CHECK_INT(p[0].started, ==, 0);
	live(1);
	CHECK(leads(&p[0]));
	finish();
}

TEST(a_duration_that_makes_no_sense_counts_as_ours)
{
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	patch_lease("{\"spec\":{\"leaseDurationSeconds\":-5,\"leaseTransitions\":-5}}");
	start(&p[0]);
	live(14999);
	CHECK_INT(p[0].started, ==, 0);
	live(1);
	CHECK(leads(&p[0]));
	CHECK_INT(number("leaseTransitions"), ==, 1);
	finish();
}

TEST(a_holder_of_100_KB_is_followed_and_not_kept_whole)
{
	char patch[100 * 1024] = "{\"spec\":{\"holderIdentity\":\"a";
	size_t len = strlen(patch); /* then letters of two bytes: 1,024 is in the middle of one */
	for (; len + 8 < sizeof patch; len += 2)
		memcpy(patch + len, "\xc3\xa9", 2);
	memcpy(patch + len, "\"}}", 4);
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	patch_lease(patch);
	start(&p[0]);
	live(14999);
	CHECK_INT(p[0].started, ==, 0);
	CHECK_INT(strlen(lease_holder(p[0].lease)), ==, 1023);
	live(1);
	CHECK(leads(&p[0]));
	finish();
}

TEST(who_is_beaten_to_an_expired_lease_waits_again)
{
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	to_ms = 10;
	start(&p[0]);
	while (server.gets == 0 || now < 15020)
		live(1);
	patch_lease(RENEWED("2000-01-01T00:00:00.000000Z")); /* between its GET and its PATCH */
	live(5000);
	CHECK_INT(server.patches, ==, 1);
	CHECK_INT(p[0].started, ==, 0);
	live(11000);
	CHECK(leads(&p[0]));
	finish();
}

TEST(our_own_record_of_before_is_renewed_at_once)
{
	set_lease(HELD_BY("a", "1999-01-01T00:00:00.000000Z"));
	lead();
	CHECK_INT(number("leaseTransitions"), ==, 7);
	CHECK_TEXT(field("acquireTime"), "2020-01-01T00:00:00.000000Z");
	CHECK_TEXT(field("renewTime"), "2001-09-09T01:46:40.123000Z");
	finish();
}

TEST(who_is_told_to_look_takes_a_released_lease_at_once)
{
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	start(&p[0]);
	live(100);
	patch_lease("{\"spec\":{\"holderIdentity\":\"\"}}");
	int gets = server.gets;
	lease_look(p[0].lease);
	CHECK_INT(server.gets, ==, gets); /* never from inside */
	settle();
	CHECK_INT(server.gets, ==, gets + 1);
	CHECK(leads(&p[0]));
	int patches = server.patches;
	lease_look(p[0].lease); /* a holder has nothing to look for */
	settle();
	CHECK_INT(server.patches, ==, patches);
	live(60000);
	CHECK_INT(p[0].lost, ==, 0);
	lease_release(p[0].lease, on_released, &p[0]);
	lease_look(p[0].lease);
	live(60000);
	lease_look(p[0].lease);
	live(60000);
	CHECK_TEXT(field("holderIdentity"), "");
	finish();
}

/* --- renewing --- */

TEST(a_renewal_is_one_write_every_2_to_2_4_s_and_no_read)
{
	lead();
	int gets = server.gets;
	live(240000);
	CHECK_INT(server.gets, ==, gets);
	CHECK_INT(server.patches, >=, 100);
	CHECK_INT(server.patches, <=, 120);
	CHECK_INT(p[0].started, ==, 1);
	CHECK_INT(p[0].lost, ==, 0);
	CHECK_INT(p[0].observed, ==, 1);
	finish();
}

TEST(a_renewal_whose_answer_was_lost_conflicts_and_then_shows_ourselves)
{
	static const enum fate losses[] = {MUTE, BROKEN, NOISE};
	lead();
	for (size_t i = 0; i < 3; i++) {
		int patches = server.patches;
		next_fates(losses[i], FINE);
		live(9000);
		CHECK_INT(server.patches, >=, patches + 2);
	}
	CHECK_INT(p[0].started, ==, 1);
	CHECK_INT(p[0].lost, ==, 0);
	CHECK_INT(number("leaseTransitions"), ==, 0);
	finish();
}

TEST(a_conflict_with_ourselves_is_cleared_at_once)
{
	lead();
	patch_lease("{\"metadata\":{\"labels\":{\"x\":\"1\"}}}");
	int gets = server.gets;
	live(2500);
	CHECK_INT(server.gets, ==, gets + 1);
	CHECK_INT(server.patches, ==, 2);
	CHECK(leads(&p[0]));
	finish();
}

TEST(two_requests_that_hang_do_not_cost_the_lease)
{
	lead();
	next_fates(DROPPED, DROPPED);
	live(9000);
	CHECK_INT(once_next, ==, 2);
	live(60000);
	CHECK_INT(p[0].started, ==, 1);
	CHECK_INT(p[0].lost, ==, 0);
	finish();
}

TEST(a_server_that_takes_3_s_for_an_answer_keeps_its_leader)
{
	to_ms = back_ms = 1500;
	start(&p[0]);
	live(600000);
	CHECK_INT(p[0].started, ==, 1);
	CHECK_INT(p[0].lost, ==, 0);
	finish();
}

/* --- losing --- */

/* However the server is away: at the millisecond. */
static void loses_at_10_s(enum fate how)
{
	lead();
	live(1999);
	weather = how;
	live(8000);
	CHECK_INT(now, ==, 9999);
	CHECK(leads(&p[0]));
	CHECK_INT(p[0].lost, ==, 0);
	live(1);
	CHECK(!leads(&p[0]));
	CHECK_INT(p[0].lost, ==, 1);
	CHECK_INT(p[0].lost_ms, ==, 10000);
	CHECK_INT(status_metric(), ==, 0);
	live(60000);
	CHECK_INT(p[0].started, ==, 1);
	weather = FINE;
	live(4000);
	CHECK(leads(&p[0])); /* without a restart */
	CHECK_INT(p[0].started, ==, 2);
	CHECK_INT(number("leaseTransitions"), ==, 0);
	CHECK_INT(status_metric(), ==, 1);
	finish();
}

TEST(an_API_server_that_refuses_connections_costs_the_lease_at_10_s) { loses_at_10_s(REFUSED); }
TEST(an_API_server_that_hangs_costs_the_lease_at_10_s) { loses_at_10_s(DROPPED); }
TEST(an_API_server_that_is_busy_costs_the_lease_at_10_s) { loses_at_10_s(BUSY); }
TEST(an_API_server_with_too_many_requests_costs_the_lease_at_10_s) { loses_at_10_s(MANY); }
TEST(an_API_server_whose_answers_are_lost_costs_the_lease_at_10_s) { loses_at_10_s(MUTE); }
TEST(a_proxy_with_pages_costs_the_lease_at_10_s) { loses_at_10_s(NOISE); }
TEST(a_proxy_that_finds_nothing_costs_the_lease_at_10_s_and_not_before) { loses_at_10_s(PAGE404); }

TEST(the_10_s_count_from_the_sending_and_not_from_the_answer)
{
	to_ms = 100;
	back_ms = 3000;
	start(&p[0]);
	live(6199);
	CHECK(!leads(&p[0]));
	live(1); /* a read, and a create sent at 3100 */
	CHECK(leads(&p[0]));
	weather = DROPPED;
	live(13099 - 6200);
	CHECK(leads(&p[0]));
	live(1);
	CHECK(!leads(&p[0]));
	CHECK_INT(p[0].lost_ms, ==, 13100);
	finish();
}

TEST(a_process_that_slept_may_not_write_before_anything_else_runs)
{
	lead();
	p[0].asleep = true;
	live(9999);
	CHECK(leads(&p[0]));
	live(1);
	CHECK(!leads(&p[0])); /* no timer told it */
	CHECK_INT(p[0].lost, ==, 0);
	p[0].asleep = false;
	live(1);
	CHECK_INT(p[0].lost, ==, 1);
	CHECK_INT(p[0].started, ==, 2); /* the lease was still its own */
	finish();
}

TEST(an_answer_that_waited_while_the_process_slept_proves_nothing)
{
	lead();
	back_ms = 10;
	while (server.patches == 0)
		live(1);
	CHECK_INT(under_way(&p[0]), ==, 1);
	p[0].asleep = true;
	live(11000);
	weather = DROPPED;
	p[0].asleep = false;
	live(1);
	CHECK_INT(p[0].lost, ==, 1);
	CHECK_INT(p[0].started, ==, 1);
	CHECK(!leads(&p[0]));
	finish();
}

TEST(a_lapse_is_told_even_if_a_late_answer_ends_it)
{
	lead();
	back_ms = 10;
	while (server.patches == 0)
		live(1);
	p[0].asleep = true;
	live(10100 - now);
	CHECK(!leads(&p[0]));
	p[0].asleep = false;
	live(1); /* what was sent at 2 s lets it lead until 12 s */
	CHECK(leads(&p[0]));
	CHECK_INT(p[0].lost, ==, 1);
	CHECK_INT(p[0].started, ==, 2);
	weather = DROPPED;
	live(3000);
	CHECK(!leads(&p[0]));
	CHECK_INT(p[0].lost, ==, 2);
	finish();
}

TEST(another_holder_in_the_record_ends_it_at_once)
{
	lead();
	patch_lease("{\"spec\":{\"holderIdentity\":\"c\"}}");
	live(2400);
	CHECK(!leads(&p[0]));
	CHECK_INT(p[0].lost, ==, 1);
	CHECK_TEXT(p[0].holder, "c");
	live(15000);
	CHECK(leads(&p[0]));
	finish();
}

TEST(a_lease_that_was_deleted_is_created_again)
{
	lead();
	set_lease(NULL);
	live(2400);
	CHECK(leads(&p[0]));
	CHECK_INT(p[0].lost, ==, 1);
	CHECK_INT(p[0].started, ==, 2);
	CHECK_INT(server.posts, ==, 2);
	finish();
}

TEST(a_second_process_follows_a_first_that_died)
{
	start(&p[0]);
	live(100);
	start(&p[1]);
	live(60000);
	CHECK(leads(&p[0]));
	CHECK_TEXT(p[1].holder, "a");
	stop(&p[0]);
	live(12000);
	CHECK(!leads(&p[1]));
	live(5500);
	CHECK(leads(&p[1]));
	CHECK_INT(number("leaseTransitions"), ==, 1);
	CHECK_INT(p[1].observed, ==, 2);
	finish();
}

/* --- releasing --- */

TEST(a_clean_stop_gives_the_lease_to_the_next_within_a_retry)
{
	start(&p[0]);
	live(100);
	start(&p[1]);
	live(5000);
	int released_at = (int)now;
	lease_release(p[0].lease, on_released, &p[0]);
	CHECK(!leads(&p[0]));
	CHECK_INT(p[0].released, ==, 0);
	settle();
	CHECK_INT(p[0].released, ==, 1);
	CHECK(p[0].given_back);
	CHECK_TEXT(field("holderIdentity"), "");
	CHECK_INT(number("leaseDurationSeconds"), ==, 1);
	CHECK_INT(p[0].lost, ==, 0);
	CHECK_INT(under_way(&p[0]), ==, 0);
	CHECK(clock_next_due_ms(&p[0].clock) == CLOCK_NEVER);
	live(2400);
	CHECK(leads(&p[1]));
	CHECK_INT(p[1].started_ms, <=, released_at + 2400);
	CHECK_INT(number("leaseDurationSeconds"), ==, 15);
	live(60000);
	CHECK_INT(p[0].released, ==, 1);
	finish();
}

TEST(a_release_that_conflicts_is_sent_again)
{
	lead();
	patch_lease("{\"metadata\":{\"labels\":{\"x\":\"1\"}}}");
	lease_release(p[0].lease, on_released, &p[0]);
	settle();
	CHECK_INT(p[0].released, ==, 1);
	CHECK(p[0].given_back);
	CHECK_TEXT(field("holderIdentity"), "");
	finish();
}

TEST(a_release_whose_answer_was_lost_is_seen_to_have_worked)
{
	lead();
	next_fates(MUTE, FINE);
	lease_release(p[0].lease, on_released, &p[0]);
	live(5000);
	CHECK_INT(p[0].released, ==, 1);
	CHECK(p[0].given_back);
	CHECK_INT(server.patches, ==, 1);
	finish();
}

TEST(what_could_not_be_renewed_is_given_back_all_the_same)
{
	lead();
	weather = REFUSED;
	live(5000);
	weather = FINE;
	lease_release(p[0].lease, on_released, &p[0]);
	live(4000);
	CHECK_INT(p[0].released, ==, 1);
	CHECK_TEXT(field("holderIdentity"), "");
	finish();
}

TEST(a_release_leaves_another_holder_alone)
{
	lead();
	patch_lease("{\"spec\":{\"holderIdentity\":\"c\"}}");
	lease_release(p[0].lease, on_released, &p[0]);
	settle();
	CHECK_INT(p[0].released, ==, 1);
	CHECK_TEXT(field("holderIdentity"), "c");
	CHECK_INT(server.patches, ==, 1);
	finish();
}

TEST(a_release_is_given_up_after_10_s)
{
	lead();
	live(1000);
	weather = DROPPED;
	lease_release(p[0].lease, on_released, &p[0]);
	live(9999);
	CHECK_INT(p[0].released, ==, 0);
	live(1);
	CHECK_INT(p[0].released, ==, 1);
	CHECK(!p[0].given_back);
	CHECK_INT(under_way(&p[0]), ==, 0);
	CHECK(clock_next_due_ms(&p[0].clock) == CLOCK_NEVER);
	finish();
}

TEST(a_release_waits_for_the_renewal_that_is_under_way)
{
	lead();
	to_ms = 50;
	while (under_way(&p[0]) == 0)
		live(1);
	lease_release(p[0].lease, on_released, &p[0]);
	CHECK(!leads(&p[0]));
	live(200);
	CHECK_INT(server.patches, ==, 2);
	CHECK_INT(p[0].released, ==, 1);
	CHECK_TEXT(field("holderIdentity"), "");
	finish();
}

TEST(a_claim_that_is_under_way_is_given_back_too)
{
	to_ms = 50;
	start(&p[0]);
	while (server.gets == 0)
		live(1);
	live(1);
	lease_release(p[0].lease, on_released, &p[0]); /* the POST is on its way */
	live(200);
	CHECK_INT(p[0].started, ==, 0);
	CHECK_INT(p[0].released, ==, 1);
	CHECK(p[0].given_back);
	CHECK_TEXT(field("holderIdentity"), "");
	finish();
}

TEST(who_holds_nothing_has_nothing_to_give_back)
{
	set_lease(HELD_BY("c", "1999-01-01T00:00:00.000000Z"));
	start(&p[0]);
	live(1000);
	lease_release(p[0].lease, on_released, &p[0]);
	CHECK_INT(p[0].released, ==, 0); /* never from inside */
	live(1);
	CHECK_INT(p[0].released, ==, 1);
	CHECK(p[0].given_back);
	CHECK_INT(server.patches, ==, 0);
	live(60000);
	CHECK_INT(server.gets, ==, 1);
	finish();
}

/* --- stopping --- */

/* Stopped at each millisecond of a life with slow ways, a renewal and a loss, with and without a release
 * begun before: stop() checks that nothing is left. */
static void stopped_everywhere(uint64_t release_at)
{
	for (uint64_t after = 0; after < 400; after++) {
		weather = FINE;
		set_lease(after % 2 ? HELD_BY("c", "1999-01-01T00:00:00.000000Z") : NULL);
		if (after % 2)
			patch_lease("{\"spec\":{\"leaseDurationSeconds\":1}}");
		start(&p[0]);
		for (uint64_t i = 0; i < after; i++) {
			if (i == release_at)
				lease_release(p[0].lease, on_released, &p[0]);
			if (i == 150)
				weather = DROPPED;
			live(53);
		}
		stop(&p[0]);
	}
	CHECK_INT(p[0].started, >, 200);
	finish();
}

TEST(a_stop_at_any_moment_leaves_no_timer_and_no_call)
{
	to_ms = 101;
	back_ms = 203;
	stopped_everywhere(UINT64_MAX);
	CHECK_INT(p[0].lost, >, 50);
}

TEST(a_stop_at_any_moment_of_a_release_leaves_no_timer_and_no_call)
{
	to_ms = 101;
	back_ms = 203;
	stopped_everywhere(60);
	CHECK_INT(p[0].released, >, 50);
}

TEST(a_callback_may_stop_the_lease)
{
	p[0].stop_in_started = true;
	start(&p[0]);
	live(100);
	CHECK_INT(p[0].started, ==, 1);
	CHECK(p[0].lease == NULL);
	p[0].stop_in_started = false;
	p[0].stop_in_lost = true;
	start(&p[0]);
	live(100);
	weather = REFUSED;
	live(20000);
	CHECK_INT(p[0].lost, ==, 1);
	CHECK(p[0].lease == NULL);
	finish();
}

TEST(losing_it_may_release_it)
{
	lead();
	p[0].release_in_lost = true;
	patch_lease("{\"spec\":{\"holderIdentity\":\"c\"}}");
	live(20000);
	CHECK_INT(p[0].released, ==, 1);
	CHECK_INT(p[0].started, ==, 1);
	CHECK_TEXT(field("holderIdentity"), "c");
	finish();
}

/* --- options --- */

TEST(numbers_that_cannot_work_are_refused)
{
	static const struct lease_options bad[] = {
		{.identity = "a", .lease_ms = 10000}, {.identity = "a", .lease_ms = 15500},
		{.identity = "a", .deadline_ms = 2400}, {.identity = ""},
	};
	open_process(&p[0]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err e = {0};
		struct lease_options o = bad[i];
		o.cluster = p[0].cluster;
		o.namespace_ = "hub";
		o.name = "moonphase";
		CHECK(lease_start(&o, &e) == NULL);
		CHECK_INT(e.code, ==, ERR_INVALID);
		CHECK_CONTAINS(e.text, "lease");
	}
	finish();
}

TEST(an_identity_is_made_up_and_never_twice)
{
	start_as(&p[0], (struct lease_options){0});
	start_as(&p[1], (struct lease_options){0});
	CHECK(strcmp(lease_identity(p[0].lease), lease_identity(p[1].lease)) != 0);
	CHECK_INT(strlen(lease_identity(p[0].lease)), >, 32);
	settle();
	CHECK_TEXT(field("holderIdentity"), lease_identity(p[0].lease));
	finish();
}

/* --- the walk --- */

static uint64_t random_state;
static unsigned trouble; /* percent of requests that do not go well */

static unsigned below(unsigned n)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (unsigned)((z ^ (z >> 31)) % n);
}

static void draw(struct http_exchange *x)
{
	x->fate = below(100) < trouble ? (enum fate)(REFUSED + below(PAGE404)) : FINE;
	x->due_ms = now + (below(10) ? below(200) : below(4000));
	x->back_ms = below(10) ? below(200) : below(4000);
}

static void start_again(struct process *who, uint64_t lease_ms)
{
	static unsigned lives;
	char identity[16];
	snprintf(identity, sizeof identity, "%c%u", who == &p[0] ? 'a' : 'b', ++lives);
	start_as(who, (struct lease_options){.identity = identity, .lease_ms = lease_ms, .deadline_ms = 4000,
		.retry_ms = 1000, .seed = lives});
}

static void disturb(struct process *who, uint64_t lease_ms)
{
	if (below(200) == 0 || (who->asleep && below(20) == 0))
		who->asleep = !who->asleep;
	if (who->asleep || below(300) != 0)
		return;
	if (below(2) == 0 && who->released == 0) {
		lease_release(who->lease, on_released, who);
		return;
	}
	stop(who);
	who->released = 0;
	start_again(who, lease_ms);
}

/* The margin between lease and deadline is made small, so that a fence that is a second late shows. */
static void walk(uint64_t seed, uint64_t lease_ms)
{
	static const unsigned troubles[] = {0, 5, 30, 70, 100};
	size_t led[2] = {0}, changes = 0;
	int leader = -1;
	random_state = seed;
	draw_fate = draw;
	start_again(&p[0], lease_ms);
	start_again(&p[1], lease_ms);
	for (size_t step = 0; step < 100000; step++) {
		if (step % 300 == 0)
			trouble = troubles[below(5)];
		for (size_t i = 0; i < 2; i++)
			disturb(&p[i], lease_ms);
		move_to(now + 1 + below(200));
		if (leads(&p[0]) && leads(&p[1]))
			FAIL("both lead at step %zu of seed %llu", step, (unsigned long long)seed);
		for (int i = 0; i < 2; i++) {
			if (!leads(&p[i]))
				continue;
			led[i]++;
			changes += leader != i;
			leader = i;
		}
		if (strcmp(field("holderIdentity"), "") == 0 && below(4) == 0)
			set_lease(NULL); /* an administrator may, while nobody holds it */
	}
	/* It was a walk through something. */
	CHECK_INT(led[0], >, 10000);
	CHECK_INT(led[1], >, 10000);
	CHECK_INT(changes, >, 50);
	p[0].asleep = p[1].asleep = false;
	finish();
}

TEST(two_that_meet_every_fault_never_lead_together) { walk(1, 5000); }
TEST(nor_in_another_order_of_faults) { walk(20260801, 5000); }
TEST(nor_with_a_longer_lease) { walk(3, 12000); }

TEST_MAIN(
	T(the_first_one_creates_the_lease_and_leads),
	T(of_two_that_create_it_at_once_one_leads),
	T(a_lease_that_nobody_holds_is_taken_and_what_others_wrote_into_it_stays),
	T(a_lease_without_a_spec_is_taken),
	T(a_dead_holder_is_followed_15_s_after_its_record_was_first_seen),
	T(a_holder_that_renews_keeps_it_whatever_its_clock_says),
	T(a_label_on_the_lease_is_no_renewal),
	T(the_duration_in_the_record_is_what_its_holder_has),
	T(a_duration_that_makes_no_sense_counts_as_ours),
	T(a_holder_of_100_KB_is_followed_and_not_kept_whole),
	T(who_is_beaten_to_an_expired_lease_waits_again),
	T(our_own_record_of_before_is_renewed_at_once),
	T(who_is_told_to_look_takes_a_released_lease_at_once),
	T(a_renewal_is_one_write_every_2_to_2_4_s_and_no_read),
	T(a_renewal_whose_answer_was_lost_conflicts_and_then_shows_ourselves),
	T(a_conflict_with_ourselves_is_cleared_at_once),
	T(two_requests_that_hang_do_not_cost_the_lease),
	T(a_server_that_takes_3_s_for_an_answer_keeps_its_leader),
	T(an_API_server_that_refuses_connections_costs_the_lease_at_10_s),
	T(an_API_server_that_hangs_costs_the_lease_at_10_s),
	T(an_API_server_that_is_busy_costs_the_lease_at_10_s),
	T(an_API_server_with_too_many_requests_costs_the_lease_at_10_s),
	T(an_API_server_whose_answers_are_lost_costs_the_lease_at_10_s),
	T(a_proxy_with_pages_costs_the_lease_at_10_s),
	T(a_proxy_that_finds_nothing_costs_the_lease_at_10_s_and_not_before),
	T(the_10_s_count_from_the_sending_and_not_from_the_answer),
	T(a_process_that_slept_may_not_write_before_anything_else_runs),
	T(an_answer_that_waited_while_the_process_slept_proves_nothing),
	T(a_lapse_is_told_even_if_a_late_answer_ends_it),
	T(another_holder_in_the_record_ends_it_at_once),
	T(a_lease_that_was_deleted_is_created_again),
	T(a_second_process_follows_a_first_that_died),
	T(a_clean_stop_gives_the_lease_to_the_next_within_a_retry),
	T(a_release_that_conflicts_is_sent_again),
	T(a_release_whose_answer_was_lost_is_seen_to_have_worked),
	T(what_could_not_be_renewed_is_given_back_all_the_same),
	T(a_release_leaves_another_holder_alone),
	T(a_release_is_given_up_after_10_s),
	T(a_release_waits_for_the_renewal_that_is_under_way),
	T(a_claim_that_is_under_way_is_given_back_too),
	T(who_holds_nothing_has_nothing_to_give_back),
	T(a_stop_at_any_moment_leaves_no_timer_and_no_call),
	T(a_stop_at_any_moment_of_a_release_leaves_no_timer_and_no_call),
	T(a_callback_may_stop_the_lease),
	T(losing_it_may_release_it),
	T(numbers_that_cannot_work_are_refused),
	T(an_identity_is_made_up_and_never_twice),
	T(two_that_meet_every_fault_never_lead_together),
	T(nor_in_another_order_of_faults),
	T(nor_with_a_longer_lease))
