/* Where in a value we are, for messages: a chain of steps on the C stack, written only when
 * something is wrong. "spec.ports[2].name", metadata.labels["app.kubernetes.io/name"]. */
#ifndef MOONPHASE_SCRIPT_VALUE_PATH_H
#define MOONPHASE_SCRIPT_VALUE_PATH_H

#include <stddef.h>

#include <lua.h>

#define VALUE_PATH_SIZE 256

struct value_path {
	const struct value_path *up; /* NULL: the outermost */
	const char *name;            /* NULL: a position */
	size_t name_len;
	lua_Integer position;
};

/* Always ends in a NUL; a path that is too long loses its beginning ("..."). Returns `out`. */
const char *value_path_write(const struct value_path *path, char out[VALUE_PATH_SIZE]);
/* Raise "PATH: SENTENCE" (or the sentence alone at the outermost value). */
int value_path_error(lua_State *L, const struct value_path *path, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));

#endif
