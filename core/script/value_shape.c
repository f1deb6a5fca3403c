/* What a Lua value is in JSON, before anything is written or copied: a table an object or an array, a string a text.
 *
 * Lua has one kind of table and strings of any bytes; JSON has two kinds and texts. Who writes a value (value_write.c) and who
 * copies one into another state (transfer.c) must answer alike, or a value would pass through one door and not the other. */
#include "script/value.h"

#include <stdint.h>
#include <string.h>

#include "base/json.h"

size_t value_utf8_check(const char *text, size_t len)
{
	const char *p = text, *end = text + len;
	while (p < end) {
		uint64_t w;
		while (end - p >= 8 && (memcpy(&w, p, 8), (w & 0x8080808080808080u) == 0))
			p += 8;
		while (p < end && (unsigned char)*p < 0x80)
			p++;
		if (p == end)
			break;
		size_t step = json_utf8_length(p, end);
		if (step == 0)
			return (size_t)(p - text);
		p += step;
	}
	return len;
}

int value_shape(lua_State *L, int index, struct value_shape *shape, const char **why)
{
	lua_Integer last = 0;
	index = lua_absindex(L, index);
	*shape = (struct value_shape){0};
	for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
		lua_Integer at;
		if (lua_type(L, -2) == LUA_TSTRING) {
			shape->names++;
		} else if (lua_isinteger(L, -2) && (at = lua_tointeger(L, -2)) > 0) {
			shape->positions++;
			last = at > last ? at : last;
		} else {
			*why = "a table has a key that is neither a name nor a position from 1";
			lua_pop(L, 2);
			return 0;
		}
	}
	*why = shape->names != 0 ? "a table has names and positions; JSON has objects or arrays" :
		"an array has holes; fill them with json.null";
	return shape->positions == 0 || (shape->names == 0 && (size_t)last == shape->positions);
}
