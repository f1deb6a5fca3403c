/* Paths for messages: see value_path.h. Written from the innermost step backwards, so that what
 * is cut off a long path is its beginning. */
#include "script/value_path.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

static int is_plain_name(const struct value_path *p)
{
	if (p->name_len == 0 || isdigit((unsigned char)p->name[0]))
		return 0;
	for (size_t i = 0; i < p->name_len; i++)
		if (!isalnum((unsigned char)p->name[i]) && p->name[i] != '_' && p->name[i] != '-')
			return 0;
	return 1;
}

static size_t write_step(const struct value_path *p, char *out, size_t size)
{
	int len;
	int n = p->name_len < 120 ? (int)p->name_len : 120;
	if (p->name == NULL)
		len = snprintf(out, size, "[%lld]", (long long)p->position);
	else if (is_plain_name(p))
		len = snprintf(out, size, "%s%.*s", p->up != NULL && p->up->up != NULL ? "." : "", n, p->name);
	else
		len = snprintf(out, size, "[\"%.*s\"]", n, p->name);
	return len < 0 ? 0 : (size_t)len;
}

/* A path starts with an outermost element that has no step of its own (up is NULL), unless it
 * carries a name ("argument 1"). */
const char *value_path_write(const struct value_path *path, char out[VALUE_PATH_SIZE])
{
	char text[VALUE_PATH_SIZE], step[160];
	size_t at = sizeof text - 1;
	text[at] = '\0';
	for (; path != NULL; path = path->up) {
		size_t len;
		if (path->up == NULL) {
			len = path->name_len < sizeof step - 1 ? path->name_len : 0;
			if (len != 0)
				memcpy(step, path->name, len);
			if (len != 0 && text[at] != '\0' && text[at] != '[')
				step[len++] = '.';
		} else {
			len = write_step(path, step, sizeof step);
			len = len < sizeof step ? len : sizeof step - 1;
		}
		if (len + 3 > at) {
			memcpy(text + at - 3, "...", 3);
			at -= 3;
			break;
		}
		at -= len;
		memcpy(text + at, step, len);
	}
	memcpy(out, text + at, sizeof text - at);
	return out;
}

int value_path_error(lua_State *L, const struct value_path *path, const char *format, ...)
{
	char where[VALUE_PATH_SIZE], why[256];
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof why, format, args);
	va_end(args);
	value_path_write(path, where);
	luaL_error(L, "%s%s%s", where, where[0] != '\0' ? ": " : "", why);
	__builtin_unreachable();
}
