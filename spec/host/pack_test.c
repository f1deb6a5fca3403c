/* Packing: what comes out is what went in, whatever it was, and texts alike become small. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "base/xalloc.h"
#include "test.h"

struct kept {
	struct pack_dictionary *with;
	char *packed;
	size_t packed_len, len;
};

static struct kept keep(struct packer *p, const char *bytes, size_t len)
{
	struct kept k = {.packed = xmalloc(pack_bound(len)), .len = len};
	k.packed_len = pack(p, bytes, len, k.packed, &k.with);
	return k;
}

static void opens_as(struct packer *p, struct kept *k, const char *bytes)
{
	char *out = xmalloc(k->len + 1);
	CHECK(pack_open(k->with, k->packed, k->packed_len, out, k->len));
	CHECK_INT(memcmp(out, bytes, k->len), ==, 0);
	free(out);
	free(k->packed);
	pack_release(p, k->with);
}

static char *object(int i)
{
	char *text = xasprintf("{\"metadata\":{\"name\":\"model-%04d\"},\"spec\":{", i), *more;
	for (int n = 0; n < 40; n++, free(text), text = more)
		more = xasprintf("%s\"field-%d\":\"the value of every object\",", text, n);
	return text;
}

TEST(texts_alike_become_small_and_come_out_as_they_were)
{
	struct packer p = {0};
	struct kept kept[300];
	size_t packed = 0, whole = 0;
	for (int i = 0; i < 300; i++) {
		char *text = object(i);
		kept[i] = keep(&p, text, strlen(text));
		packed += kept[i].packed_len;
		whole += kept[i].len;
		free(text);
	}
	CHECK(packed + p.bytes < whole / 10);
	for (int i = 0; i < 300; i++) {
		char *text = object(i);
		opens_as(&p, &kept[i], text);
		free(text);
	}
	packer_deinit(&p);
}

TEST(nothing_is_left_when_all_is_released)
{
	struct packer p = {0};
	for (int i = 0; i < 200; i++) {
		char *text = object(i);
		struct kept k = keep(&p, text, strlen(text));
		opens_as(&p, &k, text);
		free(text);
	}
	CHECK(p.bytes > 0);
	struct packer before = p;
	packer_deinit(&p);
	CHECK_INT(p.bytes, ==, 0);
	CHECK(before.bytes < 4096); /* one dictionary, not one of each age */
}

TEST(empty_short_long_and_random_texts_survive)
{
	struct packer p = {0};
	static const size_t lengths[] = {0, 1, 255, 256, 16384, 16385, 100000, 3 << 20};
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		char *text = xmalloc(lengths[i] + 1);
		for (size_t n = 0; n < lengths[i]; n++)
			text[n] = (char)rand();
		struct kept k = keep(&p, text, lengths[i]);
		opens_as(&p, &k, text);
		free(text);
	}
	packer_deinit(&p);
}

TEST(damaged_bytes_are_refused_and_not_read_past)
{
	struct packer p = {0};
	char *text = object(1), out[4096];
	struct kept k = keep(&p, text, strlen(text));
	CHECK(!pack_open(k.with, k.packed, k.packed_len / 2, out, k.len));
	CHECK(!pack_open(k.with, k.packed, k.packed_len, out, k.len - 1));
	opens_as(&p, &k, text);
	free(text);
	packer_deinit(&p);
}

TEST_MAIN(T(texts_alike_become_small_and_come_out_as_they_were), T(nothing_is_left_when_all_is_released),
	T(empty_short_long_and_random_texts_survive), T(damaged_bytes_are_refused_and_not_read_past))
