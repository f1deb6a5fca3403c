/* policy: generations of policies, and calls into them.
 *
 * What a policy does wrong is an answer here (nil and a table that says what and where), never a
 * raise: it costs the object that was being decided on. Loading may run long (every spec of
 * a folder could); `background` loads on a worker thread while the task waits. */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "script/bind.h"
#include "script/generation.h"
#include "script/modules.h"
#include "script/policy.h"
#include "script/task.h"
#include "script/transfer.h"

#define GENERATION_CLASS "moonphase.generation"
#define HELPERS "policy/"

int generation_fail(lua_State *L, const struct policy_error *e)
{
	lua_pushnil(L);
	lua_createtable(L, 0, 7);
	set_text(L, "outcome", script_outcome_name(e->outcome));
	set_text(L, "text", e->text);
	set_text(L, "file", *e->file ? e->file : NULL);
	if (e->line > 0)
		set_integer(L, "line", e->line);
	set_text(L, "source", *e->source ? e->source : NULL);
	set_text(L, "path", *e->path ? e->path : NULL);
	set_text(L, "traceback", *e->traceback ? e->traceback : NULL);
	return 2;
}

/* --- load --- */

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const struct policy_file *)a)->name, ((const struct policy_file *)b)->name);
}

/* A text that is built in under that name need not be held a second time. */
static void use_asset(lua_State *L, const char *folder, struct policy_file *f)
{
	const struct asset *a = modules_asset(host_of(L), lua_pushfstring(L, "%s%s", folder, f->name));
	if (a && a->len == f->len && memcmp(a->bytes, f->source, f->len) == 0) {
		f->source = a->bytes;
		f->lasts = true;
	}
	lua_pop(L, 1);
}

/* The table at `index`, names to sources, as an array in a userdata that it pushes. `folder`: where built-in ones are. */
static struct policy_file *read_files(lua_State *L, int index, const char *folder, size_t *count)
{
	size_t room = 0, n = 0;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
		room++;
	struct policy_file *files = lua_newuserdatauv(L, (room + 1) * sizeof *files, 0);
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "policy.load: \"files\" must be a table of file names and their texts");
		files[n].name = lua_tostring(L, -2);
		files[n].source = lua_tolstring(L, -1, &files[n].len);
		files[n].lasts = false;
		use_asset(L, folder, &files[n]);
		n++;
	}
	qsort(files, n, sizeof *files, compare_files);
	*count = n;
	return files;
}

/* The host's own policy helpers; pushes a table that holds their texts, and the array. */
static struct policy_file *read_helpers(lua_State *L, size_t *count)
{
	modules_push_names(L, HELPERS);
	int names = lua_gettop(L);
	lua_newtable(L);
	for (lua_Integer i = 1; lua_rawgeti(L, names, i) == LUA_TSTRING; i++) {
		const char *name = lua_tostring(L, -1);
		if (!modules_push_file(L, name))
			luaL_error(L, "the policy helper %s has gone while it was read", name);
		lua_setfield(L, names + 1, name + strlen(HELPERS));
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return read_files(L, names + 1, "lua/" HELPERS, count);
}

static void read_limits(lua_State *L, struct policy_options *o)
{
	static const char *const known[] = {"memory", "instructions", "wall_ms", NULL};
	lua_getfield(L, 1, "limits");
	if (!lua_isnil(L, -1)) {
		int at = lua_gettop(L);
		opt_check(L, at, "limits of policy.load", known);
		o->memory_max = (size_t)opt_integer(L, at, "memory", 0);
		o->instructions_max = (uint64_t)opt_integer(L, at, "instructions", 0);
		o->wall_ms_max = (uint64_t)opt_integer(L, at, "wall_ms", 0);
	}
	lua_pop(L, 1);
}

static int push_generation(lua_State *L, struct generation *g)
{
	lua_newtable(L);
	set_text(L, "digest", policy_digest(g->policy));
	lua_setiuservalue(L, -2, 1);
	return 1;
}

static struct generation *new_generation(lua_State *L)
{
	struct generation *g = lua_newuserdatauv(L, sizeof *g, 1);
	*g = (struct generation){NULL, NULL};
	luaL_setmetatable(L, GENERATION_CLASS);
	return g;
}

/* A load on a worker thread. It may outlive the task that waits, so it owns copies of the texts. */
struct job {
	struct policy_options options;
	struct policy *policy;
	struct policy_error error;
	struct loading *waiting; /* NULL: cancelled */
	char *texts; /* a copy of everything that options point to */
};

struct loading {
	struct host_wait wait;
	struct job *job; /* NULL: not started */
	bool over;
};

static void free_job(struct job *j)
{
	policy_free(j->policy);
	free((void *)(uintptr_t)j->options.files);
	free((void *)(uintptr_t)j->options.helpers);
	free(j->texts);
	free(j);
}

static size_t texts_size(const struct policy_file *files, size_t count)
{
	size_t size = 0;
	for (size_t i = 0; i < count; i++)
		size += strlen(files[i].name) + files[i].len + 2;
	return size;
}

static struct policy_file *copy_files(const struct policy_file *files, size_t count, char **at)
{
	struct policy_file *copy = xcalloc(count + 1, sizeof *copy);
	for (size_t i = 0; i < count; i++) {
		size_t name = strlen(files[i].name) + 1;
		copy[i] = (struct policy_file){*at, files[i].lasts ? files[i].source : *at + name, files[i].len, files[i].lasts};
		memcpy(*at, files[i].name, name);
		memcpy(*at + name, files[i].source, files[i].len);
		*at += name + files[i].len + 1;
	}
	return copy;
}

static struct job *new_job(const struct policy_options *o)
{
	struct job *j = xcalloc(1, sizeof *j);
	size_t name = strlen(o->name) + 1;
	j->options = *o;
	j->texts = xcalloc(1, name + texts_size(o->files, o->file_count) + texts_size(o->helpers, o->helper_count));
	char *at = j->texts + name;
	memcpy(j->texts, o->name, name);
	j->options.name = j->texts;
	j->options.files = copy_files(o->files, o->file_count, &at);
	j->options.helpers = copy_files(o->helpers, o->helper_count, &at);
	return j;
}

static void job_work(void *arg)
{
	struct job *j = arg;
	j->policy = policy_new(&j->options, &j->error);
}

static void job_done(void *arg)
{
	struct job *j = arg;
	if (!j->waiting) {
		free_job(j);
		return;
	}
	j->waiting->over = true;
	host_wake(&j->waiting->wait);
}

/* A job that is over is freed, one under way goes on alone. */
static void loading_release(struct host_wait *w)
{
	struct loading *l = (struct loading *)w;
	if (!l->job)
		return;
	l->job->waiting = NULL;
	if (l->over)
		free_job(l->job);
	l->job = NULL;
}

static int loading_answer(lua_State *L, struct host_wait *w)
{
	struct loading *l = (struct loading *)w;
	if (!l->job->policy)
		return generation_fail(L, &l->job->error);
	struct generation *g = new_generation(L);
	g->policy = l->job->policy;
	l->job->policy = NULL;
	return push_generation(L, g);
}

static const struct host_wait_kind loading_kind = {loading_release, loading_answer, loading_release};

static int load_in_background(lua_State *L, const struct policy_options *o)
{
	struct loading *l = host_wait_new(L, sizeof *l, &loading_kind);
	l->job = new_job(o);
	l->job->waiting = l;
	loop_work(host_of(L)->realm->loop, job_work, job_done, l->job);
	return host_await(L, &l->wait);
}

static int l_load(lua_State *L)
{
	static const char *const known[] = {"files", "name", "limits", "background", "coverage", "reversed", NULL};
	struct policy_options o = {0};
	opt_check(L, 1, "policy.load", known);
	lua_settop(L, 1);
	o.name = opt_text(L, 1, "name", "policies");
	bool background = opt_bool(L, 1, "background");
	o.coverage = opt_bool(L, 1, "coverage");
	o.reversed = opt_bool(L, 1, "reversed");
	read_limits(L, &o);
	lua_getfield(L, 1, "files");
	luaL_checktype(L, 2, LUA_TTABLE);
	o.files = read_files(L, 2, "policies/", &o.file_count);
	o.helpers = read_helpers(L, &o.helper_count);
	if (background)
		return load_in_background(L, &o);
	struct policy_error e = {0};
	struct generation *g = new_generation(L);
	g->policy = policy_new(&o, &e);
	return g->policy ? push_generation(L, g) : generation_fail(L, &e);
}

static int l_raw(lua_State *L)
{
	luaL_checkstring(L, 1);
	transfer_push_raw(L, 1);
	return 1;
}

/* --- a generation --- */

struct policy *generation_policy(lua_State *L)
{
	const struct generation *g = luaL_checkudata(L, 1, GENERATION_CLASS);
	luaL_argcheck(L, g->policy != NULL, 1, "this generation of policies was closed");
	luaL_argcheck(L, g->apart == NULL, 1, "this generation of policies is in calls on a worker thread");
	return g->policy;
}

static int l_call(lua_State *L)
{
	struct policy *p = generation_policy(L);
	const char *module = luaL_checkstring(L, 2), *name = luaL_checkstring(L, 3);
	struct policy_error e = {0};
	luaL_checkstack(L, 20, "a call into a policy");
	if (policy_call(p, module, name, L, 4, lua_gettop(L) - 3, &e) == SCRIPT_OK)
		return 1;
	return generation_fail(L, &e);
}

static int l_describe(lua_State *L)
{
	struct policy_error e = {0};
	luaL_checkstack(L, 20, "a call into a policy");
	if (policy_describe(generation_policy(L), luaL_checkstring(L, 2), L, &e) == SCRIPT_OK)
		return 1;
	return generation_fail(L, &e);
}

static int l_check_state(lua_State *L)
{
	struct policy_error e = {0};
	if (policy_check_state(generation_policy(L), &e) != SCRIPT_OK)
		return generation_fail(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_stats(lua_State *L)
{
	struct policy_stats s = policy_stats(generation_policy(L));
	lua_createtable(L, 0, 5);
	lua_pushnumber(L, s.seconds);
	lua_setfield(L, -2, "seconds");
	set_integer(L, "memory", (lua_Integer)s.memory);
	set_integer(L, "memory_peak", (lua_Integer)s.memory_peak);
	set_integer(L, "calls", (lua_Integer)s.calls);
	set_integer(L, "instructions", (lua_Integer)s.instructions);
	return 1;
}

static int l_lines(lua_State *L)
{
	size_t count = 0;
	const unsigned char *lines = policy_lines(generation_policy(L), luaL_checkstring(L, 2), &count);
	if (!lines)
		return 0;
	lua_newtable(L);
	for (size_t i = 0; i < count; i++) {
		if (!lines[i])
			continue;
		lua_pushboolean(L, 1);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

static int l_source(lua_State *L)
{
	size_t len;
	const char *text = policy_source(generation_policy(L), luaL_checkstring(L, 2), &len);
	if (!text)
		return 0;
	lua_pushlstring(L, text, len);
	return 1;
}

static int l_close(lua_State *L)
{
	struct generation *g = luaL_checkudata(L, 1, GENERATION_CLASS);
	if (g->apart)
		apart_abandon(g->apart); /* its worker frees the policy */
	else
		policy_free(g->policy);
	*g = (struct generation){NULL, NULL};
	return 0;
}

static const luaL_Reg generation_methods[] = {
	{"call", l_call},
	{"call_apart", bind_call_apart},
	{"describe", l_describe},
	{"check_state", l_check_state},
	{"stats", l_stats},
	{"lines", l_lines},
	{"source", l_source},
	{"close", l_close},
	{NULL, NULL},
};

static const luaL_Reg policy_functions[] = {
	{"load", l_load},
	{"raw", l_raw},
	{NULL, NULL},
};

int bind_open_policy(lua_State *L)
{
	bind_class_with_fields(L, GENERATION_CLASS, generation_methods, l_close);
	luaL_newlib(L, policy_functions);
	transfer_push_raw_key(L);
	lua_setfield(L, -2, "bytes");
	return 1;
}
