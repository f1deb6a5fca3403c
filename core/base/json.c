/* Around the JSON reader: comparing and writing strings, and looking one value up.
 *
 * Lookups read the whole document even after a match: duplicate members are settled as Go
 * settles them (the last one counts), and a document that is broken further on gives nothing
 * instead of a value that no other reader would have seen. */
#include "base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

bool json_text_is(const struct json_reader *r, const char *text)
{
	size_t len = strlen(text);
	if (!r->has_escapes)
		return r->text.len == len && memcmp(r->text.at, text, len) == 0;
	/* An escape is at most six times as long as what it stands for. */
	if (r->text.len < len || r->text.len / 6 > len)
		return false;
	char *decoded = xmalloc(r->text.len);
	bool same = json_unescape(r->text, decoded) == len && memcmp(decoded, text, len) == 0;
	free(decoded);
	return same;
}

static int add_escape(struct buffer *b, unsigned char c)
{
	static const char letters[] = "btn.fr"; /* from 0x08 on; 0x0b has none */
	switch (c) {
	case '"':
		return buffer_add(b, "\\\"", 2);
	case '\\':
		return buffer_add(b, "\\\\", 2);
	case '\b': case '\t': case '\n': case '\f': case '\r':
		return buffer_add(b, (char[]){'\\', letters[c - 8]}, 2);
	default:
		return buffer_printf(b, "\\u%04x", c);
	}
}

int json_add_string(struct buffer *b, const char *text, size_t len)
{
	size_t before = b->len;
	const char *p = text, *run = text, *end = text + len;
	int rc = buffer_add_byte(b, '"');
	while (rc == 0 && p < end) {
		unsigned char c = (unsigned char)*p;
		size_t step = json_utf8_length(p, end);
		if (step != 0 && c >= 0x20 && c != '"' && c != '\\') {
			p += step;
			continue;
		}
		rc = buffer_add(b, run, (size_t)(p - run));
		if (rc == 0)
			rc = step == 0 ? buffer_add_text(b, "\xef\xbf\xbd") : add_escape(b, c);
		run = ++p;
	}
	if (rc == 0)
		rc = buffer_add(b, run, (size_t)(end - run));
	if (rc == 0)
		rc = buffer_add_byte(b, '"');
	if (rc != 0 && b->len > before) {
		b->len = before;
		b->data[before] = '\0';
	}
	return rc;
}

struct found {
	struct json_span value;
	enum json_token token;
};

static void look(struct json_reader *r, const char *const *path, size_t steps, struct found *found);

/* Read the value that comes next; if it lies at the end of the path, it is the one. */
static void look_at_value(struct json_reader *r, const char *const *path, size_t steps, struct found *found)
{
	found->value.at = NULL;
	if (steps != 0) {
		look(r, path, steps, found);
		return;
	}
	struct json_reader peek = *r;
	found->token = json_next(&peek);
	if (!json_skip_value(r, &found->value))
		found->value.at = NULL;
	else if (found->token == JSON_STRING)
		found->value = (struct json_span){found->value.at + 1, found->value.len - 2};
}

static void look(struct json_reader *r, const char *const *path, size_t steps, struct found *found)
{
	struct json_span skipped;
	struct json_reader before = *r;
	if (json_next(r) != JSON_OBJECT_BEGIN) {
		*r = before;
		json_skip_value(r, &skipped);
		return;
	}
	while (json_next(r) == JSON_KEY) {
		if (json_text_is(r, path[0]))
			look_at_value(r, path + 1, steps - 1, found);
		else if (!json_skip_value(r, &skipped))
			return;
	}
}

bool json_find_path(const void *bytes, size_t len, struct json_span *value, enum json_token *token,
	const char *const *path, size_t steps)
{
	struct json_reader r;
	struct found found = {0};
	json_reader_init(&r, bytes, len);
	look_at_value(&r, path, steps, &found);
	if (found.value.at == NULL || json_next(&r) != JSON_END)
		return false;
	*value = found.value;
	if (token != NULL)
		*token = found.token;
	return true;
}

/* The variadic forms stop at the NULL; nothing in an object lies deeper than the reader goes. */
static size_t gather(const char **path, va_list args)
{
	size_t steps = 0;
	const char *step;
	while ((step = va_arg(args, const char *)) != NULL && steps < JSON_DEPTH_MAX)
		path[steps++] = step;
	return steps;
}

bool json_find(const void *bytes, size_t len, struct json_span *value, enum json_token *token, ...)
{
	const char *path[JSON_DEPTH_MAX];
	va_list args;
	va_start(args, token);
	size_t steps = gather(path, args);
	va_end(args);
	return json_find_path(bytes, len, value, token, path, steps);
}

char *json_find_string(const void *bytes, size_t len, ...)
{
	const char *path[JSON_DEPTH_MAX];
	va_list args;
	va_start(args, len);
	size_t steps = gather(path, args);
	va_end(args);
	struct json_span value;
	enum json_token token;
	if (!json_find_path(bytes, len, &value, &token, path, steps) || token != JSON_STRING)
		return NULL;
	char *text = xmalloc(value.len + 1);
	size_t length = json_unescape(value, text);
	text[length] = '\0';
	if (memchr(text, '\0', length) == NULL)
		return text;
	free(text);
	return NULL;
}

int64_t json_find_integer(const void *bytes, size_t len, int64_t fallback, ...)
{
	const char *path[JSON_DEPTH_MAX];
	va_list args;
	va_start(args, fallback);
	size_t steps = gather(path, args);
	va_end(args);
	struct json_span value;
	enum json_token token;
	char digits[24];
	if (!json_find_path(bytes, len, &value, &token, path, steps) || token != JSON_NUMBER ||
	    value.len >= sizeof digits)
		return fallback;
	memcpy(digits, value.at, value.len);
	digits[value.len] = '\0';
	char *end;
	errno = 0;
	long long number = strtoll(digits, &end, 10);
	return errno == 0 && *end == '\0' ? number : fallback;
}
