/* Reading and writing quantities: see quantity.h.
 *
 * The problem is exactness: "0.1Ki", "1e-7" and "100.035M" must come out as the server has
 * them, and doubles cannot do that. A quantity is D * 10^e * 2^s with D a string of digits of
 * any length. The power of ten only moves the point within D. What then stands before the
 * point is an integer; what stands behind it is multiplied, digit by digit from the right as
 * on paper, with the nano units that one unit of the suffix has. The carry that comes out at
 * the point is the fraction's nano units, and any remainder on the way means rounding up. */
#include "base/quantity.h"

#include <stdio.h>
#include <string.h>

#define NANO 1000000000
#define INT128_MAX ((__int128)(~(unsigned __int128)0 >> 1))
#define EXPONENT_MAX 100000 /* beyond it everything saturates or is one nano */

struct number {
	const char *whole, *fraction; /* digits before and behind the point */
	size_t whole_len, fraction_len;
	bool negative;
	bool binary;
	int exponent; /* of ten, or of two if binary */
};

static __int128 multiply(__int128 a, __int128 b)
{
	__int128 product;
	if (__builtin_mul_overflow(a, b, &product) || product < -INT128_MAX)
		return (a < 0) == (b < 0) ? INT128_MAX : -INT128_MAX;
	return product;
}

static __int128 add(__int128 a, __int128 b)
{
	__int128 sum;
	if (__builtin_add_overflow(a, b, &sum) || sum < -INT128_MAX)
		return a > 0 ? INT128_MAX : -INT128_MAX;
	return sum;
}

static size_t count_digits(const char *p, const char *end)
{
	const char *start = p;
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return (size_t)(p - start);
}

/* "e" or "E", a sign if any, digits. */
static bool read_exponent(const char *p, const char *end, struct number *n)
{
	bool negative = *++p == '-';
	if (*p == '-' || *p == '+')
		p++;
	if (p == end || count_digits(p, end) != (size_t)(end - p))
		return false;
	int exponent = 0;
	for (; p < end; p++)
		if (exponent < EXPONENT_MAX)
			exponent = exponent * 10 + (*p - '0');
	n->exponent = negative ? -exponent : exponent;
	return true;
}

static bool read_suffix(const char *p, const char *end, struct number *n)
{
	static const char decimal[] = "num kMGTPE", binary[] = "KMGTPE";
	const char *found;
	size_t len = (size_t)(end - p);
	if (len == 0)
		return true;
	if (len == 1 && *p != ' ' && *p != '\0' && (found = strchr(decimal, *p)) != NULL) {
		n->exponent = (int)(found - decimal) * 3 - 9;
		return true;
	}
	if (len == 2 && p[1] == 'i' && *p != '\0' && (found = strchr(binary, *p)) != NULL) {
		n->binary = true;
		n->exponent = (int)(found - binary) * 10 + 10;
		return true;
	}
	return len > 1 && (*p == 'e' || *p == 'E') && read_exponent(p, end, n);
}

static bool read_number(const char *p, const char *end, struct number *n)
{
	*n = (struct number){0};
	if (p < end && (*p == '-' || *p == '+'))
		n->negative = *p++ == '-';
	n->whole = p;
	n->whole_len = count_digits(p, end);
	p += n->whole_len;
	if (p < end && *p == '.') {
		n->fraction = ++p;
		n->fraction_len = count_digits(p, end);
		p += n->fraction_len;
	}
	return n->whole_len + n->fraction_len > 0 && read_suffix(p, end, n);
}

static int digit_at(const struct number *n, size_t i)
{
	return (i < n->whole_len ? n->whole[i] : n->fraction[i - n->whole_len]) - '0';
}

/* The digits before the point, which stands `point` digits from the left (or beyond the last). */
static __int128 whole_part(const struct number *n, long point)
{
	__int128 whole = 0;
	long count = (long)(n->whole_len + n->fraction_len);
	for (long i = 0; i < point && whole < INT128_MAX && (i < count || whole != 0); i++)
		whole = add(multiply(whole, 10), i < count ? digit_at(n, (size_t)i) : 0);
	return whole;
}

/* ceil(the digits behind the point * unit); unit < 2^124. */
static __int128 fraction_part(const struct number *n, long point, __int128 unit)
{
	__int128 carry = 0;
	bool rest = false;
	for (long i = (long)(n->whole_len + n->fraction_len) - 1; i >= point && (i >= 0 || carry != 0); i--) {
		carry += unit * (i >= 0 ? digit_at(n, (size_t)i) : 0);
		rest |= carry % 10 != 0;
		carry /= 10;
	}
	return carry + rest;
}

int quantity_parse(const char *text, size_t len, struct quantity *q, struct err *e)
{
	struct number n;
	if (len > QUANTITY_LENGTH_MAX)
		return err_set(e, ERR_INVALID, "a text of %zu bytes is no quantity: write a number such as 500m, 2 or 1.5Gi", len);
	if (len == 0 || !read_number(text, text + len, &n))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no quantity: write a number and one of n u m k M G T P E, "
			"Ki Mi Gi Ti Pi Ei or an exponent, such as 500m, 2 or 1.5Gi", (int)(len < 60 ? len : 60), text);
	__int128 unit = NANO;
	long point = (long)n.whole_len;
	if (n.binary)
		unit <<= n.exponent;
	else
		point += n.exponent;
	__int128 nano = add(multiply(whole_part(&n, point), unit), fraction_part(&n, point, unit));
	if (n.binary && nano > (__int128)INT64_MAX * NANO)
		nano = (__int128)INT64_MAX * NANO;
	q->nano = n.negative ? -nano : nano;
	return 0;
}

int quantity_compare(struct quantity a, struct quantity b)
{
	return (a.nano > b.nano) - (a.nano < b.nano);
}

struct quantity quantity_add(struct quantity a, struct quantity b)
{
	return (struct quantity){add(a.nano, b.nano)};
}

struct quantity quantity_sub(struct quantity a, struct quantity b)
{
	return (struct quantity){add(a.nano, -b.nano)};
}

struct quantity quantity_multiply(struct quantity a, int64_t by)
{
	return (struct quantity){multiply(a.nano, by)};
}

size_t quantity_format(struct quantity q, char *out, size_t size)
{
	static const char *const suffixes[] = {"n", "u", "m", ""};
	char text[QUANTITY_TEXT_MAX], *p = text + sizeof text;
	unsigned __int128 rest = q.nano < 0 ? -(unsigned __int128)q.nano : (unsigned __int128)q.nano;
	int suffix = rest == 0 ? 3 : 0;
	for (; suffix < 3 && rest % 1000 == 0; suffix++)
		rest /= 1000;
	*--p = '\0';
	if (*suffixes[suffix] != '\0')
		*--p = *suffixes[suffix];
	do
		*--p = (char)('0' + (int)(rest % 10));
	while ((rest /= 10) != 0);
	if (q.nano < 0)
		*--p = '-';
	return (size_t)snprintf(out, size, "%s", p);
}

static int64_t rounded(__int128 nano, __int128 unit)
{
	__int128 n = nano / unit + (nano % unit > 0) - (nano % unit < 0);
	return n > INT64_MAX ? INT64_MAX : n < INT64_MIN ? INT64_MIN : (int64_t)n;
}

int64_t quantity_milli(struct quantity q)
{
	return rounded(q.nano, NANO / 1000);
}

int64_t quantity_units(struct quantity q)
{
	return rounded(q.nano, NANO);
}
