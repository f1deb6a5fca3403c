/* A generation of policies in a Lua state of its own, entered through one gate.
 *
 * A policy is a pure function that strangers edit. So its state has a capped memory, an
 * instruction budget, an environment with nothing of the machine in it, and no way to keep
 * something from one call to the next. It is entered only by policy_call: a synchronous,
 * protected call that never yields. What a policy does wrong costs the object it was deciding
 * on, and is told with file and line. */
#ifndef MOONPHASE_SCRIPT_POLICY_H
#define MOONPHASE_SCRIPT_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

enum script_outcome {
	SCRIPT_OK,
	SCRIPT_YIELDED, /* host state only */
	SCRIPT_ERROR,
	SCRIPT_MEMORY,  /* past its memory */
	SCRIPT_BUDGET,  /* past its instructions */
	SCRIPT_CLOCK,   /* stopped by wall clock: never a verdict on the policy */
	SCRIPT_VALUE,   /* an argument or result is no plain data, or too large */
	SCRIPT_STATE,   /* it kept something between calls */
};
const char *script_outcome_name(enum script_outcome o); /* "error", "memory", "budget", "clock", "value", "state" */

struct policy_error {
	enum script_outcome outcome;
	char text[1024];    /* the sentence, without place */
	char file[128];     /* "phases.lua", "" if unknown */
	int line;
	char source[256];   /* that line of the file */
	char path[128];     /* of the value that was nil: "seen.object.spec.replicas" as written there */
	char traceback[2048];
};

struct policy_file {
	const char *name;   /* "children/deployment.lua" */
	const char *source;
	size_t len;
	bool lasts;         /* `source` outlives the policy: it need not be copied */
};

struct policy_options {
	const char *name;
	const struct policy_file *files;   /* what operators edit: "x.lua" is loaded by require "x", children/deployment.lua (or
	                                    * children.deployment.lua) by require "children.deployment" */
	size_t file_count;
	const struct policy_file *helpers; /* the host's own, trusted: require "moonphase.NAME"; helper "prelude" is run
	                                    * first and the fields of the table it returns become globals of policies */
	size_t helper_count;
	size_t memory_max;        /* 0: 16 MiB; raised to 12 times a call's input where that is more */
	uint64_t instructions_max;/* of one call; 0: 10 million */
	uint64_t wall_ms_max;     /* of one call, a backstop; 0: 1000 */
	bool coverage;            /* for specs: note which lines are executed (policy_lines) */
	bool reversed;            /* for specs: pairs and next go the other way. A decision that differs hangs on their order */
};

struct policy;

/* Load every *.lua file (specs, *_spec.lua, are kept but not loaded). NULL with *e on failure. Copies files.
 * A file has at most 256 KiB, all together 4 MiB, and a name of at most 59 bytes (Lua cuts longer ones
 * in its messages). Loading as a whole has the limits of one call. */
struct policy *policy_new(const struct policy_options *o, struct policy_error *e);
void policy_free(struct policy *p);

/* Call module.function with the `count` values at `first` on host stack `host` (plain data and raw JSON, see
 * script/transfer.h) and push its first result, as plain data, on `host`. Outcome OK: one value was
 * pushed; else nothing was, and *e is filled. Never raises on `host` but for misuse of the stack. */
enum script_outcome policy_call(struct policy *p, const char *module, const char *function,
	struct lua_State *host, int first, int count, struct policy_error *e);
/* Push what `module` returned as plain data; functions become the text "function". */
enum script_outcome policy_describe(struct policy *p, const char *module, struct lua_State *host, struct policy_error *e);
/* Compare what is reachable from the policy's modules (tables, upvalues of functions) with what it was
 * after load. SCRIPT_STATE names file and variable. */
enum script_outcome policy_check_state(struct policy *p, struct policy_error *e);

struct policy_stats {
	size_t memory, memory_peak;
	uint64_t calls, instructions; /* of the last call, to 1,000 */
	double seconds;               /* of processor time, in all calls together */
};
struct policy_stats policy_stats(const struct policy *p);
const char *policy_digest(const struct policy *p); /* sha256 of names and sources, hex, first 16 digits */
/* Under options.coverage: a byte for each line of the file, from line 1 on, 1 if it was executed since the beginning of the
 * load; *count of them. NULL if the file is none of it. */
const unsigned char *policy_lines(const struct policy *p, const char *file, size_t *count);
const char *policy_source(const struct policy *p, const char *file, size_t *len); /* NULL if none */

/* The watchdog of our own bugs: a thread that ends the process, naming the policy, when one call lasts
 * longer than `seconds` of wall clock in spite of every limit. No spec may reach it. */
void policy_watchdog_start(unsigned seconds);

#endif
