/* A generation of policies as Lua holds it: what bind_policy.c and bind_apart.c share. */
#ifndef MOONPHASE_SCRIPT_GENERATION_H
#define MOONPHASE_SCRIPT_GENERATION_H

#include <lua.h>

#include "script/policy.h"

struct apart;

struct generation {
	struct policy *policy; /* NULL: closed */
	struct apart *apart;   /* the calls that a worker thread makes now, or NULL: then only they may enter it */
};

/* Push nil and the error as a table; returns 2. */
int generation_fail(lua_State *L, const struct policy_error *e);
/* The policy of the generation at index 1. Raises when it was closed, or is on a worker thread. */
struct policy *generation_policy(lua_State *L);
/* The worker is not waited for: it frees the policy when its present call ends. */
void apart_abandon(struct apart *a);
/* generation:call_apart */
int bind_call_apart(lua_State *L);

#endif
