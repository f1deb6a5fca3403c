/* The bindings, one file per noun, and what they share in reading their arguments.
 *
 * Every bind_NOUN.c ends with a luaL_Reg array and exports one opener, which leaves the noun's table
 * on the stack. Options come as a table; a name that is not known raises, so that a misspelt
 * option is never silently ignored. Fields are read raw: a text stays valid as long as the table
 * holds it, which is long enough to start something that copies. */
#ifndef MOONPHASE_SCRIPT_BIND_H
#define MOONPHASE_SCRIPT_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/buffer.h"
#include "base/err.h"

int bind_open_loop(lua_State *L);
int bind_open_kube(lua_State *L);
int bind_open_work(lua_State *L);
int bind_open_policy(lua_State *L);
int bind_open_http(lua_State *L);
int bind_open_fs(lua_State *L);
int bind_open_process(lua_State *L);
int bind_open_log(lua_State *L);
int bind_open_metrics(lua_State *L);
int bind_open_yaml(lua_State *L);
int bind_open_digest(lua_State *L);
int bind_open_certificate(lua_State *L);
int bind_open_base64(lua_State *L);
/* value.h's json, and json.cut for what comes from outside. */
int bind_open_json(lua_State *L);
/* json.cut: what lies on or below the paths (an array at `at`) of a text, as a value, without building anything of the rest; the argument
 * behind it: of at most so many bytes. Pushes the value, or nil and a sentence; returns how many. */
int bind_cut(lua_State *L, const char *text, size_t len, int at);
int bind_open_typed(lua_State *L);
/* loop.virtual: bind_virtual.c. */
int bind_virtual(lua_State *L);
void bind_open_virtual(lua_State *L);
/* cluster:watch, a method of bind_kube.c's clusters; and kube.cache. Both make a cache (bind_cache.h), whose opener is called first. */
#define CLUSTER_CLASS "moonphase.cluster"
void bind_open_cache(lua_State *L);
int bind_cluster_watch(lua_State *L);
void bind_open_watch(lua_State *L);
int bind_fed_cache(lua_State *L);
void bind_open_fed_cache(lua_State *L);
/* cluster:lease likewise: bind_lease.c. */
int bind_cluster_lease(lua_State *L);
void bind_open_lease(lua_State *L);
struct cluster *bind_check_cluster(lua_State *L, int index);
/* Whether a handler in this process plays the cluster at `index`. */
bool bind_cluster_is_handler(lua_State *L, int index);

/* http.serve and what its calls become. */
int bind_serve(lua_State *L);
void bind_open_serve(lua_State *L);
struct http_call;
/* Answer this call by a stream as the options at `index` say; push it, or nil and a text. */
int bind_stream(lua_State *L, int index, struct http_call *call);
/* Raise if the options at `index` are no options of a stream. */
void bind_stream_check(lua_State *L, int index);
void bind_open_stream(lua_State *L);

/* A class: a metatable of this name whose __index is its methods; __gc may be NULL. Leaves nothing. */
void bind_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* The same for objects with fields beside methods: the fields are a table in the first user value. */
void bind_class_with_fields(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* The table at `index` has only these names (NULL behind the last), else it raises; `what` is the
 * function's name for people. */
void opt_check(lua_State *L, int index, const char *what, const char *const *names);
/* A field; raises when it has another type. */
const char *opt_text(lua_State *L, int index, const char *name, const char *otherwise);
const char *opt_bytes(lua_State *L, int index, const char *name, size_t *len); /* NULL if absent */
bool opt_bool(lua_State *L, int index, const char *name);
const char *need_text(lua_State *L, int index, const char *name);
/* Seconds as milliseconds; `otherwise` if absent. */
uint64_t opt_ms(lua_State *L, int index, const char *name, uint64_t otherwise);
uint64_t arg_ms(lua_State *L, int index, uint64_t otherwise);
int64_t opt_integer(lua_State *L, int index, const char *name, int64_t otherwise);
/* Push a userdata that holds the texts of an array (NULL behind the last); NULL and nil if the field
 * is absent. The texts live as long as the table is unchanged. */
const char **opt_list(lua_State *L, int index, const char *name, size_t *count);
/* Push the field's function (true) or nil (false); raises for anything else. */
bool opt_function(lua_State *L, int index, const char *name);
/* The same as a reference in the registry; LUA_NOREF if absent. */
int opt_reference(lua_State *L, int index, const char *name);
/* Give a reference back and forget it; LUA_NOREF is none. */
void bind_unref(lua_State *L, int *ref);

/* Push a buffer that goes with its userdata. */
struct buffer *bind_scratch(lua_State *L, size_t max);
/* Push nil and the text; returns 2. */
int bind_fail(lua_State *L, const struct err *e);
void set_text(lua_State *L, const char *name, const char *value);
void set_integer(lua_State *L, const char *name, lua_Integer value);
void set_bool(lua_State *L, const char *name, bool value);

#endif
