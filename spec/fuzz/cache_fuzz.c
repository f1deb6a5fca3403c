/* What a server may send into a cache, and everything else that happens to one, in any order: a line is one thing
 * that happens. Its first letter says what. Behind p, r and w stand bytes as a server sent them, and a line that begins with no
 * letter of ours is an event of a watch; behind P, R, W and E (make_object) stand parts of them, so that many lines are about the
 * same few objects.
 *
 * A packed and an unpacked cache must show the same; what an object is kept as must be what json_project makes of its bytes; and a
 * restored cache must show what it showed when it was saved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cache.h"
#include "kube/watch_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) do { if (!(condition)) abort(); } while (0)
#define ROOM (16u << 20)

static struct clock clock_;
static struct cache *packed, *plain;
static struct cache_saved *saved;
static char *shown; /* of `plain` when it was saved */
static bool apart;  /* only one of the two can go back, and has */

static struct cache *make(bool unpacked)
{
	static const char *const app[] = {"metadata.labels[a/b]", "spec.app", NULL}, *const owner[] = {"@owner", NULL},
		*const any[] = {"spec.*.*.a", "metadata.*.b", "[x.y]", NULL}, *const number[] = {"=spec.n", "=status", NULL};
	struct cache_options o = {.name = "pods", .clock = &clock_, .revisions = true, .unpacked = unpacked, .index_count = 4,
		.indexes = {{"app", app}, {"owner", owner}, {"any", any}, {"number", number}}};
	return cache_new(&o);
}

static void show(struct cache *c, char **out)
{
	static const char *const indexes[] = {"app", "owner", "any", "number"};
	size_t count, len;
	struct buffer b;
	struct cache_object o;
	const char **keys = cache_keys(c, &count);
	MUST(count == cache_count(c));
	buffer_init(&b, ROOM);
	buffer_printf(&b, "%d at %s\n", cache_is_synced(c), cache_position(c));
	for (size_t i = 0; i < count; i++) {
		const struct cache_revision *r;
		MUST(cache_get(c, keys[i], &o) && strcmp(o.key, keys[i]) == 0);
		size_t revisions = cache_revisions(c, o.key, &r);
		const char *text = cache_read(c, &o, &len);
		MUST(strlen(text) == len);
		buffer_printf(&b, "%s %s %s %lld %d %d %llx %zu ", o.key, o.uid, o.resource_version, (long long)o.generation, o.deleting,
			o.ours, (unsigned long long)cache_content(c, &o), revisions);
		buffer_add(&b, text, len);
		for (size_t at = 0; at < revisions; at++)
			buffer_add(&b, r[at].spec, r[at].len);
		for (size_t at = 0; at < 4; at++) {
			size_t found = 0;
			const char **same = o.index_values[at] ? cache_find(c, indexes[at], o.index_values[at], &found) : NULL;
			MUST(o.index_values[at] == NULL || found != 0);
			buffer_printf(&b, " %s=%zu", o.index_values[at] ? o.index_values[at] : "", found);
			free(same);
		}
		buffer_add_text(&b, "\n");
	}
	free(keys);
	*out = xmemdup0(buffer_text(&b), b.len);
	buffer_deinit(&b);
}

static void compare(void)
{
	char *a, *b;
	show(plain, &b);
	if (!apart) {
		show(packed, &a);
		MUST(strcmp(a, b) == 0);
		free(a);
	}
	free(b);
}

/* What was put and is shown is the projection of the bytes that came. */
static void check_kept(const char *bytes, size_t len)
{
	static const char *const drop[] = {"kind", "apiVersion", "metadata.managedFields"};
	struct json_projection all = {.drop = drop, .drop_count = 3};
	struct cache_object o;
	struct buffer wanted;
	char *name = json_find_string(bytes, len, "metadata", "name", NULL), *space = json_find_string(bytes, len, "metadata",
		"namespace", NULL), *version = json_find_string(bytes, len, "metadata", "resourceVersion", NULL);
	char *key = space && *space ? xasprintf("%s/%s", space, name) : xstrdup(name);
	buffer_init(&wanted, ROOM);
	MUST(json_project(bytes, len, &all, &wanted, NULL) == 0);
	if (cache_get(plain, key, &o) && !o.ours) {
		size_t kept;
		const char *text = cache_read(plain, &o, &kept);
		MUST(strcmp(o.resource_version, version ? version : "") == 0);
		MUST(kept == wanted.len && memcmp(text, wanted.data, kept) == 0);
	}
	buffer_deinit(&wanted);
	free(name);
	free(space);
	free(version);
	free(key);
}

/* Without a version nothing is passed over as a repetition. */
static bool has_version(const char *bytes, size_t len)
{
	char *version = json_find_string(bytes, len, "metadata", "resourceVersion", NULL);
	bool has = version && *version;
	free(version);
	return has;
}

static void feed(char what, const char *from, size_t len)
{
	struct err e = {0};
	char *bytes = xmalloc(len); /* with nothing behind it */
	memcpy(bytes, from, len);
	int (*how)(struct cache *, const char *, size_t, struct err *) = what == 'p' ? cache_put : what == 'r' ? cache_remove : cache_wrote;
	int rc = how(plain, bytes, len, &e);
	MUST(apart || how(packed, bytes, len, &e) == rc);
	if (rc == 0 && what == 'p' && !has_version(bytes, len))
		check_kept(bytes, len);
	free(bytes);
}

/* Four characters, and what stands in the metadata, in the spec and beside them, with semicolons between. */
static void make_object(struct buffer *b, const char *text, size_t len)
{
	static const char *const between[] = {"},\"spec\":{", "},\"status\":{"};
	const char *at = text + 4, *end = text + len;
	buffer_printf(b, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%c\",\"uid\":\"%c\",\"resourceVersion\":\"",
		'a' + (text[0] & 3), 'a' + (text[1] & 1));
	if ((text[2] & 15) != 0)
		buffer_printf(b, "%d", text[2] & 15);
	buffer_printf(b, "\",\"generation\":%d", text[3] & 15);
	for (size_t part = 0; part < 3; part++) {
		const char *next = memchr(at, ';', (size_t)(end - at));
		next = next && part < 2 ? next : end;
		if (part == 0 && next != at)
			buffer_add_text(b, ",");
		buffer_add(b, at, (size_t)(next - at));
		buffer_add_text(b, part < 2 ? between[part] : "}}");
		at = next + (next != end);
	}
}

static void feed_object(char what, const char *text, size_t len)
{
	struct buffer b;
	if (len < 4)
		return;
	buffer_init(&b, ROOM);
	make_object(&b, text, len);
	feed(what, b.data, b.len);
	buffer_deinit(&b);
}

static void apply(struct cache *c, const struct watch_event *v)
{
	if (v->type == EVENT_DELETED)
		cache_remove_read(c, &v->object, NULL);
	else if (v->type == EVENT_ADDED || v->type == EVENT_MODIFIED)
		cache_put_read(c, &v->object, NULL);
	cache_position_set(c, v->version);
}

static int on_event(void *arg, const char *line, size_t len)
{
	static const struct watch w = {.o = {.kind = "Pod", .api_version = "v1"}};
	struct watch_event v;
	struct refusal refusal;
	(void)arg;
	if (watch_event_read(&w, line, len, &v, NULL) != 0)
		return 0;
	watch_event_refusal(&v, &refusal);
	MUST(refusal.status >= 100 && refusal.status <= 999);
	apply(plain, &v);
	if (!apart)
		apply(packed, &v);
	return 0;
}

/* A line of a watch, in two pieces. */
static void stream(const char *text, size_t len)
{
	struct buffer half;
	buffer_init(&half, ROOM);
	MUST(watch_lines(&half, text, len / 2, on_event, NULL) == 0);
	MUST(watch_lines(&half, text + len / 2, len - len / 2, on_event, NULL) == 0);
	MUST(watch_lines(&half, "\n", 1, on_event, NULL) == 0);
	buffer_deinit(&half);
}

static void event(const char *text, size_t len)
{
	static const char *const types[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "OTHER", "ADDED", "MODIFIED"};
	struct buffer b;
	buffer_init(&b, ROOM);
	buffer_printf(&b, "{\"type\":\"%s\",\"object\":", types[text[0] & 7]);
	make_object(&b, text + 1, len - 1);
	buffer_add_text(&b, "}");
	stream(b.data, b.len);
	buffer_deinit(&b);
}

static void go_back(void)
{
	char *now;
	if (saved == NULL)
		return;
	cache_restore(plain, saved);
	MUST(cache_is_as_saved(plain, saved));
	show(plain, &now);
	MUST(strcmp(now, shown) == 0);
	free(now);
	apart = true;
}

static void keep(void)
{
	cache_saved_free(saved);
	free(shown);
	saved = cache_save(plain);
	show(plain, &shown);
}

/* `text` is the line behind its letter, as a C string of its own. */
static void happen(struct cache *c, char what, const char *text)
{
	char key[2] = {text[0]}, uid[2] = {text[0] ? text[1] : '\0'};
	if (what == 'd')
		cache_deleted(c, key, uid);
	else if (what == 'b')
		cache_list_begin(c);
	else if (what == 'e')
		cache_list_end(c, text);
	else if (what == 'a')
		cache_list_abort(c);
	else if (what == 'v')
		cache_position_set(c, text);
	else if (what == 'n')
		cache_revisions_recorded(c, key, uid[0] & 15);
}

static void line(const char *at, size_t len)
{
	char *rest = len != 0 ? xmemdup0(at + 1, len - 1) : NULL;
	if (len == 0)
		return;
	if (strchr("prw", *at)) {
		feed(*at, rest, len - 1);
	} else if (strchr("PRW", *at)) {
		feed_object((char)(*at | 0x20), rest, len - 1);
	} else if (strchr("dbeavn", *at)) {
		happen(plain, *at, rest);
		if (!apart)
			happen(packed, *at, rest);
	} else if (*at == 's') {
		keep();
	} else if (*at == 'g') {
		go_back();
	} else if (*at == 'E' && len > 5) {
		event(rest, len - 1);
	} else {
		stream(at, len);
	}
	free(rest);
	compare();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	if (size > 8192)
		return 0;
	clock_init_virtual(&clock_, 1000000);
	packed = make(false);
	plain = make(true);
	for (const char *next; at < end; at = next + 1) {
		next = memchr(at, '\n', (size_t)(end - at));
		next = next ? next : end;
		line(at, (size_t)(next - at));
	}
	cache_free(packed);
	cache_free(plain);
	cache_saved_free(saved);
	free(shown);
	saved = NULL;
	shown = NULL;
	apart = false;
	clock_deinit(&clock_);
	return 0;
}
