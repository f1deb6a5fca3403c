/* The matcher below pattern.c: a pattern cut into items, and backtracking over them. */
#ifndef MOONPHASE_SCRIPT_PATTERN_MATCH_H
#define MOONPHASE_SCRIPT_PATTERN_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#define PATTERN_CAPTURES_MAX 32
#define PATTERN_ITEMS_MAX 200        /* as deep as the stock matcher recurses */
#define PATTERN_BYTES_MAX (1 << 20)
#define PATTERN_POSITION ((ptrdiff_t)-2) /* the length of a capture that is a position */

struct pattern_item { /* small: a matcher lies on the C stack, below callbacks of gsub */
	const char *at;   /* LITERAL: the bytes; ONE, FRONTIER: the class; BALANCE: the two bytes */
	uint32_t len;
	uint8_t kind;
	char repeat;      /* ONE: '\0', '?', '*', '+', '-' */
	uint8_t capture;  /* CAPTURE..., BACK: which */
};

struct matcher {
	lua_State *L;
	const char *start, *end; /* subject */
	struct pattern_item items[PATTERN_ITEMS_MAX];
	int item_count;
	bool anchored;
	int captures;
	struct {
		const char *at;
		ptrdiff_t len;
	} capture[PATTERN_CAPTURES_MAX];
	unsigned steps;
};

/* Check and cut a pattern; raises if it is malformed. `^` is an anchor only if it may be one. */
void pattern_begin(struct matcher *m, lua_State *L, const char *subject, size_t len,
	const char *pattern, size_t pattern_len, bool may_anchor);
/* The end of the match at `s`, or NULL. Raises when the budget is spent. */
const char *pattern_match(struct matcher *m, const char *s);
/* The first match at or behind *s: its start in *s and its end returned. */
const char *pattern_search(struct matcher *m, const char **s);
/* Charge the steps that were counted and not yet charged. */
void pattern_end(struct matcher *m);

#endif
