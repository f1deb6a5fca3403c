/* Errors as sentences: see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mark_cut(struct err *e, int written)
{
	if (written >= (int)sizeof e->text)
		memcpy(e->text + sizeof e->text - 4, "...", 4);
}

int err_set(struct err *e, int code, const char *format, ...)
{
	if (e == NULL)
		return code;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(e->text, sizeof e->text, format, args);
	va_end(args);
	mark_cut(e, n);
	e->code = code;
	return code;
}

int err_prefix(struct err *e, const char *format, ...)
{
	if (e == NULL)
		return ERR_INVALID;
	char context[ERR_TEXT_MAX / 2], rest[ERR_TEXT_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(context, sizeof context, format, args);
	va_end(args);
	memcpy(rest, e->text, sizeof rest);
	int n = snprintf(e->text, sizeof e->text, "%s: %s", context, rest);
	mark_cut(e, n);
	return e->code;
}

const char *err_name(int code)
{
	static const char *const names[] = {"ok", "invalid", "too large", "not found", "io",
		"timeout", "cancelled", "conflict", "no memory", "script", "fenced"};
	int i = -code;
	return i >= 0 && i < (int)(sizeof names / sizeof *names) ? names[i] : "unknown";
}
