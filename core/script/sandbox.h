/* The environment that policies run in: a white list, read-only, the same in every run.
 *
 * Nothing of the machine is in it (no io, os, debug, load, clock, randomness), nothing that tells
 * one run from another (addresses, the order of hash tables), nothing that lets a policy keep
 * something or reach around its limits. Reading an undeclared name and writing a global raise.
 * All of this raises Lua errors and is called under a protected call. */
#ifndef MOONPHASE_SCRIPT_SANDBOX_H
#define MOONPHASE_SCRIPT_SANDBOX_H

#include <stddef.h>

#include <lauxlib.h>

#define SANDBOX_REP_MAX (1u << 20) /* bytes that one string.rep makes */

/* Build it in a fresh state, with json and quantity. */
void sandbox_open(lua_State *L);
/* Push what chunks get as _ENV. */
void sandbox_push_environment(lua_State *L);
/* Push the table behind it that holds the declared names. */
void sandbox_push_globals(lua_State *L);
/* Declare the value on top of the stack as a global of policies, and pop it. */
void sandbox_declare(lua_State *L, const char *name);

/* Parts, each in a file of its own. Functions named in a `wrapped` list are closures over the
 * stock function as their first upvalue. */
extern const luaL_Reg sandbox_table_wrapped[], sandbox_table_own[];
extern const luaL_Reg sandbox_string_wrapped[];
extern const luaL_Reg sandbox_order_own[]; /* pairs, next */
/* A charged call of the stock function: by the length of its text arguments. */
int sandbox_charged(lua_State *L);
/* Push the text of the value at `index`, without addresses. */
void sandbox_push_text(lua_State *L, int index);

#endif
