/* Base64: the vectors of RFC 4648, and what must be refused. */
#include "base/base64.h"
#include "base/err.h"
#include "test.h"

static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};

TEST(the_vectors_of_the_rfc_go_both_ways)
{
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		struct buffer text, plain;
		buffer_init(&text, 100);
		buffer_init(&plain, 100);
		CHECK_INT(base64_encode(vectors[i][0], strlen(vectors[i][0]), &text), ==, 0);
		CHECK_TEXT(buffer_text(&text), vectors[i][1]);
		CHECK_INT(base64_decode(text.data, text.len, &plain), ==, 0);
		CHECK_TEXT(buffer_text(&plain), vectors[i][0]);
		buffer_deinit(&text);
		buffer_deinit(&plain);
	}
}

TEST(every_byte_survives)
{
	unsigned char all[256];
	struct buffer text, plain;
	for (int i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	buffer_init(&text, 1000);
	buffer_init(&plain, 1000);
	CHECK_INT(base64_encode(all, 256, &text), ==, 0);
	CHECK_INT(base64_decode(text.data, text.len, &plain), ==, 0);
	CHECK_INT(plain.len, ==, 256);
	CHECK(memcmp(plain.data, all, 256) == 0);
	buffer_deinit(&text);
	buffer_deinit(&plain);
}

static int decode(const char *text, size_t max)
{
	struct buffer out;
	buffer_init(&out, max);
	int rc = base64_decode(text, strlen(text), &out);
	buffer_deinit(&out);
	return rc;
}

TEST(line_breaks_are_skipped)
{
	CHECK_INT(decode("Zm9v\r\nYm\nFy\n", 100), ==, 0);
	CHECK_INT(decode("Zg=\n=", 100), ==, 0);
}

TEST(what_does_not_encode_back_is_refused)
{
	static const char *const bad[] = {"Zg", "Zg=", "Zg===", "Z", "Z===", "=", "====", "Zm9v=", "Zg==Zg==", "Zh==", "Zm9=",
		"Zm 9v", "Zm-_", "Zm9v\t", "Z\xc3\xa4==", "not base64!"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (decode(bad[i], 100) != ERR_INVALID)
			FAIL("\"%s\" was accepted", bad[i]);
}

TEST(the_maximum_of_the_buffer_holds)
{
	CHECK_INT(decode("Zm9vYmFy", 6), ==, 0);
	CHECK_INT(decode("Zm9vYmFy", 5), ==, ERR_TOO_LARGE);
}

TEST_MAIN(T(the_vectors_of_the_rfc_go_both_ways), T(every_byte_survives), T(line_breaks_are_skipped),
	T(what_does_not_encode_back_is_refused), T(the_maximum_of_the_buffer_holds))
