/* The JSON reader: what it takes and refuses (after the idea of JSONTestSuite), what it finds,
 * what a projection leaves, and that it sees the same as cJSON where both accept. */
#include "test.h"

#include <inttypes.h>
#include <math.h>

#include <cjson/cJSON.h>

#include "base/json.h"
#include "base/xalloc.h"

/* An exact copy on the heap, so that reading one byte too far is seen by the sanitizer. */
static bool accepts(const char *bytes, size_t len)
{
	char *copy = xmalloc(len);
	if (len != 0)
		memcpy(copy, bytes, len);
	struct json_reader r;
	json_reader_init(&r, copy, len);
	enum json_token token;
	do
		token = json_next(&r);
	while (token != JSON_END && token != JSON_ERROR);
	CHECK(json_next(&r) == token);
	CHECK((token == JSON_ERROR) == (r.error != NULL));
	CHECK(json_error_offset(&r) <= len);
	struct json_span span;
	json_reader_init(&r, copy, len);
	bool skipped = json_skip_value(&r, &span) && json_next(&r) == JSON_END;
	CHECK_INT(skipped, ==, token == JSON_END);
	free(copy);
	return token == JSON_END;
}

#define LITERAL(text) {text, sizeof text - 1}
struct sample {
	const char *text;
	size_t len;
};

TEST(takes_every_form_that_rfc_8259_allows)
{
	static const struct sample good[] = {
		LITERAL("{}"), LITERAL("[]"), LITERAL("null"), LITERAL("true"), LITERAL("false"), LITERAL("0"), LITERAL("-0"),
		LITERAL("\"\""), LITERAL(" \t\r\n[ \n] \r\n"), LITERAL("[1]"), LITERAL("[1,2 , 3]"), LITERAL("{\"a\":1}"),
		LITERAL("{ \"a\" : 1 , \"b\":[ ] }"), LITERAL("{\"\":0}"), LITERAL("{\"a\":1,\"a\":2}"), LITERAL("-1"),
		LITERAL("1.5"), LITERAL("0.0"), LITERAL("-0.1e-10"), LITERAL("1E+2"), LITERAL("1e5"), LITERAL("0e1"),
		LITERAL("123456789012345678901234567890"), LITERAL("1e99999"), LITERAL("[-9223372036854775808]"),
		LITERAL("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), LITERAL("\"\\u0000\""), LITERAL("\"\\u00e9\\uABCD\""),
		LITERAL("\"\\ud83d\\ude00\""), LITERAL("\"\xc3\xa9\""), LITERAL("\"\xe2\x82\xac\""),
		LITERAL("\"\xf0\x9f\x98\x80\""), LITERAL("\"\xf4\x8f\xbf\xbf\""), LITERAL("\"\xef\xbf\xbf\""),
		LITERAL("\"\x7f\""), LITERAL("\"\xe0\xa0\x80\""), LITERAL("\"\xed\x9f\xbf\""), LITERAL("\"/* no */\""),
		LITERAL("\"long enough for eight at once, and a bit\""), LITERAL("[[],{},[{}],{\"a\":{}}]"),
		LITERAL("[null,true,false]"), LITERAL("[\"\xe2\x80\xa8\"]"), LITERAL("\"12345678\\n12345678\""),
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (!accepts(good[i].text, good[i].len))
			FAIL("refused %s", good[i].text);
}

TEST(refuses_everything_else)
{
	static const struct sample bad[] = {
		LITERAL(""), LITERAL(" "), LITERAL("["), LITERAL("]"), LITERAL("{"), LITERAL("}"), LITERAL("[1"), LITERAL("[1,"),
		LITERAL("[1,]"), LITERAL("[,1]"), LITERAL("[1,,2]"), LITERAL("[1 2]"), LITERAL("[1}"), LITERAL("{]"), LITERAL("{\"a\"}"),
		LITERAL("{\"a\":}"), LITERAL("{\"a\" 1}"), LITERAL("{\"a\":1,}"), LITERAL("{,}"), LITERAL("{a:1}"), LITERAL("{1:1}"),
		LITERAL("{'a':1}"), LITERAL("{\"a\":1 \"b\":2}"), LITERAL("{\"a\":1]"), LITERAL("{\"a\",1}"), LITERAL("{null:1}"),
		LITERAL("{\"a\"::1}"), LITERAL("{\"a\":1}}"), LITERAL("[]]"), LITERAL("1 2"), LITERAL("{}x"), LITERAL("{} {}"),
		LITERAL("nul"), LITERAL("nulll"), LITERAL("True"), LITERAL("NaN"), LITERAL("Infinity"), LITERAL("-Infinity"),
		LITERAL("01"), LITERAL("-01"), LITERAL("00"), LITERAL("1."), LITERAL(".5"), LITERAL("+1"), LITERAL("-"), LITERAL("--1"),
		LITERAL("1e"), LITERAL("1e+"), LITERAL("1.e1"), LITERAL("1.5.5"), LITERAL("0x10"), LITERAL("1_000"), LITERAL("1a"),
		LITERAL("-.5"), LITERAL("1e1.5"), LITERAL("\""), LITERAL("\"a"), LITERAL("'a'"), LITERAL("\"\\\""), LITERAL("\"\\x41\""),
		LITERAL("\"\\a\""), LITERAL("\"\\u12\""), LITERAL("\"\\u123g\""), LITERAL("\"\\U0041\""), LITERAL("\"\\"), LITERAL("\"\\u"),
		LITERAL("\"\\ud800\""), LITERAL("\"\\udc00\""), LITERAL("\"\\ud800\\u0041\""), LITERAL("\"\\ud800\\ud800\""),
		LITERAL("\"\\udc00\\ud800\""), LITERAL("\"\\ud800x\""), LITERAL("\"\\ud800\\\""), LITERAL("\"\\ud83d\\ude0\""),
		LITERAL("\"\\\0\""), LITERAL("\"a\0b\""), LITERAL("\"a\nb\""), LITERAL("\"a\tb\""), LITERAL("\"1234567\x1f\""),
		LITERAL("[\"a\0\"]"), LITERAL("\0"), LITERAL("[1]\0"), LITERAL("\xef\xbb\xbf{}"), LITERAL("\xff\xfe[\0]\0"),
		LITERAL("\"\x80\""), LITERAL("\"\xc3\""), LITERAL("\"\xc0\xaf\""), LITERAL("\"\xc1\xbf\""), LITERAL("\"\xe0\x80\xaf\""),
		LITERAL("\"\xed\xa0\x80\""), LITERAL("\"\xf0\x80\x80\x80\""), LITERAL("\"\xf4\x90\x80\x80\""), LITERAL("\"\xf8\x88\x80\x80\x80\""),
		LITERAL("\"\xff\""), LITERAL("\"\xe2\x82\""), LITERAL("\"\xe2\x28\xa1\""), LITERAL("\xc3\xa9"), LITERAL("\"\xf0\x9f\x98"),
		LITERAL("[1]//c"), LITERAL("/**/[1]"), LITERAL("[1]#"), LITERAL("\x0b[]"), LITERAL("\x0c[]"), LITERAL("\xc2\xa0[]"),
		LITERAL("[\"a\",\n4\n,1,1,"), LITERAL("{\"a\":\"b\"}/"), LITERAL("{\"a\":/*c*/\"b\"}"), LITERAL("[\"x\"\"y\"]"), LITERAL(":"), LITERAL(","),
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (accepts(bad[i].text, bad[i].len))
			FAIL("took %s (row %zu)", bad[i].text, i);
}

static const char deployment[] =
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"deploy-iris\",\"uid\":\"0b5c\","
	"\"generation\":3,\"labels\":{\"app\":\"primehub-group\",\"primehub.io/phdeployment\":\"iris\"},"
	"\"managedFields\":[{\"manager\":\"moonphase\",\"fieldsV1\":{\"f:spec\":{\"f:replicas\":{}}}}]},"
	"\"spec\":{\"replicas\":2,\"template\":{\"spec\":{\"containers\":["
	"{\"name\":\"model\",\"image\":\"r/iris:1\",\"resources\":{\"limits\":{\"cpu\":\"500m\"}},\"env\":[{\"name\":\"A\",\"value\":\"\\u00e9\"}]},"
	"{\"name\":\"engine\",\"image\":\"r/engine:2\",\"resources\":{}},{\"name\":\"bare\"}]}}},"
	"\"status\":{\"replicas\":2,\"ratio\":1.50,\"big\":9007199254740993,\"conditions\":[]}}";

TEST(a_document_cut_off_anywhere_is_an_error)
{
	size_t len = strlen(deployment);
	CHECK(accepts(deployment, len));
	for (size_t cut = 0; cut < len; cut++)
		if (accepts(deployment, cut))
			FAIL("took the first %zu bytes", cut);
}

TEST(nesting_is_bounded_and_says_so)
{
	char text[2 * JSON_DEPTH_MAX + 8];
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	CHECK(accepts(text, 2 * JSON_DEPTH_MAX));
	memset(text, '[', JSON_DEPTH_MAX + 1);
	struct json_reader r;
	json_reader_init(&r, text, JSON_DEPTH_MAX + 1);
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		CHECK(json_next(&r) == JSON_ARRAY_BEGIN);
	CHECK(json_next(&r) == JSON_ERROR);
	struct err e;
	CHECK_INT(json_error(&r, &e), ==, ERR_TOO_LARGE);
	CHECK_TEXT(e.text, "JSON is broken at byte 64: arrays and objects are nested too deeply");
}

TEST(tokens_come_in_order_with_their_text)
{
	static const char text[] = " { \"a\\n\" : [ 1.50 , \"x\" ] }";
	static const struct {
		enum json_token token;
		const char *text;
	} expected[] = {{JSON_OBJECT_BEGIN, "{"}, {JSON_KEY, "a\\n"}, {JSON_ARRAY_BEGIN, "["}, {JSON_NUMBER, "1.50"},
		{JSON_STRING, "x"}, {JSON_ARRAY_END, "]"}, {JSON_OBJECT_END, "}"}};
	struct json_reader r;
	json_reader_init(&r, text, strlen(text));
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		CHECK_INT(json_next(&r), ==, expected[i].token);
		CHECK_INT(r.text.len, ==, strlen(expected[i].text));
		CHECK(memcmp(r.text.at, expected[i].text, r.text.len) == 0);
		if (expected[i].token == JSON_KEY)
			CHECK(r.has_escapes && json_text_is(&r, "a\n") && !json_text_is(&r, "a\\n") && !json_text_is(&r, "a"));
	}
	CHECK(json_next(&r) == JSON_END);
	CHECK(json_next(&r) == JSON_END);
}

TEST(elements_of_an_array_can_be_taken_one_by_one)
{
	static const char text[] = "{\"items\":[ {\"a\":[1]} ,\"two\", 3 ],\"x\":1}";
	struct json_reader r;
	struct json_span span;
	json_reader_init(&r, text, strlen(text));
	CHECK(json_next(&r) == JSON_OBJECT_BEGIN && json_next(&r) == JSON_KEY && json_next(&r) == JSON_ARRAY_BEGIN);
	static const char *const expected[] = {"{\"a\":[1]}", "\"two\"", "3"};
	for (size_t i = 0; i < 3; i++) {
		CHECK(json_skip_value(&r, &span));
		CHECK(span.len == strlen(expected[i]) && memcmp(span.at, expected[i], span.len) == 0);
	}
	CHECK(!json_skip_value(&r, &span) && r.error == NULL);
	CHECK(json_next(&r) == JSON_KEY && json_text_is(&r, "x"));
}

TEST(finds_values_by_path)
{
	struct json_span v;
	enum json_token token;
	size_t len = strlen(deployment);
	CHECK(json_find(deployment, len, &v, &token, "spec", "replicas", NULL));
	CHECK(token == JSON_NUMBER && v.len == 1 && *v.at == '2');
	CHECK(json_find(deployment, len, &v, &token, "metadata", "labels", "primehub.io/phdeployment", NULL));
	CHECK(token == JSON_STRING && v.len == 4 && memcmp(v.at, "iris", 4) == 0);
	CHECK(json_find(deployment, len, &v, &token, "status", "conditions", NULL) && token == JSON_ARRAY_BEGIN && v.len == 2);
	CHECK(json_find(deployment, len, &v, NULL, NULL) && v.len == len);
	CHECK(!json_find(deployment, len, &v, NULL, "spec", "nothing", NULL));
	CHECK(!json_find(deployment, len, &v, NULL, "kind", "deeper", NULL));
	CHECK(!json_find(deployment, len - 1, &v, NULL, "kind", NULL));
	char *name = json_find_string(deployment, len, "metadata", "name", NULL);
	CHECK_TEXT(name, "deploy-iris");
	free(name);
	CHECK(json_find_string(deployment, len, "spec", NULL) == NULL);
	CHECK_INT(json_find_integer(deployment, len, -1, "status", "big", NULL), ==, 9007199254740993);
	CHECK_INT(json_find_integer(deployment, len, -1, "status", "ratio", NULL), ==, -1);
	CHECK_INT(json_find_integer("9223372036854775808", 19, -1, NULL), ==, -1);
	CHECK_INT(json_find_integer("-9223372036854775808", 20, -1, NULL), ==, INT64_MIN);
}

TEST(of_duplicate_members_the_last_one_counts)
{
	static const char text[] = "{\"a\":{\"b\":1},\"a\":{\"b\":2,\"\\u0062\":3}}";
	CHECK_INT(json_find_integer(text, strlen(text), 0, "a", "b", NULL), ==, 3);
	static const char gone[] = "{\"a\":{\"b\":1},\"a\":7}";
	CHECK_INT(json_find_integer(gone, strlen(gone), 0, "a", "b", NULL), ==, 0);
}

TEST(a_string_with_a_nul_inside_is_not_cut_short)
{
	static const char text[] = "{\"a\":\"x\\u0000y\"}";
	CHECK(json_find_string(text, strlen(text), "a", NULL) == NULL);
}

TEST(strings_survive_escaping_and_unescaping)
{
	static const char all[] = "\"\\/\b\f\n\r\t\x01\x1f\x7f \xc3\xa9\xf0\x9f\x98\x80 end";
	struct buffer b;
	buffer_init(&b, 1000);
	CHECK_INT(json_add_string(&b, all, sizeof all - 1), ==, 0);
	CHECK_TEXT(buffer_text(&b), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f \xc3\xa9\xf0\x9f\x98\x80 end\"");
	char *text = json_find_string(b.data, b.len, NULL);
	CHECK_TEXT(text, all);
	free(text);
	buffer_clear(&b);
	CHECK_INT(json_add_string(&b, "a\xff\xc3(\0", 5), ==, 0);
	CHECK_TEXT(buffer_text(&b), "\"a\xef\xbf\xbd\xef\xbf\xbd(\\u0000\"");
	text = json_find_string("\"\\ud83d\\ude00\\u20ac\\u00e9A\\u0041\"", 33, NULL);
	CHECK_TEXT(text, "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9" "AA");
	free(text);
	buffer_deinit(&b);
	buffer_init(&b, 5);
	CHECK_INT(json_add_string(&b, "12345", 5), ==, ERR_TOO_LARGE);
	CHECK_TEXT(buffer_text(&b), "");
	buffer_deinit(&b);
}

static void check_projection(const char *text, const char *const *keep, size_t keeps, const char *const *drop,
	size_t drops, const char *expected)
{
	struct buffer out;
	buffer_init(&out, 1 << 20);
	buffer_add_text(&out, "before");
	struct err e;
	struct json_projection p = {keep, keeps, drop, drops};
	char *copy = xmemdup0(text, strlen(text));
	if (json_project(copy, strlen(copy), &p, &out, &e) != 0)
		FAIL("%s", e.text);
	free(copy);
	CHECK_TEXT(buffer_text(&out) + 6, expected);
	CHECK(accepts(out.data + 6, out.len - 6));
	buffer_deinit(&out);
}
#define PATHS(...) (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define NONE NULL, 0

TEST(a_projection_of_nothing_only_minifies)
{
	check_projection(" { \"a\" : [ 1 , 2.50 , { } , [ ] , \"x\\u00e9 y\" ] ,\n\"b\": null } ", NONE, NONE,
		"{\"a\":[1,2.50,{},[],\"x\\u00e9 y\"],\"b\":null}");
	check_projection(" 7 ", NONE, NONE, "7");
	check_projection(deployment, NONE, NONE, deployment);
}

TEST(dropping_managed_fields_leaves_the_rest_untouched)
{
	check_projection("{\"metadata\":{\"name\":\"a\",\"managedFields\":[{\"x\":{}}]},\"n\":1.0}", NONE,
		PATHS("metadata.managedFields"), "{\"metadata\":{\"name\":\"a\"},\"n\":1.0}");
	check_projection("{\"metadata\":{\"managedFields\":[],\"name\":\"a\"}}", NONE,
		PATHS("metadata.managedFields"), "{\"metadata\":{\"name\":\"a\"}}");
	check_projection("{\"metadata\":{\"managed\\u0046ields\":[]}, \"managedFields\" : [ ] }", NONE,
		PATHS("metadata.managedFields"), "{\"metadata\":{},\"managedFields\":[]}");
}

TEST(a_projection_of_a_deployment_keeps_what_is_named)
{
	check_projection(deployment, PATHS("metadata.name", "metadata.labels[primehub.io/phdeployment]",
		"spec.template.spec.containers.*.resources", "status"), PATHS("status.conditions", "status.nothing"),
		"{\"metadata\":{\"name\":\"deploy-iris\",\"labels\":{\"primehub.io/phdeployment\":\"iris\"}},"
		"\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"500m\"}}},"
		"{\"resources\":{}}]}}},\"status\":{\"replicas\":2,\"ratio\":1.50,\"big\":9007199254740993}}");
}

TEST(parents_of_kept_paths_appear_only_as_far_as_needed)
{
	check_projection("{\"a\":{\"b\":{}},\"c\":[{\"d\":1}],\"e\":5}", PATHS("a.b.c", "c.*.x", "e.f"), NONE, "{}");
	check_projection("{\"a\":{\"b\":{}},\"c\":1}", PATHS("a.b"), NONE, "{\"a\":{\"b\":{}}}");
	check_projection("[{\"a\":1,\"b\":2},3]", PATHS("*.b"), NONE, "[{\"b\":2}]");
	check_projection("{\"a\":1}", (const char *const[]){NULL}, 0, NONE, "{}");
	check_projection("5", PATHS("a"), NONE, "5");
}

TEST(a_star_is_every_member_and_a_starred_name_stands_in_brackets)
{
	check_projection("{\"x\":{\"k\":1,\"l\":2},\"y\":{\"k\":3},\"*\":{\"k\":4}}", PATHS("*.k"), NONE,
		"{\"x\":{\"k\":1},\"y\":{\"k\":3},\"*\":{\"k\":4}}");
	check_projection("{\"x\":1,\"*\":2}", PATHS("[*]"), NONE, "{\"*\":2}");
	check_projection("{\"a.b\":{\"c\":1},\"a\":{\"b\":2}}", NONE, PATHS("[a.b].c"), "{\"a.b\":{},\"a\":{\"b\":2}}");
	check_projection("{\"a\":[[1,2],{\"b\":3}]}", NONE, PATHS("a.*.*"), "{\"a\":[[],{}]}");
	check_projection("{\"a\":{\"0\":1},\"b\":[1]}", NONE, PATHS("a[0]", "b.0"), "{\"a\":{},\"b\":[1]}");
}

TEST(a_failed_projection_leaves_the_output_as_it_was)
{
	struct buffer out;
	struct err e;
	buffer_init(&out, 20);
	buffer_add_text(&out, "x");
	CHECK_INT(json_project("{\"a\":1,\"b\":}", 12, NULL, &out, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "at byte 11");
	CHECK_TEXT(buffer_text(&out), "x");
	CHECK_INT(json_project("[\"1234567890\",\"1234567890\"]", 27, NULL, &out, &e), ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(e.text, "limit of 20 bytes");
	CHECK_TEXT(buffer_text(&out), "x");
	static const char *const bad[] = {"", ".a", "a.", "a..b", "a[", "a[]", "a[b", "a[b]c", "*."};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct json_projection p = {.drop = &bad[i], .drop_count = 1};
		if (json_project("{}", 2, &p, &out, &e) != ERR_INVALID)
			FAIL("took the path \"%s\"", bad[i]);
		CHECK_CONTAINS(e.text, "is no path");
	}
	buffer_deinit(&out);
}

/* A tree read with json_next must be the tree that cJSON reads. */
static void compare(struct json_reader *r, enum json_token token, const cJSON *node)
{
	char buffer[4096];
	switch (token) {
	case JSON_NULL: CHECK(cJSON_IsNull(node)); break;
	case JSON_TRUE: CHECK(cJSON_IsTrue(node)); break;
	case JSON_FALSE: CHECK(cJSON_IsFalse(node)); break;
	case JSON_NUMBER:
		CHECK(cJSON_IsNumber(node) && r->text.len < sizeof buffer);
		memcpy(buffer, r->text.at, r->text.len);
		buffer[r->text.len] = '\0';
		CHECK(strtod(buffer, NULL) == node->valuedouble);
		break;
	case JSON_STRING:
		CHECK(cJSON_IsString(node) && r->text.len < sizeof buffer);
		buffer[json_unescape(r->text, buffer)] = '\0';
		CHECK_TEXT(buffer, node->valuestring);
		break;
	case JSON_ARRAY_BEGIN: case JSON_OBJECT_BEGIN:
		CHECK(token == JSON_ARRAY_BEGIN ? cJSON_IsArray(node) : cJSON_IsObject(node));
		const cJSON *child = node->child;
		while ((token = json_next(r)) != JSON_ARRAY_END && token != JSON_OBJECT_END) {
			CHECK(child != NULL && token != JSON_ERROR);
			if (token == JSON_KEY) {
				CHECK(json_text_is(r, child->string));
				token = json_next(r);
			}
			compare(r, token, child);
			child = child->next;
		}
		CHECK(child == NULL);
		break;
	default:
		FAIL("token %d", (int)token);
	}
}

/* Random documents, made of pieces that are mostly but not always in their right place. */
static void random_value(struct buffer *b, int depth)
{
	static const char *const scalars[] = {"null", "true", "false", "0", "-1.25e-3", "123456789012", "\"\"", "\"a\\u00e9b\"",
		"\"\\ud83d\\ude00\"", "\"plain text of some length\"", "\"\\\\\\\"\"", "1E5", "\"\xc3\xa9\"", "{}", "[]"};
	int kind = rand() % (depth > 5 ? 4 : 8);
	if (rand() % 8 == 0)
		buffer_add_text(b, rand() % 2 ? " " : "\n\t");
	if (kind < 4) {
		buffer_add_text(b, scalars[(size_t)rand() % (sizeof scalars / sizeof *scalars)]);
		return;
	}
	bool object = kind < 6;
	buffer_add_byte(b, object ? '{' : '[');
	int count = rand() % 5;
	for (int i = 0; i < count; i++) {
		if (object)
			buffer_printf(b, "\"k%d\\t\" :", rand() % 9);
		random_value(b, depth + 1);
		if (i + 1 < count)
			buffer_add_byte(b, ',');
	}
	buffer_add_byte(b, object ? '}' : ']');
}

/* Every element or member of a minified document, passed over with and without a look at it. */
static void skips_the_same(struct json_span document)
{
	struct json_reader checked, known;
	struct json_span a, b;
	enum json_token token;
	json_reader_init(&checked, document.at, document.len);
	json_reader_init_known(&known, document, true);
	token = json_next(&checked);
	CHECK(json_next(&known) == token);
	if (token != JSON_OBJECT_BEGIN && token != JSON_ARRAY_BEGIN)
		return;
	for (;;) {
		if (token == JSON_OBJECT_BEGIN) {
			enum json_token t = json_next(&checked);
			CHECK(json_next(&known) == t);
			if (t != JSON_KEY)
				break;
		}
		bool more = json_skip_value(&checked, &a);
		CHECK(json_skip_value(&known, &b) == more);
		if (!more)
			break;
		CHECK(a.at == b.at && a.len == b.len);
		skips_the_same(a);
	}
	CHECK(known.error == NULL && known.at == checked.at && json_next(&known) == JSON_END);
}

static void outline_finds_the_same(struct json_span document)
{
	static const char *const names[] = {"metadata", "a", "name", "a b", ""};
	static struct json_outline o;
	struct json_reader r;
	struct json_span wanted;
	enum json_token token;
	json_reader_init(&r, document.at, document.len);
	CHECK(json_read_outline(&r, &o) && json_next(&r) == JSON_END);
	for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
		const char *name = names[i / 2];
		struct json_span found = json_member(i % 2 ? &o.metadata : &o.own, name, strlen(name));
		bool there = i % 2 ? json_find(document.at, document.len, &wanted, &token, "metadata", name, NULL) :
			json_find(document.at, document.len, &wanted, &token, name, NULL);
		CHECK(there == (found.at != NULL));
		if (there && token == JSON_STRING)
			found = json_string(found);
		CHECK(!there || (found.at == wanted.at && found.len == wanted.len));
	}
}

TEST(an_outline_finds_the_members_of_an_object_and_of_its_metadata)
{
	static const char some[] = "{\"kind\":\"A\",\"metadata\":{\"name\":\"x\",\"a\":[{}]},\"a\":{\"name\":1},\"n\\u0061me\":2}";
	static const char twice[] = "{\"metadata\":{\"name\":\"x\"},\"a\":1,\"a\":2,\"metadata\":{\"a\":3}}";
	static const char none[] = "{\"metadata\":{\"name\":\"x\"},\"metadata\":null}";
	struct buffer many;
	outline_finds_the_same((struct json_span){some, sizeof some - 1});
	outline_finds_the_same((struct json_span){twice, sizeof twice - 1});
	outline_finds_the_same((struct json_span){none, sizeof none - 1});
	outline_finds_the_same((struct json_span){"[{\"a\":1}]", 9});
	buffer_init(&many, 1 << 20);
	buffer_printf(&many, "{\"a\":0,\"metadata\":{\"name\":0");
	for (int i = 0; i < 2 * JSON_MEMBERS_MAX; i++)
		buffer_printf(&many, ",\"m%d\":{\"x\":\"]}\\\"\"}", i);
	buffer_printf(&many, ",\"a\":7}");
	for (int i = 0; i < 2 * JSON_MEMBERS_MAX; i++)
		buffer_printf(&many, ",\"m%d\":1", i);
	buffer_printf(&many, ",\"a\":\"last\",\"name\":[]}");
	outline_finds_the_same((struct json_span){many.data, many.len});
	skips_the_same((struct json_span){many.data, many.len});
	buffer_deinit(&many);
}

TEST(sees_the_same_as_cjson_in_random_documents)
{
	struct buffer b, minified;
	buffer_init(&b, 1 << 20);
	buffer_init(&minified, 1 << 20);
	srand(7);
	int both = 0;
	for (int round = 0; round < 20000; round++) {
		buffer_clear(&b);
		random_value(&b, 0);
		if (round % 4 == 0)
			b.data[(size_t)rand() % b.len] = " \"{}[],:\\0a-\xff"[rand() % 13];
		bool ours = accepts(b.data, b.len);
		cJSON *tree = cJSON_ParseWithLengthOpts(b.data, b.len + 1, NULL, 1);
		if (round % 4 != 0)
			CHECK(ours && tree != NULL);
		if (ours && tree != NULL) {
			struct json_reader r;
			json_reader_init(&r, b.data, b.len);
			compare(&r, json_next(&r), tree);
			buffer_clear(&minified);
			CHECK_INT(json_project(b.data, b.len, NULL, &minified, NULL), ==, 0);
			json_reader_init(&r, minified.data, minified.len);
			compare(&r, json_next(&r), tree);
			skips_the_same((struct json_span){minified.data, minified.len});
			outline_finds_the_same((struct json_span){minified.data, minified.len});
			both++;
		}
		cJSON_Delete(tree);
	}
	CHECK_INT(both, >, 15000);
	buffer_deinit(&b);
	buffer_deinit(&minified);
}

TEST_MAIN(T(takes_every_form_that_rfc_8259_allows), T(refuses_everything_else), T(a_document_cut_off_anywhere_is_an_error),
	T(nesting_is_bounded_and_says_so), T(tokens_come_in_order_with_their_text),
	T(elements_of_an_array_can_be_taken_one_by_one), T(finds_values_by_path),
	T(of_duplicate_members_the_last_one_counts), T(a_string_with_a_nul_inside_is_not_cut_short),
	T(strings_survive_escaping_and_unescaping), T(a_projection_of_nothing_only_minifies),
	T(dropping_managed_fields_leaves_the_rest_untouched), T(a_projection_of_a_deployment_keeps_what_is_named),
	T(parents_of_kept_paths_appear_only_as_far_as_needed),
	T(a_star_is_every_member_and_a_starred_name_stands_in_brackets),
	T(a_failed_projection_leaves_the_output_as_it_was),
	T(an_outline_finds_the_members_of_an_object_and_of_its_metadata), T(sees_the_same_as_cjson_in_random_documents))
