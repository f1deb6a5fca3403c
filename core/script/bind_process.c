/* process: child processes.
 *
 * A child outlives what Lua holds of it: the loop tells its end exactly once, whenever that is. So it
 * lives on the heap, owned by two: the Lua side (a handle, or the call that waits) and the
 * running process. Cancelling process.run ends its child. When the host goes, so do all that
 * it started: SIGTERM, and SIGKILL for those that do not heed it (host_end_children). */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "loop/process.h"
#include "script/bind.h"
#include "script/files.h"
#include "script/task.h"

#define CHILD_CLASS "moonphase.child"
#define OUTPUT_MAX (4u << 20)
#define STOP_MS 3000
#define ENV_FILE_MAX (1u << 20)

struct child {
	struct host *host;
	struct process *process; /* NULL: it has ended */
	struct child *next, **link; /* while it runs */
	struct waiters waiters;
	bool held; /* by Lua */
	struct process_result result; /* texts are ours */
	char *output, *errors;
};

static void free_if_done(struct child *c)
{
	if (c->held || c->process)
		return;
	free(c->output);
	free(c->errors);
	free(c);
}

static void let_go(struct child *c)
{
	c->held = false;
	free_if_done(c);
}

static void leave_host(struct child *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->link = NULL;
	c->host->no_children = c->host->children == NULL;
}

static void on_end(void *arg, const struct process_result *r)
{
	struct child *c = arg;
	c->process = NULL;
	leave_host(c);
	c->result = *r;
	if (c->held && r->output)
		c->result.output = c->output = xmemdup0(r->output, r->output_len);
	if (c->held && r->errors)
		c->result.errors = c->errors = xmemdup0(r->errors, r->errors_len);
	waiters_wake(&c->waiters);
	free_if_done(c);
}

/* --- starting --- */

/* Push an array of "NAME=value"; NULL and nil if there is none. */
static const char **read_env(lua_State *L)
{
	size_t n = 0, room = 0;
	lua_getfield(L, 1, "env");
	if (lua_isnil(L, -1))
		return NULL;
	luaL_checktype(L, -1, LUA_TTABLE);
	int env = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1))
		room++;
	lua_createtable(L, (int)room, 0); /* holds the texts */
	const char **list = lua_newuserdatauv(L, (room + 1) * sizeof *list, 0);
	for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING || strchr(lua_tostring(L, -2), '='))
			luaL_error(L, "option \"env\": a table of names and values was expected");
		const char *value = luaL_tolstring(L, -1, NULL);
		list[n] = lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), value);
		lua_rawseti(L, env + 1, (lua_Integer)++n);
		lua_pop(L, 1);
	}
	list[n] = NULL;
	return list;
}

/* The options at 1. What it pushed stays until the process is started. */
static struct process_options read_options(lua_State *L, const char *what)
{
	static const char *const known[] = {"argv", "env", "input", "timeout", "directory", "inherit", "stdin", "background", NULL};
	struct process_options o = {.output_max = OUTPUT_MAX};
	size_t words;
	host_need_machine(L, what);
	opt_check(L, 1, what, known);
	lua_settop(L, 1);
	o.argv = opt_list(L, 1, "argv", &words);
	if (words == 0)
		luaL_error(L, "%s: option \"argv\" must be an array that begins with a program", what);
	o.env = read_env(L);
	o.directory = opt_text(L, 1, "directory", NULL);
	o.input = opt_bytes(L, 1, "input", &o.input_len);
	o.timeout_ms = opt_ms(L, 1, "timeout", 0);
	o.inherit_output = opt_bool(L, 1, "inherit");
	o.inherit_input = opt_bool(L, 1, "stdin");
	o.background = opt_bool(L, 1, "background");
	return o;
}

static struct child *start(struct host *h, const struct process_options *o)
{
	struct child *c = xcalloc(1, sizeof *c);
	c->host = h;
	c->held = true;
	c->next = h->children;
	c->link = &h->children;
	if (c->next)
		c->next->link = &c->next;
	h->children = c;
	c->process = process_start(h->loop, o, on_end, c);
	return c;
}

/* --- run --- */

static void run_disarm(struct host_wait *w)
{
	struct waiter *run = (struct waiter *)w;
	struct child *c = run->data;
	waiter_disarm(w);
	if (c && c->process)
		process_signal(c->process, SIGTERM);
}

static int run_answer(lua_State *L, struct host_wait *w)
{
	const struct process_result *r = &((struct child *)((struct waiter *)w)->data)->result;
	if (r->err.code != 0)
		return bind_fail(L, &r->err);
	lua_createtable(L, 0, 3);
	set_integer(L, "status", r->status);
	lua_pushlstring(L, r->output ? r->output : "", r->output_len);
	lua_setfield(L, -2, "output");
	lua_pushlstring(L, r->errors ? r->errors : "", r->errors_len);
	lua_setfield(L, -2, "errors");
	return 1;
}

static void run_release(struct host_wait *w)
{
	struct waiter *run = (struct waiter *)w;
	if (run->data)
		let_go(run->data);
	run->data = NULL;
}

static const struct host_wait_kind run_kind = {run_disarm, run_answer, run_release};

static int l_run(lua_State *L)
{
	struct process_options o = read_options(L, "process.run");
	struct waiter *w = waiter_new(L, &run_kind);
	struct child *c = start(host_of(L), &o);
	w->data = c;
	return waiter_await(L, w, &c->waiters, CLOCK_NEVER);
}

/* --- spawn --- */

struct handle {
	struct child *child;
};

static int l_spawn(lua_State *L)
{
	struct process_options o = read_options(L, "process.spawn");
	struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 1);
	handle->child = NULL;
	luaL_setmetatable(L, CHILD_CLASS);
	handle->child = start(host_of(L), &o);
	lua_newtable(L);
	set_integer(L, "id", process_id(handle->child->process));
	lua_setiuservalue(L, -2, 1);
	return 1;
}

static struct child *check_child(lua_State *L)
{
	return ((struct handle *)luaL_checkudata(L, 1, CHILD_CLASS))->child;
}

static int handle_collect(lua_State *L)
{
	struct handle *handle = lua_touserdata(L, 1);
	if (handle->child)
		let_go(handle->child);
	handle->child = NULL;
	return 0;
}

static const struct {
	const char *name;
	int number;
} signal_names[] = {
	{"TERM", SIGTERM}, {"INT", SIGINT}, {"HUP", SIGHUP}, {"KILL", SIGKILL}, {"STOP", SIGSTOP}, {"CONT", SIGCONT},
	{"USR1", SIGUSR1},
};

static int l_signal(lua_State *L)
{
	struct child *c = check_child(L);
	const char *name = luaL_optstring(L, 2, "TERM");
	for (size_t i = 0; i < sizeof signal_names / sizeof *signal_names; i++) {
		if (strcmp(signal_names[i].name, name) != 0)
			continue;
		if (c->process)
			process_signal(c->process, signal_names[i].number);
		return 0;
	}
	return luaL_error(L, "there is no signal \"%s\" here: TERM, INT, HUP, KILL, STOP, CONT or USR1", name);
}

static int wait_answer(lua_State *L, struct host_wait *w)
{
	const struct child *c = ((struct waiter *)w)->data;
	if (c->process) {
		lua_pushnil(L);
		lua_pushliteral(L, "it still runs");
		return 2;
	}
	if (c->result.err.code != 0)
		return bind_fail(L, &c->result.err);
	lua_pushinteger(L, c->result.status);
	return 1;
}

static const struct host_wait_kind wait_kind = {waiter_disarm, wait_answer, NULL};

static int l_wait(lua_State *L)
{
	struct child *c = check_child(L);
	uint64_t ms = arg_ms(L, 2, CLOCK_NEVER);
	struct waiter *w = waiter_new(L, &wait_kind);
	w->data = c;
	if (!c->process)
		host_wake(&w->wait);
	return waiter_await(L, w, c->process ? &c->waiters : NULL, c->process ? ms : CLOCK_NEVER);
}

static int l_output(lua_State *L)
{
	const struct child *c = check_child(L);
	for (int errors = 0; errors < 2; errors++) {
		size_t len = errors ? c->result.errors_len : c->result.output_len;
		const char *text = errors ? c->errors : c->output;
		if (c->process)
			text = process_output(c->process, errors, &len);
		lua_pushlstring(L, text ? text : "", text ? len : 0);
	}
	return 2;
}

/* --- the end --- */

void host_end_children(struct host *h)
{
	h->no_children = h->children == NULL;
	if (h->no_children)
		return;
	for (struct child *c = h->children; c; c = c->next)
		process_signal(c->process, SIGTERM);
	if (loop_run_until(h->loop, &h->no_children, STOP_MS))
		return;
	while (h->children) {
		struct child *c = h->children;
		process_abandon(c->process);
		c->process = NULL;
		leave_host(c);
		free_if_done(c);
	}
}

static int l_env(lua_State *L)
{
	lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
	return 1;
}

/* NAME=value, or nothing, or a comment. The value is taken as it stands. */
static bool set_line(char *line)
{
	line += strspn(line, " \t");
	char *equals = strchr(line, '=');
	if (*line == '\0' || *line == '#')
		return true;
	if (!equals || equals == line)
		return false;
	*equals = '\0';
	return strpbrk(line, " \t") == NULL && setenv(line, equals + 1, 1) == 0;
}

static int l_load_env(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct buffer *text = bind_scratch(L, ENV_FILE_MAX);
	struct err e = {0};
	if (files_read(path, text, &e) != 0)
		return bind_fail(L, &e);
	int number = 1;
	for (char *line = text->data, *end; line && *line; line = end, number++) {
		end = line + strcspn(line, "\r\n");
		end += *end == '\r' && end[1] == '\n' ? (*end = '\0', 1) : 0;
		if (*end)
			*end++ = '\0';
		if (!set_line(line)) { /* the line itself may hold a secret */
			err_set(&e, ERR_INVALID, "%s line %d: NAME=value was expected", path, number);
			return bind_fail(L, &e);
		}
	}
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg handle_methods[] = {
	{"signal", l_signal},
	{"wait", l_wait},
	{"output", l_output},
	{NULL, NULL},
};

static const luaL_Reg process_functions[] = {
	{"run", l_run},
	{"spawn", l_spawn},
	{"env", l_env},
	{"load_env", l_load_env},
	{NULL, NULL},
};

int bind_open_process(lua_State *L)
{
	bind_class_with_fields(L, CHILD_CLASS, handle_methods, handle_collect);
	luaL_newlib(L, process_functions);
	set_integer(L, "id", getpid());
	return 1;
}
