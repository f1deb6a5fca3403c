/* Any pattern on any subject, beside the stock functions: the same results. Ours goes first with a
 * small budget, because the stock ones might not come back. The first byte is the length of the
 * pattern, the second chooses the function and where it starts. */
#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/limits.h"
#include "script/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char script[] =
	"local ours, stock = ...\n"
	"local function all(f, s, p, init) local o = {} for a, b in f(s, p, init) do o[#o + 1] = tostring(a) .. '|' .. tostring(b) end return table.concat(o, ';') end\n"
	"local function show(...) local t = table.pack(...) for i = 1, t.n do t[i] = tostring(t[i]) end return table.concat(t, ',') end\n"
	"local functions = {\n"
	"  function(l, s, p, i) return show(l.find(s, p, i)) end, function(l, s, p, i) return show(l.match(s, p, i)) end,\n"
	"  function(l, s, p, i) return all(l.gmatch, s, p, i) end, function(l, s, p) return show(l.gsub(s, p, '<%0>')) end,\n"
	"  function(l, s, p) return show(l.gsub(s, p, '%1', 3)) end, function(l, s, p) return show(l.gsub(s, p, function(a) return '.' .. tostring(a) end)) end}\n"
	"return function(which, s, p, init) local f = functions[which % #functions + 1] return f(ours, s, p, init) end,\n"
	"  function(which, s, p, init) local f = functions[which % #functions + 1] return f(stock, s, p, init) end\n";

static struct limits limits;

static lua_State *open_state(void)
{
	lua_State *L = limits_open(&limits, 64 << 20);
	luaL_openlibs(L);
	if (luaL_loadstring(L, script) != LUA_OK)
		abort();
	lua_newtable(L);
	luaL_setfuncs(L, pattern_functions, 0);
	lua_getglobal(L, "string");
	if (lua_pcall(L, 2, 2, 0) != LUA_OK)
		abort();
	return L;
}

static int run(lua_State *L, int function, const uint8_t *data, size_t size)
{
	size_t plen = data[0] % 32u < size - 2 ? data[0] % 32u : size - 2;
	size_t slen = size - 2 - plen < 24 ? size - 2 - plen : 24;
	lua_pushvalue(L, function);
	lua_pushinteger(L, data[1] & 7);
	lua_pushlstring(L, (const char *)data + 2 + plen, slen);
	lua_pushlstring(L, (const char *)data + 2, plen);
	lua_pushinteger(L, (data[1] >> 3) - 12);
	return lua_pcall(L, 4, 1, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static lua_State *L;
	if (size < 2)
		return 0;
	if (L == NULL)
		L = open_state();
	limits_begin(&limits, 50000, 1000);
	int status = run(L, 1, data, size);
	limits_end(&limits);
	if (status == LUA_OK) {
		if (run(L, 2, data, size) != LUA_OK || !lua_rawequal(L, -1, -2)) {
			fprintf(stderr, "ours:  %s\nstock: %s\n", lua_tostring(L, -2), lua_tostring(L, -1));
			abort();
		}
	} else if (limits.killed == SCRIPT_OK && strstr(lua_tostring(L, -1), "capture") == NULL &&
		   strstr(lua_tostring(L, -1), "malformed") == NULL && strstr(lua_tostring(L, -1), "missing") == NULL) {
		abort(); /* of a kind that ours has no business to raise */
	}
	lua_settop(L, 2);
	return 0;
}
