/* generation:call_apart: many calls of one generation on a worker thread, while the task waits.
 *
 * The specs of a folder take some hundred milliseconds, and one of them may take a whole budget; the
 * loop has watches and a lease to serve meanwhile. A policy state may be entered by one thread at a
 * time, so it belongs to the worker until the calls are over: the generation answers no other call,
 * and one that is closed meanwhile is freed by the worker's end. Nothing of the host state goes
 * along: arguments and results travel as JSON, through a small Lua state of the worker's own that stands
 * where the host's stack stands in a call on the loop. Every call has the limits of any other. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "script/bind.h"
#include "script/generation.h"
#include "script/task.h"
#include "script/value.h"

#define CALLS_MAX 10000
#define RESULT_MAX (16u << 20) /* bytes of one result */

struct call {
	char *module, *function;
	struct buffer arguments; /* a JSON array */
	struct buffer result;    /* JSON */
	struct policy_error *error; /* or NULL */
	bool is_made;
};

struct apart {
	struct policy *policy;
	struct generation *generation; /* NULL: closed meanwhile, the policy is ours */
	struct calling *waiting;       /* NULL: the task was cancelled */
	atomic_bool is_abandoned;      /* no further call */
	struct call *calls;
	size_t count;
};

struct calling {
	struct host_wait wait;
	struct apart *apart; /* NULL: not started, or answered */
	bool over;
};

static void free_apart(struct apart *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->calls[i].module);
		free(a->calls[i].function);
		free(a->calls[i].error);
		buffer_deinit(&a->calls[i].arguments);
		buffer_deinit(&a->calls[i].result);
	}
	free(a->calls);
	free(a);
}

void apart_abandon(struct apart *a)
{
	a->generation = NULL;
	atomic_store(&a->is_abandoned, true);
}

/* --- on the worker --- */

struct turn {
	struct policy *policy;
	struct call *call;
};

/* Inside a protected call of the worker's own state. */
static int make_call(lua_State *L)
{
	struct turn *t = lua_touserdata(L, 1);
	struct call *c = t->call;
	struct policy_error e = {0};
	value_from_json(L, c->arguments.data, c->arguments.len);
	lua_Integer count = luaL_len(L, 2);
	luaL_checkstack(L, (int)count + 20, "a call into a policy");
	for (lua_Integer i = 1; i <= count; i++)
		lua_rawgeti(L, 2, i);
	if (policy_call(t->policy, c->module, c->function, L, 3, (int)count, &e) == SCRIPT_OK)
		value_to_json(L, -1, &c->result, 0);
	else
		*(c->error = xmalloc(sizeof e)) = e;
	return 0;
}

/* What is no answer of the policy's: its result cannot be said in JSON, or is too large. */
static void note_failure(struct call *c, lua_State *L)
{
	const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "there is no memory for it";
	c->error = xcalloc(1, sizeof *c->error);
	c->error->outcome = SCRIPT_VALUE;
	snprintf(c->error->text, sizeof c->error->text, "what %s returned cannot be used: %s", c->function, why);
}

static int open_values(lua_State *L)
{
	value_open(L);
	return 0;
}

static void *allocate(void *ud, void *old, size_t old_size, size_t size)
{
	(void)ud;
	(void)old_size;
	if (size != 0)
		return xrealloc(old, size);
	free(old);
	return NULL;
}

static void work(void *arg)
{
	struct apart *a = arg;
	lua_State *L = lua_newstate(allocate, NULL);
	lua_pushcfunction(L, open_values);
	lua_pcall(L, 0, 0, 0);
	for (size_t i = 0; i < a->count && !atomic_load(&a->is_abandoned); i++) {
		struct turn t = {a->policy, &a->calls[i]};
		lua_settop(L, 0);
		lua_pushcfunction(L, make_call);
		lua_pushlightuserdata(L, &t);
		if (lua_pcall(L, 1, 0, 0) != LUA_OK)
			note_failure(t.call, L);
		t.call->is_made = true;
	}
	lua_close(L);
}

/* --- on the loop --- */

static void done(void *arg)
{
	struct apart *a = arg;
	if (a->generation)
		a->generation->apart = NULL;
	else
		policy_free(a->policy);
	if (!a->waiting) {
		free_apart(a);
		return;
	}
	a->waiting->over = true;
	host_wake(&a->waiting->wait);
}

/* Calls that are over are freed; those under way end with the present one. */
static void release(struct host_wait *w)
{
	struct calling *c = (struct calling *)w;
	if (!c->apart)
		return;
	c->apart->waiting = NULL;
	if (c->over)
		free_apart(c->apart);
	else
		atomic_store(&c->apart->is_abandoned, true);
	c->apart = NULL;
}

/* {value=} or {failure=}, in the order of the calls. Of calls that were not made any more there is none. */
static int answer(lua_State *L, struct host_wait *w)
{
	struct apart *a = ((struct calling *)w)->apart;
	lua_createtable(L, (int)a->count, 0);
	for (size_t i = 0; i < a->count && a->calls[i].is_made; i++) {
		struct call *c = &a->calls[i];
		lua_createtable(L, 0, 1);
		if (c->error) {
			generation_fail(L, c->error);
			lua_setfield(L, -3, "failure");
			lua_pop(L, 1);
		} else {
			value_from_json(L, c->result.data, c->result.len);
			lua_setfield(L, -2, "value");
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

static const struct host_wait_kind calling_kind = {release, answer, release};

/* The name at `position` of the call on top. */
static char *name_of(lua_State *L, lua_Integer position)
{
	lua_rawgeti(L, -1, position);
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "call_apart: each call is {module, function, arguments ...}");
	char *name = xstrdup(lua_tostring(L, -1));
	lua_pop(L, 1);
	return name;
}

/* The call on top of the stack. What is read is the apart's at once, so that a raise loses nothing. */
static void read_call(lua_State *L, struct apart *a)
{
	struct call *c = &a->calls[a->count++];
	buffer_init(&c->arguments, VALUE_TEXT_MAX);
	buffer_init(&c->result, RESULT_MAX);
	luaL_checktype(L, -1, LUA_TTABLE);
	c->module = name_of(L, 1);
	c->function = name_of(L, 2);
	lua_Integer len = luaL_len(L, -1);
	lua_newtable(L);
	value_mark_array(L, -1);
	for (lua_Integer i = 3; i <= len; i++) {
		lua_rawgeti(L, -2, i);
		lua_rawseti(L, -2, i - 2);
	}
	value_to_json(L, -1, &c->arguments, 0);
	lua_pop(L, 1);
}

int bind_call_apart(lua_State *L)
{
	struct policy *p = generation_policy(L);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	lua_Integer count = luaL_len(L, 2);
	luaL_argcheck(L, count <= CALLS_MAX, 2, "too many calls");
	struct calling *c = host_wait_new(L, sizeof *c, &calling_kind);
	c->over = true; /* until it is started, a raise frees it */
	struct apart *a = c->apart = xcalloc(1, sizeof *a);
	a->waiting = c;
	a->calls = xcalloc((size_t)count + 1, sizeof *a->calls);
	for (lua_Integer i = 1; i <= count; i++) {
		lua_rawgeti(L, 2, i);
		read_call(L, a);
		lua_pop(L, 1);
	}
	a->policy = p;
	a->generation = lua_touserdata(L, 1);
	a->generation->apart = a;
	c->over = false;
	loop_work(host_of(L)->realm->loop, work, done, a);
	return host_await(L, &c->wait);
}
