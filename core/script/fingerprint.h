/* What a policy keeps: the tables, functions and upvalues that its modules reach, remembered
 * after load and compared later. A policy is a pure function, and a file-level local is the one
 * place where it could keep something from call to call. */
#ifndef MOONPHASE_SCRIPT_FINGERPRINT_H
#define MOONPHASE_SCRIPT_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

struct fingerprint {
	uint64_t *slots; /* a hash of every slot, in the order of the walk */
	size_t count, capacity;
};

struct fingerprint_difference {
	char file[128]; /* "history.lua", "" if it lies in no file */
	char what[256]; /* "the local \"seen_before\"" */
};

/* Walk from the table on top of the stack and remember. Raises (memory) in L. */
void fingerprint_take(lua_State *L, struct fingerprint *f);
/* Walk again. True if nothing differs; else the first difference. */
bool fingerprint_same(lua_State *L, const struct fingerprint *f, struct fingerprint_difference *difference);
void fingerprint_deinit(struct fingerprint *f);

#endif
