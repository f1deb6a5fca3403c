/* Quantities: the facts of Go's own test tables (k8s.io/apimachinery/pkg/api/resource), and
 * arithmetic at the edges. */
#include "test.h"

#include "base/quantity.h"
#include "base/xalloc.h"

static bool parse(const char *text, struct quantity *q)
{
	size_t len = strlen(text);
	char *copy = xmalloc(len);
	memcpy(copy, text, len);
	int rc = quantity_parse(copy, len, q, NULL);
	free(copy);
	return rc == 0;
}

static struct quantity must(const char *text)
{
	struct quantity q;
	if (!parse(text, &q))
		FAIL("refused %s", text);
	return q;
}

static const char *formatted(struct quantity q)
{
	static char text[QUANTITY_TEXT_MAX];
	CHECK_INT(quantity_format(q, text, sizeof text), ==, strlen(text));
	return text;
}

static const struct {
	const char *text, *value;
} facts[] = {
	{"0", "0"}, {"0n", "0"}, {"0u", "0"}, {"0m", "0"}, {"0Ki", "0"}, {"0k", "0"}, {"0Ei", "0"}, {"0T", "0"}, {"00", "0"}, {"1", "1"},
	{"1Ki", "1024"}, {"8Ki", "8192"}, {"7Mi", "7340032"}, {"6Gi", "6442450944"}, {"5Ti", "5497558138880"},
	{"4Pi", "4503599627370496"}, {"3Ei", "3458764513820540928"}, {"10Ti", "10995116277760"}, {"100Ti", "109951162777600"},
	{"5n", "5n"}, {"4u", "4u"}, {"3m", "3m"}, {"9", "9"}, {"8k", "8000"}, {"50k", "50000"}, {"7M", "7000000"},
	{"6G", "6000000000"}, {"5T", "5000000000000"}, {"40T", "40000000000000"}, {"300T", "300000000000000"},
	{"2P", "2000000000000000"}, {"1E", "1000000000000000000"}, {"1E-3", "1m"}, {"1e3", "1000"}, {"1E6", "1000000"},
	{"1e9", "1000000000"}, {"1E12", "1000000000000"}, {"1e15", "1000000000000000"}, {"1E18", "1000000000000000000"},
	{"1e14", "100000000000000"}, {"100.035k", "100035"}, {"0.001", "1m"}, {"0.0005k", "500m"}, {"0.005", "5m"}, {"0.05", "50m"},
	{"0.5", "500m"}, {"0.00050k", "500m"}, {"0.00500", "5m"}, {"0.05000", "50m"}, {"0.50000", "500m"}, {"0.5e0", "500m"},
	{"0.5e-1", "50m"}, {"0.5e-2", "5m"}, {"10.035M", "10035000"}, {"1.2e3", "1200"}, {"1.3E+6", "1300000"},
	{"1.40e9", "1400000000"}, {"1.53E12", "1530000000000"}, {"1.6e15", "1600000000000000"}, {"1.7E18", "1700000000000000000"},
	{"9.01", "9010m"}, {"8.1k", "8100"}, {"7.123456M", "7123456"}, {"6.987654321G", "6987654321"}, {"5.444T", "5444000000000"},
	{"2.5P", "2500000000000000"}, {"1.01E", "1010000000000000000"},
	/* rounding away from zero */
	{"3.001n", "4n"}, {"1.1E-9", "2n"}, {"0.0000000001", "1n"}, {"0.0000000005", "1n"}, {"0.00000000050", "1n"}, {"0.5e-9", "1n"},
	{"0.9n", "1n"}, {"0.00000012345", "124n"}, {"0.00000012354", "124n"}, {"1e-30", "1n"}, {"1e-99999999999999999999", "1n"},
	{"0e-5", "0"}, {"0e99999999999", "0"},
	/* the cap of binary suffixes; none for the others */
	{"7Ei", "8070450532247928832"}, {"8Ei", "9223372036854775807"}, {"9Ei", "9223372036854775807"},
	{"9223372036854775807Ki", "9223372036854775807"}, {"99999999999999999999999999999999999999999Ki", "9223372036854775807"},
	{"12E", "12000000000000000000"}, {"2000E", "2000000000000000000000"}, {"9223372036854775808", "9223372036854775808"},
	{"129e6", "129000000"}, {"18446744073709551616", "18446744073709551616"}, {"1.2345", "1234500u"},
	/* fractions of binary units */
	{"100.035Ki", "102435840m"}, {"0.5Mi", "524288"}, {"0.05Gi", "53687091200m"}, {"0.025Ti", "27487790694400m"},
	{"1.5Gi", "1610612736"}, {"0.1Ki", "102400m"}, {".001Ki", "1024m"}, {".000001Ki", "1024u"}, {".000000001Ki", "1024n"},
	{"0.000000000001Ki", "2n"}, {"0.3333333333333333333333333333333333Ei", "384307168202282325333333334n"},
	/* written by trolls */
	{".001", "1m"}, {".0001k", "100m"}, {"1.", "1"}, {"1.G", "1000000000"}, {"0000000000000000000000000000000000000000001", "1"},
	{"100000000000000000000000000000000000000000000e-44", "1"}, {"0.00000000000000000000000000000000000000000001e44", "1"},
	{"1024Mi", "1073741824"}, {"1000M", "1000000000"}, {"1.08", "1080m"}, {"1080000000n", "1080m"}, {"1e+3", "1000"}, {"1e-0", "1"},
};

TEST(values_are_those_of_the_servers_own_tables)
{
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
		char text[120];
		if (strcmp(formatted(must(facts[i].text)), facts[i].value) != 0)
			FAIL("%s: expected %s, got %s", facts[i].text, facts[i].value, formatted(must(facts[i].text)));
		snprintf(text, sizeof text, "+%s", facts[i].text);
		CHECK_TEXT(formatted(must(text)), facts[i].value);
		snprintf(text, sizeof text, "-%s", facts[i].text);
		if (strcmp(facts[i].value, "0") == 0)
			CHECK_TEXT(formatted(must(text)), "0");
		else
			CHECK_TEXT(formatted(must(text)) + 1, facts[i].value);
	}
}

TEST(what_is_formatted_reads_as_the_same_value)
{
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
		struct quantity q = must(facts[i].text);
		CHECK_INT(quantity_compare(must(formatted(q)), q), ==, 0);
	}
}

TEST(what_is_no_quantity_is_refused)
{
	static const char *const bad[] = {"", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i", "-3.01e-", " 1", "1 ",
		"1e", "1e+", "1E+", "1e3.5", "1e3e", "1ee3", "1Ki3", "1ki", "1K", "1g", "1ni", "1Kii", "1 Ki", "--1", "+-1", "0x10", "1,5",
		"1_000", "1e0x1", "1m3", "1Ein", "Non-Numeric", "inf", "NaN", "\xe2\x88\x92" "1", "1\n", "1B", "1MB", "1MiB",
		/* the server takes these for 0 */
		".", "-", "+", "-.", "Gi", "m", "e3"};
	struct quantity q;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (parse(bad[i], &q))
			FAIL("took \"%s\" as %s", bad[i], formatted(q));
	CHECK(quantity_parse("1\0", 2, &q, NULL) == ERR_INVALID);
	CHECK(quantity_parse("1\0i", 3, &q, NULL) == ERR_INVALID);
	static char long_one[QUANTITY_LENGTH_MAX + 1];
	memset(long_one, '1', sizeof long_one);
	CHECK_INT(quantity_parse(long_one, QUANTITY_LENGTH_MAX, &q, NULL), ==, 0);
	struct err e;
	CHECK_INT(quantity_parse(long_one, sizeof long_one, &q, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "a text of 65537 bytes is no quantity");
	quantity_parse("5 GB", 4, &q, &e);
	CHECK_CONTAINS(e.text, "\"5 GB\" is no quantity: write a number and one of");
}

TEST(quantities_compare_by_value)
{
	static const struct {
		const char *a, *b;
		int expected;
	} table[] = {{"0", "0", 0}, {"100m", "50m", 1}, {"50m", "100m", -1}, {"10000T", "100Gi", 1}, {"1", "1000m", 0}, {"1Gi", "1G", 1},
		{"1024Mi", "1Gi", 0}, {"-1", "1n", -1}, {"1e3", "1k", 0}, {"1E", "1e18", 0}, {"9Ei", "9223372036854775808", -1}};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		CHECK_INT(quantity_compare(must(table[i].a), must(table[i].b)), ==, table[i].expected);
		CHECK_INT(quantity_compare(must(table[i].b), must(table[i].a)), ==, -table[i].expected);
	}
}

TEST(sums_and_products_are_exact_and_saturate)
{
	CHECK_TEXT(formatted(quantity_add(must("0.1"), must("0.2"))), "300m");
	CHECK_TEXT(formatted(quantity_sub(must("1Gi"), must("1"))), "1073741823");
	CHECK_TEXT(formatted(quantity_sub(must("100m"), must("1"))), "-900m");
	CHECK_TEXT(formatted(quantity_multiply(must("500m"), 3)), "1500m");
	CHECK_TEXT(formatted(quantity_multiply(must("1500m"), -2)), "-3");
	struct quantity most = must("1e100"), least = must("-1e100");
	CHECK(quantity_compare(quantity_add(most, must("1")), most) == 0);
	CHECK(quantity_compare(quantity_sub(least, must("1n")), least) == 0);
	CHECK(quantity_compare(quantity_sub(least, most), least) == 0);
	CHECK(quantity_compare(quantity_sub(most, least), most) == 0);
	CHECK(quantity_compare(quantity_multiply(most, -5), least) == 0);
	CHECK(quantity_compare(quantity_multiply(least, INT64_MIN), most) == 0);
	CHECK_TEXT(formatted(quantity_add(most, least)), "0");
	CHECK_TEXT(formatted(least), "-170141183460469231731687303715884105727n");
}

TEST(units_and_thousandths_round_away_from_zero)
{
	static const struct {
		const char *text;
		int64_t units, milli;
	} table[] = {{"0", 0, 0}, {"9.01", 10, 9010}, {"-9.01", -10, -9010}, {"1n", 1, 1}, {"-1n", -1, -1}, {"1001u", 1, 2}, {"2", 2, 2000},
		{"1500m", 2, 1500}, {"9Ei", INT64_MAX, INT64_MAX}, {"12E", INT64_MAX, INT64_MAX}, {"-12E", INT64_MIN, INT64_MIN},
		{"9223372036854775807m", 9223372036854776, INT64_MAX}};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		CHECK_INT(quantity_units(must(table[i].text)), ==, table[i].units);
		CHECK_INT(quantity_milli(must(table[i].text)), ==, table[i].milli);
	}
}

TEST_MAIN(T(values_are_those_of_the_servers_own_tables), T(what_is_formatted_reads_as_the_same_value),
	T(what_is_no_quantity_is_refused), T(quantities_compare_by_value), T(sums_and_products_are_exact_and_saturate),
	T(units_and_thousandths_round_away_from_zero))
