/* Patterns with a bill: the same answers as the stock functions on random patterns and subjects,
 * and an end to what the stock ones would run for years. */
#include <lua.h>
#include <lualib.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <time.h>

#include "script/limits.h"
#include "script/pattern.h"
#include "test.h"

static lua_State *new_state(void)
{
	lua_State *L = luaL_newstate();
	luaL_openlibs(L);
	lua_newtable(L);
	luaL_setfuncs(L, pattern_functions, 0);
	lua_setglobal(L, "ours");
	return L;
}

static void must(lua_State *L, const char *code)
{
	if (luaL_dostring(L, code) != LUA_OK)
		FAIL("%s", lua_tostring(L, -1));
}

TEST(the_manuals_examples_hold)
{
	lua_State *L = new_state();
	must(L,
		"local f, m, g, s = ours.find, ours.match, ours.gmatch, ours.gsub\n"
		"assert(f('hello world', 'o w') == 5)\n"
		"assert(select('#', f('', '')) == 2)\n"
		"assert(m('  key = value ', '^%s*(%w+)%s*=%s*(%w+)') == 'key')\n"
		"assert(m('THE (quick) fox', '%((%a+)%)') == 'quick')\n"
		"assert(s('hello world', '(%w+)', '%1 %1') == 'hello hello world world')\n"
		"assert(s('hello world', '%w+', '%0 %0', 1) == 'hello hello world')\n"
		"assert(s('hello world from Lua', '(%w+)%s*(%w+)', '%2 %1') == 'world hello Lua from')\n"
		"assert(s('$name-$version', '%$(%w+)', {name='lua', version='5.4'}) == 'lua-5.4')\n"
		"assert(m('THE (quick) fox', '%f[%a]%a+%f[%A]') == 'THE')\n"
		"assert(m('f(a(b)c)d', '%b()') == '(a(b)c)')\n"
		"assert(m('say \"hi\" and', '([\"\\'])(.-)%1') == '\"')\n"
		"assert(f('a.b', '.', 2, true) == 2)\n"
		"local words = {} for w in g('one two', '%a+') do words[#words+1] = w end\n"
		"assert(table.concat(words, ',') == 'one,two')\n"
		"assert(m('flaaap', '()aa()') == 3)\n"
		"assert(s('abc', '', '-') == '-a-b-c-')\n"
		"assert(s('abc', 'b', function() return nil end) == 'abc')\n");
	lua_close(L);
}

TEST(a_malformed_pattern_is_told_even_where_the_subject_does_not_reach_it)
{
	lua_State *L = new_state();
	must(L,
		"for _, p in ipairs{'%', '[a', '[^', '[%', '(', ')', 'x(', '%b', '%bx', '%f', '%fa', '%1', '(a%1)', '[a%'} do\n"
		"  local ok, why = pcall(ours.find, '', p .. '')\n"
		"  assert(not ok, p) assert(type(why) == 'string')\n"
		"end\n"
		"assert(not pcall(ours.gsub, 'a', 'a', '%2'))\n"
		"assert(not pcall(ours.gsub, 'a', 'a', '%x'))\n"
		"assert(not pcall(ours.gsub, 'a', 'a', function() return {} end))\n"
		"assert(not pcall(ours.find, 'a', ('(a?)'):rep(33)))\n"
		"assert(not pcall(ours.find, 'a', ('a?'):rep(300)))\n");
	lua_close(L);
}

/* Both functions with the same arguments: the same results, or both raise. Stock may miss a
 * malformed pattern; ours may not raise where stock does not, but for those. */
static const char differential[] =
	"local seed = ... math.randomseed(seed)\n"
	"local atoms = {'a','b','c','.','%a','%d','%s','%w','%A','%x','%u','%l','%p','%g','%c','%.','%%','%z','[ab]','[^a]','[a-c]',"
	" '[%a_]','[^%d]','[]]','[a-]','[^]a]','%b()','%f[%w]','%f[^a]','(', ')','()','^','$','%1','%2','-','*','x','[a-c-e]','[%a-z]','\\0','1', ' '}\n"
	"local repeats = {'','','','*','+','-','?'}\n"
	"local letters = {'a','b','c','a','b','(',')','1',' ','_','.','\\0','Z','-','x','^','$','\\255'}\n"
	"local function pick(t) return t[math.random(#t)] end\n"
	"local function many(t, n, r) local o = {} for i = 1, math.random(0, n) do o[i] = pick(t) .. (r and pick(r) or '') end return table.concat(o) end\n"
	"local function collect(f, s, p, init) local o = {} for a, b, c in f(s, p, init) do o[#o+1] = tostring(a)..'|'..tostring(b)..'|'..tostring(c) if #o > 50 then break end end return table.concat(o, ';') end\n"
	"local function show(...) local t = table.pack(...) for i = 1, t.n do t[i] = tostring(t[i]) end return table.concat(t, ',') end\n"
	"local compared = 0\n"
	"for i = 1, 60000 do\n"
	"  local p, s, init = many(atoms, 6, repeats), many(letters, 10), math.random(-12, 12)\n"
	"  local tries = {\n"
	"    {ours.find, string.find, s, p, init}, {ours.match, string.match, s, p, init}, {ours.find, string.find, s, p, init, i % 3 == 0},\n"
	"    {ours.gsub, string.gsub, s, p, pick{'<%0>', '%1', '%%', 'x', '%2'}, i % 2 == 0 and 2 or nil},\n"
	"    {ours.gsub, string.gsub, s, p, {a='A', b=false, ab='!'}}, {ours.gsub, string.gsub, s, p, function(a) return a and tostring(a)..'.' end},\n"
	"    {function(...) return collect(ours.gmatch, ...) end, function(...) return collect(string.gmatch, ...) end, s, p, init}}\n"
	"  for k, t in ipairs(tries) do\n"
	"    local a = show(pcall(t[1], table.unpack(t, 3, 6))) local b = show(pcall(t[2], table.unpack(t, 3, 6)))\n"
	"    local a_failed, b_failed = a:sub(1, 5) == 'false', b:sub(1, 5) == 'false'\n"
	"    if not (a_failed and (b_failed or a:find('malformed', 1, true) or a:find('capture', 1, true) or a:find('missing', 1, true))) then\n"
	"      compared = compared + 1\n"
	"      if a ~= b then error(('case %d.%d: pattern %q subject %q init %d: ours %q stock %q'):format(i, k, p, s, init, a, b)) end\n"
	"    end\n"
	"  end\n"
	"end\n"
	"assert(compared > 100000, compared)\n";

TEST(random_patterns_give_what_the_stock_functions_give)
{
	lua_State *L = new_state();
	luaL_loadstring(L, differential);
	lua_pushinteger(L, getenv("SEED") != NULL ? atoi(getenv("SEED")) : 7);
	if (lua_pcall(L, 1, 0, 0) != LUA_OK)
		FAIL("%s", lua_tostring(L, -1));
	lua_close(L);
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* a busy machine is no fault of what is judged */
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run_hopeless(lua_State *L)
{
	luaL_requiref(L, "s", luaopen_string, 1);
	luaL_setfuncs(L, pattern_functions, 0);
	if (luaL_dostring(L, lua_tostring(L, 1)) != LUA_OK)
		return lua_error(L);
	return 0;
}

static void check_stopped(const char *code)
{
	struct limits l;
	lua_State *L = limits_open(&l, 0);
	limits_begin(&l, 0, 0);
	double start = seconds();
	lua_pushcfunction(L, run_hopeless);
	lua_pushstring(L, code);
	CHECK_INT(lua_pcall(L, 1, 0, 0), !=, LUA_OK);
	CHECK_INT(l.killed, ==, SCRIPT_BUDGET);
	if (seconds() - start > 2 && getenv("MOONPHASE_SLOW") == NULL)
		FAIL("%s ran for %.1f s", code, seconds() - start);
	limits_end(&l);
	limits_close(&l);
}

TEST(hopeless_matches_are_stopped_by_the_budget)
{
	check_stopped("return s.find(s.rep('a', 40), s.rep('a-', 30) .. 'b')");
	check_stopped("return s.match(s.rep('a', 40), s.rep('a*', 30) .. 'b')");
	check_stopped("return s.gsub(s.rep('a', 40), s.rep('(a?)', 30) .. s.rep('a', 40) .. 'b', '')");
	check_stopped("for x in s.gmatch(s.rep('a', 60), s.rep('.-', 20) .. 'b') do end");
	check_stopped("return s.find(s.rep('(', 100000), '%b()')");
	check_stopped("return s.find(s.rep('a', 100000), '.-.-b')");
	check_stopped("return s.gsub(s.rep('a', 1000000), '.-.-b', '')");
	check_stopped("local x = s.rep('a', 1000000) for i = 1, 1e9 do s.find(x, 'b', 1, true) end");
}

TEST_MAIN(T(the_manuals_examples_hold), T(a_malformed_pattern_is_told_even_where_the_subject_does_not_reach_it),
	T(random_patterns_give_what_the_stock_functions_give), T(hopeless_matches_are_stopped_by_the_budget))
