/* YAML as kubectl reads it, and YAML that every reader reads alike. */
#include "test.h"

#include "base/json.h"
#include "base/xalloc.h"
#include "base/yaml.h"

static struct err e;

static const char *read_yaml(const char *text)
{
	static struct buffer out;
	size_t len = strlen(text);
	char *copy = xmalloc(len);
	memcpy(copy, text, len);
	buffer_deinit(&out);
	buffer_init(&out, 64u << 20);
	int rc = yaml_to_json(copy, len, "test", &out, &e);
	free(copy);
	if (rc != 0)
		FAIL("%s\n      for\n%s", e.text, text);
	return buffer_text(&out);
}

static const char *refusal(const char *text)
{
	struct buffer out;
	buffer_init(&out, 64u << 20);
	buffer_add_text(&out, "x");
	if (yaml_to_json(text, strlen(text), "kubeconfig", &out, &e) == 0)
		FAIL("took %s as %s", text, out.data);
	CHECK_TEXT(out.data, "x");
	buffer_deinit(&out);
	cJSON *documents;
	CHECK(yaml_parse(text, strlen(text), "kubeconfig", &documents, &e) != 0 && documents == NULL);
	return e.text;
}

TEST(mappings_lists_and_documents_are_read)
{
	CHECK_TEXT(read_yaml("a: 1\nb:\n- x\n- k: z\n  w: [1, {q: 2}]\nc: {}\n"),
		"[{\"a\":1,\"b\":[\"x\",{\"k\":\"z\",\"w\":[1,{\"q\":2}]}],\"c\":{}}]");
	CHECK_TEXT(read_yaml("a: 1\n---\n# nothing\n---\n- b\n---\n~\n...\n---\nc\n"), "[{\"a\":1},[\"b\"],\"c\"]");
	CHECK_TEXT(read_yaml(""), "[]");
	CHECK_TEXT(read_yaml("---\n---\n"), "[]");
	CHECK_TEXT(read_yaml("\xef\xbb\xbf" "a: \"null\"\n"), "[{\"a\":\"null\"}]");
	CHECK_TEXT(read_yaml("{\"a\": [1.5, \"x\\n\\u00e9\", null, true]}"), "[{\"a\":[1.5,\"x\\n\xc3\xa9\",null,true]}]");
	CHECK_TEXT(read_yaml("a: |\n  x\n   y\n\nb: >-\n  x\n  y\n"), "[{\"a\":\"x\\n y\\n\",\"b\":\"x y\"}]");
}

TEST(plain_scalars_are_what_kubectl_makes_of_them)
{
	static const char *const table[][2] = {
		{"true", "true"}, {"True", "true"}, {"TRUE", "true"}, {"tRUE", "\"tRUE\""}, {"yes", "true"}, {"Yes", "true"}, {"on", "true"}, {"ON", "true"},
		{"y", "true"}, {"N", "false"}, {"no", "false"}, {"NO", "false"}, {"nO", "\"nO\""}, {"off", "false"}, {"false", "false"},
		{"null", "null"}, {"Null", "null"}, {"~", "null"}, {"", "null"}, {"nil", "\"nil\""}, {"none", "\"none\""},
		{"0", "0"}, {"-0", "0"}, {"12", "12"}, {"+12", "12"}, {"-12", "-12"}, {"014", "12"}, {"0o14", "12"}, {"0x1F", "31"}, {"-0x1f", "-31"}, {"0b101", "5"},
		{"08", "8"}, {"1_000", "1000"}, {"_1", "\"_1\""}, {"9223372036854775807", "9223372036854775807"},
		{"-9223372036854775808", "-9223372036854775808"}, {"18446744073709551615", "18446744073709551615"},
		{"9007199254740993", "9007199254740993"}, {"0xfffffffffffffffff", "\"0xfffffffffffffffff\""}, {"18446744073709551616", "1.8446744073709552e+19"},
		{"1.5", "1.5"}, {"1.50", "1.5"}, {"1.0", "1"}, {"1.", "1"}, {".5", "0.5"}, {"-.5", "-0.5"}, {"+.5", "0.5"}, {"1e3", "1000"}, {"1E-3", "0.001"}, {"0.1", "0.1"},
		{"1e400", "\"1e400\""}, {"1e", "\"1e\""}, {"1.2.3", "\"1.2.3\""}, {"1_0.5", "10.5"}, {".5_0", "\".5_0\""}, {"0x", "\"0x\""}, {"+", "\"+\""},
		{".", "\".\""}, {"12:30:45", "\"12:30:45\""}, {"1:30", "\"1:30\""}, {"2026-01-02", "\"2026-01-02\""},
		{"2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""}, {"10.0.0.1", "\"10.0.0.1\""}, {"500m", "\"500m\""}, {"1Gi", "\"1Gi\""}, {"<<", "\"<<\""},
		{"\"yes\"", "\"yes\""}, {"'12'", "\"12\""}, {"\"\"", "\"\""}, {"a b", "\"a b\""}, {"=", "\"=\""},
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char text[100], expected[100];
		snprintf(text, sizeof text, "v: %s\n", table[i][0]);
		snprintf(expected, sizeof expected, "[{\"v\":%s}]", table[i][1]);
		CHECK_TEXT(read_yaml(text), expected);
	}
}

TEST(keys_are_text_and_what_is_misread_is_refused)
{
	CHECK_TEXT(read_yaml("1: a\n0x10: b\n\"yes\": c\n'1.5': d\n? e\n: f\n"), "[{\"1\":\"a\",\"16\":\"b\",\"yes\":\"c\",\"1.5\":\"d\",\"e\":\"f\"}]");
	CHECK_TEXT(refusal("a: 1\non: 2\n"), "kubeconfig line 2 column 1: key \"on\" is read as a boolean or a number: put it in quotes");
	CHECK_CONTAINS(refusal("1.20: 2\n"), "key \"1.20\" is read as a boolean or a number");
	CHECK_CONTAINS(refusal("~: 2\n"), "line 1 column 1: a key is missing or null");
	CHECK_CONTAINS(refusal("? [a]\n: 2\n"), "line 1 column 3: a key must be text, no list or mapping");
}

TEST(what_yaml_has_too_much_of_is_refused_with_line_and_column)
{
	CHECK_TEXT(refusal("users:\n- name: a\nother: 1\nusers: 2\n"), "kubeconfig line 4 column 1: key \"users\" stands twice");
	CHECK_CONTAINS(refusal("a: {x: 1, \"x\": 2}\n"), "line 1 column 11: key \"x\" stands twice");
	CHECK_CONTAINS(refusal("1: a\n0x1: b\n"), "key \"1\" stands twice");
	CHECK_CONTAINS(refusal("a: &x 1\n"), "line 1 column 4: anchors (&name) are not supported");
	CHECK_CONTAINS(refusal("a: &x [1]\n"), "anchors");
	CHECK_CONTAINS(refusal("a: &x {b: 1}\n"), "anchors");
	CHECK_CONTAINS(refusal("&x a: 1\n"), "anchors");
	CHECK_CONTAINS(refusal("a: *x\n"), "line 1 column 4: aliases (*name) are not supported");
	CHECK_CONTAINS(refusal("a:\n  <<: {b: 1}\n"), "line 2 column 3: key \"<<\" is a merge");
	CHECK_CONTAINS(refusal("a: !!str 1\n"), "tags (!name) are not supported");
	CHECK_CONTAINS(refusal("a: ! 1\n"), "tags");
	CHECK_CONTAINS(refusal("a: !x [1]\n"), "tags");
	CHECK_CONTAINS(refusal("!x {a: 1}\n"), "tags");
	CHECK_CONTAINS(refusal("# c\n%TAG ! tag:x,2000:\n---\na: 1\n"), "line 2 column 1: tag directives (%TAG) are not supported");
	CHECK_TEXT(read_yaml("a: x %TAG y\n"), "[{\"a\":\"x %TAG y\"}]");
	CHECK_CONTAINS(refusal("\xef\xbb\xbf%TAG ! x\n"), "%TAG");
	CHECK_CONTAINS(refusal("# c\xe2\x80\xa8%TAG ! x\n"), "%TAG");
	CHECK_TEXT(read_yaml("a: \xd9\xa8%TAG\n"), "[{\"a\":\"\xd9\xa8%TAG\"}]"); /* a letter that ends like U+2028 */
	CHECK_CONTAINS(refusal("a: .inf\n"), "infinity and NaN cannot be said in JSON");
	CHECK_CONTAINS(refusal("- .NaN\n"), "line 1 column 3: infinity");
	CHECK_CONTAINS(refusal("a: \"x\\0y\"\n"), "a text holds a NUL character");
}

TEST(broken_text_is_an_error_with_line_and_column)
{
	CHECK_CONTAINS(refusal("a: [1, 2\nb: 3\n"), "kubeconfig line 2 column ");
	CHECK_CONTAINS(refusal("a: b: c\n"), "kubeconfig line 1 column 5: mapping values are not allowed");
	CHECK_CONTAINS(refusal("a:\n\t- b\n"), "line 2 column 1: while scanning");
	CHECK_CONTAINS(refusal("a: \xff\n"), "the text is not allowed in YAML (byte 3)");
	CHECK_CONTAINS(refusal("a: \x01\n"), "control characters are not allowed");
	CHECK_CONTAINS(refusal("a: \"\\ud83d\\ude00\"\n"), "line 1 column");
	CHECK_CONTAINS(refusal("a: 'x\n"), "line ");
	CHECK_CONTAINS(refusal("}"), "line 1 column 1");
	CHECK(strstr(refusal("token: \"s3cr3t\n"), "s3cr3t") == NULL);
}

TEST(size_and_nesting_are_bounded)
{
	char text[2 * 100000 + 1];
	memset(text, '[', 100000);
	memset(text + 100000, ']', 100000);
	text[200000] = '\0';
	CHECK_CONTAINS(refusal(text), "line 1 column 64: lists and mappings are nested too deeply");
	CHECK_INT(e.code, ==, ERR_TOO_LARGE);
}

TEST(nesting_up_to_the_limit_is_read)
{
	char text[2 * YAML_DEPTH_MAX + 1] = "";
	memset(text, '[', YAML_DEPTH_MAX);
	memset(text + YAML_DEPTH_MAX, ']', YAML_DEPTH_MAX);
	struct json_span v;
	const char *json = read_yaml(text);
	CHECK(json_find(json, strlen(json), &v, NULL, NULL));
	cJSON *documents;
	CHECK_INT(yaml_parse(text, 2 * YAML_DEPTH_MAX, "test", &documents, &e), ==, 0);
	cJSON_Delete(documents);
}

/* libyaml alone needs 19 seconds for a megabyte of distinct tag directives. */
TEST(a_megabyte_of_tag_directives_is_refused_at_once)
{
	struct buffer text, out;
	buffer_init(&text, YAML_BYTES_MAX);
	buffer_init(&out, 1000);
	for (int i = 0; i < 60000; i++)
		buffer_printf(&text, "%%TAG !k%d! b\n", i);
	alarm(5);
	CHECK_INT(yaml_to_json(text.data, text.len, "bomb", &out, &e), ==, ERR_INVALID);
	buffer_deinit(&text);
}

TEST(too_many_bytes_or_values_are_refused)
{
	size_t len = YAML_BYTES_MAX + 1;
	char *text = xmalloc(len);
	for (size_t i = 0; i < len; i++)
		text[i] = "-\n"[i % 2];
	struct buffer out;
	buffer_init(&out, 64u << 20);
	CHECK_INT(yaml_to_json(text, len, "big", &out, &e), ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(e.text, "big: it has 8388609 bytes; at most 8388608 are read");
	CHECK_INT(yaml_to_json(text, len - 1, "big", &out, &e), ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(e.text, "there are too many values");
	buffer_deinit(&out);
	buffer_init(&out, 10);
	CHECK_INT(yaml_to_json("a: 123456789", 12, "small", &out, &e), ==, ERR_TOO_LARGE);
	buffer_deinit(&out);
	free(text);
}

TEST(the_tree_keeps_integers_exactly)
{
	static const char text[] = "a: 9007199254740993\nb: 3\nc: [1.5, yes, ~, \"x\"]\nd: 1752000000000000\ne: -9223372036854775808\nf: 18446744073709551615\n";
	cJSON *documents;
	CHECK_INT(yaml_parse(text, strlen(text), "test", &documents, &e), ==, 0);
	CHECK_INT(cJSON_GetArraySize(documents), ==, 1);
	cJSON *o = documents->child;
	CHECK(cJSON_IsRaw(cJSON_GetObjectItemCaseSensitive(o, "a")));
	CHECK_TEXT(cJSON_GetObjectItemCaseSensitive(o, "a")->valuestring, "9007199254740993");
	CHECK(cJSON_GetObjectItemCaseSensitive(o, "b")->valuedouble == 3);
	cJSON *c = cJSON_GetObjectItemCaseSensitive(o, "c");
	CHECK(cJSON_GetArrayItem(c, 0)->valuedouble == 1.5 && cJSON_IsTrue(cJSON_GetArrayItem(c, 1)));
	CHECK(cJSON_IsNull(cJSON_GetArrayItem(c, 2)));
	CHECK_TEXT(cJSON_GetArrayItem(c, 3)->valuestring, "x");
	CHECK(cJSON_GetObjectItemCaseSensitive(o, "d")->valuedouble == 1752000000000000.0);
	CHECK(cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(o, "e")));
	CHECK_TEXT(cJSON_GetObjectItemCaseSensitive(o, "f")->valuestring, "18446744073709551615");
	cJSON_Delete(documents);
}

static const char *write_yaml(const char *json)
{
	static struct buffer out;
	size_t len = strlen(json);
	char *copy = xmalloc(len);
	memcpy(copy, json, len);
	buffer_deinit(&out);
	buffer_init(&out, 1 << 20);
	if (yaml_from_json(copy, len, &out, &e) != 0)
		FAIL("%s", e.text);
	free(copy);
	return buffer_text(&out);
}

TEST(objects_are_written_in_kubectls_shape_and_order)
{
	CHECK_TEXT(write_yaml("{\"kind\":\"Pod\",\"a\":{\"z\":1,\"b\":[]},\"list\":[{\"name\":\"x\",\"v\":[1,2]},\"s\",[1,[2]],{}],\"e\":{},\"nil\":null,\"big\":9007199254740993,\"f\":1.50}"),
		"kind: Pod\na:\n  z: 1\n  b: []\nlist:\n- name: x\n  v:\n  - 1\n  - 2\n- s\n- - 1\n  - - 2\n- {}\ne: {}\nnil: null\nbig: 9007199254740993\nf: 1.50\n");
	CHECK_TEXT(write_yaml("[{\"a\":{\"b\":1}},[{}]]"), "- a:\n    b: 1\n- - {}\n");
	CHECK_TEXT(write_yaml(" \"x\" "), "x\n");
	CHECK_TEXT(write_yaml("{}"), "{}\n");
}

TEST(texts_are_quoted_where_any_reader_could_misread_them)
{
	static const char *const plain[] = {"a", "abc def", "500m", "1Gi", "registry/x:1", "a#b", "primehub.io/phdeployment", "apps/v1", "http://x/y?z=1",
		"/var/run", "_x", "a-b", "x,y", "don't", "say \\\"hi\\\"", "\xc3\xa9t\xc3\xa9", "nope", "yesterday", "v1.20.2"};
	static const char *const quoted[] = {"", "yes", "No", "oN", "off", "y", "N", "true", "False", "null", "NULL", "~", "1", "-1", "+1", "1.5", "1e3", "1E5",
		"0x1F", "0o17", "017", "0b1", "1_000", "12:30", "12:30:45", "2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05 +1", ".inf", "-.inf", ".nan",
		".5", "1.", " a", "a ", "- a", "-", "? a", ": a", "*a", "&a", "!a", "%a", "@a", "`a", "#a", "|", ">", "'a", "[a", "{a", "}", "]", ",a", "a #b",
		"<<", "=", "---", "...", "1,000", "10.0.0.1", "8e123"};
	char json[100];
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
		snprintf(json, sizeof json, "\"%s\"", plain[i]);
		if (write_yaml(json)[0] == '"')
			FAIL("%s is quoted", plain[i]);
	}
	CHECK_TEXT(write_yaml("[\"a: b\",\"a:\",\"a\\tb\",\"\\u0085\\u2028\\ufeff\\ud83d\\ude00\\u007f\"]"),
		"- \"a: b\"\n- \"a:\"\n- \"a\\tb\"\n- \"\\x85\\u2028\\uFEFF\xf0\x9f\x98\x80\\x7F\"\n");
	for (size_t i = 0; i < sizeof quoted / sizeof *quoted; i++) {
		snprintf(json, sizeof json, "{\"%s\":\"%s\"}", quoted[i], quoted[i]);
		const char *text = write_yaml(json);
		if (text[0] != '"' || strstr(text, ": \"") == NULL)
			FAIL("not quoted: %s", text);
	}
}

TEST(several_lines_become_a_block_where_that_is_exact)
{
	CHECK_TEXT(write_yaml("{\"a\":\"x\\n  y\\n\",\"b\":[\"p\\n\\nq\"],\"c\":\"r\\n\\n\",\"d\":\" x\\ny\",\"e\":\"\\n\",\"f\":\"x\\n \\ny\"}"),
		"a: |\n  x\n    y\nb:\n- |-\n  p\n\n  q\nc: |+\n  r\n\nd: \" x\\ny\"\ne: \"\\n\"\nf: \"x\\n \\ny\"\n");
}

TEST(what_is_written_is_refused_or_too_large_like_any_input)
{
	struct buffer out;
	buffer_init(&out, 10);
	buffer_add_text(&out, "x");
	CHECK_INT(yaml_from_json("{\"a\":}", 6, &out, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "at byte 5");
	CHECK_INT(yaml_from_json("[1,2,3,4,5,6,7]", 15, &out, &e), ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(e.text, "limit of 10 bytes");
	CHECK_TEXT(buffer_text(&out), "x");
	buffer_deinit(&out);
}

static void random_text(struct buffer *b)
{
	static const char *const pieces[] = {"a", " ", "\n", "#", ": ", "-", "yes", "1", ".", "\"", "\\", "\t", "\xc3\xa9", "\xe2\x80\xa8", "\xf0\x9f\x98\x80",
		"'", "{", "|", ">", "\x01", "~", "  ", "0x1", "e", "\n\n", "\r", "%", "_", "\xef\xbb\xbf", ","};
	struct buffer text;
	buffer_init(&text, 10000);
	for (int i = rand() % 6; i > 0; i--)
		buffer_add_text(&text, pieces[(size_t)rand() % (sizeof pieces / sizeof *pieces)]);
	if (rand() % 50 == 0)
		for (int i = 0; i < 600; i++)
			buffer_add_text(&text, "long");
	json_add_string(b, buffer_text(&text), text.len);
	buffer_deinit(&text);
}

static void random_json(struct buffer *b, int depth)
{
	int kind = rand() % (depth > 4 ? 5 : 9);
	if (kind < 3)
		random_text(b);
	else if (kind == 3)
		buffer_add_text(b, rand() % 2 ? "true" : "null");
	else if (kind == 4)
		buffer_printf(b, "%d", rand() % 1000 - 500);
	else {
		bool object = kind < 7;
		buffer_add_byte(b, object ? '{' : '[');
		for (int i = rand() % 4, first = 1; i > 0; i--, first = 0) {
			buffer_add_text(b, first ? "" : ",");
			if (object) {
				buffer_printf(b, "\"%d", i); /* keys differ */
				size_t mark = b->len;
				random_text(b);
				b->data[mark] = ' ';
				buffer_add_byte(b, ':');
			}
			random_json(b, depth + 1);
		}
		buffer_add_byte(b, object ? '}' : ']');
	}
}

TEST(random_documents_survive_writing_and_reading)
{
	struct buffer json, yaml, expected, again;
	buffer_init(&json, 1 << 20);
	buffer_init(&yaml, 1 << 20);
	buffer_init(&expected, 1 << 20);
	buffer_init(&again, 1 << 20);
	srand(3);
	for (int round = 0; round < 20000; round++) {
		buffer_clear(&json);
		buffer_clear(&yaml);
		buffer_clear(&again);
		buffer_clear(&expected);
		random_json(&json, 0);
		buffer_printf(&expected, "[%s]", strcmp(json.data, "null") != 0 ? json.data : "");
		if (yaml_from_json(json.data, json.len, &yaml, &e) != 0 || yaml_to_json(yaml.data, yaml.len, "round", &again, &e) != 0)
			FAIL("%s\n%s\n%s", e.text, json.data, yaml.data);
		if (strcmp(again.data, expected.data) != 0)
			FAIL("%s\nbecame\n%s\nwritten as\n%s", expected.data, again.data, yaml.data);
	}
	buffer_deinit(&json);
	buffer_deinit(&yaml);
	buffer_deinit(&expected);
	buffer_deinit(&again);
}

TEST_MAIN(T(mappings_lists_and_documents_are_read), T(plain_scalars_are_what_kubectl_makes_of_them),
	T(keys_are_text_and_what_is_misread_is_refused), T(what_yaml_has_too_much_of_is_refused_with_line_and_column),
	T(broken_text_is_an_error_with_line_and_column), T(size_and_nesting_are_bounded), T(nesting_up_to_the_limit_is_read),
	T(a_megabyte_of_tag_directives_is_refused_at_once), T(too_many_bytes_or_values_are_refused), T(the_tree_keeps_integers_exactly),
	T(objects_are_written_in_kubectls_shape_and_order), T(texts_are_quoted_where_any_reader_could_misread_them),
	T(several_lines_become_a_block_where_that_is_exact), T(what_is_written_is_refused_or_too_large_like_any_input),
	T(random_documents_survive_writing_and_reading))
