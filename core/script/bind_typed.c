/* typed: what the simulated API server does with every object, in C.
 *
 * A body is decoded into the Go type of its kind: unknown fields are dropped, zeros vanish or stay, empty structs appear
 * (lua/sandbox/schema/decode.lua is the whole of it, with the errors). Here is the part of it that well-formed
 * objects need, at a sixth of the cost. Whatever is out of the ordinary (a wrong type, a null in a list, a member twice, a
 * time in another zone) is left to Lua: the answer is nil then, and the slow way says what is wrong. So there is one place
 * that knows the rules of refusal, and a spec holds the two ways against each other. */
#include "script/bind.h"

#include "script/typed_parts.h"
#include "script/typed_shape.h"
#include "script/value.h"

static int l_frozen(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	value_freeze(L, 1);
	return 1;
}

static const luaL_Reg functions[] = {
	{"decode", typed_decode},
	{"clean", typed_clean},
	{"clone", typed_clone},
	{"shape", typed_shape},
	{"frozen", l_frozen},
	{NULL, NULL},
};

int bind_open_typed(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
