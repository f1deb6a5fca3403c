/* Reading JSON without building it.
 *
 * The API server's answers are large and mostly not for us. A json_reader walks over bytes
 * and hands out one token at a time, so that the cache can cut an object down, take its
 * metadata out and keep the rest as the bytes that came, and the policy boundary can make Lua
 * values without a tree in between. It is strict (RFC 8259: no comments, no trailing text, no
 * 01 or 1., valid UTF-8, no lone surrogates), bounded in depth, and never allocates.
 *
 * Spans point into the input, which must stay alive and unchanged while the reader is used. */
#ifndef MOONPHASE_BASE_JSON_H
#define MOONPHASE_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"

#define JSON_DEPTH_MAX 64

enum json_token {
	JSON_END,   /* the document is complete and nothing follows it */
	JSON_ERROR, /* see json_reader.error */
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_KEY,   /* a member's name; its value is the next token */
	JSON_ARRAY_BEGIN,
	JSON_ARRAY_END,
	JSON_OBJECT_BEGIN,
	JSON_OBJECT_END,
};

struct json_span {
	const char *at; /* NULL: not there */
	size_t len;
};

struct json_reader {
	const char *start, *at, *end;
	/* Of the last token: STRING and KEY without the quotes, still escaped; NUMBER, literals and
	 * brackets as they stand. */
	struct json_span text;
	bool has_escapes;
	bool has_space; /* white space was met since this was last set to false */
	bool known;     /* see json_reader_init_known */
	int depth; /* open arrays and objects */
	uint64_t is_object; /* a bit per open level */
	unsigned char state; /* private: what may come next */
	const char *error;  /* after JSON_ERROR: a static phrase, e.g. "a comma is missing" */
};

void json_reader_init(struct json_reader *r, const void *bytes, size_t len);
/* Of bytes that a reader has passed over before, without an error and (with `known`) without white space: what
 * json_skip_value passes over is not looked at again then, which is ten times as quick. */
void json_reader_init_known(struct json_reader *r, struct json_span bytes, bool known);
enum json_token json_next(struct json_reader *r);
/* After a KEY: read (and check) the whole value that follows; its bytes, white space around it
 * cut off. Returns false on an error. Inside an array it gives one element after the other, and
 * false with r->error NULL when it has read the closing bracket. */
bool json_skip_value(struct json_reader *r, struct json_span *value);
/* After an OBJECT_BEGIN or ARRAY_BEGIN: leave that level by its brackets and texts alone, whatever its depth. What is in it is not
 * checked. Returns false if it does not end. */
bool json_leave_level(struct json_reader *r);
/* Where the reader stopped, for messages. */
size_t json_error_offset(const struct json_reader *r);
int json_error(const struct json_reader *r, struct err *e);

/* Whether a string token equals `text` (escapes are decoded). */
bool json_text_is(const struct json_reader *r, const char *text);
/* The length of the UTF-8 sequence at `at`, 1 to 4; 0 if the bytes are no UTF-8. at < end. */
size_t json_utf8_length(const char *at, const char *end);
/* Decode a STRING's or KEY's span into `out` (at least span.len bytes); the length. The span has
 * passed the reader, so this cannot fail. */
size_t json_unescape(struct json_span text, char *out);
/* Append a quoted, escaped JSON string. Control characters as \u00XX; UTF-8 stays, and a byte
 * that is not UTF-8 becomes U+FFFD, as in Go. */
int json_add_string(struct buffer *b, const char *text, size_t len);

/* The value at a path of member names, e.g. json_find(bytes, len, &span, "metadata", "uid", NULL).
 * For a string the span excludes the quotes; *token tells what it is (may be NULL). A missing
 * member gives false. Duplicate members: the last one counts, as for Go. */
bool json_find(const void *bytes, size_t len, struct json_span *value, enum json_token *token, ...)
	__attribute__((sentinel));
bool json_find_path(const void *bytes, size_t len, struct json_span *value, enum json_token *token,
	const char *const *path, size_t steps);
/* The string at a path as a new C string (escapes decoded), or NULL; also NULL for a string with
 * \u0000 in it, which C would cut short. The caller frees it. */
char *json_find_string(const void *bytes, size_t len, ...) __attribute__((sentinel));
/* The integer at a path, or `fallback` (also for 1.0, 1e3 and what int64 cannot hold). */
int64_t json_find_integer(const void *bytes, size_t len, int64_t fallback, ...) __attribute__((sentinel));

/* Where the members of an object lie, and those of its "metadata", found in one walk. */
#define JSON_MEMBERS_MAX 32 /* of those behind them only the count is known */
struct json_member {
	struct json_span name; /* without the quotes, still escaped */
	struct json_span value;
};
struct json_members {
	struct json_span object; /* {NULL, 0}: it is no object */
	size_t count;
	struct json_member of[JSON_MEMBERS_MAX];
};
struct json_outline {
	struct json_span bytes; /* of the value, whatever it is */
	bool known;             /* for json_reader_init_known */
	struct json_members own, metadata;
};
/* As json_skip_value, of a value that should be an object. */
bool json_read_outline(struct json_reader *r, struct json_outline *o);
/* The value of a member, the last of this name; {NULL, 0} if there is none. */
struct json_span json_member(const struct json_members *m, const char *name, size_t len);
/* Whether an escaped text (of at most 256 bytes) stands for `wanted`. */
bool json_span_is(struct json_span text, const char *wanted, size_t len);
/* The inside of a string's bytes; {NULL, 0} for every other value. */
struct json_span json_string(struct json_span value);

/* What of an object is kept. A path is steps joined by '.', with '*' for every element of an
 * array or every member ("spec.containers.*.resources"). A name with dots, or one that is a
 * star, stands in brackets: "metadata.labels[primehub.io/phdeployment]". Limits: */
#define JSON_PATHS_MAX 64 /* keep and drop each */
#define JSON_STEPS_MAX 16
struct json_projection {
	const char *const *keep; /* NULL: everything; else only what lies on or below these paths */
	size_t keep_count;
	const char *const *drop; /* removed in any case */
	size_t drop_count;
};
/* Append `bytes`, minified, cut down by `p` (NULL: only minified), to `out`. Numbers and strings
 * are copied as they stand: nothing is reformatted. With `keep`, an object or array on the way
 * to a path is there only if something below it was kept; the outermost value always is. An
 * array element of which nothing is kept is left out, so positions may shift. On an error
 * `out` is as it was: ERR_INVALID (broken JSON or path), ERR_TOO_LARGE (too deep, too many
 * paths, more than `out` may hold). */
int json_project(const void *bytes, size_t len, const struct json_projection *p, struct buffer *out,
	struct err *e);
/* The same of bytes that were read before: see json_reader_init_known. */
int json_project_known(struct json_span bytes, bool known, const struct json_projection *p, struct buffer *out,
	struct err *e);

#endif
