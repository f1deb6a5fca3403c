/* A generation of policies: what it may do, what stops it, what it is told. */
#include <lua.h>
#include <lualib.h>
#include <lauxlib.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "script/policy.h"
#include "script/policy_state.h"
#include "script/transfer.h"
#include "script/value.h"
#include "test.h"

static lua_State *host;
static struct policy_error error;
static uint64_t wall_ms, instructions; /* of what is loaded; 0: as in production */

/* Of the processor's time: a busy machine is no fault of what is judged. */
static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Without a watchdog, for who forks: a condition that a thread of the parent is about to leave is copied as it stands, and in the child
 * nobody ever leaves it. */
static void open_host_unwatched(void)
{
	host = luaL_newstate();
	luaL_openlibs(host);
	value_open(host);
}

static void open_host(void)
{
	if (host != NULL)
		return;
	open_host_unwatched();
	policy_watchdog_start(5); /* no test may reach it */
}

static struct policy *load_files(const struct policy_file *files, size_t count)
{
	open_host();
	struct policy_file helper = {.name = "prelude.lua", .source = "return {twice = function(x) return 2 * x end}"};
	helper.len = strlen(helper.source);
	struct policy_options o = {.name = "test", .files = files, .file_count = count, .helpers = &helper, .helper_count = 1,
		.wall_ms_max = wall_ms, .instructions_max = instructions};
	return policy_new(&o, &error);
}

/* A file p.lua whose decide(seen) has this body. */
static struct policy *try_load(const char *source)
{
	struct policy_file f = {.name = "p.lua", .source = source, .len = strlen(source)};
	return load_files(&f, 1);
}

static struct policy *must_load(const char *source)
{
	struct policy *p = try_load(source);
	if (p == NULL)
		FAIL("%s:%d: %s", error.file, error.line, error.text);
	return p;
}

static enum script_outcome call(struct policy *p, const char *json)
{
	lua_settop(host, 0);
	lua_pushstring(host, json);
	transfer_push_raw(host, 1);
	return policy_call(p, "p", "decide", host, 2, 1, &error);
}

/* Valid until the call after the next. */
static const char *json_of_top(void)
{
	static struct buffer out[2];
	static int which;
	which = !which;
	buffer_deinit(&out[which]);
	buffer_init(&out[which], 1 << 20);
	if (lua_isnil(host, -1))
		value_push_null(host);
	value_to_json(host, -1, &out[which], 0);
	return buffer_text(&out[which]);
}

/* The JSON of what body gives for seen = json. */
static const char *result_of(const char *body, const char *json)
{
	char source[8192];
	snprintf(source, sizeof source, "return {decide = function(seen) %s end}", body);
	struct policy *p = must_load(source);
	if (call(p, json) != SCRIPT_OK)
		FAIL("%s: %s:%d: %s", body, error.file, error.line, error.text);
	policy_free(p);
	return json_of_top();
}

/* body must fail so, soon, and leave a policy that still works. */
static void check_fails(const char *body, enum script_outcome outcome)
{
	char source[8192];
	snprintf(source, sizeof source, "return {decide = function(seen) if seen.fine then return 1 end %s end}", body);
	wall_ms = outcome == SCRIPT_CLOCK ? 0 : 4000; /* a busy machine may need that to spend a budget, */
	instructions = outcome == SCRIPT_BUDGET ? 2500000 : 0; /* of which a fourth will do: sanitizers are slow */
	struct policy *p = must_load(source);
	wall_ms = instructions = 0;
	double start = seconds();
	enum script_outcome got = call(p, "{}");
	double took = seconds() - start;
	if (got != outcome)
		FAIL("%s: expected %s but it is %s (%s)", body, script_outcome_name(outcome), script_outcome_name(got), error.text);
	if (took > 2.5)
		FAIL("%s: ran for %.2f s", body, took);
	if (getenv("TIMES") != NULL)
		printf("  %6.0f ms %-7s %s:%d %.60s | %.60s\n", took * 1e3, script_outcome_name(got), error.file, error.line, error.text, body);
	CHECK_INT(lua_gettop(host), ==, 2);
	CHECK_INT(call(p, "{\"fine\":true}"), ==, SCRIPT_OK);
	start = seconds();
	policy_free(p);
	CHECK(seconds() - start < 1);
}

TEST(plain_data_goes_in_and_comes_out)
{
	CHECK_TEXT(result_of("return seen", "{\"a\":[],\"b\":{},\"c\":null,\"d\":9007199254740993,\"e\":0.1,\"f\":[1,[2]]}"),
		"{\"a\":[],\"b\":{},\"c\":null,\"d\":9007199254740993,\"e\":0.1,\"f\":[1,[2]]}");
	CHECK_TEXT(result_of("return {n = twice(21), half = 10 / 2, x = seen.a.b}", "{\"a\":{\"b\":true}}"), "{\"half\":5,\"n\":42,\"x\":true}");
	CHECK_TEXT(result_of("return json.array{}", "{}"), "[]");
	CHECK_TEXT(result_of("return nil", "{}"), "null");
}

TEST(several_arguments_and_tables_of_the_host_go_in)
{
	struct policy *p = must_load("return {decide = function(a, b, c) return {a.x.y, b, c == nil, #a.list} end}");
	lua_settop(host, 0);
	CHECK_INT(luaL_dostring(host, "return {x = {y = 'deep'}, list = {1, 2, 3}}"), ==, LUA_OK);
	lua_pushinteger(host, 7);
	lua_pushnil(host);
	CHECK_INT(policy_call(p, "p", "decide", host, 1, 3, &error), ==, SCRIPT_OK);
	CHECK_INT(lua_gettop(host), ==, 4);
	CHECK_TEXT(json_of_top(), "[\"deep\",7,true,3]");
}

TEST(endless_loops_are_stopped)
{
	check_fails("while true do end", SCRIPT_BUDGET);
	check_fails("local s = '1.' .. ('0'):rep(60000) while true do quantity.compare(s, s) end", SCRIPT_BUDGET);
	check_fails("local p = ('a'):rep(1 << 20) while true do ('x'):find(p) end", SCRIPT_BUDGET);
	check_fails("repeat until false", SCRIPT_BUDGET);
	check_fails("::again:: goto again", SCRIPT_BUDGET);
	check_fails("for i = 1, math.huge do end", SCRIPT_BUDGET);
	check_fails("while true do pcall(function() while true do end end) end", SCRIPT_BUDGET);
	check_fails("local function f() pcall(f) return pcall(f) end f() while true do f() end", SCRIPT_BUDGET);
	check_fails("local f = pcall while true do f(f, f, f, function() while true do end end) end", SCRIPT_BUDGET);
	check_fails("local function f() local ok, e = pcall(f) while true do end end f()", SCRIPT_BUDGET);
	check_fails("local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end", SCRIPT_BUDGET);
	check_fails("local t = setmetatable({}, {__tostring = function() while true do end end}) return tostring(t)", SCRIPT_BUDGET);
	check_fails("return string.format('%s', setmetatable({}, {__tostring = function() while true do end end}))", SCRIPT_BUDGET);
	check_fails("return ('x'):gsub('x', function() while true do end end)", SCRIPT_BUDGET);
	check_fails("table.sort({1, 2, 3}, function() while true do end end)", SCRIPT_BUDGET);
	check_fails("local m = {} local t = setmetatable({}, m) m.__close = function() while true do end end "
		"local x <close> = t local y <close> = t error('x')", SCRIPT_BUDGET);
	check_fails("local m = {} local t = setmetatable({}, m) m.__close = function() while true do pcall(error) end end "
		"while true do local x <close> = t pcall(function() local y <close> = t end) end", SCRIPT_BUDGET);
	check_fails("for k, v in function() return 1 end do end", SCRIPT_BUDGET);
	check_fails("local s = 'x' for i = 1, 1e9 do s = s:upper() end", SCRIPT_BUDGET);
}

TEST(an_error_that_would_loop_when_shown_is_named_by_its_type)
{
	check_fails("error(setmetatable({}, {__tostring = function() while true do end end}))", SCRIPT_ERROR);
	CHECK_TEXT(error.text, "a table was raised as an error, where a text was expected");
	CHECK_TEXT(error.file, "p.lua");
	CHECK_INT(error.line, ==, 1);
	check_fails("error()", SCRIPT_ERROR);
	CHECK_CONTAINS(error.text, "a nil was raised");
}

TEST(loops_inside_c_functions_are_stopped)
{
	check_fails("return string.find(string.rep('a', 40), string.rep('a-', 30) .. 'b')", SCRIPT_BUDGET);
	check_fails("while true do pcall(string.find, string.rep('a', 40), string.rep('a-', 30) .. 'b') end", SCRIPT_BUDGET);
	check_fails("return table.move({}, 1, 1e9, 2)", SCRIPT_BUDGET);
	check_fails("return table.move({}, 1, math.maxinteger - 1, 2)", SCRIPT_BUDGET);
	check_fails("return table.concat({}, '', 1, 1e9)", SCRIPT_BUDGET);
	check_fails("return table.concat(setmetatable({}, {__index = function() return '' end}), '', 1, 1e9)", SCRIPT_ERROR);
	check_fails("return table.unpack({}, 1, 1e9)", SCRIPT_BUDGET);
	check_fails("return table.unpack({}, 1, 9e6)", SCRIPT_ERROR);
	check_fails("local t = setmetatable({}, {__len = function() return 1e9 end}) table.insert(t, 1, 1)", SCRIPT_ERROR);
	check_fails("local t = setmetatable({}, {__len = function() return 1e9 end}) table.sort(t, rawequal)", SCRIPT_ERROR);
	check_fails("local t = {} for i = 1, 3e5 do t[i] = i end for i = 1, 1e6 do table.insert(t, 1, i) end", SCRIPT_BUDGET);
	check_fails("local t = {} for i = 1, 2e5 do t[i] = i end while true do table.sort(t, rawequal) end", SCRIPT_BUDGET);
	check_fails("local t = {} for i = 1, 3e5 do t[i] = '' end while true do table.concat(t) end", SCRIPT_BUDGET);
	check_fails("local t = {} for i = 1, 3e5 do t[i] = i end while true do pairs(t) end", SCRIPT_BUDGET);
	check_fails("local t = {} for i = 1, 1e5 do t[i] = i end local k while true do k = next(t, k) end", SCRIPT_BUDGET);
	check_fails("while true do string.rep('', 1e9) string.rep('', 1e9, '') end", SCRIPT_BUDGET);
	check_fails("local s = string.rep('1', 1000000) while true do tonumber(s) end", SCRIPT_BUDGET);
	check_fails("local s = string.rep('a', 1000000) while true do utf8.len(s) utf8.offset(s, 500000) end", SCRIPT_BUDGET);
	check_fails("local s = string.rep('a', 1000000) while true do s:reverse() end", SCRIPT_BUDGET);
	check_fails("local s = string.rep('a', 1000000) while true do local x = s .. 'b' end", SCRIPT_BUDGET);
	check_fails("local s = string.rep('[', 60) .. string.rep(']', 60) while true do json.decode(s) end", SCRIPT_BUDGET);
	check_fails("local t = {} for i = 1, 60 do t = {t, t} end return json.encode(t)", SCRIPT_BUDGET);
	check_fails("local t, u = {}, {} for i = 1, 60 do t, u = {t, t}, {u, u} end return json.equal(t, u)", SCRIPT_BUDGET);
	check_fails("local t, u = {}, {} t[1], u[1] = t, u return json.equal(t, u)", SCRIPT_ERROR);
	check_fails("local t = {} for i = 1, 60 do t = {t, t} end return json.copy(t)", SCRIPT_MEMORY);
}

TEST(comparing_huge_texts_is_stopped_soon)
{
	check_fails("local a = string.rep('a', 1000000) local b, c = a .. 'b' .. a, a .. 'c' .. a local n = 0 "
		"while true do if b < c then n = n + 1 end if b == c then n = 0 end end", SCRIPT_CLOCK);
}

TEST(memory_is_capped)
{
	check_fails("local t = {} while true do t[#t + 1] = {} end", SCRIPT_MEMORY);
	check_fails("local s = 'x' while true do s = s .. s end", SCRIPT_MEMORY);
	CHECK_TEXT(error.file, "p.lua");
	CHECK_INT(error.line, ==, 1);
	CHECK_TEXT(error.text, "needs more than 16384 KiB of memory: something grows without end, or is far too large");
	check_fails("local t, s = {}, ('x'):rep(1000000) for i = 1, 1e9 do t[i] = s .. i end", SCRIPT_MEMORY);
	check_fails("while true do pcall(function() local t = {} while true do t[#t + 1] = {} end end) end", SCRIPT_MEMORY);
	check_fails("local function f() return f() + 1 end return f()", SCRIPT_MEMORY);
	CHECK_TEXT(error.file, "p.lua");
	check_fails("local function f(...) return f(1, ...) end return f()", SCRIPT_CLOCK);
	check_fails("local f f = function() local a <const> = {f = f} return (f()) end return f()", SCRIPT_MEMORY);
	check_fails("return string.rep('x', 1e9)", SCRIPT_ERROR);
	CHECK_CONTAINS(error.text, "string.rep would make more than 1048576 bytes");
	check_fails("return ('x'):rep(1e9)", SCRIPT_ERROR);
	check_fails("return ('x'):rep(10, ('y'):rep(1000000))", SCRIPT_ERROR);
	check_fails("return string.format('%99999d', 1)", SCRIPT_ERROR);
	check_fails("return string.format(('%99d'):rep(100000), 1)", SCRIPT_ERROR);
	check_fails("local t = {} for i = 1, 200 do t[i] = ('x'):rep(1000000) end return t", SCRIPT_MEMORY);
}

TEST(a_larger_input_raises_the_cap_for_its_call)
{
	static char json[4 << 20];
	size_t n = 0;
	json[n++] = '[';
	while (n < sizeof json - 40)
		n += (size_t)snprintf(json + n, 40, "{\"a\":1,\"b\":\"text of it\"},");
	json[n - 1] = ']';
	json[n] = '\0';
	struct policy *p = must_load("return {decide = function(seen) return #seen end}");
	enum script_outcome outcome = call(p, json);
	if (outcome != SCRIPT_OK)
		FAIL("%s", error.text);
	CHECK_INT(lua_tointeger(host, -1), >, 100000);
	CHECK_INT(call(p, "[]"), ==, SCRIPT_OK);
	CHECK_INT(policy_stats(p).memory, <, 1 << 20);
}

/* 3,000 turns of the loop are more than this state's budget; each is work on a part of the input. */
TEST(a_larger_input_raises_the_instructions_for_its_call)
{
	static char json[400000];
	size_t n = 0;
	json[n++] = '[';
	for (int i = 0; i < 3000; i++)
		n += (size_t)snprintf(json + n, 130, "%s\"%0100d\"", i > 0 ? "," : "", i);
	json[n++] = ']';
	instructions = 100000;
	struct policy *p = must_load("return {decide = function(seen) local n = 0 for i = 1, #seen do for k = 1, 50 do n = n + #seen[i] end end "
		"return n end}");
	enum script_outcome outcome = call(p, json);
	if (outcome != SCRIPT_OK)
		FAIL("%s", error.text);
	CHECK_INT(lua_tointeger(host, -1), ==, 3000 * 50 * 100);
	policy_free(p);
	p = must_load("return {decide = function(seen) while true do end end}");
	CHECK_INT(call(p, json), ==, SCRIPT_BUDGET);
	CHECK_TEXT(error.text, "stopped after 1236004 instructions: it loops, or does too much for one call");
	CHECK_INT(call(p, "[]"), ==, SCRIPT_BUDGET);
	CHECK_TEXT(error.text, "stopped after 100000 instructions: it loops, or does too much for one call");
	policy_free(p);
	instructions = 0;
}

TEST(a_policy_cannot_reach_the_machine)
{
	static const char *const absent[] = {"load", "loadstring", "loadfile", "dofile", "package", "io", "os", "debug", "coroutine",
		"collectgarbage", "getmetatable", "rawset", "rawget", "print", "xpcall", "_G", "warn", "newproxy", "spelt_wrong"};
	for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
		char body[200];
		snprintf(body, sizeof body, "return %s", absent[i]);
		check_fails(body, SCRIPT_ERROR);
		snprintf(body, sizeof body, "the variable \"%s\" is not declared", absent[i]);
		CHECK_CONTAINS(error.text, body);
	}
	CHECK_TEXT(result_of("return {string.dump == nil, math.random == nil, math.randomseed == nil, string.pack == nil, "
		"('').dump == nil}", "{}"), "[true,true,true,true,true]");
}

TEST(globals_and_libraries_cannot_be_written)
{
	check_fails("x = 1", SCRIPT_ERROR);
	CHECK_CONTAINS(error.text, "the global \"x\" is written");
	check_fails("pairs = nil", SCRIPT_ERROR);
	check_fails("_ENV.pairs = nil", SCRIPT_ERROR);
	check_fails("string.rep = 1", SCRIPT_ERROR);
	CHECK_CONTAINS(error.text, "\"string.rep\" is written");
	check_fails("string.format = nil", SCRIPT_ERROR);
	check_fails("json.null = 1", SCRIPT_ERROR);
	check_fails("('').x = 1", SCRIPT_ERROR);
	check_fails("setmetatable(string, {})", SCRIPT_ERROR);
	check_fails("setmetatable(_ENV, nil)", SCRIPT_ERROR);
	check_fails("json.array(string)", SCRIPT_ERROR);
	check_fails("table.insert(string, 1)", SCRIPT_ERROR);
	check_fails("return rawlen(string) + rawset(string, 1, 1)", SCRIPT_ERROR);
	check_fails("for _, k in ipairs{'__gc', '__close', '__mode', '__metatable'} do "
		"if pcall(setmetatable, {}, {[k] = 1}) then return end end error('all refused')", SCRIPT_ERROR);
	CHECK_TEXT(error.text, "all refused");
}

TEST(no_address_is_shown)
{
	CHECK_TEXT(result_of("return {tostring({}), tostring(pairs), ('%s %-6s|'):format({}, seen.n), tostring(seen.n), ('%5s'):format(true)}",
		"{\"n\":null}"), "[\"table\",\"function\",\"table null  |\",\"null\",\" true\"]");
	check_fails("return ('%p'):format({})", SCRIPT_ERROR);
}

TEST(pairs_walks_numbers_then_texts_in_order)
{
	CHECK_TEXT(result_of("local o, t = {}, {b=1, a=2, [3]=3, [1]=1, [2.5]=2, [-1]=0, [true]=1, B=1, [false]=0} "
		"for k, v in pairs(t) do o[#o+1] = tostring(k)..'='..v end return o", "{}"),
		"[\"-1=0\",\"1=1\",\"2.5=2\",\"3=3\",\"B=1\",\"a=2\",\"b=1\",\"false=0\",\"true=1\"]");
	CHECK_TEXT(result_of("local o = {} for k, v in pairs({10, 20, 30}) do o[#o+1] = k * v end return o", "{}"), "[10,40,90]");
	CHECK_TEXT(result_of("local o, t = {}, {a=1,b=2,c=3} for k in pairs(t) do t.b = nil t.z = 1 o[#o+1] = k end return o", "{}"), "[\"a\",\"c\"]");
	CHECK_TEXT(result_of("local o, t, k, v = {}, {x=1, y=2, 5} repeat k, v = next(t, k) o[#o+1] = k until k == nil return {o, next({}) == nil}", "{}"),
		"[[1,\"x\",\"y\"],true]");
	CHECK_TEXT(result_of("local n = 0 for i = 1, 300 do seen['k' .. i % 300] = i end for k, v in pairs(seen) do n = n * 31 % 1000003 + #k + v end return n", "{}"),
		result_of("local n = 0 for i = 300, 1, -1 do seen['k' .. i % 300] = i end for k, v in pairs(seen) do n = n * 31 % 1000003 + #k + v end return n", "{}"));
	check_fails("for k in pairs({[{}] = 1}) do end", SCRIPT_ERROR);
	CHECK_CONTAINS(error.text, "has a table as a key");
}

TEST(sort_is_stable_and_survives_unfair_comparators)
{
	CHECK_TEXT(result_of("local t = {} for i = 1, 50 do t[i] = {k = i % 3, i = i} end table.sort(t, function(a, b) return a.k < b.k end) "
		"local ok = true for i = 2, 50 do local a, b = t[i-1], t[i] ok = ok and (a.k < b.k or a.k == b.k and a.i < b.i) end return ok", "{}"), "true");
	CHECK_TEXT(result_of("local t = {3, 1, 2} table.sort(t) local u = {'b', 'a', 'c'} table.sort(u, function(a, b) return a > b end) return {t, u}", "{}"),
		"[[1,2,3],[\"c\",\"b\",\"a\"]]");
	CHECK_TEXT(result_of("local t = {} for i = 1, 500 do t[i] = i end table.sort(t, function() return true end) local s = 0 for i = 1, 500 do s = s + t[i] end return s", "{}"), "125250");
}

TEST(an_error_has_file_line_source_and_path)
{
	struct policy *p = must_load("local M = {}\n"
		"local function count(seen)\n"
		"  -- how many\n"
		"\tlocal n = seen.object.spec.replicas.count + 1\n"
		"  return n\n"
		"end\n"
		"function M.decide(seen) local c = count(seen) return c end\n"
		"return M\n");
	CHECK_INT(call(p, "{\"object\":{\"spec\":{}}}"), ==, SCRIPT_ERROR);
	CHECK_TEXT(error.text, "attempt to index a nil value (field 'replicas')");
	CHECK_TEXT(error.file, "p.lua");
	CHECK_INT(error.line, ==, 4);
	CHECK_TEXT(error.source, "local n = seen.object.spec.replicas.count + 1");
	CHECK_TEXT(error.path, "seen.object.spec.replicas");
	CHECK_CONTAINS(error.traceback, "p.lua:4: in count");
	CHECK_CONTAINS(error.traceback, "p.lua:7: in ");
	CHECK_INT(call(p, "{\"object\":{\"spec\":{\"replicas\":null}}}"), ==, SCRIPT_ERROR);
	CHECK_TEXT(error.text, "attempt to index a null value (field 'replicas')");
	CHECK_INT(call(p, "{\"object\":null}"), ==, SCRIPT_ERROR);
	CHECK_TEXT(error.path, "seen.object");
}

TEST(long_and_odd_error_texts_are_cut_and_cleaned)
{
	check_fails("error(('\\xff\\0x'):rep(100000))", SCRIPT_ERROR);
	CHECK_INT(strlen(error.text), <, 1024);
	CHECK_CONTAINS(error.text, "??x??x");
	check_fails("error({text = 'x'})", SCRIPT_ERROR);
	check_fails("local ok, e = pcall(error, {a = 1}) error(e)", SCRIPT_ERROR);
	check_fails("local ok, e = pcall(error, 'inner') error(e, 0)", SCRIPT_ERROR);
	CHECK_TEXT(error.text, "inner");
	check_fails("assert(false, 'told')", SCRIPT_ERROR);
	CHECK_TEXT(error.text, "told");
	CHECK_TEXT(error.file, "p.lua");
}

TEST(a_file_that_does_not_load_is_refused_with_its_place)
{
	CHECK(try_load("return {\n  a = = 1\n}") == NULL);
	CHECK_TEXT(error.file, "p.lua");
	CHECK_INT(error.line, ==, 2);
	CHECK_TEXT(error.source, "a = = 1");
	CHECK_CONTAINS(error.text, "unexpected symbol near '='");
	CHECK(try_load("\033Lua") == NULL);
	CHECK_CONTAINS(error.text, "p.lua is compiled Lua; a policy is text");
	CHECK(try_load("while true do end") == NULL);
	CHECK_INT(error.outcome, ==, SCRIPT_BUDGET);
	CHECK(try_load("local t = {} while true do t[#t+1] = {} end") == NULL);
	CHECK_INT(error.outcome, ==, SCRIPT_MEMORY);
	CHECK(try_load("return require 'nothing'") == NULL);
	CHECK_CONTAINS(error.text, "there is no file nothing.lua");
	CHECK(try_load("return require 'moonphase.nothing'") == NULL);
	CHECK_CONTAINS(error.text, "the host offers no module \"moonphase.nothing\"");
}

#define FILE_OF(file, text) {.name = file, .source = text, .len = sizeof(text) - 1}

TEST(files_require_each_other_by_either_kind_of_name)
{
	const struct policy_file slash[] = {FILE_OF("p.lua", "local d = require 'children.deployment' return {decide = d.make}"),
		FILE_OF("children/deployment.lua", "return {make = function() return 'made' end}"), FILE_OF("p_spec.lua", "error('not loaded')"),
		FILE_OF("settings.yaml", "a: 1")};
	const struct policy_file dots[] = {slash[0], FILE_OF("children.deployment.lua", "return {make = function() return 'made' end}")};
	struct policy *a = load_files(slash, 4), *b = load_files(dots, 2);
	CHECK(a != NULL && b != NULL);
	CHECK_INT(call(a, "{}"), ==, SCRIPT_OK);
	CHECK_TEXT(lua_tostring(host, -1), "made");
	CHECK_INT(call(b, "{}"), ==, SCRIPT_OK);
	CHECK(strcmp(policy_digest(a), policy_digest(b)) != 0);
	CHECK_INT(strlen(policy_digest(a)), ==, 16);
	const struct policy_file turned[] = {slash[3], slash[2], slash[1], slash[0]};
	struct policy *c = load_files(turned, 4);
	CHECK_TEXT(policy_digest(c), policy_digest(a));
	CHECK_TEXT(policy_source(a, "settings.yaml", NULL), "a: 1");
	CHECK(policy_source(a, "p_spec.lua", NULL) == NULL); /* nobody reads it again */
	const struct policy_file both[] = {slash[0], slash[1], dots[1]};
	CHECK(load_files(both, 3) == NULL);
	CHECK_CONTAINS(error.text, "are both the module \"children.deployment\"");
}

TEST(the_helper_of_specs_is_run_only_where_it_is_required)
{
	open_host();
	const struct policy_file helper = FILE_OF("spec.lua", "error 'run'"), idle = FILE_OF("p.lua", "return {}"),
		user = FILE_OF("p.lua", "return require 'moonphase.spec'");
	struct policy_options o = {.name = "test", .files = &idle, .file_count = 1, .helpers = &helper, .helper_count = 1};
	CHECK(policy_new(&o, &error) != NULL);
	o.files = &user;
	CHECK(policy_new(&o, &error) == NULL);
	CHECK_CONTAINS(error.text, "run");
}

TEST(a_text_that_lasts_is_not_copied)
{
	open_host();
	static const char text[] = "return {decide = function() return nothing.here end}";
	struct policy_file f = FILE_OF("p.lua", text);
	f.source = text;
	f.lasts = true;
	struct policy_options o = {.name = "test", .files = &f, .file_count = 1};
	struct policy *p = policy_new(&o, &error);
	CHECK(p != NULL && policy_source(p, "p.lua", NULL) == text);
	CHECK_INT(call(p, "{}"), ==, SCRIPT_ERROR);
	CHECK_TEXT(error.source, text);
}

TEST(a_circle_of_requires_is_told_as_a_sentence)
{
	const struct policy_file files[] = {FILE_OF("p.lua", "return require 'phases'"), FILE_OF("phases.lua", "return require 'history'"),
		FILE_OF("history.lua", "return require 'phases'")};
	CHECK(load_files(files, 3) == NULL);
	CHECK_TEXT(error.text, "phases.lua requires history.lua, which requires phases.lua: a circle; move what both need into a third file");
	CHECK_TEXT(error.file, "history.lua");
}

TEST(a_result_that_is_no_plain_data_is_told_with_its_path)
{
	check_fails("return {spec = {ports = {1, pairs}}}", SCRIPT_VALUE);
	CHECK_CONTAINS(error.text, "spec.ports[2]: a function is no plain data");
	CHECK_TEXT(error.file, "p.lua");
	check_fails("return {a = {1, nil, 3}}", SCRIPT_VALUE);
	CHECK_CONTAINS(error.text, "a: an array has holes");
	check_fails("return {a = {1, b = 2}}", SCRIPT_VALUE);
	check_fails("return {a = 0/0}", SCRIPT_VALUE);
	CHECK_CONTAINS(error.text, "a: not-a-number");
	check_fails("return {a = math.huge}", SCRIPT_VALUE);
	check_fails("return {['x.y/z'] = '\\xff'}", SCRIPT_VALUE);
	CHECK_CONTAINS(error.text, "[\"x.y/z\"]: a text is not UTF-8");
	check_fails("return {a = setmetatable({}, {})}", SCRIPT_VALUE);
	check_fails("local t = {} t.t = t return t", SCRIPT_VALUE);
	check_fails("local t = {} for i = 1, 60 do t = {t, t} end return t", SCRIPT_VALUE);
	check_fails("local t = {} for i = 1, 70 do t = {t} end return t", SCRIPT_VALUE);
	check_fails("local t, s = {}, ('x'):rep(1000000) for i = 1, 30 do t[i] = s end return t", SCRIPT_VALUE);
}

TEST(broken_json_in_an_argument_is_told_with_its_place)
{
	struct policy *p = must_load("return {decide = function() end}");
	CHECK_INT(call(p, "{\"a\":1,}"), ==, SCRIPT_VALUE);
	CHECK_CONTAINS(error.text, "the argument: JSON, byte 7");
	lua_settop(host, 0);
	CHECK_INT(luaL_dostring(host, "return {a = {b = print}}"), ==, LUA_OK);
	CHECK_INT(policy_call(p, "p", "decide", host, 1, 1, &error), ==, SCRIPT_VALUE);
	CHECK_CONTAINS(error.text, "the argument.a.b: a function is no plain data");
	CHECK_INT(lua_gettop(host), ==, 1);
}

TEST(a_missing_module_or_function_is_told)
{
	struct policy *p = must_load("return {decide = 1}");
	CHECK_INT(call(p, "{}"), ==, SCRIPT_ERROR);
	CHECK_TEXT(error.text, "p.lua has no function \"decide\"");
	CHECK_INT(policy_call(p, "q", "decide", host, 1, 0, &error), ==, SCRIPT_ERROR);
	CHECK_TEXT(error.text, "there is no file q.lua");
}

TEST(describe_gives_the_table_with_functions_as_words)
{
	struct policy *p = must_load("return {kind = 'X', list = {1, 2}, decide = function() end, m = setmetatable({a = 1}, {})}");
	lua_settop(host, 0);
	CHECK_INT(policy_describe(p, "p", host, &error), ==, SCRIPT_OK);
	CHECK_TEXT(json_of_top(), "{\"decide\":\"function\",\"kind\":\"X\",\"list\":[1,2],\"m\":{\"a\":1}}");
}

/* What decide does with `source`'s file-level things must be found and named so. */
static void check_state(const char *source, const char *what)
{
	struct policy *p = must_load(source);
	CHECK_INT(policy_check_state(p, &error), ==, SCRIPT_OK);
	enum script_outcome outcome = call(p, "{\"name\":\"x\"}");
	if (outcome != SCRIPT_OK)
		FAIL("%s: %s", source, error.text);
	if (what == NULL) {
		if (policy_check_state(p, &error) != SCRIPT_OK)
			FAIL("%s: %s: %s", source, error.file, error.text);
		return;
	}
	CHECK_INT(policy_check_state(p, &error), ==, SCRIPT_STATE);
	char text[300];
	snprintf(text, sizeof text, "%s changed between calls: a policy must keep nothing", what);
	CHECK_TEXT(error.text, text);
	CHECK_TEXT(error.file, "p.lua");
	policy_free(p);
}

TEST(what_a_policy_keeps_between_calls_is_found_and_named)
{
	check_state("local seen_before = 0 return {decide = function() seen_before = seen_before + 1 end}", "the local \"seen_before\"");
	check_state("local cache = {} return {decide = function(s) cache[s.name] = 1 end}", "the local \"cache\"");
	check_state("local cache = {x = 0} return {decide = function(s) cache.x = cache.x + 1 end}", "the local \"cache.x\"");
	check_state("local cache = {x = {}} return {decide = function(s) cache.x.y = 1 end}", "the local \"cache.x\"");
	check_state("local M = {count = 0} function M.decide() M.count = M.count + 1 end return M", "the field \"count\" of what it returned");
	check_state("local M = {} function M.decide() M.count = 1 end return M", "the fields of what it returned");
	check_state("local M = {rows = {{n = 1}}} function M.decide() M.rows[1].n = 2 end return M", "the field \"rows[1].n\" of what it returned");
	check_state("local function inner() local n = 0 return function() n = n + 1 return n end end local f = inner() "
		"return {decide = function() return f() end}", "the local \"n\"");
	check_state("local t = setmetatable({}, {__index = {}}) return {decide = function() setmetatable(t, {__index = {a = 1}}) end}", "the local \"t.metatable\"");
	check_state("local it = {1, 2, 3} local f, s = pairs(it) return {decide = function() return (f(s)) end}", "the local \"f[2]\"");
	check_state("local f = ('a b c'):gmatch('%a') return {decide = function() return f() end}", "the local \"f[3]\"");
	check_state("local t = {1} return {decide = function() json.array(t) end}", "the local \"t.metatable\"");
}

TEST(what_a_policy_makes_and_forgets_is_no_state)
{
	check_state("local names = {a = 1, b = 2, c = 3} return {decide = function() for i = 1, 100 do names['x' .. i] = i end "
		"for i = 1, 100 do names['x' .. i] = nil end return names.a end}", NULL);
	check_state("local function make() local n = 0 return function() n = n + 1 return n end end "
		"return {decide = function(s) local f, t = make(), {} t[f()] = s.name return t end}", NULL);
	check_state("local recursive function recursive(n) if n > 0 then return recursive(n - 1) end return twice(1) end "
		"return {decide = function() for w in ('a b'):gmatch('%a') do recursive(3) end end}", NULL);
}

TEST(a_policy_that_fails_is_as_good_as_new)
{
	struct policy *p = must_load("return {decide = function(s) if s.bad == 1 then error('bad') elseif s.bad == 2 then while true do end "
		"elseif s.bad == 3 then local t = {} while true do t[#t + 1] = t end end return s.bad end}");
	static const enum script_outcome outcomes[] = {SCRIPT_OK, SCRIPT_ERROR, SCRIPT_BUDGET, SCRIPT_MEMORY};
	for (int i = 0; i < 24; i++) {
		char json[40];
		snprintf(json, sizeof json, "{\"bad\":%d}", i % 4);
		CHECK_INT(call(p, json), ==, outcomes[i % 4]);
		CHECK_INT(policy_check_state(p, &error), ==, SCRIPT_OK);
	}
	CHECK_INT(policy_stats(p).calls, ==, 24);
	CHECK(policy_stats(p).seconds > 0 && policy_stats(p).seconds < 5);
	CHECK(call(p, "{}") == SCRIPT_OK && policy_stats(p).instructions < 1000);
}

TEST(limits_are_those_that_were_asked_for)
{
	open_host();
	const struct policy_file f = FILE_OF("p.lua", "return {decide = function(s) local t = {} for i = 1, s.n do t[i] = i end return #t end}");
	struct policy_options o = {.files = &f, .file_count = 1, .memory_max = 1 << 20, .instructions_max = 100000, .wall_ms_max = 50};
	struct policy *p = policy_new(&o, &error);
	CHECK(p != NULL);
	CHECK_INT(call(p, "{\"n\":1000}"), ==, SCRIPT_OK);
	CHECK_INT(call(p, "{\"n\":1000000}"), ==, SCRIPT_BUDGET);
	CHECK_TEXT(error.text, "stopped after 100000 instructions: it loops, or does too much for one call");
	policy_free(p);
	o.instructions_max = 1u << 30;
	p = policy_new(&o, &error);
	CHECK_INT(call(p, "{\"n\":1000000}"), ==, SCRIPT_MEMORY);
	const struct policy_file loop = FILE_OF("p.lua", "return {decide = function(s) while true do end end}");
	o.files = &loop;
	struct policy *slow = policy_new(&o, &error);
	CHECK_INT(call(slow, "{}"), ==, SCRIPT_CLOCK);
	CHECK_CONTAINS(error.text, "stopped after 50 ms of wall clock");
}

TEST(with_any_amount_of_memory_it_works_or_says_that_it_is_too_little)
{
	open_host();
	const struct policy_file f = FILE_OF("p.lua", "local M = {} function M.decide(s) local t = {} for k, v in pairs(s.object) do t[#t + 1] = k .. json.encode(v) end "
		"table.sort(t) return {names = t, text = table.concat(t, ','):gsub('%a+', '<%0>'), ok = pcall(string.rep, 'x', 20000)} end return M");
	struct policy_options o = {.files = &f, .file_count = 1};
	int refused = 0, failed = 0, worked = 0;
	for (o.memory_max = 1 << 10; worked < 5; o.memory_max += 256) {
		struct policy *p = policy_new(&o, &error);
		if (p == NULL) {
			CHECK_INT(error.outcome, ==, SCRIPT_MEMORY);
			refused++;
			continue;
		}
		enum script_outcome outcome = call(p, "{\"object\":{\"a\":[1,2,3],\"b\":{\"c\":\"text\"},\"d\":null}}");
		if (outcome == SCRIPT_OK)
			worked++;
		else
			failed++;
		CHECK(outcome == SCRIPT_OK || outcome == SCRIPT_MEMORY);
		outcome = policy_check_state(p, &error);
		CHECK(outcome == SCRIPT_OK || outcome == SCRIPT_MEMORY);
		policy_free(p);
	}
	CHECK_INT(refused, >, 10);
	CHECK_INT(failed, >, 5);
}

/* A process inside a call under a watchdog of 1 s: it stands still first if it should, then stays for so long. How it ended. */
static int end_in_a_call(struct policy *p, bool stands_still, long ms)
{
	pid_t child = fork();
	if (child == 0) {
		freopen("/dev/null", "w", stderr);
		policy_watchdog_start(1);
		policy_entered(p);
		if (stands_still)
			raise(SIGSTOP);
		nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
		policy_left(p);
		_exit(0);
	}
	int status = 0;
	if (stands_still) {
		CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
		nanosleep(&(struct timespec){2, 500000000}, NULL);
		kill(child, SIGCONT);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

TEST(the_watchdog_ends_a_process_that_hangs_in_a_call_and_no_process_that_stood_still)
{
	open_host_unwatched();
	struct policy *p = must_load("return 1");
	int hung = end_in_a_call(p, false, 3000);
	CHECK(WIFSIGNALED(hung) && WTERMSIG(hung) == SIGABRT);
	CHECK_INT(end_in_a_call(p, true, 400), ==, 0);
	policy_free(p);
}

/* How often the threads of this process beside the one that asks gave up the processor by themselves. */
static long waits_of_others(void)
{
	long all = 0, one;
	char path[64], line[128];
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *d; (d = readdir(tasks)) != NULL;) {
		if (d->d_name[0] == '.' || atol(d->d_name) == (long)gettid())
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%.20s/status", d->d_name);
		FILE *f = fopen(path, "r");
		while (f != NULL && fgets(line, sizeof line, f) != NULL)
			if (sscanf(line, "voluntary_ctxt_switches: %ld", &one) == 1)
				all += one;
		if (f != NULL)
			fclose(f);
	}
	closedir(tasks);
	return all;
}

TEST(the_watchdog_of_an_idle_process_sleeps_and_a_call_wakes_it)
{
	open_host_unwatched();
	struct policy *p = must_load("return 1");
	pid_t child = fork(); /* without the threads of other tests */
	if (child == 0) {
		const struct timespec moment = {0, 400000000}, while_long = {1, 500000000};
		policy_watchdog_start(60);
		nanosleep(&moment, NULL);
		long before = waits_of_others();
		nanosleep(&while_long, NULL);
		long idle = waits_of_others() - before;
		policy_entered(p);
		nanosleep(&while_long, NULL);
		long busy = waits_of_others() - before - idle;
		policy_left(p);
		_exit(idle != 0 ? 1 : busy < 2 ? 2 : 0);
	}
	int status = 0;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 0); /* 1: it was woken for nothing; 2: the call did not wake it */
	policy_free(p);
}

/* --- for specs --- */

static struct policy *load_for_specs(const char *source, bool coverage, bool reversed)
{
	struct policy_file f = {.name = "p.lua", .source = source, .len = strlen(source)};
	struct policy_options o = {.name = "test", .files = &f, .file_count = 1, .coverage = coverage, .reversed = reversed,
		.instructions_max = 100000}; /* a small budget: the wall clock must not come first */
	open_host();
	struct policy *p = policy_new(&o, &error);
	if (p == NULL)
		FAIL("%s:%d: %s", error.file, error.line, error.text);
	return p;
}

TEST(coverage_says_which_lines_were_executed_and_changes_no_budget)
{
	const char *source = "local M = {}\n\nfunction M.decide(seen)\n  if seen.a then\n    return 1\n  end\n  for i = 1, 3000 do seen.b = i end\n  return 2\nend\nreturn M\n";
	size_t count = 0;
	struct policy *plain = load_for_specs(source, false, false);
	CHECK(policy_lines(plain, "p.lua", &count) == NULL);
	struct policy *p = load_for_specs(source, true, false);
	const unsigned char *lines = policy_lines(p, "p.lua", &count);
	CHECK(lines != NULL && policy_lines(p, "q.lua", &count) == NULL);
	CHECK_INT((int)count, ==, 11);
	CHECK(lines[0] && !lines[1] && lines[9] && !lines[3]); /* loaded, not called */
	CHECK(call(p, "{}") == SCRIPT_OK && call(plain, "{}") == SCRIPT_OK);
	CHECK(lines[3] && !lines[4] && lines[6] && lines[7]);
	CHECK(policy_stats(p).instructions == policy_stats(plain).instructions);
	CHECK(call(p, "{\"a\":1}") == SCRIPT_OK && lines[4]);
	policy_free(p);
	policy_free(plain);
	p = load_for_specs("return {decide = function() while true do end end}", true, false);
	CHECK(call(p, "{}") == SCRIPT_BUDGET);
	policy_free(p);
}

TEST(pairs_and_next_go_the_other_way_for_specs_that_ask_whether_it_matters)
{
	struct policy *p = load_for_specs("return {decide = function(t) local o = {} for k in pairs(t) do o[#o + 1] = k end "
		"local n = 0 for i, v in pairs({7, 8}) do n = n * 10 + v end return {o, (next(t)), n} end}", false, true);
	CHECK(call(p, "{\"a\":1,\"b\":2,\"c\":3}") == SCRIPT_OK);
	CHECK_TEXT(json_of_top(), "[[\"c\",\"b\",\"a\"],\"c\",78]");
	policy_free(p);
}

TEST_MAIN(T(plain_data_goes_in_and_comes_out),
	T(several_arguments_and_tables_of_the_host_go_in),
	T_TIMED(endless_loops_are_stopped),
	T_TIMED(the_watchdog_ends_a_process_that_hangs_in_a_call_and_no_process_that_stood_still),
	T_TIMED(the_watchdog_of_an_idle_process_sleeps_and_a_call_wakes_it),
	T(an_error_that_would_loop_when_shown_is_named_by_its_type),
	T_TIMED(loops_inside_c_functions_are_stopped),
	T_TIMED(comparing_huge_texts_is_stopped_soon),
	T_TIMED(memory_is_capped),
	T_TIMED(a_larger_input_raises_the_cap_for_its_call),
	T(a_larger_input_raises_the_instructions_for_its_call),
	T(a_policy_cannot_reach_the_machine),
	T(globals_and_libraries_cannot_be_written),
	T(no_address_is_shown),
	T(pairs_walks_numbers_then_texts_in_order),
	T(coverage_says_which_lines_were_executed_and_changes_no_budget),
	T(pairs_and_next_go_the_other_way_for_specs_that_ask_whether_it_matters),
	T(sort_is_stable_and_survives_unfair_comparators),
	T(an_error_has_file_line_source_and_path),
	T(long_and_odd_error_texts_are_cut_and_cleaned),
	T_TIMED(a_file_that_does_not_load_is_refused_with_its_place),
	T(files_require_each_other_by_either_kind_of_name),
	T(the_helper_of_specs_is_run_only_where_it_is_required),
	T(a_text_that_lasts_is_not_copied),
	T(a_circle_of_requires_is_told_as_a_sentence),
	T_TIMED(a_result_that_is_no_plain_data_is_told_with_its_path),
	T(broken_json_in_an_argument_is_told_with_its_place),
	T(a_missing_module_or_function_is_told),
	T(describe_gives_the_table_with_functions_as_words),
	T(what_a_policy_keeps_between_calls_is_found_and_named),
	T(what_a_policy_makes_and_forgets_is_no_state),
	T_TIMED(a_policy_that_fails_is_as_good_as_new),
	T_TIMED(limits_are_those_that_were_asked_for),
	T(with_any_amount_of_memory_it_works_or_says_that_it_is_too_little))
