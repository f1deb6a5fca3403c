/* JSON and Lua values.
 *
 * Text becomes Lua values directly, without a tree in between: cJSON keeps numbers as doubles,
 * and a policy must read 9007199254740993 as that. Integers that fit int64 stay integers; arrays
 * carry the metatable `json.array` of their state, so that [] and {} survive a round trip; null is
 * json.null, a light userdata that is the same in every state. Writing sorts keys, because the
 * order of `pairs` differs from run to run.
 *
 * The functions with L raise Lua errors and are called under a protected call only. */
#ifndef MOONPHASE_SCRIPT_VALUE_H
#define MOONPHASE_SCRIPT_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "base/buffer.h"

#define VALUE_DEPTH_MAX 64
#define VALUE_TEXT_MAX (64u << 20)

/* Make the metatables of this state (array mark); idempotent. Pushes nothing. */
void value_open(lua_State *L);
/* Push the value of a JSON text; raises "JSON, byte 17: a comma is missing". */
void value_from_json(lua_State *L, const char *text, size_t len);
/* The same without raising for what the text is (out of memory still raises): 1 and the value
 * pushed, or 0 and that sentence pushed. */
int value_try_json(lua_State *L, const char *text, size_t len);
/* Append the JSON of the value at `index`; raises with the path of what cannot be said
 * ("spec.ports[2]: a function is no JSON value"). indent: 0 compact. `out` may keep what was
 * written so far when it raises; the caller owns it. */
void value_to_json(lua_State *L, int index, struct buffer *out, int indent);
/* Keep the compact JSON of the table at `index` beside it, for whoever writes it from now on, alone or in another value. It must never be
 * changed afterwards. It gets a metatable, which means nothing else. Raises as value_to_json does. */
void value_freeze(lua_State *L, int index);
/* Push that text if there is one. */
bool value_push_frozen(lua_State *L, int index);
void value_push_null(lua_State *L);
int value_is_null(lua_State *L, int index);
void value_mark_array(lua_State *L, int index);
int value_is_array(lua_State *L, int index); /* marked */
/* Deep equality of JSON values: numbers by value, [] is not {}. Raises beyond VALUE_DEPTH_MAX. */
int value_equal(lua_State *L, int a, int b);
/* Push a copy of a value: tables are new, arrays keep their mark, everything else is shared. Raises for what holds itself. */
void value_copy(lua_State *L, int index);
/* digest.masked(value, mask): an integer, the same within this process for values that are equal but for what the mask (names to
 * true, "present" or a number) says. */
int value_masked(lua_State *L);
/* The shape of a table, without raising (3 free stack slots): how many of its keys are integers
 * and how many are text. 0 if there are others, or holes in the integers (they are not exactly
 * 1..n), or both kinds; *why then says what is wrong as an end of a sentence. */
struct value_shape {
	size_t positions, names;
};
int value_shape(lua_State *L, int index, struct value_shape *shape, const char **why);
/* The index of the first byte that is no UTF-8, or len. */
size_t value_utf8_check(const char *text, size_t len);
/* luaL_Reg-style module table `json` on the stack: decode encode null array is_array equal. */
int value_open_json(lua_State *L);
/* and `quantity`: compare add sub milli units */
int value_open_quantity(lua_State *L);

#endif
