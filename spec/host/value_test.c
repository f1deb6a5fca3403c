/* JSON text and Lua values: nothing is lost on the way in or out, and what cannot be said is told
 * with its place. Checked against cJSON with random documents, where cJSON can be trusted (its
 * numbers are doubles; ours are not). */
#include <lua.h>
#include <lualib.h>
#include <lauxlib.h>
#include <cjson/cJSON.h>
#include <math.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "script/value.h"
#include "pick.h"
#include "test.h"

static lua_State *L;

static void open_state(void)
{
	if (L != NULL)
		return;
	L = luaL_newstate();
	luaL_openlibs(L);
	value_open(L);
	value_open_json(L);
	lua_setglobal(L, "json");
	value_open_quantity(L);
	lua_setglobal(L, "quantity");
}

/* One process a test: what is open at its end is closed for the leak checker. */
static void close_state(void)
{
	if (L != NULL)
		lua_close(L);
	L = NULL;
}

static void run(const char *code)
{
	open_state();
	if (luaL_dostring(L, code) != LUA_OK)
		FAIL("%s\n    in %s", lua_tostring(L, -1), code);
	lua_settop(L, 0);
}

static int l_round(lua_State *S)
{
	struct buffer *b = lua_touserdata(S, 1);
	size_t len;
	const char *text = lua_tolstring(S, 2, &len);
	value_from_json(S, text, len);
	value_to_json(S, -1, b, (int)lua_tointeger(S, 3));
	return 0;
}

/* Text to a value and back; or the error's text. */
static const char *again(const char *text, int indent)
{
	static struct buffer b;
	static int is_registered;
	open_state();
	if (!is_registered++)
		atexit(close_state);
	buffer_deinit(&b);
	buffer_init(&b, 1 << 20);
	lua_pushcfunction(L, l_round);
	lua_pushlightuserdata(L, &b);
	lua_pushstring(L, text);
	lua_pushinteger(L, indent);
	if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
		buffer_clear(&b);
		buffer_add_text(&b, lua_tostring(L, -1));
		lua_pop(L, 1);
	}
	return buffer_text(&b);
}

#define SAME(text) CHECK_TEXT(again(text, 0), text)

TEST(empty_arrays_and_objects_and_null_survive)
{
	SAME("[]");
	SAME("{}");
	SAME("null");
	SAME("[[],{},null,[null],{\"a\":{}},{\"a\":[]}]");
	SAME("true");
	SAME("\"\"");
}

TEST(integers_stay_exact)
{
	SAME("9007199254740993");
	SAME("1491926160718000000");
	SAME("9223372036854775807");
	SAME("-9223372036854775808");
	SAME("[0,-1,1752000000000000]");
	CHECK_TEXT(again("-0", 0), "0");
	CHECK_TEXT(again("9223372036854775808", 0), "9.223372036854776e+18"); /* past int64: a float */
	CHECK_TEXT(again("-9223372036854775809", 0), "-9.223372036854776e+18");
}

TEST(floats_are_short_and_integral_ones_have_no_point)
{
	CHECK_TEXT(again("5.0", 0), "5");
	CHECK_TEXT(again("1e3", 0), "1000");
	SAME("0.1");
	SAME("-2.5");
	SAME("3.141592653589793");
	SAME("1e+22");
	SAME("1e-07");
	SAME("0.30000000000000004");
	SAME("1.7976931348623157e+308");
	CHECK_CONTAINS(again("1e400", 0), "the number is too large");
	CHECK_CONTAINS(again("[1,-1e999]", 0), "the number is too large");
	CHECK_TEXT(again("1e-400", 0), "0");
	run("assert(math.type(json.decode('5')) == 'integer' and math.type(json.decode('5.0')) == 'float')");
	run("assert(json.encode(10 / 2) == '5' and json.encode(2^53) == '9007199254740992')");
}

TEST(names_are_sorted_bytewise)
{
	CHECK_TEXT(again("{\"b\":1,\"a\":2,\"ab\":3,\"B\":4,\"\":5,\"\\u00e9\":6}", 0), "{\"\":5,\"B\":4,\"a\":2,\"ab\":3,\"b\":1,\"\xc3\xa9\":6}");
	CHECK_TEXT(again("{\"a\":1,\"a\":2}", 0), "{\"a\":2}");
	run("local t, n = {}, {} for i = 1, 1000 do t['k' .. i] = i n[i] = '\"k' .. i .. '\":' .. i end "
		"table.sort(n, function(a, b) return a:match('\"(.-)\"') < b:match('\"(.-)\"') end) assert(json.encode(t) == '{' .. table.concat(n, ',') .. '}')");
}

TEST(long_arrays_and_objects_keep_their_order_and_content)
{
	run("local a = {} for i = 1, 1000 do a[i] = i end local s = '[' .. table.concat(a, ',') .. ']' "
		"local t = json.decode(s) assert(#t == 1000 and t[64] == 64 and t[65] == 65 and json.is_array(t) and json.encode(t) == s)");
	run("local t = {} for i = 1, 129 do t['x' .. i] = {i} end assert(json.equal(json.decode(json.encode(t)), t))");
	run("local s = '{' for i = 1, 200 do s = s .. '\"a\":' .. i .. ',' end assert(json.encode(json.decode(s .. '\"b\":0}')) == '{\"a\":200,\"b\":0}')");
}

TEST(texts_survive_whatever_is_in_them)
{
	SAME("\"plain text that is longer than eight bytes\"");
	SAME("\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u0000\"");
	SAME("\"gr\xc3\xbc\xc3\x9f \xe6\x9c\x88 \xf0\x9f\x8c\x99\"");
	CHECK_TEXT(again("\"\\ud83c\\udf19\\u00fc\\/\"", 0), "\"\xf0\x9f\x8c\x99\xc3\xbc/\"");
	CHECK_CONTAINS(again("\"\\ud83c\"", 0), "JSON, byte");
	CHECK_CONTAINS(again("\"\xff\"", 0), "not UTF-8");
	run("for _, s in ipairs{'\\xff', 'abcdefgh\\xc3', '\\xed\\xa0\\x80', '\\xc0\\x80'} do assert(not pcall(json.encode, {s})) assert(not pcall(json.encode, {[s] = 1})) end");
	run("for n = 100, 140 do local s = ('x'):rep(n) assert(json.encode(s) == '\"' .. s .. '\"') end");
}

TEST(broken_texts_are_told_with_their_byte)
{
	CHECK_TEXT(again("{\"a\":1 \"b\":2}", 0), "JSON, byte 7: a comma or } is missing");
	static const char *const broken[] = {"", " ", "[", "{", "]", "{\"a\"}", "{\"a\":}", "[1,]", "[,]", "{,}", "01", "1.", ".5", "+1", "1e", "nul",
		"'a'", "\"", "[1]x", "[1] 2", "{1:2}", "NaN", "-", "\"\t\"", "[1 2]", "// c\n1", "\xef\xbb\xbf" "1", "{\"a\":1,}", "tru", "\"\\x\""};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		if (strncmp(again(broken[i], 0), "JSON, byte ", 11) != 0)
			FAIL("%s gave %s", broken[i], again(broken[i], 0));
	run("local v, why = json.decode('[1,') assert(v == nil and why:find('^JSON, byte 3: '), why)");
}

TEST(depth_is_bounded_in_both_directions)
{
	run("local s = ('['):rep(64) .. (']'):rep(64) assert(json.encode(json.decode(s)) == s)");
	run("local v, why = json.decode(('['):rep(65) .. (']'):rep(65)) assert(v == nil and why:find('nested too deeply'))");
	run("assert(json.decode(('['):rep(1000000)) == nil) assert(json.decode(('{\"a\":'):rep(100000)) == nil)");
	run("local t = {} for i = 1, 100000 do t = {t} end local ok, why = pcall(json.encode, t) assert(not ok and why:find('nested more than 64 deep'))");
	run("local t = {} t.t = t assert(not pcall(json.encode, t)) local u = {} u.t = u assert(not pcall(json.equal, t, u))");
}

TEST(a_copy_has_tables_of_its_own_and_arrays_stay_arrays)
{
	run("local t = { a = json.array { 1, { b = 'x' } }, c = json.array {}, d = {}, e = json.null, [7] = 2.5 } local u = json.copy(t) "
		"assert(json.equal(t, u) and u.a ~= t.a and u.a[2] ~= t.a[2] and u.e == json.null and u[7] == 2.5) "
		"assert(json.is_array(u.a) and json.is_array(u.c) and not json.is_array(u.d)) u.a[2].b = 'y' assert(t.a[2].b == 'x')");
	run("assert(json.copy(nil) == nil and json.copy(false) == false and json.copy 'x' == 'x')");
	run("local t = {} t.t = t local ok, why = pcall(json.copy, t) assert(not ok and why:find('hold themselves'), why)");
}

/* encode(value) must raise with this text. */
static void refuses(const char *value, const char *text)
{
	char code[1000];
	snprintf(code, sizeof code, "local ok, why = pcall(json.encode, %s) assert(not ok, 'no error') assert(why == [==[%s]==], why)", value, text);
	run(code);
}

TEST(what_json_cannot_say_is_told_with_its_path)
{
	refuses("print", "a function is no JSON value");
	refuses("{spec = {ports = {1, print}}}", "spec.ports[2]: a function is no JSON value");
	refuses("{a = {[1] = 1, [3] = 3}}", "a: an array has holes; fill them with json.null");
	refuses("{a = {1, 2, x = 3}}", "a: a table has names and positions; JSON has objects or arrays");
	refuses("{a = {[0] = 1}}", "a: a table has a key that is neither a name nor a position from 1");
	refuses("{a = {[1.5] = 1}}", "a: a table has a key that is neither a name nor a position from 1");
	refuses("{a = {[true] = 1}}", "a: a table has a key that is neither a name nor a position from 1");
	refuses("{['a.b/c'] = {{0/0}}}", "[\"a.b/c\"][1][1]: not-a-number is no JSON value");
	refuses("{x = -math.huge}", "x: infinity is no JSON value");
	refuses("{x = json.array{y = 1}}", "x: an array has names");
	refuses("{x = io.stdout}", "x: a userdata is no JSON value");
	refuses("{x = '\\xff'}", "x: a text is not UTF-8");
}

TEST(pretty_text_is_indented)
{
	CHECK_TEXT(again("{\"b\":[1,{\"c\":[]}],\"a\":{}}", 2),
		"{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"c\": []\n    }\n  ]\n}");
}

TEST(equality_is_that_of_json_values)
{
	run("local d, e = json.decode, json.equal "
		"assert(e(1, 1.0) and e('a', 'a') and not e('1', 1) and e(json.null, json.null) and not e(json.null, false)) "
		"assert(e(d'{\"a\":[1,{}],\"b\":null}', d'{\"b\":null,\"a\":[1.0,{}]}')) "
		"assert(not e(d'[]', d'{}') and e(d'[]', json.array()) and e({}, d'{}') and e({1}, d'[1]')) "
		"assert(not e({a=1}, {a=1,b=2}) and not e({a=1,b=2}, {a=1}) and not e({a=1}, {b=1}) and not e({1,2}, {1})) "
		"assert(json.is_array(json.array{1}) and not json.is_array({1}) and not json.is_array(1)) "
		"assert(json.encode(json.array()) == '[]' and json.encode({json.null}) == '[null]')");
}

TEST(a_text_past_the_buffers_maximum_is_an_error)
{
	open_state();
	struct buffer b;
	buffer_init(&b, 20);
	lua_pushcfunction(L, l_round);
	lua_pushlightuserdata(L, &b);
	lua_pushstring(L, "{\"a\":[\"0123456789\",\"0123456789\"]}");
	lua_pushinteger(L, 0);
	CHECK_INT(lua_pcall(L, 3, 0, 0), ==, LUA_ERRRUN);
	CHECK_TEXT(lua_tostring(L, -1), "a[2]: the JSON is larger than 20 bytes");
	buffer_deinit(&b);
}

TEST(quantities_are_told_apart_from_what_is_none)
{
	run("local q = quantity assert(q.compare('1000m', '1') == 0 and q.compare('1', 2) == -1 and q.compare('2Gi', '1G') == 1) "
		"assert(q.add('500m', 1) == '1500m' and q.sub('1', '250m') == '750m' and q.milli('1.5') == 1500 and q.units('1500m') == 2) "
		"local v, why = q.compare('x', '1') assert(v == nil and type(why) == 'string') "
		"v, why = q.milli({}) assert(v == nil and why == 'a table is no quantity')");
}

/* --- against cJSON --- */

static void add_text(struct buffer *b)
{
	static const char *const parts[] = {"a", "name", "\\n", "\\u0041", "\xc3\xa9", "\\\"", " ", "0", "\\\\", "\\ud83c\\udf19", "xyzxyzxyz", "/"};
	buffer_add_byte(b, '"');
	for (unsigned i = pick(5); i > 0; i--)
		buffer_add_text(b, parts[pick(12)]);
}

static void add_value(struct buffer *b, int depth)
{
	static const char *const numbers[] = {"0", "-1", "12345678901", "0.5", "1e3", "-2.5E-3", "5.0", "9007199254740991", "0.1", "123.456e+10"};
	unsigned n = pick(6);
	switch (pick(depth > 5 ? 4 : 7)) {
	case 0:
		buffer_add_text(b, numbers[pick(10)]);
		break;
	case 1:
		add_text(b);
		buffer_add_byte(b, '"');
		break;
	case 2:
		buffer_add_text(b, pick(2) ? "true" : "false");
		break;
	case 3:
		buffer_add_text(b, "null");
		break;
	case 4:
		buffer_add_byte(b, '[');
		for (unsigned i = 0; i < n; i++) {
			buffer_add_text(b, i != 0 ? " , " : "");
			add_value(b, depth + 1);
		}
		buffer_add_byte(b, ']');
		break;
	default:
		buffer_add_byte(b, '{');
		for (unsigned i = 0; i < n; i++) {
			buffer_add_text(b, i != 0 ? "," : " ");
			add_text(b);
			buffer_printf(b, "%u\" : ", i); /* names differ, for cJSON keeps both */
			add_value(b, depth + 1);
		}
		buffer_add_byte(b, '}');
	}
}

TEST(random_documents_mean_the_same_to_cjson)
{
	struct buffer doc;
	buffer_init(&doc, 1 << 20);
	for (int i = 0; i < 20000; i++) {
		buffer_clear(&doc);
		add_value(&doc, 0);
		const char *ours = again(buffer_text(&doc), (int)pick(2) * 2);
		cJSON *a = cJSON_ParseWithOpts(buffer_text(&doc), NULL, 1), *b = cJSON_ParseWithOpts(ours, NULL, 1);
		CHECK(a != NULL);
		if (b == NULL || !cJSON_Compare(a, b, 1))
			FAIL("document %d:\n%s\n    gave\n%s", i, buffer_text(&doc), ours);
		char *printed = cJSON_PrintUnformatted(a);
		char *first = xstrdup(ours), *second = xstrdup(again(printed, 0));
		cJSON *c = cJSON_Parse(second);
		CHECK(c != NULL && cJSON_Compare(a, c, 1));
		free(first);
		free(second);
		cJSON_free(printed);
		cJSON_Delete(a);
		cJSON_Delete(b);
		cJSON_Delete(c);
	}
	buffer_deinit(&doc);
}

TEST(documents_cut_or_changed_at_random_never_do_harm)
{
	struct buffer doc;
	buffer_init(&doc, 1 << 20);
	for (int i = 0; i < 20000; i++) {
		buffer_clear(&doc);
		add_value(&doc, 0);
		for (unsigned k = pick(3); k > 0 && doc.len > 0; k--)
			doc.data[pick((unsigned)doc.len)] = (char)pick(256);
		char *exact = malloc(doc.len + 1); /* so that a read behind it is seen */
		size_t len = doc.len - pick((unsigned)doc.len + 1) / 4;
		exact = realloc(exact, len != 0 ? len : 1);
		memcpy(exact, buffer_text(&doc), len);
		open_state();
		value_try_json(L, exact, len);
		lua_settop(L, 0);
		free(exact);
	}
	buffer_deinit(&doc);
}

TEST_MAIN(T(empty_arrays_and_objects_and_null_survive),
	T(integers_stay_exact),
	T(floats_are_short_and_integral_ones_have_no_point),
	T(names_are_sorted_bytewise),
	T(long_arrays_and_objects_keep_their_order_and_content),
	T(texts_survive_whatever_is_in_them),
	T(broken_texts_are_told_with_their_byte),
	T(depth_is_bounded_in_both_directions),
	T(a_copy_has_tables_of_its_own_and_arrays_stay_arrays),
	T(what_json_cannot_say_is_told_with_its_path),
	T(pretty_text_is_indented),
	T(equality_is_that_of_json_values),
	T(a_text_past_the_buffers_maximum_is_an_error),
	T(quantities_are_told_apart_from_what_is_none),
	T(random_documents_mean_the_same_to_cjson),
	T(documents_cut_or_changed_at_random_never_do_harm))
