/* String functions whose stock versions can run long in C or show addresses. */
#include "script/sandbox.h"

#include <stdint.h>
#include <string.h>

#include "script/limits.h"

static int call_stock(lua_State *L)
{
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

int sandbox_charged(lua_State *L)
{
	uint64_t bytes = 8;
	for (int i = lua_gettop(L); i > 0; i--)
		if (lua_type(L, i) == LUA_TSTRING)
			bytes += lua_rawlen(L, i);
	limits_charge(L, bytes / 8);
	return call_stock(L);
}

/* The stock one makes what memory holds, and loops over n even when it makes nothing. */
static int l_rep(lua_State *L)
{
	size_t len, separator;
	luaL_checklstring(L, 1, &len);
	lua_Integer n = luaL_checkinteger(L, 2);
	luaL_optlstring(L, 3, "", &separator);
	if (n <= 0 || len + separator == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if ((uint64_t)n > SANDBOX_REP_MAX / (len + separator))
		return luaL_error(L, "string.rep would make more than %d bytes", (int)SANDBOX_REP_MAX);
	limits_charge(L, (uint64_t)n / 4);
	return call_stock(L);
}

/* Texts of tables and functions without their addresses: put in place before the stock function
 * formats them. */
static int l_format(lua_State *L)
{
	size_t len;
	const char *format = luaL_checklstring(L, 1, &len), *end = format + len;
	int top = lua_gettop(L), argument = 1;
	limits_charge(L, 1 + len / 8);
	for (const char *p = format; p < end; p++) {
		if (*p != '%')
			continue;
		if (++p < end && *p == '%')
			continue;
		while (p < end && *p != '\0' && strchr("-+ #0123456789.", *p) != NULL)
			p++;
		if (p == end || ++argument > top)
			break;
		if (*p == 'p')
			return luaL_error(L, "string.format: %%p would show an address");
		if (*p == 's' && lua_type(L, argument) != LUA_TSTRING && lua_type(L, argument) != LUA_TNUMBER) {
			sandbox_push_text(L, argument);
			lua_replace(L, argument);
		}
	}
	return call_stock(L);
}

const luaL_Reg sandbox_string_wrapped[] = {
	{"byte", sandbox_charged}, {"format", l_format}, {"rep", l_rep}, {NULL, NULL},
};
