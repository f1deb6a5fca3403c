/* What the files of policy*.c share: see policy.h for what a policy is. */
#ifndef MOONPHASE_SCRIPT_POLICY_STATE_H
#define MOONPHASE_SCRIPT_POLICY_STATE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <lua.h>

#include "base/digest.h"
#include "script/fingerprint.h"
#include "script/limits.h"
#include "script/policy.h"

#define POLICY_FILE_MAX (256u << 10)  /* bytes; the compiler is not counted by the hook */
#define POLICY_FILES_MAX (4u << 20)   /* bytes of all */
#define POLICY_NAME_MAX 59            /* Lua cuts longer names in its messages */
#define POLICY_LOADING_MAX 32         /* requires within requires */

struct source {
	char *name;   /* as in messages: "children/deployment.lua", "moonphase/rules.lua" */
	char *module; /* "children.deployment", "moonphase.rules"; NULL: is never loaded */
	const char *text; /* NULL: dropped */
	size_t len;
	char *owned; /* text, or NULL */
	unsigned char *lines; /* under coverage, see policy_lines; or NULL */
	size_t line_count;
};

struct policy {
	struct limits limits;
	lua_State *L;
	char *name;
	struct source *sources; /* the operator's, then the host's own */
	size_t file_count, source_count;
	const struct source *loading[POLICY_LOADING_MAX]; /* who requires whom, while it happens */
	int loading_count;
	bool is_busy;
	uint64_t instructions_max, wall_ms_max, calls, instructions;
	uint64_t cpu_ns, entered_cpu_ns; /* of all calls; of the thread when this one began */
	struct fingerprint print;
	struct policy_error error; /* filled where an error is met, before the stack is unwound */
	char digest[17];
	struct source *covered; /* the file that the last executed line is of */
	/* for the watchdog */
	struct policy *next, *before;
	_Atomic uint64_t entered_ms; /* 0: not in a call */
};

/* The policy of a state. */
struct policy *policy_of(lua_State *L);

/* policy_load.c; these raise. */
void policy_load_all(lua_State *L);
void policy_push_modules(lua_State *L);
/* Push what the module returned; raises if there is none. */
void policy_push_module(lua_State *L, const char *module);
const struct source *policy_find_source(const struct policy *p, const char *name);
/* Copy the files; 0, or -1 with *e filled. */
int policy_take_files(struct policy *p, const struct policy_options *o, struct policy_error *e);
void policy_drop_files(struct policy *p);
/* The texts of specs: they count in the digest, and nothing here reads them again. */
void policy_drop_specs(struct policy *p);

/* policy_coverage.c */
void policy_cover(struct policy *p);

/* policy_error.c */
/* The message handler: writes place and traceback into policy.error. Allocates nothing. */
int policy_note_error(lua_State *L);
/* After a protected call ended with `status` (not OK), its error value on top of the stack. */
enum script_outcome policy_finish_error(struct policy *p, int status, enum script_outcome outcome, struct policy_error *e);
/* An error without a place. */
enum script_outcome policy_plain_error(struct policy_error *e, enum script_outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* policy_watchdog.c */
void policy_watch(struct policy *p);
void policy_unwatch(struct policy *p);
void policy_entered(struct policy *p);
void policy_left(struct policy *p);

#endif
