/* Any bytes as a quantity: what is accepted formats to a text with the same value, the sign
 * only mirrors it, and rounding goes away from zero by less than one. */
#include <stdlib.h>
#include <string.h>

#include "base/quantity.h"
#include "base/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) do { if (!(condition)) abort(); } while (0)

static void check(struct quantity q)
{
	struct quantity again, zero = {0};
	char text[QUANTITY_TEXT_MAX];
	size_t len = quantity_format(q, text, sizeof text);
	MUST(len < sizeof text && quantity_parse(text, len, &again, NULL) == 0 && quantity_compare(q, again) == 0);
	MUST(quantity_compare(quantity_sub(q, q), zero) == 0);
	MUST(quantity_compare(quantity_add(q, zero), q) == 0);
	MUST(quantity_compare(quantity_multiply(quantity_multiply(q, -1), -1), q) == 0);
	int64_t units = quantity_units(q);
	if (units > INT64_MIN && units < INT64_MAX) {
		struct quantity rounded = {(__int128)units * 1000000000};
		struct quantity rest = units < 0 ? quantity_sub(q, rounded) : quantity_sub(rounded, q);
		MUST(rest.nano >= 0 && rest.nano < 1000000000);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct quantity q, mirrored;
	char *text = xmalloc(size + 1);
	text[0] = '-';
	if (size != 0)
		memcpy(text + 1, data, size);
	char *exact = xmalloc(size);
	memcpy(exact, text + 1, size);
	if (quantity_parse(exact, size, &q, NULL) == 0) {
		check(q);
		if (exact[0] != '-' && exact[0] != '+') {
			MUST(quantity_parse(text, size + 1, &mirrored, NULL) == 0);
			MUST(mirrored.nano == -q.nano);
		}
	}
	free(exact);
	free(text);
	return 0;
}
