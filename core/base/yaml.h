/* YAML as kubectl reads it, into a cJSON tree.
 *
 * libyaml gives events and plain text; what is a number or a boolean is decided here, for plain
 * scalars only, as kubectl does (go-yaml 2): true/false, yes/no, on/off and y/n in their usual
 * spellings are booleans, null, ~ and nothing are null, 0x1f, 0b1, 0o17, 017 and 1_000 are
 * integers, dates and 12:30 are strings. Anchors, aliases, merge keys, tags, duplicate keys, NUL
 * characters, .inf and .nan are refused, nesting, events and bytes are bounded (libyaml 0.2.5
 * has no nesting limit). A key that reads as a boolean or a fraction is refused with the advice
 * to quote it (kubectl would make "true" of the key y); an integer becomes its digits.
 * Integers of 64 bits that no double holds are kept exactly: as cJSON_Raw nodes holding their
 * digits. Errors name keys, never values. */
#ifndef MOONPHASE_BASE_YAML_H
#define MOONPHASE_BASE_YAML_H

#include <stddef.h>

#include <cjson/cJSON.h>

#include "base/buffer.h"
#include "base/err.h"

#define YAML_BYTES_MAX (8u << 20)
#define YAML_DEPTH_MAX 63 /* with the array of documents around it as deep as JSON may be */
#define YAML_EVENTS_MAX (1u << 20)

/* Parse all documents of `text`. *documents is a new cJSON array of them (empty documents left
 * out), which the caller frees with cJSON_Delete. `name` stands in errors:
 * "kubeconfig line 12 column 3: key "users" stands twice". */
int yaml_parse(const char *text, size_t len, const char *name, cJSON **documents, struct err *e);
/* The same, appended as one JSON array of text (numbers exact) for the Lua boundary. On an error
 * `json` is as it was. */
int yaml_to_json(const char *text, size_t len, const char *name, struct buffer *json, struct err *e);
/* Append JSON text as YAML block style, keys in the order of the text, strings quoted where any
 * YAML 1.1 reader could take them for something else, several lines as a "|" block where that
 * is exact. On an error `out` is as it was. */
int yaml_from_json(const char *json, size_t len, struct buffer *out, struct err *e);

#endif
