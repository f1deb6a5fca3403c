/* The string functions with patterns, for states with limits: find, match, gmatch, gsub.
 *
 * The stock ones backtrack inside C where no hook sees them: thirty `a-` over thirty characters
 * run for years. These count what they do against the instruction budget. */
#ifndef MOONPHASE_SCRIPT_PATTERN_H
#define MOONPHASE_SCRIPT_PATTERN_H

#include <lauxlib.h>

/* find, match, gmatch, gsub; ends in {NULL, NULL}. */
extern const luaL_Reg pattern_functions[];

#endif
