/* Where the host's Lua comes from: the binary's files, or a folder in place of lua/. */
#ifndef MOONPHASE_SCRIPT_MODULES_H
#define MOONPHASE_SCRIPT_MODULES_H

#include <lua.h>

#include "script/task.h"

#define MODULE_MAX (4u << 20)

/* The bytes of a built-in file, or NULL. */
const struct asset *modules_asset(const struct host *h, const char *name);
/* Let the built-in files out of memory, if they are pages of the program's file: each was read once, to load it, and
 * who asks again gets it from the file (madvise(2), MADV_DONTNEED of a file's private mapping that nobody wrote to). */
void modules_let_go(const struct host *h);
/* Push a file of lua/ ("policy/prelude.lua") as text: true; else nil and false. */
bool modules_push_file(lua_State *L, const char *name);
/* Push an array of the names of files "FOLDER/x.lua" of lua/, sorted; `folder` ends in a slash. */
void modules_push_names(lua_State *L, const char *folder);
/* Push the chunk of module "command.run"; raises if there is none or it does not compile. */
void modules_load(lua_State *L, const char *name);
/* Set the globals `require` and `moonphase`. */
void modules_open(lua_State *L);

#endif
