/* The pieces of the JSON reader that makes Lua values, for those who make them in another way.
 *
 * bind_typed.c reads the bodies of typed kinds, where most values are as they are in any JSON. All of these push
 * with the rules of value.h; they raise only when memory is out. */
#ifndef MOONPHASE_SCRIPT_VALUE_READ_H
#define MOONPHASE_SCRIPT_VALUE_READ_H

#include <stdbool.h>

#include <lua.h>

#include "base/json.h"

struct value_reader {
	lua_State *L;
	struct json_reader r;
	int mark; /* stack index of the metatable of arrays */
};

/* Push the metatable of arrays. */
void value_push_mark(lua_State *L);
/* Whether a NUMBER's text is an integer that fits; 1.0 and 1e3 are none. */
bool value_integer(const char *at, size_t len, lua_Integer *out);
/* Push the text of the STRING or KEY that was just read. */
void value_push_text(struct value_reader *d);
/* Push the whole value that begins with this token. False: it is no JSON, and there may be leftovers on the stack. */
bool value_push_token(struct value_reader *d, enum json_token token);

#endif
