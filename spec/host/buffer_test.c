/* Buffers: growth up to the maximum and not one byte further. */
#include "test.h"

#include <stdint.h>

#include "base/buffer.h"
#include "base/err.h"

TEST(an_empty_buffer_is_an_empty_text)
{
	struct buffer b;
	buffer_init(&b, 10);
	CHECK_TEXT(buffer_text(&b), "");
	size_t len = 7;
	char *bytes = buffer_take(&b, &len);
	CHECK_TEXT(bytes, "");
	CHECK_INT(len, ==, 0);
	free(bytes);
	buffer_consume(&b, 5);
	buffer_clear(&b);
	buffer_deinit(&b);
}

TEST(what_is_added_is_there_with_a_nul_behind)
{
	struct buffer b;
	buffer_init(&b, 1000);
	CHECK_INT(buffer_add(&b, "a\0b", 3), ==, 0);
	CHECK_INT(buffer_add_text(&b, "cd"), ==, 0);
	CHECK_INT(buffer_add_byte(&b, 'e'), ==, 0);
	CHECK_INT(buffer_printf(&b, "%d-%s", 42, "x"), ==, 0);
	CHECK_INT(b.len, ==, 10);
	CHECK(memcmp(b.data, "a\0bcde42-x", 11) == 0);
	CHECK_INT(buffer_add(&b, NULL, 0), ==, 0);
	buffer_deinit(&b);
}

TEST(passing_the_maximum_adds_nothing)
{
	for (size_t max = 0; max < 200; max++) {
		struct buffer b;
		buffer_init(&b, max);
		for (size_t i = 0; i < max; i++)
			CHECK_INT(buffer_add_byte(&b, 'x'), ==, 0);
		CHECK_INT(buffer_add_byte(&b, 'y'), ==, ERR_TOO_LARGE);
		CHECK_INT(buffer_printf(&b, "%d", 7), ==, ERR_TOO_LARGE);
		CHECK_INT(buffer_add(&b, "", SIZE_MAX), ==, ERR_TOO_LARGE);
		CHECK_INT(b.len, ==, max);
		CHECK_INT(strlen(buffer_text(&b)), ==, max);
		CHECK(b.capacity <= max + 1);
		buffer_deinit(&b);
	}
}

TEST(consuming_drops_the_front)
{
	struct buffer b;
	buffer_init(&b, 100);
	buffer_add_text(&b, "line one\nline two");
	buffer_consume(&b, 9);
	CHECK_TEXT(buffer_text(&b), "line two");
	buffer_consume(&b, 0);
	CHECK_TEXT(buffer_text(&b), "line two");
	buffer_consume(&b, 1000);
	CHECK_TEXT(buffer_text(&b), "");
	CHECK_INT(buffer_add_text(&b, "again"), ==, 0);
	CHECK_TEXT(buffer_text(&b), "again");
	buffer_deinit(&b);
}

TEST(taking_leaves_an_empty_buffer_with_the_same_maximum)
{
	struct buffer b;
	size_t len;
	buffer_init(&b, 6);
	buffer_add_text(&b, "abc");
	char *bytes = buffer_take(&b, &len);
	CHECK_TEXT(bytes, "abc");
	CHECK_INT(len, ==, 3);
	free(bytes);
	CHECK_INT(buffer_add_text(&b, "123456"), ==, 0);
	CHECK_INT(buffer_add_text(&b, "7"), ==, ERR_TOO_LARGE);
	buffer_clear(&b);
	CHECK_TEXT(buffer_text(&b), "");
	CHECK_INT(buffer_add_text(&b, "654321"), ==, 0);
	buffer_deinit(&b);
	CHECK_TEXT(buffer_text(&b), "");
}

TEST_MAIN(T(an_empty_buffer_is_an_empty_text), T(what_is_added_is_there_with_a_nul_behind),
	T(passing_the_maximum_adds_nothing), T(consuming_drops_the_front),
	T(taking_leaves_an_empty_buffer_with_the_same_maximum))
