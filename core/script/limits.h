/* What a policy state may use: memory, instructions, wall clock.
 *
 * Memory is counted by the state's own allocator. Instructions are counted by a hook every
 * 1,000; what runs long inside a C function is invisible to hooks and is charged before it runs
 * (limits_charge), and so are large allocations, because copying is work. Passing a limit
 * marks the state as killed: the hook is tightened to every instruction and every protected call
 * of the policy raises again (sandbox.c), so that nothing can catch it. The hook only ever
 * raises; it never yields (Lua 5.4.4 has two bugs in hooks that yield). */
#ifndef MOONPHASE_SCRIPT_LIMITS_H
#define MOONPHASE_SCRIPT_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "script/blocks.h"
#include "script/policy.h"

#define LIMITS_HOOK_INTERVAL 1000
#define LIMITS_INPUT_FACTOR 12 /* JSON grows about 8 times as Lua tables (measured), then work on it */
#define LIMITS_INPUT_STEPS 4   /* instructions for each byte: 32 edits of 1,000 clients take 1.5 (measured) */

struct limits {
	lua_State *L;
	/* memory */
	struct blocks blocks;
	size_t used, peak;
	size_t memory_max; /* as configured */
	size_t cap;        /* as it is now: raised for large inputs */
	size_t input;      /* bytes of this call's input */
	/* one call */
	uint64_t wall_ms_max;
	int64_t given;     /* instructions: raised for large inputs */
	int64_t left;      /* of these; negative: spent */
	uint64_t deadline_ns;
	enum script_outcome killed; /* SCRIPT_OK: not */
	/* for specs: told of each line before it is executed, or NULL; and whether pairs goes the other way */
	lua_Hook on_line;
	bool walks_backwards;
	/* where it was stopped; allocation failures raise no handler, so the place is kept here */
	char file[128];
	int line;
};

/* A new state without libraries, or NULL when there is no memory. `l` must stay where it is. */
lua_State *limits_open(struct limits *l, size_t memory_max);
void limits_close(struct limits *l);
/* Start and end a call. */
void limits_begin(struct limits *l, uint64_t instructions_max, uint64_t wall_ms_max);
void limits_end(struct limits *l);
/* Instructions of the call so far, to 1,000. */
uint64_t limits_used(const struct limits *l);
/* `len` bytes of input came: the cap on memory and the instructions of this call may rise, so that work in proportion to a large
 * object is possible. */
void limits_add_input(struct limits *l, size_t len);

/* The limits of a state, or NULL for a state that has none (the host's). */
struct limits *limits_of(lua_State *L);
/* Account for `steps` instructions' worth of work in C. Raises when the budget is spent. No-op in
 * a state without limits. */
void limits_charge(lua_State *L, uint64_t steps);
/* Raise again what the state was killed for. */
int limits_raise(lua_State *L) __attribute__((noreturn));
/* Mark it killed (SCRIPT_MEMORY: a protected call met a failed allocation). */
void limits_kill(lua_State *L, enum script_outcome why);

/* Room for `n` values, where only a lack of memory can refuse it; raises as such. */
void limits_check_stack(lua_State *L, int n);

#endif
