/* What a policy did wrong, told so that its author finds it: a sentence, file and line, that line,
 * the value that was nil, and how it was reached.
 *
 * The place is noted by the message handler, before the stack is unwound. The handler allocates
 * nothing (the state may be out of memory) and calls nothing of the policy: an error value that is
 * no text is named by its type, never by its __tostring. */
#include "script/policy_state.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define TRACE_LEVELS 16

const char *script_outcome_name(enum script_outcome o)
{
	static const char *const names[] = {
		[SCRIPT_OK] = "ok", [SCRIPT_YIELDED] = "yielded", [SCRIPT_ERROR] = "error", [SCRIPT_MEMORY] = "memory",
		[SCRIPT_BUDGET] = "budget", [SCRIPT_CLOCK] = "clock", [SCRIPT_VALUE] = "value", [SCRIPT_STATE] = "state",
	};
	return (size_t)o < sizeof names / sizeof *names ? names[o] : "unknown";
}

/* Copy what is printable UTF-8; "..." if it is too long. */
static void copy_text(char *out, size_t size, const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	size_t n = 0;
	while (p < end) {
		size_t step = json_utf8_length(p, end);
		bool is_odd = step == 0 || ((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') || *p == 127;
		step = step != 0 ? step : 1;
		if (n + step + 4 > size) {
			memcpy(out + n, "...", 3);
			n += 3;
			break;
		}
		if (is_odd)
			out[n++] = '?';
		else
			memcpy(out + n, p, step), n += step;
		p += step;
	}
	out[n] = '\0';
}

static void add_trace(struct policy_error *e, size_t *used, const lua_Debug *ar)
{
	char line[256];
	if (strcmp(ar->what, "C") == 0 && ar->name == NULL)
		return; /* our own trampoline */
	const char *kind = strcmp(ar->what, "main") == 0 ? "the file itself" : ar->name != NULL ? ar->name : "a function";
	if (strcmp(ar->what, "C") == 0)
		snprintf(line, sizeof line, "in %.60s (of Lua)", ar->name);
	else
		snprintf(line, sizeof line, "%s:%d: in %.60s", ar->short_src, ar->currentline, kind);
	int n = snprintf(e->traceback + *used, sizeof e->traceback - *used, "%s%s", *used != 0 ? "\n" : "", line);
	if (n > 0 && *used + (size_t)n < sizeof e->traceback)
		*used += (size_t)n;
}

int policy_note_error(lua_State *L)
{
	struct policy *p = policy_of(L);
	struct policy_error *e = &p->error;
	lua_Debug ar;
	size_t used = 0;
	int level = 0;
	memset(e, 0, sizeof *e);
	for (; level < TRACE_LEVELS && lua_getstack(L, level + 1, &ar); level++) {
		lua_getinfo(L, "Sln", &ar);
		if (e->file[0] == '\0' && ar.currentline > 0) {
			snprintf(e->file, sizeof e->file, "%s", ar.short_src);
			e->line = ar.currentline;
		}
		add_trace(e, &used, &ar);
	}
	if (level == TRACE_LEVELS && used + 5 < sizeof e->traceback)
		memcpy(e->traceback + used, "\n...", 5);
	return 1; /* the error value */
}

/* "file:line: " in front of a message, where the file is one of ours. Returns its length, or 0. */
static size_t place_length(const struct policy *p, const char *text, char file[128], int *line)
{
	for (size_t i = 0; i < p->source_count; i++) {
		const char *name = p->sources[i].name;
		size_t len = strlen(name);
		if (strncmp(text, name, len) != 0 || text[len] != ':' || !isdigit((unsigned char)text[len + 1]))
			continue;
		char *end;
		long number = strtol(text + len + 1, &end, 10);
		if (end[0] != ':' || end[1] != ' ' || number <= 0 || number > 1000000)
			continue;
		snprintf(file, 128, "%s", name);
		*line = (int)number;
		return (size_t)(end + 2 - text);
	}
	return 0;
}

/* The line of the file, without its indentation. */
static void fill_source(const struct policy *p, struct policy_error *e)
{
	const struct source *s = policy_find_source(p, e->file);
	if (s == NULL || s->text == NULL || e->line <= 0)
		return;
	const char *at = s->text, *end = s->text + s->len;
	for (int line = 1; line < e->line && at != NULL; line++) {
		at = memchr(at, '\n', (size_t)(end - at));
		at = at != NULL ? at + 1 : NULL;
	}
	if (at == NULL)
		return;
	const char *stop = memchr(at, '\n', (size_t)(end - at));
	stop = stop != NULL ? stop : end;
	while (at < stop && isspace((unsigned char)*at))
		at++;
	while (stop > at && isspace((unsigned char)stop[-1]))
		stop--;
	copy_text(e->source, sizeof e->source, at, (size_t)(stop - at));
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Back from `at` over "a.b[1].c:" to where the expression starts. */
static const char *expression_start(const char *line, const char *at)
{
	int depth = 0;
	while (at > line) {
		char c = at[-1];
		if (c == ']')
			depth++;
		else if (c == '[' && depth > 0)
			depth--;
		else if (depth == 0 && !is_name_char(c) && c != '.' && c != ':')
			break;
		at--;
	}
	return at;
}

/* "attempt to index a nil value (field 'replicas')": the expression in the line that ends in
 * .replicas, preferring one that is used further (indexed or called). */
static void fill_path(struct policy_error *e)
{
	const char *quote = strchr(e->text, '('), *end;
	quote = quote != NULL ? strchr(quote, '\'') : NULL;
	if (strncmp(e->text, "attempt to ", 11) != 0 || quote == NULL || (end = strchr(++quote, '\'')) == NULL)
		return;
	size_t len = (size_t)(end - quote);
	const char *best = NULL;
	for (const char *at = e->source; len != 0 && *at != '\0'; at++) {
		if (strncmp(at, quote, len) != 0 || is_name_char(at[len]) || (at > e->source && is_name_char(at[-1])))
			continue;
		bool is_used = at[len] != '\0' && strchr(".[:(", at[len]) != NULL;
		if (best == NULL || is_used)
			best = at;
		if (is_used)
			break;
	}
	if (best == NULL)
		return;
	const char *from = expression_start(e->source, best);
	copy_text(e->path, sizeof e->path, from, (size_t)(best + len - from));
}

/* The only userdata that policies meet is json.null. */
static void name_null(char *text, size_t size)
{
	static const char odd[] = "a userdata value";
	char *at = strstr(text, odd);
	if (at == NULL)
		return;
	char rest[1024];
	snprintf(rest, sizeof rest, "%s", at + sizeof odd - 1);
	snprintf(at, size - (size_t)(at - text), "a null value%s", rest);
}

static void fill_text(struct policy *p, struct policy_error *e)
{
	size_t len;
	if (lua_type(p->L, -1) != LUA_TSTRING) {
		snprintf(e->text, sizeof e->text, "a %s was raised as an error, where a text was expected", lua_typename(p->L, lua_type(p->L, -1)));
		return;
	}
	const char *text = lua_tolstring(p->L, -1, &len);
	size_t place = place_length(p, text, e->file, &e->line);
	copy_text(e->text, sizeof e->text, text + place, len - place);
	name_null(e->text, sizeof e->text);
}

static void fill_limit(const struct policy *p, struct policy_error *e)
{
	const struct limits *l = &p->limits;
	snprintf(e->file, sizeof e->file, "%s", l->file);
	e->line = l->line;
	if (e->outcome == SCRIPT_BUDGET)
		snprintf(e->text, sizeof e->text, "stopped after %llu instructions: it loops, or does too much for one call",
			(unsigned long long)l->given);
	else if (e->outcome == SCRIPT_CLOCK)
		snprintf(e->text, sizeof e->text, "stopped after %llu ms of wall clock: the machine may be busy; this says "
			"nothing about the policy", (unsigned long long)l->wall_ms_max);
	else
		snprintf(e->text, sizeof e->text, "needs more than %zu KiB of memory: something grows without end, or is far too large",
			(l->cap > l->memory_max ? l->cap : l->memory_max) >> 10);
}

enum script_outcome policy_finish_error(struct policy *p, int status, enum script_outcome outcome, struct policy_error *e)
{
	struct policy_error scratch;
	e = e != NULL ? e : &scratch;
	*e = p->error;
	e->outcome = p->limits.killed != SCRIPT_OK ? p->limits.killed : status == LUA_ERRMEM ? SCRIPT_MEMORY : outcome;
	if (p->limits.killed != SCRIPT_OK || status == LUA_ERRMEM)
		fill_limit(p, e);
	else
		fill_text(p, e);
	fill_source(p, e);
	fill_path(e);
	return e->outcome;
}

enum script_outcome policy_plain_error(struct policy_error *e, enum script_outcome outcome, const char *format, ...)
{
	if (e == NULL)
		return outcome;
	memset(e, 0, sizeof *e);
	e->outcome = outcome;
	va_list args;
	va_start(args, format);
	vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	return outcome;
}
