/* Lua 5.4 patterns with a bill: see pattern.h for why, pattern_match.h for what.
 *
 * A pattern is checked and cut into items first (a malformed one is told even where the subject
 * would never have reached the mistake), then matched by backtracking over the items. Every
 * test of a character is a step, and steps are charged to the state's budget, so a hopeless match
 * ends as a policy past its budget does. Recursion goes only from item to item: its depth is
 * bounded by the pattern, not by the subject.
 *
 * Checked against the stock functions with random patterns (spec/host/pattern_test.c and
 * spec/fuzz/pattern_fuzz.c). The one difference wanted: malformed patterns always raise. */
#include "script/pattern_match.h"

#include <ctype.h>
#include <string.h>

#include <lauxlib.h>

#include "script/limits.h"

#define STEPS_CHARGED 512 /* at a time */
#define OPEN ((ptrdiff_t)-1)

enum item_kind {
	LITERAL, /* bytes without a repetition, compared at once */
	ONE,     /* one character of a class, with a repetition */
	CAPTURE, CAPTURE_END, CAPTURE_POSITION, BACK, BALANCE, FRONTIER, AT_END,
};

/* --- the pattern --- */

struct parser {
	struct matcher *m;
	const char *at, *end;
	int open[PATTERN_CAPTURES_MAX], open_count;
	bool closed[PATTERN_CAPTURES_MAX];
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

static struct pattern_item *add_item(struct parser *p, enum item_kind kind, const char *at, size_t len)
{
	struct matcher *m = p->m;
	if (m->item_count == PATTERN_ITEMS_MAX)
		luaL_error(m->L, "pattern too complex (more than %d items)", PATTERN_ITEMS_MAX);
	struct pattern_item *item = &m->items[m->item_count++];
	*item = (struct pattern_item){.kind = (uint8_t)kind, .at = at, .len = (uint32_t)len};
	return item;
}

static void add_capture(struct parser *p)
{
	struct matcher *m = p->m;
	bool position = p->at + 1 < p->end && p->at[1] == ')';
	if (m->captures == PATTERN_CAPTURES_MAX)
		luaL_error(m->L, "too many captures");
	struct pattern_item *item = add_item(p, position ? CAPTURE_POSITION : CAPTURE, p->at, 0);
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
	struct pattern_item *item = add_item(p, CAPTURE_END, p->at++, 0);
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
	struct pattern_item *last = m->item_count != 0 ? &m->items[m->item_count - 1] : NULL;
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
	if (len > PATTERN_BYTES_MAX)
		luaL_error(m->L, "pattern too complex (more than %d bytes)", PATTERN_BYTES_MAX);
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

static bool is_in_class(int c, const struct pattern_item *item)
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

static inline bool fits(struct matcher *m, const char *s, const struct pattern_item *item)
{
	step(m, 1 + item->len / 8);
	return s < m->end && is_in_class((unsigned char)*s, item);
}

static const char *match(struct matcher *m, const char *s, int at);

static const char *match_repeated(struct matcher *m, const char *s, int at)
{
	const struct pattern_item *item = &m->items[at];
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
	const struct pattern_item *item = &m->items[at];
	int which = item->capture;
	const char *old_at = m->capture[which].at;
	ptrdiff_t old_len = m->capture[which].len;
	if (item->kind == CAPTURE_END) {
		m->capture[which].len = s - m->capture[which].at;
	} else {
		m->capture[which].at = s;
		m->capture[which].len = item->kind == CAPTURE_POSITION ? PATTERN_POSITION : OPEN;
	}
	const char *behind = match(m, s, at + 1);
	if (behind == NULL) {
		m->capture[which].at = old_at;
		m->capture[which].len = old_len;
	}
	return behind;
}

static const char *match_balance(struct matcher *m, const char *s, const struct pattern_item *item)
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

static bool is_frontier(struct matcher *m, const char *s, const struct pattern_item *item)
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

static const char *match_literal(struct matcher *m, const char *s, const struct pattern_item *item)
{
	step(m, 1 + item->len / 8);
	bool same = (size_t)(m->end - s) >= item->len && memcmp(s, item->at, item->len) == 0;
	return same ? s + item->len : NULL;
}

/* The end of the match of items `at`... at `s`, or NULL. */
static const char *match(struct matcher *m, const char *s, int at)
{
	for (; s != NULL && at < m->item_count; at++) {
		const struct pattern_item *item = &m->items[at];
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

const char *pattern_match(struct matcher *m, const char *s)
{
	step(m, 1);
	return match(m, s, 0);
}

const char *pattern_search(struct matcher *m, const char **s)
{
	for (;;) {
		const char *behind = pattern_match(m, *s);
		if (behind != NULL || m->anchored || *s >= m->end)
			return behind;
		++*s;
	}
}

void pattern_begin(struct matcher *m, lua_State *L, const char *subject, size_t len,
	const char *pattern, size_t pattern_len, bool may_anchor)
{
	m->L = L;
	m->start = subject;
	m->end = subject + len;
	m->item_count = 0;
	m->captures = 0;
	m->steps = 8;
	parse(m, pattern, pattern_len, may_anchor);
}

void pattern_end(struct matcher *m)
{
	limits_charge(m->L, m->steps);
	m->steps = 0;
}
