/* The one gate into a policy state: see policy.h.
 *
 * Outside of a protected call nothing may allocate in the state: an allocation over the cap would
 * end the process. So every entry pushes a message handler, a C function and a light userdata
 * (none of which allocates) and does everything else inside lua_pcall. Data goes in inside the
 * state's protected call, and comes out inside one of the host's (script/transfer.h).
 *
 * Garbage: a decide of 12 KB in and 9 KB out makes some 100 KB of it, and all of it is dead when the
 * call ends, while what rests is some 250 KB. So the state collects by generations: what rests is
 * not walked again (incremental, sweeping and marking it were a sixth of the operator's time in a storm). */
#include "script/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>

#include "base/digest.h"
#include "base/xalloc.h"
#include "script/policy_state.h"
#include "script/sandbox.h"
#include "script/transfer.h"
#include "script/value.h"

#define MINOR_PERCENT 50 /* of what rests: new garbage until the young are collected */

struct policy *policy_of(lua_State *L)
{
	return *(struct policy **)lua_getextraspace(L);
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- the gate --- */

struct entry {
	struct policy *p;
	const char *module, *function;
	lua_State *host;
	int first, count;
	enum script_outcome blame; /* of an error, as far as we are now */
	struct fingerprint_difference difference;
};

/* Run `inside` in the state under all limits. On OK its one result is on top of the state's stack;
 * the caller takes it and calls leave(). */
static enum script_outcome enter(struct policy *p, lua_CFunction inside, struct entry *entry, struct policy_error *e)
{
	lua_State *L = p->L;
	if (p->is_busy)
		return policy_plain_error(e, SCRIPT_ERROR, "the policy was called while it was in a call");
	p->is_busy = true;
	entry->p = p;
	entry->blame = SCRIPT_ERROR;
	p->entered_cpu_ns = thread_cpu_ns();
	policy_entered(p);
	memset(&p->error, 0, sizeof p->error);
	p->loading_count = 0;
	lua_settop(L, 0);
	limits_begin(&p->limits, p->instructions_max, p->wall_ms_max);
	lua_pushcfunction(L, policy_note_error);
	lua_pushcfunction(L, inside);
	lua_pushlightuserdata(L, entry);
	int status = lua_pcall(L, 1, 1, 1);
	p->instructions = limits_used(&p->limits);
	enum script_outcome outcome = SCRIPT_OK;
	if (status != LUA_OK)
		outcome = policy_finish_error(p, status, entry->blame, e);
	limits_end(&p->limits);
	return outcome;
}

static int collect(lua_State *L)
{
	lua_gc(L, LUA_GCCOLLECT);
	return 0;
}

/* Leave the state at rest. Large inputs may have left more than the cap allows; that is collected
 * at once, everything else in the collector's own time. */
static void leave(struct policy *p)
{
	lua_State *L = p->L;
	lua_settop(L, 0);
	if (p->limits.used > p->limits.memory_max / 2) {
		lua_pushcfunction(L, collect);
		lua_pcall(L, 0, 0, 0);
		lua_settop(L, 0);
	}
	policy_left(p);
	p->cpu_ns += thread_cpu_ns() - p->entered_cpu_ns;
	p->is_busy = false;
}

/* --- taking results out --- */

struct result {
	lua_State *from;
	enum transfer_kind kind;
};

static int push_result(lua_State *host)
{
	struct result *r = lua_touserdata(host, 1);
	transfer_value(r->from, -1, host, r->kind, "");
	return 1;
}

/* Copy the state's topmost value onto the host's stack. */
static enum script_outcome take_result(struct policy *p, lua_State *host, enum transfer_kind kind, const char *what,
	struct policy_error *e)
{
	struct result r = {.from = p->L, .kind = kind};
	int top = lua_gettop(host);
	if (!lua_checkstack(host, 10))
		return policy_plain_error(e, SCRIPT_MEMORY, "the host's stack is full");
	lua_pushcfunction(host, push_result);
	lua_pushlightuserdata(host, &r);
	if (lua_pcall(host, 1, 1, 0) == LUA_OK)
		return SCRIPT_OK;
	const char *why = lua_type(host, -1) == LUA_TSTRING ? lua_tostring(host, -1) : "unknown";
	enum script_outcome outcome = policy_plain_error(e, SCRIPT_VALUE, "what %s returned is no plain data: %s", what, why);
	lua_settop(host, top);
	return outcome;
}

/* --- calling --- */

static int call_inside(lua_State *L)
{
	struct entry *c = lua_touserdata(L, 1);
	policy_push_module(L, c->module);
	if (!lua_istable(L, -1))
		return luaL_error(L, "%s.lua returns no table, so it has no function \"%s\"", c->module, c->function);
	lua_pushstring(L, c->function);
	if (lua_rawget(L, -2) != LUA_TFUNCTION)
		return luaL_error(L, "%s.lua has no function \"%s\"", c->module, c->function);
	luaL_checkstack(L, c->count + 10, "too many arguments");
	c->blame = SCRIPT_VALUE;
	for (int i = 0; i < c->count; i++)
		transfer_value(c->host, c->first + i, L, TRANSFER_ARGUMENT, "the argument");
	c->blame = SCRIPT_ERROR;
	lua_call(L, c->count, 1);
	return 1;
}

static void name_file(struct policy_error *e, const char *module, const struct policy *p)
{
	for (size_t i = 0; e != NULL && e->file[0] == '\0' && i < p->source_count; i++)
		if (p->sources[i].module != NULL && strcmp(p->sources[i].module, module) == 0)
			snprintf(e->file, sizeof e->file, "%s", p->sources[i].name);
}

enum script_outcome policy_call(struct policy *p, const char *module, const char *function,
	struct lua_State *host, int first, int count, struct policy_error *e)
{
	struct entry entry = {.module = module, .function = function, .host = host,
		.first = lua_absindex(host, first), .count = count};
	int top = lua_gettop(host);
	if (p->is_busy)
		return policy_plain_error(e, SCRIPT_ERROR, "the policy was called while it was in a call");
	p->calls++;
	enum script_outcome outcome = enter(p, call_inside, &entry, e);
	lua_settop(host, top);
	if (outcome == SCRIPT_OK) {
		outcome = take_result(p, host, TRANSFER_RESULT, function, e);
		if (outcome != SCRIPT_OK)
			name_file(e, module, p);
	}
	leave(p);
	return outcome;
}

static int describe_inside(lua_State *L)
{
	struct entry *c = lua_touserdata(L, 1);
	policy_push_module(L, c->module);
	return 1;
}

enum script_outcome policy_describe(struct policy *p, const char *module, struct lua_State *host, struct policy_error *e)
{
	struct entry entry = {.module = module};
	if (p->is_busy)
		return policy_plain_error(e, SCRIPT_ERROR, "the policy was described while it was in a call");
	enum script_outcome outcome = enter(p, describe_inside, &entry, e);
	if (outcome == SCRIPT_OK)
		outcome = take_result(p, host, TRANSFER_DESCRIBE, module, e);
	leave(p);
	return outcome;
}

/* --- state kept between calls --- */

/* Push what is looked at: what every file returned under the file's name, and the globals. */
static void push_roots(lua_State *L, const struct policy *p)
{
	lua_newtable(L);
	policy_push_modules(L);
	for (size_t i = 0; i < p->source_count; i++) {
		if (p->sources[i].module == NULL)
			continue;
		lua_getfield(L, -1, p->sources[i].module);
		lua_setfield(L, -3, p->sources[i].name);
	}
	lua_pop(L, 1);
	sandbox_push_globals(L);
	lua_setfield(L, -2, "the globals");
}

static int check_inside(lua_State *L)
{
	struct entry *c = lua_touserdata(L, 1);
	push_roots(L, c->p);
	lua_pushboolean(L, fingerprint_same(L, &c->p->print, &c->difference));
	return 1;
}

enum script_outcome policy_check_state(struct policy *p, struct policy_error *e)
{
	struct entry entry = {.difference = {"", ""}};
	if (p->is_busy)
		return policy_plain_error(e, SCRIPT_ERROR, "the policy was checked while it was in a call");
	enum script_outcome outcome = enter(p, check_inside, &entry, e);
	if (outcome == SCRIPT_OK && !lua_toboolean(p->L, -1)) {
		outcome = policy_plain_error(e, SCRIPT_STATE, "%s changed between calls: a policy must keep nothing",
			entry.difference.what);
		if (e != NULL)
			memcpy(e->file, entry.difference.file, sizeof e->file);
	}
	leave(p);
	return outcome;
}

/* --- a generation --- */

static int load_inside(lua_State *L)
{
	struct entry *c = lua_touserdata(L, 1);
	sandbox_open(L);
	policy_load_all(L);
	lua_settop(L, 0);
	push_roots(L, c->p);
	fingerprint_take(L, &c->p->print);
	lua_settop(L, 0);
	lua_gc(L, LUA_GCGEN, MINOR_PERCENT, 0);
	lua_pushboolean(L, 1);
	return 1;
}

static int compare_sources(const void *a, const void *b)
{
	const struct source *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

/* Of the operator's files, whatever the order in which they came. */
static void make_digest(struct policy *p)
{
	char hex[DIGEST_HEX_SIZE];
	struct digest d;
	const struct source **sorted = xcalloc(p->file_count, sizeof *sorted);
	for (size_t i = 0; i < p->file_count; i++)
		sorted[i] = &p->sources[i];
	qsort(sorted, p->file_count, sizeof *sorted, compare_sources);
	digest_begin(&d);
	for (size_t i = 0; i < p->file_count; i++) {
		digest_add_field(&d, sorted[i]->name, strlen(sorted[i]->name));
		digest_add_field(&d, sorted[i]->text, sorted[i]->len);
	}
	digest_end(&d, hex);
	memcpy(p->digest, hex, sizeof p->digest - 1);
	free(sorted);
}

struct policy *policy_new(const struct policy_options *o, struct policy_error *e)
{
	struct policy *p = xcalloc(1, sizeof *p);
	struct entry entry = {.p = p};
	p->name = xstrdup(o->name != NULL ? o->name : "policies");
	p->instructions_max = o->instructions_max;
	p->wall_ms_max = o->wall_ms_max;
	if (policy_take_files(p, o, e) != 0)
		goto failed;
	make_digest(p);
	policy_drop_specs(p);
	p->L = limits_open(&p->limits, o->memory_max);
	if (p->L == NULL) {
		policy_plain_error(e, SCRIPT_MEMORY, "there is no memory for a policy state");
		goto failed;
	}
	*(struct policy **)lua_getextraspace(p->L) = p;
	p->limits.walks_backwards = o->reversed;
	if (o->coverage)
		policy_cover(p);
	policy_watch(p);
	enum script_outcome outcome = enter(p, load_inside, &entry, e);
	leave(p);
	if (outcome == SCRIPT_OK)
		return p;
failed:
	policy_free(p);
	return NULL;
}

void policy_free(struct policy *p)
{
	if (p == NULL)
		return;
	policy_unwatch(p);
	limits_close(&p->limits);
	policy_drop_files(p);
	fingerprint_deinit(&p->print);
	free(p->name);
	free(p);
}

struct policy_stats policy_stats(const struct policy *p)
{
	return (struct policy_stats){.memory = p->limits.used, .memory_peak = p->limits.peak, .calls = p->calls,
		.instructions = p->instructions, .seconds = (double)p->cpu_ns / 1e9};
}

const char *policy_digest(const struct policy *p)
{
	return p->digest;
}

const char *policy_source(const struct policy *p, const char *file, size_t *len)
{
	const struct source *s = policy_find_source(p, file);
	if (s != NULL && len != NULL)
		*len = s->len;
	return s != NULL ? s->text : NULL;
}
