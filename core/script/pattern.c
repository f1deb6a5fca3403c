/* What Lua sees of the counted patterns: see pattern.h. The matching is in pattern_match.c. */
#include "script/pattern.h"

#include <ctype.h>
#include <string.h>

#include "script/limits.h"
#include "script/pattern_match.h"

static void push_capture(struct matcher *m, int which)
{
	if (m->capture[which].len == PATTERN_POSITION)
		lua_pushinteger(m->L, m->capture[which].at - m->start + 1);
	else
		lua_pushlstring(m->L, m->capture[which].at, (size_t)m->capture[which].len);
}

/* All captures; the whole match if there are none and `s` is given. */
static int push_captures(struct matcher *m, const char *s, const char *behind)
{
	luaL_checkstack(m->L, m->captures + 4, "too many captures");
	if (m->captures == 0 && s != NULL) {
		lua_pushlstring(m->L, s, (size_t)(behind - s));
		return 1;
	}
	for (int i = 0; i < m->captures; i++)
		push_capture(m, i);
	return m->captures;
}

/* `init` as a distance from the start, or SIZE_MAX behind the end. */
static size_t start_of(lua_State *L, int index, size_t len)
{
	lua_Integer init = luaL_optinteger(L, index, 1);
	if (init < 0)
		init = (uint64_t)0 - (uint64_t)init > len ? 1 : (lua_Integer)len + init + 1;
	if (init == 0)
		init = 1;
	return (uint64_t)init - 1 > len ? SIZE_MAX : (size_t)(init - 1);
}

static int find_plain(lua_State *L, const char *s, size_t len, size_t from, const char *p, size_t plen)
{
	limits_charge(L, 1 + (len - from) / 8);
	const char *found = plen == 0 ? s + from : memmem(s + from, len - from, p, plen);
	if (found == NULL) {
		luaL_pushfail(L);
		return 1;
	}
	lua_pushinteger(L, found - s + 1);
	lua_pushinteger(L, found - s + (lua_Integer)plen);
	return 2;
}

static bool is_plain(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != '\0' && strchr("^$*+?.()[]%-", p[i]) != NULL)
			return false;
	return true;
}

static int find_or_match(lua_State *L, bool find)
{
	size_t len, plen;
	const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &plen);
	size_t from = start_of(L, 3, len);
	if (from == SIZE_MAX) {
		luaL_pushfail(L);
		return 1;
	}
	limits_charge(L, plen / 8);
	if (find && (lua_toboolean(L, 4) || is_plain(p, plen)))
		return find_plain(L, s, len, from, p, plen);
	struct matcher m;
	pattern_begin(&m, L, s, len, p, plen, true);
	const char *at = s + from, *behind = pattern_search(&m, &at);
	pattern_end(&m);
	if (behind == NULL) {
		luaL_pushfail(L);
		return 1;
	}
	if (!find)
		return push_captures(&m, at, behind);
	lua_pushinteger(L, at - s + 1);
	lua_pushinteger(L, behind - s);
	return 2 + push_captures(&m, NULL, NULL);
}

static int l_find(lua_State *L)
{
	return find_or_match(L, true);
}

static int l_match(lua_State *L)
{
	return find_or_match(L, false);
}

/* Upvalues: subject, pattern, where to go on (0-based), and where the last match ended (-1:
 * nowhere), so that an empty match does not follow a match at once. */
static int l_gmatch_next(lua_State *L)
{
	size_t len, plen;
	const char *s = lua_tolstring(L, lua_upvalueindex(1), &len), *p = lua_tolstring(L, lua_upvalueindex(2), &plen);
	size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(3));
	lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
	struct matcher m;
	pattern_begin(&m, L, s, len, p, plen, false);
	for (; from <= len; from++) {
		const char *at = s + from, *behind = pattern_search(&m, &at);
		if (behind == NULL)
			break;
		from = (size_t)(at - s);
		if (behind - s == last)
			continue;
		lua_pushinteger(L, behind - s);
		lua_copy(L, -1, lua_upvalueindex(3));
		lua_replace(L, lua_upvalueindex(4));
		pattern_end(&m);
		return push_captures(&m, at, behind);
	}
	lua_pushinteger(L, (lua_Integer)len + 1);
	lua_replace(L, lua_upvalueindex(3));
	pattern_end(&m);
	return 0;
}

static int l_gmatch(lua_State *L)
{
	size_t len;
	luaL_checklstring(L, 1, &len);
	luaL_checkstring(L, 2);
	size_t from = start_of(L, 3, len);
	lua_settop(L, 2);
	lua_pushinteger(L, from == SIZE_MAX ? (lua_Integer)len + 1 : (lua_Integer)from);
	lua_pushinteger(L, -1);
	lua_pushcclosure(L, l_gmatch_next, 4);
	return 1;
}

static void add_template(struct matcher *m, luaL_Buffer *b, const char *s, const char *behind)
{
	lua_State *L = m->L;
	size_t len;
	const char *r = lua_tolstring(L, 3, &len);
	for (const char *rend = r + len; r < rend; r++) {
		if (*r != '%') {
			luaL_addchar(b, *r);
			continue;
		}
		if (++r == rend || (*r != '%' && !isdigit((unsigned char)*r)))
			luaL_error(L, "invalid use of '%%' in replacement string");
		int which = *r - '1';
		if (*r == '%') {
			luaL_addchar(b, '%');
		} else if (*r == '0' || (which == 0 && m->captures == 0)) {
			luaL_addlstring(b, s, (size_t)(behind - s));
		} else if (which >= m->captures) {
			luaL_error(L, "invalid capture index %%%d in replacement string", which + 1);
		} else {
			push_capture(m, which);
			luaL_tolstring(L, -1, NULL); /* a position is a number */
			lua_remove(L, -2);
			luaL_addvalue(b);
		}
	}
	limits_charge(L, 1 + len / 8);
}

/* Whether the text was changed. */
static bool add_replacement(struct matcher *m, luaL_Buffer *b, const char *s, const char *behind)
{
	lua_State *L = m->L;
	switch (lua_type(L, 3)) {
	case LUA_TFUNCTION:
		lua_pushvalue(L, 3);
		lua_call(L, push_captures(m, s, behind), 1);
		break;
	case LUA_TTABLE:
		if (m->captures != 0)
			push_capture(m, 0);
		else
			lua_pushlstring(L, s, (size_t)(behind - s));
		lua_gettable(L, 3);
		break;
	default:
		add_template(m, b, s, behind);
		return true;
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		luaL_addlstring(b, s, (size_t)(behind - s));
		return false;
	}
	if (!lua_isstring(L, -1))
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	luaL_addvalue(b);
	return true;
}

static int l_gsub(lua_State *L)
{
	size_t len, plen;
	const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &plen);
	int type = lua_type(L, 3);
	luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TTABLE || type == LUA_TFUNCTION,
		3, "string/function/table");
	lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)len + 1), count = 0;
	struct matcher m;
	pattern_begin(&m, L, s, len, p, plen, true);
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	const char *at = s, *last = NULL, *behind;
	bool changed = false;
	while (count < most) {
		if ((behind = pattern_match(&m, at)) != NULL && behind != last) {
			count++;
			changed |= add_replacement(&m, &b, at, behind);
			at = last = behind;
		} else if (at < m.end) {
			luaL_addchar(&b, *at++);
		} else {
			break;
		}
		if (m.anchored)
			break;
	}
	pattern_end(&m);
	if (changed) {
		luaL_addlstring(&b, at, (size_t)(m.end - at));
		luaL_pushresult(&b);
	} else {
		lua_pushvalue(L, 1);
	}
	lua_pushinteger(L, count);
	return 2;
}

const luaL_Reg pattern_functions[] = {
	{"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {NULL, NULL},
};
