/* From the bytes of a watch to its events: lines of JSON, {"type":"ADDED","object":{...}}.
 *
 * Chunks end anywhere. A line that lies whole in one chunk is handed out where it lies; only the
 * half at a chunk's end is copied, and bounded. */
#include <stdlib.h>
#include <string.h>

#include "kube/watch_internal.h"

#define HALF_KEPT (64u << 10) /* a larger buffer is given back after its line */

static int add_half(struct buffer *half, const char *bytes, size_t len)
{
	return buffer_add(half, bytes, len) == 0 ? 0 : ERR_TOO_LARGE;
}

static int hand_out(const char *at, size_t len, int (*line)(void *arg, const char *line, size_t len), void *arg)
{
	if (len > WATCH_LINE_MAX)
		return ERR_TOO_LARGE;
	return len == 0 ? 0 : line(arg, at, len);
}

int watch_lines(struct buffer *half, const char *bytes, size_t len,
	int (*line)(void *arg, const char *line, size_t len), void *arg)
{
	int rc = 0;
	while (rc == 0 && len != 0) {
		const char *end = memchr(bytes, '\n', len);
		if (end == NULL)
			return add_half(half, bytes, len);
		size_t n = (size_t)(end - bytes);
		if (half->len == 0) {
			rc = hand_out(bytes, n, line, arg);
		} else {
			rc = add_half(half, bytes, n);
			if (rc == 0)
				rc = hand_out(half->data, half->len, line, arg);
			if (half->capacity > HALF_KEPT)
				buffer_deinit(half);
			buffer_clear(half);
		}
		bytes += n + 1;
		len -= n + 1;
	}
	return rc;
}

static enum watch_event_type type_of(const struct json_reader *r)
{
	static const char *const names[] = {[EVENT_ADDED] = "ADDED", [EVENT_MODIFIED] = "MODIFIED",
		[EVENT_DELETED] = "DELETED", [EVENT_BOOKMARK] = "BOOKMARK", [EVENT_ERROR] = "ERROR"};
	for (enum watch_event_type t = EVENT_ADDED; t <= EVENT_ERROR; t++)
		if (json_text_is(r, names[t]))
			return t;
	return EVENT_OTHER;
}

static void read_version(const struct json_outline *object, char version[WATCH_VERSION_MAX + 1])
{
	struct json_span found = json_string(json_member(&object->metadata, "resourceVersion", strlen("resourceVersion")));
	size_t len = found.at != NULL && found.len <= WATCH_VERSION_MAX ? json_unescape(found, version) : 0;
	version[len] = '\0';
}

static bool member_is(const struct json_outline *object, const char *name, const char *wanted)
{
	struct json_span text = json_string(json_member(&object->own, name, strlen(name)));
	return text.at != NULL && json_span_is(text, wanted, strlen(wanted));
}

static void read_object(const struct watch *w, struct watch_event *v)
{
	read_version(&v->object, v->version);
	v->is_ours = member_is(&v->object, "kind", w->o.metadata_only ? "PartialObjectMetadata" : w->o.kind) &&
		member_is(&v->object, "apiVersion", w->o.metadata_only ? "meta.k8s.io/v1" : w->o.api_version);
}

int watch_event_read(const struct watch *w, const char *line, size_t len, struct watch_event *v, struct err *e)
{
	struct json_reader r;
	enum json_token t;
	struct json_span skipped;
	v->type = EVENT_OTHER;
	v->object.bytes.at = NULL;
	json_reader_init(&r, line, len);
	if (json_next(&r) != JSON_OBJECT_BEGIN)
		return err_set(e, ERR_INVALID, "a line of the watch is no event");
	while ((t = json_next(&r)) == JSON_KEY) {
		if (json_text_is(&r, "object")) {
			json_read_outline(&r, &v->object);
		} else if (json_text_is(&r, "type")) {
			struct json_reader before = r;
			if (json_next(&r) == JSON_STRING)
				v->type = type_of(&r);
			else if (r.error == NULL)
				r = before, json_skip_value(&r, &skipped);
		} else {
			json_skip_value(&r, &skipped);
		}
	}
	if (t != JSON_OBJECT_END || json_next(&r) != JSON_END)
		return json_error(&r, e), err_prefix(e, "a line of the watch cannot be read");
	if (v->object.bytes.at == NULL)
		return err_set(e, ERR_INVALID, "a line of the watch has no object");
	read_object(w, v);
	return 0;
}

static void copy_text(const struct json_span object, const char *name, char *out, size_t size)
{
	char *text = json_find_string(object.at, object.len, name, NULL);
	size_t len = text ? strlen(text) : 0;
	if (len >= size)
		len = size - 1;
	if (len != 0)
		memcpy(out, text, len);
	out[len] = '\0';
	free(text);
}

void watch_event_refusal(const struct watch_event *v, struct refusal *r)
{
	*r = (struct refusal){0};
	r->status = (int)json_find_integer(v->object.bytes.at, v->object.bytes.len, 500, "code", NULL);
	if (r->status < 100 || r->status > 999)
		r->status = 500;
	copy_text(v->object.bytes, "reason", r->reason, sizeof r->reason);
	copy_text(v->object.bytes, "message", r->message, sizeof r->message);
	r->retry_after_s = json_find_integer(v->object.bytes.at, v->object.bytes.len, 0, "details", "retryAfterSeconds", NULL);
}
