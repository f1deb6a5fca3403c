/* Reading YAML: see yaml.h.
 *
 * YAML has more in it than anybody wants in a manifest, and most of its surprises (bombs of
 * aliases, merge keys, norway's "no") are attacks or accidents here. libyaml is used for what is
 * hard, its scanner, and only as a source of events. The events are written down as JSON text
 * at once, with one level of state per open sequence or mapping; whatever JSON cannot say is
 * refused at the line where it stands. So there is one place that decides what a scalar is,
 * and both outputs, text for Lua and a cJSON tree, come from the same bytes. */
#include "base/yaml.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/json.h"
#include "base/map.h"
#include "base/yaml_scalar.h"

#define JSON_BYTES_MAX (8 * (size_t)YAML_BYTES_MAX)

struct level {
	bool is_mapping;
	bool has_key; /* a mapping: its next value belongs to the key just written */
	size_t count;
	struct map keys;
};

struct reader {
	yaml_parser_t parser;
	const char *name;
	struct buffer *out;
	struct err *e;
	size_t events;
	struct level levels[YAML_DEPTH_MAX + 1]; /* the first is the array of documents */
	size_t depth; /* the open level's place */
	size_t document_start; /* in out, before its comma */
};

/* "NAME line L column C: ..." */
static int refuse(const struct reader *r, int code, const yaml_mark_t *mark, const char *why, const char *what)
{
	char shown[81];
	snprintf(shown, sizeof shown, "%s", what);
	for (char *c = shown; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return err_set(r->e, code, "%s line %zu column %zu: %s%s%s%s", r->name, mark->line + 1, mark->column + 1,
		*what != '\0' ? "key \"" : "", shown, *what != '\0' ? "\" " : "", why);
}

static int parser_error(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem != NULL ? p->problem : "it cannot be read";
	if (p->error == YAML_MEMORY_ERROR)
		return err_set(r->e, ERR_NOMEM, "%s: there is no memory to read it", r->name);
	if (p->error == YAML_READER_ERROR)
		return err_set(r->e, ERR_INVALID, "%s line %zu column %zu: the text is not allowed in YAML (byte %zu): %s", r->name,
			p->mark.line + 1, p->mark.column + 1, p->problem_offset, problem);
	return err_set(r->e, ERR_INVALID, "%s line %zu column %zu: %s%s%s", r->name, p->problem_mark.line + 1,
		p->problem_mark.column + 1, p->context != NULL ? p->context : "", p->context != NULL ? ", " : "", problem);
}

static int full(const struct reader *r, int rc)
{
	return rc == 0 ? 0 : err_set(r->e, rc, "%s: its content passes the limit of %zu bytes", r->name, r->out->max);
}

/* What must stand before the value that comes now. */
static int before_value(struct reader *r, const yaml_event_t *event)
{
	struct level *level = &r->levels[r->depth];
	if (level->is_mapping && !level->has_key)
		return refuse(r, ERR_INVALID, &event->start_mark, "a key must be text, no list or mapping", "");
	if (level->is_mapping)
		level->has_key = false;
	else if (level->count++ > 0)
		return full(r, buffer_add_byte(r->out, ','));
	return 0;
}

static int write_key(struct reader *r, const yaml_event_t *event)
{
	struct level *level = &r->levels[r->depth];
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	char digits[YAML_NUMBER_MAX];
	const yaml_mark_t *mark = &event->start_mark;
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		if (strcmp(text, "<<") == 0)
			return refuse(r, ERR_INVALID, mark, "is a merge, which is not supported: write the members out", text);
		switch (yaml_resolve(text, len, digits)) {
		case YAML_TEXT:
			break;
		case YAML_INTEGER:
			text = digits;
			len = strlen(digits);
			break;
		case YAML_NULL:
			return refuse(r, ERR_INVALID, mark, "a key is missing or null", "");
		default:
			return refuse(r, ERR_INVALID, mark, "is read as a boolean or a number: put it in quotes", text);
		}
	}
	if (map_has(&level->keys, text))
		return refuse(r, ERR_INVALID, mark, "stands twice", text);
	map_set(&level->keys, text, NULL);
	level->has_key = true;
	int rc = level->count++ > 0 ? buffer_add_byte(r->out, ',') : 0;
	if (rc == 0)
		rc = json_add_string(r->out, text, len);
	return full(r, rc == 0 ? buffer_add_byte(r->out, ':') : rc);
}

static int write_plain(struct reader *r, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	char number[YAML_NUMBER_MAX];
	switch (yaml_resolve(text, len, number)) {
	case YAML_NULL:
		return full(r, buffer_add_text(r->out, "null"));
	case YAML_TRUE:
		return full(r, buffer_add_text(r->out, "true"));
	case YAML_FALSE:
		return full(r, buffer_add_text(r->out, "false"));
	case YAML_INTEGER: case YAML_FRACTION:
		return full(r, buffer_add_text(r->out, number));
	case YAML_NOT_FINITE:
		return refuse(r, ERR_INVALID, &event->start_mark, "infinity and NaN cannot be said in JSON", "");
	default:
		return full(r, json_add_string(r->out, text, len));
	}
}

static int on_scalar(struct reader *r, const yaml_event_t *event)
{
	struct level *level = &r->levels[r->depth];
	const char *text = (const char *)event->data.scalar.value;
	if (memchr(text, '\0', event->data.scalar.length) != NULL)
		return refuse(r, ERR_INVALID, &event->start_mark, "a text holds a NUL character", "");
	if (level->is_mapping && !level->has_key)
		return write_key(r, event);
	int rc = before_value(r, event);
	if (rc != 0)
		return rc;
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return write_plain(r, event);
	return full(r, json_add_string(r->out, text, event->data.scalar.length));
}

static int open_level(struct reader *r, const yaml_event_t *event)
{
	int rc = before_value(r, event);
	if (rc != 0)
		return rc;
	if (r->depth == YAML_DEPTH_MAX)
		return refuse(r, ERR_TOO_LARGE, &event->start_mark, "lists and mappings are nested too deeply", "");
	bool is_mapping = event->type == YAML_MAPPING_START_EVENT;
	r->levels[++r->depth] = (struct level){.is_mapping = is_mapping};
	return full(r, buffer_add_byte(r->out, is_mapping ? '{' : '['));
}

static int close_level(struct reader *r)
{
	struct level *level = &r->levels[r->depth--];
	map_deinit(&level->keys);
	return full(r, buffer_add_byte(r->out, level->is_mapping ? '}' : ']'));
}

/* A document that is nothing but null is left out again. */
static void end_document(struct reader *r)
{
	size_t start = r->document_start;
	const char *value = r->out->data + start + (r->levels[0].count > 1);
	if (strcmp(value, "null") != 0)
		return;
	r->levels[0].count--;
	r->out->len = start;
	r->out->data[start] = '\0';
}

static const char *unwanted(const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return "aliases (*name) are not supported: write the value out";
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	default:
		break;
	}
	if (anchor != NULL)
		return "anchors (&name) are not supported: write the value where it is needed";
	return tag != NULL ? "tags (!name) are not supported: put text in quotes" : NULL;
}

static int on_event(struct reader *r, const yaml_event_t *event)
{
	const char *why = unwanted(event);
	if (why != NULL)
		return refuse(r, ERR_INVALID, &event->start_mark, why, "");
	if (++r->events > YAML_EVENTS_MAX)
		return refuse(r, ERR_TOO_LARGE, &event->start_mark, "there are too many values", "");
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		r->document_start = r->out->len;
		return 0;
	case YAML_DOCUMENT_END_EVENT:
		end_document(r);
		return 0;
	case YAML_SCALAR_EVENT:
		return on_scalar(r, event);
	case YAML_SEQUENCE_START_EVENT: case YAML_MAPPING_START_EVENT:
		return open_level(r, event);
	case YAML_SEQUENCE_END_EVENT: case YAML_MAPPING_END_EVENT:
		return close_level(r);
	default:
		return 0;
	}
}

static int read_events(struct reader *r)
{
	bool more = true;
	int rc = full(r, buffer_add_byte(r->out, '['));
	while (rc == 0 && more) {
		yaml_event_t event;
		if (!yaml_parser_parse(&r->parser, &event))
			return parser_error(r);
		more = event.type != YAML_STREAM_END_EVENT;
		rc = on_event(r, &event);
		yaml_event_delete(&event);
	}
	return rc == 0 ? full(r, buffer_add_byte(r->out, ']')) : rc;
}

/* Whether a line may begin at `at`: behind one of YAML's line breaks (the last three are U+0085, U+2028 and U+2029) or a
 * byte order mark. */
static bool begins_line(const char *text, const char *at)
{
	static const char *const before[] = {"\n", "\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf"};
	if (at == text)
		return true;
	for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
		size_t len = strlen(before[i]);
		if ((size_t)(at - text) >= len && memcmp(at - len, before[i], len) == 0)
			return true;
	}
	return false;
}

/* Tags are refused anyway, and libyaml compares each %TAG line with all before it: a megabyte of
 * them takes it 20 seconds before it gives the first event. */
static int refuse_tag_directives(const struct reader *r, const char *text, size_t len)
{
	yaml_mark_t mark = {0};
	const char *end = text + len, *line = text, *newline, *found;
	for (const char *p = text; (found = memmem(p, (size_t)(end - p), "%TAG", 4)) != NULL; p = found + 1) {
		if (!begins_line(text, found))
			continue;
		for (; (newline = memchr(line, '\n', (size_t)(found - line))) != NULL; line = newline + 1)
			mark.line++;
		return refuse(r, ERR_INVALID, &mark, "tag directives (%TAG) are not supported", "");
	}
	return 0;
}

int yaml_to_json(const char *text, size_t len, const char *name, struct buffer *json, struct err *e)
{
	if (len > YAML_BYTES_MAX)
		return err_set(e, ERR_TOO_LARGE, "%s: it has %zu bytes; at most %u are read", name, len, YAML_BYTES_MAX);
	if (len == 0)
		text = "";
	struct reader r = {.name = name, .out = json, .e = e};
	size_t before = json->len;
	int rc = refuse_tag_directives(&r, text, len);
	if (rc != 0)
		return rc;
	if (!yaml_parser_initialize(&r.parser))
		return err_set(e, ERR_NOMEM, "%s: there is no memory to read it", name);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	rc = read_events(&r);
	yaml_parser_delete(&r.parser);
	for (size_t i = 0; i <= r.depth; i++)
		map_deinit(&r.levels[i].keys);
	if (rc != 0 && json->len > before) {
		json->len = before;
		json->data[before] = '\0';
	}
	return rc;
}

static cJSON *made(cJSON *node)
{
	if (node == NULL) {
		fputs("moonphase: out of memory (a node of a YAML tree)\n", stderr);
		abort();
	}
	return node;
}

/* A double where it holds the number exactly, else the digits. */
static cJSON *number_node(struct json_span text)
{
	char digits[YAML_NUMBER_MAX], again[YAML_NUMBER_MAX * 8];
	snprintf(digits, sizeof digits, "%.*s", (int)text.len, text.at);
	double value = strtod(digits, NULL);
	if (strpbrk(digits, ".eE") == NULL) {
		snprintf(again, sizeof again, "%.0f", value);
		if (strcmp(digits, again) != 0)
			return cJSON_CreateRaw(digits);
	}
	return cJSON_CreateNumber(value);
}

static cJSON *string_node(struct json_span text, char *scratch)
{
	scratch[json_unescape(text, scratch)] = '\0';
	return cJSON_CreateString(scratch);
}

/* The value that `token` begins, from text that was written above. `scratch` holds any string. */
static cJSON *tree(struct json_reader *r, enum json_token token, char *scratch)
{
	switch (token) {
	case JSON_TRUE: case JSON_FALSE:
		return made(cJSON_CreateBool(token == JSON_TRUE));
	case JSON_NUMBER:
		return made(number_node(r->text));
	case JSON_STRING:
		return made(string_node(r->text, scratch));
	case JSON_ARRAY_BEGIN: {
		cJSON *array = made(cJSON_CreateArray());
		while ((token = json_next(r)) != JSON_ARRAY_END)
			cJSON_AddItemToArray(array, tree(r, token, scratch));
		return array;
	}
	case JSON_OBJECT_BEGIN: {
		cJSON *object = made(cJSON_CreateObject());
		while (json_next(r) == JSON_KEY) {
			struct json_span key = r->text;
			cJSON *value = tree(r, json_next(r), scratch);
			scratch[json_unescape(key, scratch)] = '\0';
			cJSON_AddItemToObject(object, scratch, value);
		}
		return object;
	}
	default:
		return made(cJSON_CreateNull());
	}
}

int yaml_parse(const char *text, size_t len, const char *name, cJSON **documents, struct err *e)
{
	struct buffer json;
	buffer_init(&json, JSON_BYTES_MAX);
	*documents = NULL;
	int rc = yaml_to_json(text, len, name, &json, e);
	if (rc == 0) {
		struct json_reader r;
		char *scratch = malloc(json.len + 1);
		json_reader_init(&r, json.data, json.len);
		if (scratch != NULL)
			*documents = tree(&r, json_next(&r), scratch);
		else
			rc = err_set(e, ERR_NOMEM, "%s: there is no memory to read it", name);
		free(scratch);
	}
	if (json.data != NULL)
		explicit_bzero(json.data, json.len); /* it may be a kubeconfig */
	buffer_deinit(&json);
	return rc;
}
