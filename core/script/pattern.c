/* Lua 5.4 patterns with a bill: see pattern.h.
 *
 * A pattern is checked and cut into items first (a malformed one is told even where the subject
 * would never have reached the mistake), then matched by backtracking over the items. Every
 * test of a character is a step, and steps are charged to the state's budget, so a hopeless match
 * ends as a policy past its budget does. Recursion goes only from item to item: its depth is
 * bounded by the pattern, not by the subject.
 *
 * Checked against the stock functions with random patterns (spec/host/pattern_test.c and
 * spec/fuzz/pattern_fuzz.c). The one difference wanted: malformed patterns always raise. */
#include "script/pattern.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "script/limits.h"

#define CAPTURES_MAX 32
#define ITEMS_MAX 200     /* as deep as the stock matcher recurses */
#define PATTERN_MAX (1 << 20)
#define STEPS_CHARGED 512 /* at a time */
#define POSITION ((ptrdiff_t)-2)
#define OPEN ((ptrdiff_t)-1)

enum item_kind {
	LITERAL, /* bytes without a repetition, compared at once */
	ONE,     /* one character of a class, with a repetition */
	CAPTURE, CAPTURE_END, CAPTURE_POSITION, BACK, BALANCE, FRONTIER, AT_END,
};

struct item { /* small: a matcher lies on the C stack, below callbacks of gsub */
	const char *at;   /* LITERAL: the bytes; ONE, FRONTIER: the class; BALANCE: the two bytes */
	uint32_t len;
	uint8_t kind;
	char repeat;      /* ONE: '\0', '?', '*', '+', '-' */
	uint8_t capture;  /* CAPTURE..., BACK: which */
};

struct matcher {
	lua_State *L;
	const char *start, *end; /* subject */
	struct item items[ITEMS_MAX];
	int item_count;
	bool anchored;
	int captures;
	struct {
		const char *at;
		ptrdiff_t len;
	} capture[CAPTURES_MAX];
	unsigned steps;
};

/* --- the pattern --- */

struct parser {
	struct matcher *m;
	const char *at, *end;
	int open[CAPTURES_MAX], open_count;
	bool closed[CAPTURES_MAX];
};

/* Behind the class at `at`: a character, `.`, %x or a set. */
static const char *class_end(struct parser *p, const char *at)
{
	lua_State *L = p->m->L;
	if (*at == '%') {
		if (at + 1 == p->end)
			luaL_error(L, "malformed pattern (ends with '%%')");
		return at + 2;
	}
	if (*at != '[')
		return at + 1;
	const char *q = at + 1;
	if (q < p->end && *q == '^')
		q++;
	do { /* the first character of a set is never its end */
		if (q == p->end)
			luaL_error(L, "malformed pattern (missing ']')");
		if (*q++ == '%') {
			if (q == p->end)
				luaL_error(L, "malformed pattern (missing ']')");
			q++;
		}
	} while (q == p->end || *q != ']');
	return q + 1;
}

static struct item *add_item(struct parser *p, enum item_kind kind, const char *at, size_t len)
{
	struct matcher *m = p->m;
	if (m->item_count == ITEMS_MAX)
		luaL_error(m->L, "pattern too complex (more than %d items)", ITEMS_MAX);
	struct item *item = &m->items[m->item_count++];
	*item = (struct item){.kind = (uint8_t)kind, .at = at, .len = (uint32_t)len};
	return item;
}

static void add_capture(struct parser *p)
{
	struct matcher *m = p->m;
	bool position = p->at + 1 < p->end && p->at[1] == ')';
	if (m->captures == CAPTURES_MAX)
		luaL_error(m->L, "too many captures");
	struct item *item = add_item(p, position ? CAPTURE_POSITION : CAPTURE, p->at, 0);
	item->capture = (uint8_t)m->captures++;
	p->closed[item->capture] = position;
	if (!position)
		p->open[p->open_count++] = item->capture;
	p->at += position ? 2 : 1;
}

static void end_capture(struct parser *p)
{
	if (p->open_count == 0)
		luaL_error(p->m->L, "invalid pattern capture");
	struct item *item = add_item(p, CAPTURE_END, p->at++, 0);
	item->capture = (uint8_t)p->open[--p->open_count];
	p->closed[item->capture] = true;
}

/* %b, %f and %1 to %9; false for an ordinary class. */
static bool add_special(struct parser *p)
{
	const char *at = p->at;
	lua_State *L = p->m->L;
	char c = p->end - at > 1 ? at[1] : '\0';
	if (c == 'b') {
		if (p->end - at < 4)
			luaL_error(L, "malformed pattern (missing arguments to '%%b')");
		add_item(p, BALANCE, at + 2, 2);
		p->at = at + 4;
	} else if (c == 'f') {
		if (p->end - at < 3 || at[2] != '[')
			luaL_error(L, "missing '[' after '%%f' in pattern");
		p->at = class_end(p, at + 2);
		add_item(p, FRONTIER, at + 2, (size_t)(p->at - at - 2));
	} else if (isdigit((unsigned char)c)) {
		int which = c - '1';
		if (which < 0 || which >= p->m->captures || !p->closed[which])
			luaL_error(L, "invalid capture index %%%d in pattern", which + 1);
		add_item(p, BACK, at, 2)->capture = (uint8_t)which;
		p->at = at + 2;
	} else {
		return false;
	}
	return true;
}

/* A class and its repetition. Plain characters in a row become one LITERAL. */
static void add_class(struct parser *p)
{
	const char *at = p->at, *behind = class_end(p, at);
	char repeat = behind < p->end && *behind != '\0' && strchr("?*+-", *behind) != NULL ? *behind : '\0';
	struct matcher *m = p->m;
	struct item *last = m->item_count != 0 ? &m->items[m->item_count - 1] : NULL;
	p->at = behind + (repeat != '\0');
	if (repeat == '\0' && *at != '%' && *at != '[' && *at != '.') {
		if (last != NULL && last->kind == LITERAL && last->at + last->len == at)
			last->len++;
		else
			add_item(p, LITERAL, at, 1);
		return;
	}
	add_item(p, ONE, at, (size_t)(behind - at))->repeat = repeat;
}

static void parse(struct matcher *m, const char *pattern, size_t len, bool may_anchor)
{
	struct parser p = {.m = m, .at = pattern, .end = pattern + len};
	if (len > PATTERN_MAX)
		luaL_error(m->L, "pattern too complex (more than %d bytes)", PATTERN_MAX);
	m->anchored = may_anchor && len != 0 && *pattern == '^';
	p.at += m->anchored;
	while (p.at < p.end) {
		if (*p.at == '(')
			add_capture(&p);
		else if (*p.at == ')')
			end_capture(&p);
		else if (*p.at == '$' && p.at + 1 == p.end)
			add_item(&p, AT_END, p.at++, 1);
		else if (*p.at != '%' || !add_special(&p))
			add_class(&p);
	}
	if (p.open_count != 0)
		luaL_error(m->L, "unfinished capture");
}

/* --- one character --- */

static bool is_of_class(int c, int letter)
{
	bool in;
	switch (tolower(letter)) {
	case 'a': in = isalpha(c); break;
	case 'c': in = iscntrl(c); break;
	case 'd': in = isdigit(c); break;
	case 'g': in = isgraph(c); break;
	case 'l': in = islower(c); break;
	case 'p': in = ispunct(c); break;
	case 's': in = isspace(c); break;
	case 'u': in = isupper(c); break;
	case 'w': in = isalnum(c); break;
	case 'x': in = isxdigit(c); break;
	case 'z': in = c == 0; break; /* of Lua 5.1, still in 5.4 */
	default: return letter == c; /* an escaped character */
	}
	return isupper(letter) ? !in : in;
}

/* A set without its brackets. */
static bool is_in_set(int c, const char *at, const char *end)
{
	bool complement = *at == '^';
	for (at += complement; at < end; at++) {
		if (*at == '%') {
			if (is_of_class(c, (unsigned char)*++at))
				return !complement;
		} else if (end - at > 2 && at[1] == '-') {
			if ((unsigned char)at[0] <= c && c <= (unsigned char)at[2])
				return !complement;
			at += 2;
		} else if ((unsigned char)*at == c) {
			return !complement;
		}
	}
	return complement;
}

static bool is_in_class(int c, const struct item *item)
{
	switch (*item->at) {
	case '.':
		return true;
	case '%':
		return is_of_class(c, (unsigned char)item->at[1]);
	case '[':
		return is_in_set(c, item->at + 1, item->at + item->len - 1);
	default:
		return (unsigned char)*item->at == c;
	}
}

/* --- matching --- */

static inline void step(struct matcher *m, size_t steps)
{
	m->steps += (unsigned)steps;
	if (m->steps >= STEPS_CHARGED) {
		limits_charge(m->L, m->steps);
		m->steps = 0;
	}
}

static inline bool fits(struct matcher *m, const char *s, const struct item *item)
{
	step(m, 1 + item->len / 8);
	return s < m->end && is_in_class((unsigned char)*s, item);
}

static const char *match(struct matcher *m, const char *s, int at);

static const char *match_repeated(struct matcher *m, const char *s, int at)
{
	const struct item *item = &m->items[at];
	const char *least = s, *behind;
	if (item->repeat == '-') {
		while ((behind = match(m, s, at + 1)) == NULL && fits(m, s, item))
			s++;
		return behind;
	}
	if (item->repeat == '+') {
		if (!fits(m, s, item))
			return NULL;
		least = ++s;
	}
	while ((item->repeat != '?' || s == least) && fits(m, s, item))
		s++;
	while ((behind = match(m, s, at + 1)) == NULL && s > least)
		s--;
	return behind;
}

static const char *match_capture(struct matcher *m, const char *s, int at)
{
	const struct item *item = &m->items[at];
	int which = item->capture;
	const char *old_at = m->capture[which].at;
	ptrdiff_t old_len = m->capture[which].len;
	if (item->kind == CAPTURE_END) {
		m->capture[which].len = s - m->capture[which].at;
	} else {
		m->capture[which].at = s;
		m->capture[which].len = item->kind == CAPTURE_POSITION ? POSITION : OPEN;
	}
	const char *behind = match(m, s, at + 1);
	if (behind == NULL) {
		m->capture[which].at = old_at;
		m->capture[which].len = old_len;
	}
	return behind;
}

static const char *match_balance(struct matcher *m, const char *s, const struct item *item)
{
	if (s >= m->end || *s != item->at[0])
		return NULL;
	size_t depth = 1;
	while (++s < m->end) {
		step(m, 1);
		if (*s == item->at[1]) {
			if (--depth == 0)
				return s + 1;
		} else if (*s == item->at[0]) {
			depth++;
		}
	}
	return NULL;
}

static bool is_frontier(struct matcher *m, const char *s, const struct item *item)
{
	int before = s > m->start ? (unsigned char)s[-1] : 0, here = s < m->end ? (unsigned char)*s : 0;
	step(m, 2 + item->len / 4);
	return !is_in_class(before, item) && is_in_class(here, item);
}

/* A capture that was a position has no text and matches nothing. */
static const char *match_back(struct matcher *m, const char *s, int which)
{
	if (m->capture[which].len < 0)
		return NULL;
	size_t len = (size_t)m->capture[which].len;
	step(m, 1 + len / 8);
	bool same = (size_t)(m->end - s) >= len && memcmp(s, m->capture[which].at, len) == 0;
	return same ? s + len : NULL;
}

static const char *match_literal(struct matcher *m, const char *s, const struct item *item)
{
	step(m, 1 + item->len / 8);
	bool same = (size_t)(m->end - s) >= item->len && memcmp(s, item->at, item->len) == 0;
	return same ? s + item->len : NULL;
}

/* The end of the match of items `at`... at `s`, or NULL. */
static const char *match(struct matcher *m, const char *s, int at)
{
	for (; s != NULL && at < m->item_count; at++) {
		const struct item *item = &m->items[at];
		switch ((enum item_kind)item->kind) {
		case LITERAL:
			s = match_literal(m, s, item);
			break;
		case ONE:
			if (item->repeat != '\0')
				return match_repeated(m, s, at);
			s = fits(m, s, item) ? s + 1 : NULL;
			break;
		case CAPTURE: case CAPTURE_END: case CAPTURE_POSITION:
			return match_capture(m, s, at);
		case BACK:
			s = match_back(m, s, item->capture);
			break;
		case BALANCE:
			s = match_balance(m, s, item);
			break;
		case FRONTIER:
			s = is_frontier(m, s, item) ? s : NULL;
			break;
		case AT_END:
			s = s == m->end ? s : NULL;
			break;
		}
	}
	return s;
}

/* The first match at or behind *s: its start in *s and its end returned. */
static const char *search(struct matcher *m, const char **s)
{
	for (;;) {
		const char *behind = match(m, *s, 0);
		if (behind != NULL || m->anchored || *s >= m->end)
			return behind;
		++*s;
		step(m, 1);
	}
}

/* --- what Lua sees --- */

static void push_capture(struct matcher *m, int which)
{
	if (m->capture[which].len == POSITION)
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

static void begin(struct matcher *m, lua_State *L, const char *subject, size_t len)
{
	m->L = L;
	m->start = subject;
	m->end = subject + len;
	m->item_count = 0;
	m->captures = 0;
	m->steps = 8;
}

static void end(struct matcher *m)
{
	limits_charge(m->L, m->steps);
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
	if (find && (lua_toboolean(L, 4) || is_plain(p, plen)))
		return find_plain(L, s, len, from, p, plen);
	struct matcher m;
	begin(&m, L, s, len);
	parse(&m, p, plen, true);
	const char *at = s + from, *behind = search(&m, &at);
	end(&m);
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
	begin(&m, L, s, len);
	parse(&m, p, plen, false);
	for (; from <= len; from++) {
		const char *at = s + from, *behind = search(&m, &at);
		if (behind == NULL)
			break;
		from = (size_t)(at - s);
		if (behind - s == last)
			continue;
		lua_pushinteger(L, behind - s);
		lua_copy(L, -1, lua_upvalueindex(3));
		lua_replace(L, lua_upvalueindex(4));
		end(&m);
		return push_captures(&m, at, behind);
	}
	lua_pushinteger(L, (lua_Integer)len + 1);
	lua_replace(L, lua_upvalueindex(3));
	end(&m);
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
	begin(&m, L, s, len);
	parse(&m, p, plen, true);
	luaL_Buffer b;
	luaL_buffinit(L, &b);
	const char *at = s, *last = NULL, *behind;
	bool changed = false;
	while (count < most) {
		step(&m, 1);
		if ((behind = match(&m, at, 0)) != NULL && behind != last) {
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
	end(&m);
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
