/* Cutting a JSON object down while it is copied.
 *
 * The cache keeps thousands of objects of which the policies read a part; the rest (first of
 * all metadata.managedFields, often half of the bytes) should cost one walk and no memory.
 *
 * One recursive descent copies what is kept. Since every path starts at the root, the paths
 * that still matter at some depth are those whose first `depth` steps were met: one bit
 * each, so going into a member is masking bits. Three cases need no descent at all: nothing
 * of the value is wanted, all of it is, or a drop path ends here. A value that is kept whole
 * and holds no white space is copied by one memcpy.
 *
 * A parent is written before it is known whether anything below it is kept, and taken back
 * when nothing was. */
#include "base/json.h"

#include <string.h>

struct step {
	const char *at;
	size_t len;
	bool any; /* the star */
};

struct path {
	struct step steps[JSON_STEPS_MAX];
	size_t count;
};

struct paths {
	struct path path[JSON_PATHS_MAX];
	size_t count;
};

struct projection {
	struct paths keep, drop;
	struct json_reader r;
	struct buffer *out;
	int rc; /* of the first write that failed */
};

/* What still matters at one place: the paths that lead here, and whether a keep path has
 * already ended here or above. */
struct place {
	uint64_t keep, drop;
	bool kept;
};

/* One step off the front of `text`: "name", "*" or "[any.name]". NULL if it is malformed. */
static const char *read_step(const char *text, struct step *step)
{
	if (*text == '[') {
		const char *close = strchr(text, ']');
		if (close == NULL || close == text + 1)
			return NULL;
		*step = (struct step){text + 1, (size_t)(close - text - 1), false};
		text = close + 1;
	} else {
		size_t len = strcspn(text, ".[");
		if (len == 0)
			return NULL;
		*step = (struct step){text, len, len == 1 && *text == '*'};
		text += len;
	}
	if (*text == '.')
		return text[1] != '\0' ? text + 1 : NULL;
	return *text == '\0' || *text == '[' ? text : NULL;
}

static int read_paths(const char *const *texts, size_t count, struct paths *paths, struct err *e)
{
	if (count > JSON_PATHS_MAX)
		return err_set(e, ERR_TOO_LARGE, "a projection has %zu paths; at most %d are allowed", count,
			JSON_PATHS_MAX);
	paths->count = count;
	for (size_t i = 0; i < count; i++) {
		struct path *path = &paths->path[i];
		const char *at = texts[i];
		path->count = 0;
		do {
			if (path->count == JSON_STEPS_MAX)
				return err_set(e, ERR_TOO_LARGE, "the path \"%s\" has more than %d steps", texts[i],
					JSON_STEPS_MAX);
			at = read_step(at, &path->steps[path->count++]);
			if (at == NULL)
				return err_set(e, ERR_INVALID, "\"%s\" is no path: write names joined by dots, names "
					"with dots in brackets, and * for every element", texts[i]);
		} while (*at != '\0');
	}
	return 0;
}

static bool name_is(const struct json_reader *r, const struct step *step)
{
	if (!r->has_escapes)
		return r->text.len == step->len && memcmp(r->text.at, step->at, step->len) == 0;
	char name[256]; /* a longer step never matches an escaped name */
	if (step->len >= sizeof name)
		return false;
	memcpy(name, step->at, step->len);
	name[step->len] = '\0';
	return json_text_is(r, name);
}

/* Which of the `active` paths lead into the member whose KEY was just read (or, without a key,
 * into an array's element); *ends is set when one of them ends there. `depth` is the parent's. */
static uint64_t advance(const struct paths *paths, uint64_t active, size_t depth, const struct json_reader *key,
	bool *ends)
{
	uint64_t left = 0;
	for (; active != 0; active &= active - 1) {
		int i = __builtin_ctzll(active);
		const struct path *path = &paths->path[i];
		const struct step *step = &path->steps[depth];
		if (!step->any && (key == NULL || !name_is(key, step)))
			continue;
		if (path->count == depth + 1)
			*ends = true;
		else
			left |= (uint64_t)1 << i;
	}
	return left;
}

static void put(struct projection *p, const void *bytes, size_t len)
{
	if (p->rc == 0)
		p->rc = buffer_add(p->out, bytes, len);
}

static void take_back(struct projection *p, size_t len)
{
	if (p->out->len == len)
		return;
	p->out->len = len;
	p->out->data[len] = '\0';
}

/* Copy the next value token by token, without the white space. */
static void minify_value(struct projection *p)
{
	int depth = p->r.depth;
	bool comma = false;
	do {
		enum json_token token = json_next(&p->r);
		if (token == JSON_ERROR)
			return;
		if (comma && token != JSON_ARRAY_END && token != JSON_OBJECT_END)
			put(p, ",", 1);
		struct json_span text = p->r.text;
		if (token == JSON_STRING || token == JSON_KEY)
			text = (struct json_span){text.at - 1, text.len + 2};
		put(p, text.at, text.len);
		if (token == JSON_KEY)
			put(p, ":", 1);
		comma = token != JSON_KEY && token != JSON_ARRAY_BEGIN && token != JSON_OBJECT_BEGIN;
	} while (p->rc == 0 && p->r.depth > depth);
}

static void copy_value(struct projection *p)
{
	struct json_reader before = p->r;
	struct json_span value;
	p->r.has_space = false;
	if (!json_skip_value(&p->r, &value))
		return;
	if (!p->r.has_space) {
		put(p, value.at, value.len);
		return;
	}
	p->r = before;
	minify_value(p);
}

static bool project_inside(struct projection *p, struct place place, size_t depth, bool in_object);

/* Copy what is kept of the next value; whether that is anything. The outermost value always
 * stands. */
static bool project_value(struct projection *p, struct place place, size_t depth)
{
	struct json_span skipped;
	if (place.kept && place.drop == 0)
		return copy_value(p), true;
	if (!place.kept && place.keep == 0 && depth != 0)
		return json_skip_value(&p->r, &skipped), false;
	struct json_reader before = p->r;
	enum json_token token = json_next(&p->r);
	if (token == JSON_OBJECT_BEGIN || token == JSON_ARRAY_BEGIN)
		return project_inside(p, place, depth, token == JSON_OBJECT_BEGIN);
	if (!place.kept && depth != 0)
		return false;
	p->r = before;
	return copy_value(p), true;
}

/* The member whose KEY was read, or an array's element (key NULL). */
static bool project_child(struct projection *p, struct place place, size_t depth, const struct json_reader *key,
	bool comma)
{
	struct json_span skipped;
	struct place child = {.kept = place.kept};
	bool dropped = false;
	child.drop = advance(&p->drop, place.drop, depth, key, &dropped);
	if (!place.kept)
		child.keep = advance(&p->keep, place.keep, depth, key, &child.kept);
	if (dropped || (!child.kept && child.keep == 0))
		return json_skip_value(&p->r, &skipped), false;
	size_t mark = p->out->len;
	if (comma)
		put(p, ",", 1);
	if (key != NULL) {
		put(p, key->text.at - 1, key->text.len + 2);
		put(p, ":", 1);
	}
	if (project_value(p, child, depth + 1))
		return true;
	take_back(p, mark);
	return false;
}

static bool project_inside(struct projection *p, struct place place, size_t depth, bool in_object)
{
	bool any = false;
	put(p, in_object ? "{" : "[", 1);
	while (p->rc == 0) {
		struct json_reader before = p->r;
		enum json_token token = json_next(&p->r);
		if (token == JSON_ERROR)
			return false;
		if (token == JSON_ARRAY_END || token == JSON_OBJECT_END)
			break;
		struct json_reader key = p->r;
		if (!in_object)
			p->r = before; /* that was the element itself */
		any |= project_child(p, place, depth, in_object ? &key : NULL, any);
	}
	put(p, in_object ? "}" : "]", 1);
	return any || place.kept;
}

static uint64_t all_of(const struct paths *paths)
{
	return paths->count == 64 ? UINT64_MAX : ((uint64_t)1 << paths->count) - 1;
}

int json_project(const void *bytes, size_t len, const struct json_projection *what, struct buffer *out,
	struct err *e)
{
	return json_project_known((struct json_span){bytes, len}, false, what, out, e);
}

int json_project_known(struct json_span bytes, bool known, const struct json_projection *what, struct buffer *out,
	struct err *e)
{
	static const struct json_projection everything = {0};
	if (what == NULL)
		what = &everything;
	size_t before = out->len;
	struct projection p;
	p.out = out;
	p.rc = 0;
	int rc = read_paths(what->keep, what->keep != NULL ? what->keep_count : 0, &p.keep, e);
	if (rc == 0)
		rc = read_paths(what->drop, what->drop != NULL ? what->drop_count : 0, &p.drop, e);
	if (rc != 0)
		return rc;
	json_reader_init_known(&p.r, bytes, known);
	struct place root = {.keep = all_of(&p.keep), .drop = all_of(&p.drop), .kept = what->keep == NULL};
	project_value(&p, root, 0);
	if (p.rc != 0)
		rc = err_set(e, p.rc, "what is kept of the JSON document passes the limit of %zu bytes", out->max);
	else if (json_next(&p.r) != JSON_END)
		rc = json_error(&p.r, e);
	if (rc != 0)
		take_back(&p, before);
	return rc;
}
