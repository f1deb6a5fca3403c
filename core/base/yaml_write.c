/* Writing YAML: JSON text in, block style out (see yaml.h).
 *
 * For people to read: kubectl's shape (lists not indented below their key, a list item's first
 * key beside its dash), with a plain text left plain only when no reader can misread it, and
 * several lines as a block when the block says exactly the same. The JSON reader's tokens are
 * turned into lines by one recursive descent, as deep as the reader allows. */
#include "base/yaml.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/xalloc.h"
#include "base/yaml_scalar.h"

#define SIMPLE_KEY_MAX 500 /* a reader looks at most 1024 characters ahead for the colon */

struct writer {
	struct json_reader r;
	struct buffer *out;
	char *scratch; /* as large as the input: any decoded string */
	int rc;
};

static void put(struct writer *w, const char *bytes, size_t len)
{
	if (w->rc == 0)
		w->rc = buffer_add(w->out, bytes, len);
}

static void put_text(struct writer *w, const char *text)
{
	put(w, text, strlen(text));
}

static void put_indent(struct writer *w, int indent)
{
	for (int i = 0; i < indent; i++)
		put(w, " ", 1);
}

static unsigned code_point(const char *p, size_t len)
{
	unsigned code = len == 1 ? (unsigned char)*p : (unsigned char)*p & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char)p[i] & 0x3fu);
	return code;
}

static bool is_printable(const char *text, size_t len)
{
	for (const char *p = text, *end = text + len; p < end;) {
		size_t step = json_utf8_length(p, end);
		if (*p != '\n' && !yaml_is_printable(code_point(p, step)))
			return false;
		p += step;
	}
	return true;
}

static void put_escape(struct writer *w, unsigned code)
{
	static const char plain[] = "\n\t\r\"\\", letters[] = "ntr\"\\";
	const char *found = code != 0 && code < 0x80 ? strchr(plain, (int)code) : NULL;
	if (w->rc != 0)
		return;
	if (found != NULL)
		put(w, (char[]){'\\', letters[found - plain]}, 2);
	else if (code < 0x100)
		w->rc = buffer_printf(w->out, "\\x%02X", code);
	else
		w->rc = buffer_printf(w->out, code < 0x10000 ? "\\u%04X" : "\\U%08X", code);
}

static void put_quoted(struct writer *w, const char *text, size_t len)
{
	put(w, "\"", 1);
	for (const char *p = text, *end = text + len; p < end;) {
		size_t step = json_utf8_length(p, end);
		unsigned code = code_point(p, step);
		if (code == '"' || code == '\\' || !yaml_is_printable(code))
			put_escape(w, code);
		else
			put(w, p, step);
		p += step;
	}
	put(w, "\"", 1);
}

/* Decode the STRING or KEY just read. */
static size_t decode(struct writer *w)
{
	size_t len = json_unescape(w->r.text, w->scratch);
	w->scratch[len] = '\0';
	return len;
}

static void put_string(struct writer *w, const char *text, size_t len)
{
	if (yaml_needs_quotes(text, len) || memchr(text, '\n', len) != NULL || !is_printable(text, len))
		put_quoted(w, text, len);
	else
		put(w, text, len);
}

/* Several lines, the first of which begins with something visible and none of which is only
 * spaces: what a "|" block says exactly. */
static bool fits_block(const char *text, size_t len)
{
	if (len == 0 || *text == ' ' || *text == '\n' || memchr(text, '\n', len) == NULL || !is_printable(text, len))
		return false;
	for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t spaces = strspn(line, " ");
		if (spaces != 0 && (line[spaces] == '\n' || line[spaces] == '\0'))
			return false;
	}
	return true;
}

static void put_block(struct writer *w, const char *text, size_t len, int indent)
{
	bool ends = text[len - 1] == '\n', ends_twice = ends && text[len - 2] == '\n';
	put_text(w, ends_twice ? "|+\n" : ends ? "|\n" : "|-\n");
	for (const char *end = text + len; text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line = newline != NULL ? (size_t)(newline - text) : (size_t)(end - text);
		if (line != 0)
			put_indent(w, indent);
		put(w, text, line);
		put(w, "\n", 1);
		text += line + 1;
	}
}

static bool is_empty(const struct writer *w, enum json_token begun)
{
	struct json_reader peek = w->r;
	return json_next(&peek) == (begun == JSON_OBJECT_BEGIN ? JSON_OBJECT_END : JSON_ARRAY_END);
}

static void write_members(struct writer *w, int indent, bool first_in_line);
static void write_elements(struct writer *w, int indent, bool first_in_line);

/* A value that stays on the line where it begins (a block begins there). Blocks are indented
 * by `indent`; 0: no blocks. */
static void write_scalar(struct writer *w, enum json_token token, int indent)
{
	if (token != JSON_STRING) {
		put(w, w->r.text.at, w->r.text.len);
		put(w, "\n", 1);
		return;
	}
	size_t len = decode(w);
	if (indent != 0 && fits_block(w->scratch, len)) {
		put_block(w, w->scratch, len, indent);
		return;
	}
	put_string(w, w->scratch, len);
	put(w, "\n", 1);
}

static bool write_empty(struct writer *w, enum json_token token)
{
	if ((token != JSON_OBJECT_BEGIN && token != JSON_ARRAY_BEGIN) || !is_empty(w, token))
		return false;
	json_next(&w->r);
	put_text(w, token == JSON_OBJECT_BEGIN ? "{}\n" : "[]\n");
	return true;
}

static void write_key(struct writer *w, int indent)
{
	size_t len = decode(w);
	bool is_long = len > SIMPLE_KEY_MAX;
	if (is_long)
		put_text(w, "? ");
	put_string(w, w->scratch, len);
	if (is_long) {
		put(w, "\n", 1);
		put_indent(w, indent);
	}
	put(w, ":", 1);
}

/* The members of an object whose bracket was read; the first may follow a dash. */
static void write_members(struct writer *w, int indent, bool first_in_line)
{
	while (w->rc == 0 && json_next(&w->r) == JSON_KEY) {
		if (!first_in_line)
			put_indent(w, indent);
		first_in_line = false;
		write_key(w, indent);
		enum json_token token = json_next(&w->r);
		bool opens = token == JSON_OBJECT_BEGIN || token == JSON_ARRAY_BEGIN;
		put(w, opens && !is_empty(w, token) ? "\n" : " ", 1);
		if (write_empty(w, token))
			continue;
		if (token == JSON_OBJECT_BEGIN)
			write_members(w, indent + 2, false);
		else if (token == JSON_ARRAY_BEGIN)
			write_elements(w, indent, false);
		else
			write_scalar(w, token, indent + 2);
	}
}

static void write_elements(struct writer *w, int indent, bool first_in_line)
{
	for (;;) {
		enum json_token token = json_next(&w->r);
		if (w->rc != 0 || token == JSON_ARRAY_END || token == JSON_ERROR)
			return;
		if (!first_in_line)
			put_indent(w, indent);
		first_in_line = false;
		put_text(w, "- ");
		if (write_empty(w, token))
			continue;
		if (token == JSON_OBJECT_BEGIN)
			write_members(w, indent + 2, true);
		else if (token == JSON_ARRAY_BEGIN)
			write_elements(w, indent + 2, true);
		else
			write_scalar(w, token, indent + 2);
	}
}

static void write_document(struct writer *w)
{
	enum json_token token = json_next(&w->r);
	if (token == JSON_ERROR || write_empty(w, token))
		return;
	if (token == JSON_OBJECT_BEGIN)
		write_members(w, 0, false);
	else if (token == JSON_ARRAY_BEGIN)
		write_elements(w, 0, false);
	else
		write_scalar(w, token, 0);
}

int yaml_from_json(const char *json, size_t len, struct buffer *out, struct err *e)
{
	struct writer w = {.out = out};
	size_t before = out->len;
	int rc = 0;
	w.scratch = malloc(len + 1);
	if (w.scratch == NULL)
		return err_set(e, ERR_NOMEM, "there is no memory to write %zu bytes of JSON as YAML", len);
	json_reader_init(&w.r, json, len);
	write_document(&w);
	if (w.rc != 0)
		rc = err_set(e, w.rc, "the YAML text passes the limit of %zu bytes", out->max);
	else if (json_next(&w.r) != JSON_END)
		rc = json_error(&w.r, e);
	free(w.scratch);
	if (rc != 0 && out->len > before) {
		out->len = before;
		out->data[before] = '\0';
	}
	return rc;
}
