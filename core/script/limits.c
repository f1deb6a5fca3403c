/* The limits of a policy state: see limits.h.
 *
 * What was tried and hangs a plain raising hook: loops whose body is pcall, recursive pcall, C
 * functions with long inner loops, `s = s .. s` chains (one instruction, megabytes of copying).
 * Hence the killed mark, charges, and the allocator charging by size. Cost of the hook on a tight
 * loop: none 570-710 ms, every 1,000: 1,140 ms, every instruction: 2,300 ms. */
#include "script/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>

#define MEMORY_DEFAULT ((size_t)16 << 20)
#define CHARGE_FROM 512 /* bytes; smaller allocations are what instructions cost anyway */
#define CHARGE_BYTES 16 /* bytes copied or scanned in the time of an instruction, about */

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The innermost Lua function is where we were. Needs no memory, so the allocator may ask. */
static void note_place(struct limits *l)
{
	lua_Debug ar;
	for (int level = 0; level < 20 && lua_getstack(l->L, level, &ar); level++) {
		lua_getinfo(l->L, "Sl", &ar);
		if (ar.currentline < 0)
			continue;
		snprintf(l->file, sizeof l->file, "%s", ar.short_src);
		l->line = ar.currentline;
		return;
	}
}

static void tick(lua_State *L, lua_Debug *ar);

static void tighten(struct limits *l)
{
	lua_sethook(l->L, tick, LUA_MASKCOUNT, 1);
}

static void kill(struct limits *l, enum script_outcome why)
{
	if (l->killed == SCRIPT_OK) {
		l->killed = why;
		note_place(l);
	}
	tighten(l);
}

static void tick(lua_State *L, lua_Debug *ar)
{
	struct limits *l = limits_of(L);
	if (ar->event == LUA_HOOKLINE) {
		l->on_line(L, ar);
		return;
	}
	if (l->killed == SCRIPT_OK) {
		l->left -= LIMITS_HOOK_INTERVAL;
		if (l->left < 0)
			kill(l, SCRIPT_BUDGET);
		else if (now_ns() > l->deadline_ns)
			kill(l, SCRIPT_CLOCK);
		else
			return;
	}
	limits_raise(L);
}

int limits_raise(lua_State *L)
{
	tighten(limits_of(L));
	lua_pushliteral(L, "the policy was stopped");
	lua_error(L);
	__builtin_unreachable();
}

void limits_kill(lua_State *L, enum script_outcome why)
{
	kill(limits_of(L), why);
}

/* Large pieces are charged; the allocator cannot raise, so a spent budget tightens the hook and
 * the next instruction raises. Lua answers a refusal with a full collection and asks again. */
static void *allocate(void *ud, void *old, size_t old_size, size_t size)
{
	struct limits *l = ud;
	if (old == NULL)
		old_size = 0; /* it holds the kind of object */
	if (size == 0) {
		l->used -= old_size;
		return blocks_resize(&l->blocks, old, old_size, 0);
	}
	if (size > old_size) {
		if (size - old_size > l->cap || l->used > l->cap - (size - old_size)) {
			if (l->L != NULL)
				note_place(l);
			return NULL;
		}
		if (size >= CHARGE_FROM && l->L != NULL && l->deadline_ns != 0) {
			l->left -= (int64_t)(size / CHARGE_BYTES);
			if (l->left < 0)
				tighten(l);
		}
	}
	void *made = blocks_resize(&l->blocks, old, old_size, size);
	if (made == NULL)
		return NULL;
	l->used += size - old_size;
	if (l->used > l->peak)
		l->peak = l->used;
	return made;
}

struct limits *limits_of(lua_State *L)
{
	void *ud;
	return lua_getallocf(L, &ud) == allocate ? ud : NULL;
}

lua_State *limits_open(struct limits *l, size_t memory_max)
{
	*l = (struct limits){.memory_max = memory_max != 0 ? memory_max : MEMORY_DEFAULT};
	l->cap = l->memory_max;
	return l->L = lua_newstate(allocate, l);
}

void limits_close(struct limits *l)
{
	lua_State *L = l->L;
	l->L = NULL;
	if (L != NULL)
		lua_close(L);
	blocks_deinit(&l->blocks);
}

void limits_begin(struct limits *l, uint64_t instructions_max, uint64_t wall_ms_max)
{
	l->wall_ms_max = wall_ms_max != 0 ? wall_ms_max : 1000;
	l->given = l->left = (int64_t)((instructions_max != 0 ? instructions_max : 10000000) & INT64_MAX);
	l->deadline_ns = now_ns() + l->wall_ms_max * 1000000u;
	l->killed = SCRIPT_OK;
	l->file[0] = '\0';
	l->line = 0;
	l->input = 0;
	l->cap = l->memory_max;
	l->peak = l->used;
	lua_sethook(l->L, tick, LUA_MASKCOUNT | (l->on_line != NULL ? LUA_MASKLINE : 0), LIMITS_HOOK_INTERVAL);
}

void limits_end(struct limits *l)
{
	lua_sethook(l->L, NULL, 0, 0);
	l->deadline_ns = 0;
	l->cap = l->memory_max;
}

uint64_t limits_used(const struct limits *l)
{
	return l->left >= 0 ? (uint64_t)(l->given - l->left) : (uint64_t)l->given;
}

void limits_add_input(struct limits *l, size_t len)
{
	l->input += len;
	if (l->input > l->memory_max / LIMITS_INPUT_FACTOR)
		l->cap = l->input * LIMITS_INPUT_FACTOR;
	int64_t more = (int64_t)(l->input * LIMITS_INPUT_STEPS) - l->given;
	if (more > 0) {
		l->given += more;
		l->left += more;
	}
}

void limits_charge(lua_State *L, uint64_t steps)
{
	struct limits *l = limits_of(L);
	if (l == NULL || l->deadline_ns == 0)
		return;
	if (l->killed != SCRIPT_OK)
		limits_raise(L);
	if (steps > (uint64_t)INT64_MAX || (int64_t)steps > l->left) {
		l->left = -1;
		kill(l, SCRIPT_BUDGET);
		limits_raise(L);
	}
	l->left -= (int64_t)steps;
}

void limits_check_stack(lua_State *L, int n)
{
	if (lua_checkstack(L, n))
		return;
	if (limits_of(L) == NULL)
		luaL_error(L, "there is no memory for a deeper stack");
	limits_kill(L, SCRIPT_MEMORY);
	limits_raise(L);
}
