/* certificate: make, read and check X.509 certificates; and base64, which bundles of them are handed over in. */
#include <string.h>

#include "base/base64.h"
#include "http/certificate.h"
#include "script/bind.h"

#define BASE64_MAX (16u << 20)

/* A box that frees a set, whatever raises. */
static int collect_set(lua_State *L)
{
	certificate_set_deinit(lua_touserdata(L, 1));
	return 0;
}

static struct certificate_set *new_set(lua_State *L)
{
	static const luaL_Reg none[] = {{NULL, NULL}};
	struct certificate_set *set = lua_newuserdatauv(L, sizeof *set, 0);
	memset(set, 0, sizeof *set);
	bind_class(L, "moonphase.certificate_set", none, collect_set);
	luaL_setmetatable(L, "moonphase.certificate_set");
	return set;
}

static int l_make(lua_State *L)
{
	static const char *const known[] = {"subject", "names", "not_before", "not_after", NULL};
	struct err e = {0};
	size_t count;
	lua_settop(L, 1);
	opt_check(L, 1, "certificate.make", known);
	struct certificate_request r = {.subject = need_text(L, 1, "subject"), .not_before = opt_integer(L, 1, "not_before", 0),
		.not_after = opt_integer(L, 1, "not_after", 0)};
	r.names = opt_list(L, 1, "names", &count);
	if (!r.names)
		luaL_error(L, "option \"names\" is missing");
	struct certificate_set *set = new_set(L);
	if (certificate_make(&r, set, &e) != 0)
		return bind_fail(L, &e);
	lua_createtable(L, 0, 3);
	set_text(L, "authority", set->authority);
	set_text(L, "cert", set->certificate);
	set_text(L, "key", set->key);
	certificate_set_deinit(set);
	return 1;
}

static int l_read(lua_State *L)
{
	struct certificate_info info;
	struct err e = {0};
	if (certificate_read(luaL_checkstring(L, 1), &info, &e) != 0)
		return bind_fail(L, &e);
	lua_createtable(L, 0, 4);
	set_integer(L, "not_before", info.not_before);
	set_integer(L, "not_after", info.not_after);
	set_text(L, "fingerprint", info.fingerprint);
	set_integer(L, "count", (lua_Integer)info.count);
	return 1;
}

static int l_check(lua_State *L)
{
	static const char *const known[] = {"cert", "key", "authorities", "name", "now", NULL};
	struct err e = {0};
	opt_check(L, 1, "certificate.check", known);
	if (certificate_check(need_text(L, 1, "cert"), need_text(L, 1, "key"), opt_text(L, 1, "authorities", NULL),
		opt_text(L, 1, "name", NULL), opt_integer(L, 1, "now", 0), &e) != 0)
		return bind_fail(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg certificate_functions[] = {
	{"make", l_make},
	{"read", l_read},
	{"check", l_check},
	{NULL, NULL},
};

int bind_open_certificate(lua_State *L)
{
	luaL_newlib(L, certificate_functions);
	return 1;
}

static int l_encode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	luaL_argcheck(L, len <= BASE64_MAX, 1, "the text is larger than 16 MiB");
	luaL_Buffer b;
	char *out = luaL_buffinitsize(L, &b, base64_encoded_size(len));
	luaL_pushresultsize(&b, base64_encode_to(text, len, out));
	return 1;
}

static int l_decode(lua_State *L)
{
	size_t len;
	const char *text = luaL_checklstring(L, 1, &len);
	struct buffer *out = bind_scratch(L, BASE64_MAX);
	if (base64_decode(text, len, out) != 0) {
		lua_pushnil(L);
		lua_pushliteral(L, "the text is no base64");
		return 2;
	}
	lua_pushlstring(L, buffer_text(out), out->len);
	buffer_deinit(out);
	return 1;
}

static const luaL_Reg base64_functions[] = {
	{"encode", l_encode},
	{"decode", l_decode},
	{NULL, NULL},
};

int bind_open_base64(lua_State *L)
{
	luaL_newlib(L, base64_functions);
	return 1;
}
