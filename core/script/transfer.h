/* Plain data from one Lua state into another.
 *
 * Two states share nothing, so a call copies: nil, booleans, numbers, strings, json.null and
 * tables of them; the array mark travels along. What is already text is not made a table first:
 * a raw leaf (transfer_push_raw, `policy.raw(text)`) holds JSON bytes in the source state and is
 * decoded straight into the target.
 *
 * A raise in one state must not jump over the protected call of the other. So the source is
 * only ever read, by API functions that cannot raise; every raise happens in the target, where
 * the caller stands inside a protected call of the target. What the walk leaves on the source's
 * stack after a raise the caller cuts off with lua_settop(from, ...). */
#ifndef MOONPHASE_SCRIPT_TRANSFER_H
#define MOONPHASE_SCRIPT_TRANSFER_H

#include <lua.h>

#define TRANSFER_VALUES_MAX 500000u     /* of one transfer */
#define TRANSFER_BYTES_MAX (16u << 20)  /* of its strings; raw leaves have VALUE_TEXT_MAX */

enum transfer_kind {
	TRANSFER_ARGUMENT, /* from the host: raw leaves are decoded; the shape of tables is free */
	TRANSFER_RESULT,   /* from a policy: must be what JSON can say, with the path of what cannot. What has positions is
	                    * an array and comes marked: a policy need not mark it (an empty table cannot say) */
	TRANSFER_DESCRIBE, /* a module's table: functions become "function", metatables are ignored */
};

/* Push on `to` a copy of the value at `index` of `from`. Raises in `to`, with the path:
 * "spec.ports[2]: a function is no plain data". `name` stands before the path and may be "". */
void transfer_value(lua_State *from, int index, lua_State *to, enum transfer_kind kind, const char *name);

/* Push a raw leaf made of the string at `index`: the table {[policy.bytes] = text}. Raises if there
 * is no string. The text is not copied. */
void transfer_push_raw(lua_State *L, int index);
/* Push the key of such tables, `policy.bytes`: a light userdata, the same in every state. */
void transfer_push_raw_key(lua_State *L);

#endif
