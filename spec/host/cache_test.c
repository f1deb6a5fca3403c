/* The cache as its readers see it: what the watch brought, what we wrote over it, who is told. */
#include <stdarg.h>

#include "base/xalloc.h"
#include "kube/cache.h"
#include "pick.h"
#include "test.h"

static struct clock clock_;
static struct cache *c;
static char told[8192]; /* "+ns/a@5 *ns/a@5>6 -ns/a@6 ", with ! in front during the first list */

static void note(void *arg, enum cache_change change, const struct cache_object *before,
	const struct cache_object *after, bool first_list)
{
	(void)arg;
	struct cache_object now;
	size_t at = strlen(told), room = sizeof told - at;
	char *to = told + at;
	const char *first = first_list ? "!" : "";
	CHECK_INT(cache_get(c, (after ? after : before)->key, &now), ==, after != NULL);
	if (change == CACHE_ADDED)
		snprintf(to, room, "%s+%s@%s ", first, after->key, after->resource_version);
	else if (change == CACHE_REMOVED)
		snprintf(to, room, "%s-%s@%s ", first, before->key, before->resource_version);
	else
		snprintf(to, room, "%s*%s@%s>%s ", first, after->key, before->resource_version, after->resource_version);
}

static const char *const app_paths[] = {"metadata.labels[primehub.io/app]", "spec.app", NULL};
static const char *const owner_paths[] = {"@owner", NULL};
static const char *const image_paths[] = {"spec.containers.*.image", NULL};
static const char *const plain_paths[] = {"=spec.stop", NULL};

static struct cache_options options(void)
{
	return (struct cache_options){.name = "pods", .clock = &clock_, .revisions = true, .index_count = 4,
		.indexes = {{"app", app_paths}, {"owner", owner_paths}, {"image", image_paths}, {"plain", plain_paths}}};
}

static void start(void)
{
	clock_init_virtual(&clock_, 1000000);
	struct cache_options o = options();
	c = cache_new(&o);
	cache_on_change(c, note, NULL);
	*told = '\0';
}

static void stop(void)
{
	cache_free(c);
	clock_deinit(&clock_);
}

/* {"metadata":{"name":"a","namespace":"ns","uid":...},MORE} in one of a few static buffers. */
static const char *object(const char *name, const char *uid, int version, const char *more)
{
	static char texts[8][4096];
	static unsigned turn;
	char *text = texts[turn++ % 8];
	snprintf(text, sizeof texts[0], "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
		"\"namespace\":\"ns\",\"uid\":\"%s\",\"resourceVersion\":\"%d\",\"generation\":1,"
		"\"managedFields\":[{\"manager\":\"kubectl\"}]}%s%s}", name, uid, version, *more ? "," : "", more);
	return text;
}

static void put(const char *name, const char *uid, int version)
{
	const char *o = object(name, uid, version, "");
	struct err e = {0};
	if (cache_put(c, o, strlen(o), &e) != 0)
		FAIL("%s", e.text);
}

static void position(int version)
{
	char text[16];
	snprintf(text, sizeof text, "%d", version);
	cache_position_set(c, text);
}

/* An event: the object, then the position. */
static void event(const char *name, const char *uid, int version)
{
	put(name, uid, version);
	position(version);
}

static void deleted_event(const char *name, const char *uid, int version)
{
	const char *o = object(name, uid, version, "");
	CHECK_INT(cache_remove(c, o, strlen(o), NULL), ==, 0);
	position(version);
}

static void wrote(const char *name, const char *uid, int version)
{
	const char *o = object(name, uid, version, "");
	CHECK_INT(cache_wrote(c, o, strlen(o), NULL), ==, 0);
}

static void synced_at(int version)
{
	char text[16];
	snprintf(text, sizeof text, "%d", version);
	cache_list_begin(c);
	cache_list_end(c, text);
}

static void tells(const char *expected)
{
	CHECK_TEXT(told, expected);
	*told = '\0';
}

/* "10" or "10 ours", or "" when there is none. */
static void sees(const char *key, const char *expected)
{
	struct cache_object o;
	char text[64] = "";
	if (cache_get(c, key, &o))
		snprintf(text, sizeof text, "%s%s", o.resource_version, o.ours ? " ours" : "");
	CHECK_TEXT(text, expected);
}

static void finds(const char *index, const char *value, const char *expected)
{
	size_t count;
	const char **keys = cache_find(c, index, value, &count);
	char text[1024] = "";
	for (size_t i = 0; i < count; i++)
		strcat(strcat(text, keys[i]), " ");
	CHECK_TEXT(text, expected);
	free(keys);
}

static void keys_are(const char *expected)
{
	size_t count;
	const char **keys = cache_keys(c, &count);
	char text[1024] = "";
	for (size_t i = 0; i < count; i++)
		strcat(strcat(text, keys[i]), " ");
	CHECK_TEXT(text, expected);
	CHECK_INT(count, ==, cache_count(c));
	free(keys);
}

/* --- the store --- */

static const char *bytes_of(const struct cache_object *o)
{
	size_t len;
	const char *text = cache_read(c, o, &len);
	CHECK_INT(len, ==, strlen(text));
	return text;
}

TEST(an_object_is_kept_as_it_came_without_kind_and_managed_fields)
{
	start();
	const char *o = "{\"kind\": \"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"ns\","
		"\"uid\":\"u1\",\"resourceVersion\":\"7\",\"managedFields\":[1,2]},\"spec\":{\"n\":9007199254740993,"
		"\"kind\":\"inner\",\"f\":1.50,\"t\":\"\\u00e9\"}}";
	CHECK_INT(cache_put(c, o, strlen(o), NULL), ==, 0);
	struct cache_object got;
	CHECK(cache_get(c, "ns/a", &got));
	CHECK_TEXT(bytes_of(&got), "{\"metadata\":{\"name\":\"a\",\"namespace\":\"ns\",\"uid\":\"u1\",\"resourceVersion\":\"7\"},"
		"\"spec\":{\"n\":9007199254740993,\"kind\":\"inner\",\"f\":1.50,\"t\":\"\\u00e9\"}}");
	CHECK_TEXT(got.key, "ns/a");
	CHECK_TEXT(got.uid, "u1");
	CHECK_TEXT(got.resource_version, "7");
	CHECK(!got.deleting && !got.ours);
	CHECK(!cache_get(c, "ns/b", &got));
	stop();
}

TEST(a_listed_and_a_watched_object_have_the_same_bytes)
{
	start();
	const char *listed = "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7\"},\"spec\":{}}";
	const char *watched = "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"b\",\"uid\":\"u\","
		"\"resourceVersion\":\"7\"},\"spec\":{}}";
	cache_put(c, listed, strlen(listed), NULL);
	cache_put(c, watched, strlen(watched), NULL);
	struct cache_object a, b;
	CHECK(cache_get(c, "a", &a) && cache_get(c, "b", &b));
	char *one = xstrdup(bytes_of(&a));
	CHECK_TEXT(one + 30, bytes_of(&b) + 30);
	free(one);
	stop();
}

TEST(only_what_was_declared_is_kept_and_indexes_still_see_all)
{
	clock_init_virtual(&clock_, 0);
	const char *keep[] = {"metadata.name", "status"};
	struct cache_options o = options();
	o.keep = (struct json_projection){.keep = keep, .keep_count = 2};
	c = cache_new(&o);
	const char *in = object("a", "u", 1, "\"spec\":{\"app\":\"x\"},\"status\":{\"phase\":\"Running\"}");
	CHECK_INT(cache_put(c, in, strlen(in), NULL), ==, 0);
	struct cache_object got;
	CHECK(cache_get(c, "ns/a", &got));
	CHECK_TEXT(bytes_of(&got), "{\"metadata\":{\"name\":\"a\"},\"status\":{\"phase\":\"Running\"}}");
	finds("app", "x", "ns/a ");
	stop();
}

TEST(deletion_timestamp_and_generation_are_read)
{
	start();
	const char *o = "{\"metadata\":{\"generation\":12,\"name\":\"a\",\"deletionTimestamp\":\"2024-01-01T00:00:00Z\"}}";
	CHECK_INT(cache_put(c, o, strlen(o), NULL), ==, 0);
	struct cache_object got;
	CHECK(cache_get(c, "a", &got));
	CHECK(got.deleting);
	CHECK_INT(got.generation, ==, 12);
	stop();
}

TEST(what_cannot_be_read_is_an_error_and_changes_nothing)
{
	static const char *const bad[] = {"", "[]", "{", "nonsense", "{\"metadata\":{}}", "{\"spec\":{}}",
		"{\"metadata\":{\"name\":\"a/b\"}}", "{\"metadata\":{\"name\":\"a\\u0000\"}}", "{\"metadata\":{\"name\":5}}",
		"{\"metadata\":{\"name\":\"a\",\"namespace\":\"x/y\"}}", "{\"metadata\":{\"name\":\"a\"}} {}",
		"{\"metadata\":{\"name\":\"a\",\"uid\":\"\\u0000\"}}", "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"x\":01}}"};
	start();
	event("a", "u", 5);
	*told = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct err e = {0};
		if (cache_put(c, bad[i], strlen(bad[i]), &e) == 0)
			FAIL("was taken: %s", bad[i]);
		CHECK_INT(e.code, <, 0);
		CHECK_CONTAINS(e.text, "pods");
		CHECK(cache_remove(c, bad[i], strlen(bad[i]), NULL) != 0);
		CHECK(cache_wrote(c, bad[i], strlen(bad[i]), NULL) != 0);
	}
	tells("");
	keys_are("ns/a ");
	stop();
}

TEST(an_object_over_3_mib_is_refused_and_its_last_state_survives_a_list)
{
	start();
	event("a", "u", 5);
	size_t len = CACHE_OBJECT_MAX + 1000;
	char *big = xmalloc(len + 1);
	int head = snprintf(big, len, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"ns\",\"uid\":\"u\","
		"\"resourceVersion\":\"6\"},\"x\":\"");
	memset(big + head, 'x', len - (size_t)head);
	memcpy(big + len - 2, "\"}", 3);
	struct err e = {0};
	cache_list_begin(c);
	CHECK_INT(cache_put(c, big, len, &e), ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(e.text, "ns/a");
	cache_list_end(c, "9");
	sees("ns/a", "5");
	free(big);
	stop();
}

TEST(each_change_is_told_once_and_a_repeat_is_none)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	tells("+ns/a@5 ");
	event("a", "u", 5);
	tells("");
	event("a", "u", 6);
	tells("*ns/a@5>6 ");
	event("a", "other", 8);
	tells("*ns/a@6>8 ");
	deleted_event("a", "other", 9);
	tells("-ns/a@8 ");
	deleted_event("a", "other", 9);
	tells("");
	stop();
}

TEST(a_late_deleted_of_an_older_object_leaves_the_new_one)
{
	start();
	event("a", "new", 9);
	deleted_event("a", "old", 8);
	sees("ns/a", "9");
	stop();
}

TEST(keys_come_sorted)
{
	start();
	put("c", "1", 1), put("a", "2", 2), put("b", "3", 3);
	keys_are("ns/a ns/b ns/c ");
	stop();
}

/* --- lists --- */

TEST(a_list_replaces_the_content_and_says_what_is_gone)
{
	start();
	cache_list_begin(c);
	put("a", "1", 1), put("b", "2", 2);
	CHECK(!cache_is_synced(c));
	cache_list_end(c, "10");
	CHECK(cache_is_synced(c));
	CHECK_TEXT(cache_position(c), "10");
	tells("!+ns/a@1 !+ns/b@2 ");
	cache_list_begin(c);
	put("b", "2", 12), put("c", "3", 13);
	sees("ns/a", "1");
	tells("*ns/b@2>12 +ns/c@13 ");
	cache_list_end(c, "20");
	tells("-ns/a@1 ");
	keys_are("ns/b ns/c ");
	CHECK_TEXT(cache_position(c), "20");
	stop();
}

TEST(an_aborted_list_removes_nothing_and_keeps_the_position)
{
	start();
	cache_list_begin(c);
	put("a", "1", 1), put("b", "2", 2);
	cache_list_end(c, "10");
	cache_list_begin(c);
	put("b", "2", 12);
	cache_list_abort(c);
	cache_list_end(c, "20");
	CHECK_TEXT(cache_position(c), "10");
	keys_are("ns/a ns/b ");
	cache_list_begin(c);
	put("a", "1", 1);
	cache_list_end(c, "30");
	keys_are("ns/a ");
	stop();
}

/* --- the overlay --- */

TEST(our_write_is_seen_at_once_and_its_event_tells_nothing)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	*told = '\0';
	wrote("a", "u", 10);
	sees("ns/a", "10 ours");
	event("a", "u", 10);
	sees("ns/a", "10");
	tells("");
	stop();
}

TEST(an_older_event_does_not_take_our_write_away)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	wrote("a", "u", 10);
	*told = '\0';
	event("a", "u", 8);
	sees("ns/a", "10 ours");
	event("a", "u", 10);
	sees("ns/a", "10");
	tells("");
	stop();
}

TEST(an_event_newer_than_our_write_is_told)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	wrote("a", "u", 10);
	*told = '\0';
	event("a", "u", 12);
	sees("ns/a", "12");
	tells("*ns/a@10>12 ");
	stop();
}

TEST(an_answer_that_comes_after_the_event_that_outdates_it_is_dropped)
{
	start();
	synced_at(1);
	event("a", "u", 12);
	wrote("a", "u", 10);
	sees("ns/a", "12");
	deleted_event("a", "u", 15);
	wrote("a", "u", 14);
	sees("ns/a", "");
	CHECK_INT(cache_count(c), ==, 0);
	stop();
}

TEST(answers_of_two_writes_may_come_in_any_order)
{
	start();
	synced_at(1);
	wrote("a", "u", 11);
	wrote("a", "u", 10);
	sees("ns/a", "11 ours");
	wrote("a", "u", 12);
	sees("ns/a", "12 ours");
	stop();
}

TEST(what_we_created_is_seen_before_its_event)
{
	start();
	synced_at(1);
	const char *o = object("a", "u", 10, "\"spec\":{\"app\":\"x\"}");
	cache_wrote(c, o, strlen(o), NULL);
	sees("ns/a", "10 ours");
	finds("app", "x", "ns/a ");
	keys_are("ns/a ");
	cache_put(c, o, strlen(o), NULL);
	position(10);
	sees("ns/a", "10");
	finds("app", "x", "ns/a ");
	keys_are("ns/a ");
	tells("");
	stop();
}

TEST(an_index_follows_our_write_and_not_the_state_below_it)
{
	start();
	synced_at(1);
	const char *below = object("a", "u", 5, "\"spec\":{\"app\":\"x\"}");
	const char *over = object("a", "u", 10, "\"spec\":{\"app\":\"y\"}");
	cache_put(c, below, strlen(below), NULL);
	cache_wrote(c, over, strlen(over), NULL);
	finds("app", "x", "");
	finds("app", "y", "ns/a ");
	stop();
}

TEST(a_delete_hides_its_object_until_the_watch_says_deleted)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	*told = '\0';
	cache_deleted(c, "ns/a", "u");
	sees("ns/a", "");
	finds("app", "x", "");
	keys_are("");
	event("a", "u", 7); /* its deletionTimestamp */
	sees("ns/a", "");
	position(100);
	sees("ns/a", "");
	deleted_event("a", "u", 101);
	tells("");
	event("a", "u2", 102);
	sees("ns/a", "102");
	tells("+ns/a@102 ");
	stop();
}

TEST(a_delete_is_out_of_the_indexes)
{
	start();
	const char *o = object("a", "u", 5, "\"spec\":{\"app\":\"x\"}");
	cache_put(c, o, strlen(o), NULL);
	finds("app", "x", "ns/a ");
	cache_deleted(c, "ns/a", "u");
	finds("app", "x", "");
	stop();
}

TEST(a_delete_of_another_uid_or_of_nothing_hides_nothing)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	cache_deleted(c, "ns/a", "other");
	cache_deleted(c, "ns/b", "u");
	sees("ns/a", "5");
	deleted_event("a", "u", 6);
	cache_deleted(c, "ns/a", "u"); /* the answer came after the event */
	event("a", "u3", 7);
	sees("ns/a", "7");
	stop();
}

TEST(another_uid_under_the_name_ends_a_delete)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	cache_deleted(c, "ns/a", "u");
	*told = '\0';
	event("a", "u2", 9);
	sees("ns/a", "9");
	tells("+ns/a@9 ");
	stop();
}

TEST(a_list_without_the_object_ends_a_delete_and_one_with_it_does_not)
{
	start();
	cache_list_begin(c);
	put("a", "u", 5), put("b", "v", 6);
	cache_list_end(c, "10");
	*told = '\0';
	cache_deleted(c, "ns/a", "u");
	cache_deleted(c, "ns/b", "v");
	cache_list_begin(c);
	put("b", "v", 6);
	cache_list_end(c, "20");
	sees("ns/a", "");
	sees("ns/b", "");
	tells("");
	event("a", "u", 21); /* a server that brings it back all the same is believed */
	sees("ns/a", "21");
	stop();
}

TEST(what_we_recreate_after_our_delete_is_seen_under_its_new_uid)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	*told = '\0';
	cache_deleted(c, "ns/a", "u");
	wrote("a", "u2", 20);
	sees("ns/a", "20 ours");
	deleted_event("a", "u", 19);
	sees("ns/a", "20 ours");
	event("a", "u2", 20);
	sees("ns/a", "20");
	tells("");
	stop();
}

TEST(a_late_answer_does_not_bring_back_what_we_deleted)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	cache_deleted(c, "ns/a", "u");
	wrote("a", "u", 8);
	sees("ns/a", "");
	stop();
}

TEST(what_we_created_and_deleted_at_once_never_shows_again)
{
	start();
	synced_at(1);
	wrote("a", "u", 10);
	cache_deleted(c, "ns/a", "u");
	sees("ns/a", "");
	event("a", "u", 10);
	sees("ns/a", "");
	deleted_event("a", "u", 12);
	tells("");
	CHECK_INT(cache_count(c), ==, 0);
	/* And where the watch never shows it (its selector excludes it), the position ends the matter. */
	wrote("b", "v", 20);
	cache_deleted(c, "ns/b", "v");
	position(21);
	event("b", "v", 22);
	sees("ns/b", "22");
	stop();
}

TEST(an_older_event_of_the_previous_object_does_not_end_a_newer_delete)
{
	start();
	synced_at(1);
	event("a", "old", 5);
	wrote("a", "new", 20);
	cache_deleted(c, "ns/a", "new");
	*told = '\0';
	event("a", "old", 9);
	sees("ns/a", "");
	deleted_event("a", "old", 11);
	event("a", "new", 20);
	deleted_event("a", "new", 25);
	sees("ns/a", "");
	tells("");
	stop();
}

TEST(a_bookmark_that_passes_our_write_evicts_it)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	wrote("a", "u", 10);
	wrote("b", "v", 11);
	*told = '\0';
	position(9);
	sees("ns/a", "10 ours");
	position(10);
	sees("ns/a", "5");
	sees("ns/b", "11 ours");
	tells("*ns/a@10>5 ");
	position(11); /* written, but nothing that this watch selects */
	sees("ns/b", "");
	tells("-ns/b@11 ");
	stop();
}

TEST(a_list_that_passes_our_write_evicts_it_and_an_older_one_does_not)
{
	start();
	synced_at(1);
	wrote("a", "u", 10);
	wrote("b", "v", 30);
	cache_list_begin(c);
	put("a", "u", 12);
	cache_list_end(c, "20");
	sees("ns/a", "12");
	sees("ns/b", "30 ours");
	tells("*ns/a@10>12 ");
	stop();
}

TEST(a_write_during_the_first_list_is_seen)
{
	start();
	wrote("a", "u", 10);
	sees("ns/a", "10 ours");
	cache_list_begin(c);
	put("a", "u", 10);
	cache_list_end(c, "15");
	sees("ns/a", "10");
	tells("");
	stop();
}

TEST(a_cluster_that_was_set_back_takes_the_overlay_along)
{
	start();
	synced_at(1000);
	event("a", "u", 1005);
	wrote("a", "u", 1010);
	cache_list_begin(c);
	put("a", "u", 90);
	cache_list_end(c, "100");
	sees("ns/a", "90");
	CHECK_TEXT(cache_position(c), "100");
	stop();
}

TEST(leaving_the_selector_by_our_own_write_is_told)
{
	start();
	synced_at(1);
	event("a", "u", 5);
	wrote("a", "u", 10);
	*told = '\0';
	deleted_event("a", "u", 10);
	sees("ns/a", "");
	tells("-ns/a@10 ");
	stop();
}

/* --- indexes --- */

static void put_more(const char *name, int version, const char *more)
{
	const char *o = object(name, name, version, more);
	CHECK_INT(cache_put(c, o, strlen(o), NULL), ==, 0);
}

TEST(an_index_finds_by_the_first_path_that_holds_a_text)
{
	start();
	const char *both = "{\"metadata\":{\"name\":\"a\",\"labels\":{\"primehub.io/app\":\"x\"}},\"spec\":{\"app\":\"y\"}}";
	const char *empty = "{\"metadata\":{\"name\":\"b\",\"labels\":{\"primehub.io/app\":\"\"}},\"spec\":{\"app\":\"y\"}}";
	const char *number = "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"app\":5}}";
	cache_put(c, both, strlen(both), NULL);
	cache_put(c, empty, strlen(empty), NULL);
	cache_put(c, number, strlen(number), NULL);
	finds("app", "x", "a ");
	finds("app", "y", "b ");
	finds("app", "5", "");
	finds("app", "", "");
	finds("no such index", "x", "");
	stop();
}

TEST(a_path_with_an_equals_sign_takes_numbers_true_and_false_too)
{
	start();
	put_more("a", 1, "\"spec\":{\"stop\":true,\"replicas\":3}");
	put_more("b", 2, "\"spec\":{\"stop\":\"true\",\"replicas\":-4.5e1}");
	put_more("c", 3, "\"spec\":{\"stop\":null,\"replicas\":[3]}");
	put_more("d", 4, "\"spec\":{\"stop\":false}");
	finds("plain", "true", "ns/a ns/b ");
	finds("plain", "false", "ns/d ");
	finds("plain", "3", "");
	finds("plain", "null", "");
	put_more("a", 5, "\"spec\":{\"stop\":false}");
	finds("plain", "true", "ns/b ");
	finds("plain", "false", "ns/a ns/d ");
	stop();
}

TEST(an_index_follows_an_object_that_moves)
{
	start();
	put_more("a", 1, "\"spec\":{\"app\":\"x\"}");
	put_more("b", 2, "\"spec\":{\"app\":\"x\"}");
	put_more("c", 3, "\"spec\":{\"app\":\"x\"}");
	finds("app", "x", "ns/a ns/b ns/c ");
	put_more("b", 4, "\"spec\":{\"app\":\"y\"}");
	finds("app", "x", "ns/a ns/c ");
	finds("app", "y", "ns/b ");
	put_more("c", 5, "\"spec\":{}");
	deleted_event("a", "a", 6);
	finds("app", "x", "");
	put_more("a", 7, "\"spec\":{\"app\":\"x\"}");
	finds("app", "x", "ns/a ");
	stop();
}

TEST(the_owner_index_knows_the_controller_alone)
{
	start();
	const char *o = "{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[{\"uid\":\"1\"},{\"uid\":\"2\","
		"\"controller\":false},{\"controller\":true,\"uid\":\"3\"}]}}";
	cache_put(c, o, strlen(o), NULL);
	finds("owner", "3", "a ");
	finds("owner", "1", "");
	finds("owner", "2", "");
	stop();
}

TEST(a_path_may_go_through_the_elements_of_an_array)
{
	start();
	put_more("a", 1, "\"spec\":{\"containers\":[{\"name\":\"x\"},{\"image\":\"one\"},{\"image\":\"two\"}]}");
	struct cache_object o;
	CHECK(cache_get(c, "ns/a", &o));
	CHECK_TEXT(o.index_values[2], "one");
	CHECK(o.index_values[0] == NULL);
	finds("image", "one", "ns/a ");
	stop();
}

/* --- revisions --- */

static void put_generation(int version, int generation, const char *uid)
{
	char o[512];
	snprintf(o, sizeof o, "{\"metadata\":{\"name\":\"a\",\"uid\":\"%s\",\"resourceVersion\":\"%d\",\"generation\":%d},"
		"\"spec\":{\"n\":%d, \"big\":9007199254740993}}", uid, version, generation, generation);
	CHECK_INT(cache_put(c, o, strlen(o), NULL), ==, 0);
}

static void generations_are(const char *expected)
{
	const struct cache_revision *list;
	size_t count = cache_revisions(c, "a", &list);
	char text[1024] = "";
	for (size_t i = 0; i < count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%lld ", (long long)list[i].generation);
	CHECK_TEXT(text, expected);
}

TEST(forty_quick_generations_are_all_kept_exactly)
{
	start();
	for (int g = 1; g <= 40; g++) {
		put_generation(2 * g, g, "u");
		put_generation(2 * g + 1, g, "u"); /* a status write in between */
		clock_virtual_advance(&clock_, 1);
	}
	const struct cache_revision *list;
	CHECK_INT(cache_revisions(c, "a", &list), ==, 40);
	for (int g = 1; g <= 40; g++) {
		char spec[64];
		snprintf(spec, sizeof spec, "{\"n\":%d, \"big\":9007199254740993}", g);
		CHECK_INT(list[g - 1].generation, ==, g);
		CHECK_INT(list[g - 1].seen_ms, ==, 1000000 + g - 1);
		CHECK_TEXT(list[g - 1].spec, spec);
		CHECK_INT(list[g - 1].len, ==, strlen(spec));
	}
	stop();
}

TEST(what_was_recorded_is_not_kept_again_not_even_after_a_list)
{
	start();
	put_generation(1, 1, "u"), put_generation(2, 2, "u"), put_generation(3, 3, "u");
	cache_revisions_recorded(c, "a", 2);
	generations_are("3 ");
	cache_revisions_recorded(c, "a", 1);
	generations_are("3 ");
	cache_revisions_recorded(c, "a", 3);
	generations_are("");
	cache_list_begin(c);
	put_generation(9, 3, "u");
	cache_list_end(c, "10");
	generations_are("");
	put_generation(11, 7, "u"); /* a gap is a jump */
	generations_are("7 ");
	stop();
}

TEST(a_list_brings_generations_too_and_a_repeat_brings_none)
{
	start();
	cache_list_begin(c);
	put_generation(1, 4, "u");
	cache_list_end(c, "10");
	generations_are("4 ");
	put_generation(1, 4, "u");
	put_generation(11, 3, "u");
	generations_are("4 ");
	stop();
}

TEST(our_own_answer_is_no_delivery)
{
	start();
	put_generation(1, 1, "u");
	const char *o = "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"5\",\"generation\":2},\"spec\":{}}";
	cache_wrote(c, o, strlen(o), NULL);
	generations_are("1 ");
	put_generation(5, 2, "u");
	generations_are("1 2 ");
	stop();
}

TEST(another_uid_or_a_deletion_starts_the_revisions_over)
{
	start();
	put_generation(1, 8, "u");
	cache_revisions_recorded(c, "a", 8);
	put_generation(5, 1, "u2");
	generations_are("1 ");
	const char *o = "{\"metadata\":{\"name\":\"a\",\"uid\":\"u2\",\"resourceVersion\":\"6\"}}";
	CHECK_INT(cache_remove(c, o, strlen(o), NULL), ==, 0);
	generations_are("");
	put_generation(9, 1, "u3");
	generations_are("1 ");
	stop();
}

TEST(of_too_many_unrecorded_generations_the_newest_are_kept)
{
	start();
	for (int g = 1; g <= CACHE_REVISIONS_MAX + 10; g++)
		put_generation(g, g, "u");
	const struct cache_revision *list;
	CHECK_INT(cache_revisions(c, "a", &list), ==, CACHE_REVISIONS_MAX);
	CHECK_INT(list[0].generation, ==, 11);
	CHECK_INT(list[CACHE_REVISIONS_MAX - 1].generation, ==, CACHE_REVISIONS_MAX + 10);
	stop();
}

TEST(unrecorded_generations_are_bounded_in_bytes)
{
	start();
	size_t len = 1 << 20;
	char *o = xmalloc(len + 256);
	for (int g = 1; g <= 10; g++) {
		int head = snprintf(o, 256, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%d\",\"generation\":%d},\"spec\":\"",
			g, g);
		memset(o + head, 'x', len);
		strcpy(o + (size_t)head + len, "\"}");
		CHECK_INT(cache_put(c, o, strlen(o), NULL), ==, 0);
	}
	generations_are("8 9 10 ");
	CHECK_INT(cache_bytes(c), <, 6 << 20);
	free(o);
	stop();
}

/* --- size --- */

TEST(a_thousand_objects_cost_little_more_than_their_bytes)
{
	clock_init_virtual(&clock_, 0);
	struct cache_options o = options();
	o.revisions = false;
	c = cache_new(&o);
	size_t sum = 0;
	for (int i = 0; i < 1000; i++) {
		char name[32];
		struct cache_object got;
		snprintf(name, sizeof name, "object-%d", i);
		put_more(name, i + 1, "\"spec\":{\"app\":\"x\"}");
		snprintf(name, sizeof name, "ns/object-%d", i);
		CHECK(cache_get(c, name, &got));
		sum += strlen(bytes_of(&got));
	}
	CHECK_INT(cache_bytes(c), <, sum + 1000 * 200);
	size_t count;
	free(cache_find(c, "app", "x", &count));
	CHECK_INT(count, ==, 1000);
	stop();
}

/* --- a walk: a server, a watch that is behind, and our writes, in any order --- */

#define NAMES 4
#define LOG 4096

struct state {
	int uid, version; /* uid 0: not there */
};

static struct {
	struct state now[NAMES];
	int version, uids;
	struct { int name, uid, version; bool deleted; } log[LOG];
	int logged, delivered;
} server;

static void server_change(int n, bool delete)
{
	struct state *s = &server.now[n];
	s->version = ++server.version;
	if (s->uid == 0)
		s->uid = ++server.uids;
	server.log[server.logged].name = n;
	server.log[server.logged].uid = s->uid;
	server.log[server.logged].version = s->version;
	server.log[server.logged++].deleted = delete;
	if (delete)
		s->uid = 0;
}

static void deliver(void)
{
	if (server.delivered == server.logged)
		return;
	int i = server.delivered++;
	char name[8], uid[16];
	snprintf(name, sizeof name, "n%d", server.log[i].name);
	snprintf(uid, sizeof uid, "%d", server.log[i].uid);
	if (server.log[i].deleted)
		deleted_event(name, uid, server.log[i].version);
	else
		event(name, uid, server.log[i].version);
}

/* What a reader must see: nothing that is older than our last write or delete of it. */
static struct state floor_[NAMES];

static void walk_step(void)
{
	int n = (int)pick(NAMES);
	char name[8], key[16], uid[16];
	snprintf(name, sizeof name, "n%d", n);
	snprintf(key, sizeof key, "ns/n%d", n);
	struct state *s = &server.now[n];
	struct cache_object seen;
	switch (pick(5)) {
	case 0: /* somebody else writes or deletes */
		server_change(n, s->uid != 0 && pick(3) == 0);
		break;
	case 1: /* we write; the answer comes at once or after some events */
		server_change(n, false);
		floor_[n] = *s;
		snprintf(uid, sizeof uid, "%d", s->uid);
		int version = s->version;
		for (unsigned late = pick(3); late > 0; late--)
			deliver();
		wrote(name, uid, version);
		break;
	case 2: /* we delete what we see, by its UID */
		snprintf(uid, sizeof uid, "%d", s->uid);
		if (s->uid == 0 || !cache_get(c, key, &seen) || strcmp(seen.uid, uid) != 0)
			break;
		server_change(n, true);
		floor_[n] = *s;
		for (unsigned late = pick(3); late > 0; late--)
			deliver();
		cache_deleted(c, key, uid);
		break;
	default:
		deliver();
	}
}

TEST(in_random_orders_readers_never_see_less_than_our_last_write_and_agree_in_the_end)
{
	start();
	synced_at(0);
	for (int round = 0; round < 2000; round++) {
		server.logged = server.delivered = 0;
		for (int i = 0; i < 30; i++) {
			walk_step();
			*told = '\0';
			for (int n = 0; n < NAMES; n++) {
				char key[16];
				struct cache_object o;
				snprintf(key, sizeof key, "ns/n%d", n);
				if (cache_get(c, key, &o))
					CHECK_INT(atoi(o.resource_version), >=, floor_[n].version);
			}
		}
		while (server.delivered < server.logged)
			deliver();
		*told = '\0';
		for (int n = 0; n < NAMES; n++) {
			char key[16], expected[16] = "";
			snprintf(key, sizeof key, "ns/n%d", n);
			if (server.now[n].uid != 0)
				snprintf(expected, sizeof expected, "%d", server.now[n].version);
			sees(key, expected);
		}
	}
	stop();
}

static uint64_t content(const char *metadata, const char *more)
{
	char text[512];
	struct cache_object got;
	snprintf(text, sizeof text, "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"%s},%s}", metadata, more);
	start();
	CHECK_INT(cache_put(c, text, strlen(text), NULL), ==, 0);
	CHECK(cache_get(c, "a", &got));
	uint64_t content = cache_content(c, &got);
	stop();
	return content;
}

TEST(content_is_the_same_until_somebody_writes_something_else)
{
	uint64_t one = content(",\"resourceVersion\":\"1\",\"generation\":1", "\"spec\":{\"x\":1},\"status\":{\"ready\":0}");
	CHECK(one != 0);
	CHECK(one == content(",\"resourceVersion\":\"22\",\"generation\":3", "\"spec\":{\"x\":1},\"status\":{\"ready\":9}"));
	CHECK(one != content(",\"resourceVersion\":\"1\",\"generation\":1", "\"spec\":{\"x\":2},\"status\":{\"ready\":0}"));
	CHECK(one != content(",\"resourceVersion\":\"1\",\"labels\":{\"a\":\"b\"}", "\"spec\":{\"x\":1}"));
	CHECK(one != content(",\"deletionTimestamp\":\"now\"", "\"spec\":{\"x\":1}"));
}

TEST_MAIN(T(content_is_the_same_until_somebody_writes_something_else), T(an_object_is_kept_as_it_came_without_kind_and_managed_fields),
	T(a_listed_and_a_watched_object_have_the_same_bytes),
	T(only_what_was_declared_is_kept_and_indexes_still_see_all), T(deletion_timestamp_and_generation_are_read),
	T(what_cannot_be_read_is_an_error_and_changes_nothing),
	T(an_object_over_3_mib_is_refused_and_its_last_state_survives_a_list),
	T(each_change_is_told_once_and_a_repeat_is_none), T(a_late_deleted_of_an_older_object_leaves_the_new_one),
	T(keys_come_sorted), T(a_list_replaces_the_content_and_says_what_is_gone),
	T(an_aborted_list_removes_nothing_and_keeps_the_position),
	T(our_write_is_seen_at_once_and_its_event_tells_nothing), T(an_older_event_does_not_take_our_write_away),
	T(an_event_newer_than_our_write_is_told), T(an_answer_that_comes_after_the_event_that_outdates_it_is_dropped),
	T(answers_of_two_writes_may_come_in_any_order), T(what_we_created_is_seen_before_its_event),
	T(an_index_follows_our_write_and_not_the_state_below_it),
	T(a_delete_hides_its_object_until_the_watch_says_deleted), T(a_delete_is_out_of_the_indexes),
	T(a_delete_of_another_uid_or_of_nothing_hides_nothing), T(another_uid_under_the_name_ends_a_delete),
	T(a_list_without_the_object_ends_a_delete_and_one_with_it_does_not),
	T(what_we_recreate_after_our_delete_is_seen_under_its_new_uid),
	T(a_late_answer_does_not_bring_back_what_we_deleted), T(what_we_created_and_deleted_at_once_never_shows_again),
	T(an_older_event_of_the_previous_object_does_not_end_a_newer_delete),
	T(a_bookmark_that_passes_our_write_evicts_it),
	T(a_list_that_passes_our_write_evicts_it_and_an_older_one_does_not), T(a_write_during_the_first_list_is_seen),
	T(a_cluster_that_was_set_back_takes_the_overlay_along), T(leaving_the_selector_by_our_own_write_is_told),
	T(an_index_finds_by_the_first_path_that_holds_a_text), T(a_path_with_an_equals_sign_takes_numbers_true_and_false_too),
	T(an_index_follows_an_object_that_moves),
	T(the_owner_index_knows_the_controller_alone), T(a_path_may_go_through_the_elements_of_an_array),
	T(forty_quick_generations_are_all_kept_exactly), T(what_was_recorded_is_not_kept_again_not_even_after_a_list),
	T(a_list_brings_generations_too_and_a_repeat_brings_none), T(our_own_answer_is_no_delivery),
	T(another_uid_or_a_deletion_starts_the_revisions_over),
	T(of_too_many_unrecorded_generations_the_newest_are_kept), T(unrecorded_generations_are_bounded_in_bytes),
	T(a_thousand_objects_cost_little_more_than_their_bytes),
	T(in_random_orders_readers_never_see_less_than_our_last_write_and_agree_in_the_end))
