/* Plain scalars: see yaml_scalar.h.
 *
 * Reading and writing are not mirror images here. Reading must agree with kubectl, whose parser
 * (go-yaml 2) takes YAML 1.1 mostly at its word: 017 and 0o17 are 15, 1_000 is 1000, y is
 * true; but 12:30 and dates stay text. Writing must survive every reader, so it quotes more
 * than any one of them would need. */
#include "base/yaml_scalar.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *text;
	enum yaml_scalar is;
} words[] = {
	{"", YAML_NULL}, {"~", YAML_NULL}, {"null", YAML_NULL},
	{"true", YAML_TRUE}, {"yes", YAML_TRUE}, {"on", YAML_TRUE}, {"y", YAML_TRUE},
	{"false", YAML_FALSE}, {"no", YAML_FALSE}, {"off", YAML_FALSE}, {"n", YAML_FALSE},
	{".inf", YAML_NOT_FINITE}, {"+.inf", YAML_NOT_FINITE}, {"-.inf", YAML_NOT_FINITE},
};

/* Lower case, upper case or Capitalized: "yEs" is none of these. */
static bool is_usual_spelling(const char *text)
{
	bool upper = false, lower = false, first = true;
	for (; *text != '\0'; text++) {
		if ((*text | 0x20) < 'a' || (*text | 0x20) > 'z')
			continue;
		if (!first)
			*(*text & 0x20 ? &lower : &upper) = true;
		else if (*text & 0x20)
			lower = true;
		first = false;
	}
	return !(upper && lower);
}

static enum yaml_scalar find_word(const char *text)
{
	if (strcmp(text, ".nan") == 0 || strcmp(text, ".NaN") == 0 || strcmp(text, ".NAN") == 0)
		return YAML_NOT_FINITE;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcasecmp(words[i].text, text) == 0 && is_usual_spelling(text))
			return words[i].is;
	return YAML_TEXT;
}

static bool read_integer(const char *text, char *number)
{
	const char *p = text;
	bool negative = *p == '-';
	int base = 10;
	if (*p == '-' || *p == '+')
		p++;
	if (p[0] == '0' && p[1] != '\0') {
		int letter = p[1] | 0x20;
		base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
		p += letter == 'x' || letter == 'b' || letter == 'o' ? 2 : 1;
	}
	uint64_t value = 0;
	if (*p == '\0')
		return false;
	for (; *p != '\0'; p++) {
		int digit = *p >= '0' && *p <= '9' ? *p - '0' : (*p | 0x20) >= 'a' && (*p | 0x20) <= 'f' ? (*p | 0x20) - 'a' + 10 : 99;
		if (digit >= base || __builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return false;
	}
	if (value > (uint64_t)INT64_MAX && (negative ? value > (uint64_t)INT64_MAX + 1 : *text == '+'))
		return false;
	snprintf(number, YAML_NUMBER_MAX, "%s%llu", negative && value != 0 ? "-" : "", (unsigned long long)value);
	return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_decimal(const char *p)
{
	p += *p == '-' || *p == '+';
	size_t whole = strspn(p, "0123456789");
	p += whole;
	if (*p == '.') {
		size_t fraction = strspn(++p, "0123456789");
		p += fraction;
		whole += fraction;
	}
	if (whole == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p++;
		p += *p == '-' || *p == '+';
		size_t exponent = strspn(p, "0123456789");
		if (exponent == 0)
			return false;
		p += exponent;
	}
	return *p == '\0';
}

static bool read_fraction(const char *text, char *number)
{
	double value = is_decimal(text) ? strtod(text, NULL) : INFINITY;
	if (isinf(value))
		return false;
	if (value == floor(value) && fabs(value) < 1e15) {
		snprintf(number, YAML_NUMBER_MAX, "%.0f", value == 0 ? 0.0 : value);
		return true;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(number, YAML_NUMBER_MAX, "%.*g", digits, value);
		if (strtod(number, NULL) == value)
			break;
	}
	return true;
}

enum yaml_scalar yaml_resolve(const char *text, size_t len, char *number)
{
	char plain[400]; /* the longest double written out has 310 digits; more zeros are text */
	size_t kept = 0;
	enum yaml_scalar word = len <= 5 ? find_word(text) : YAML_TEXT;
	if (word != YAML_TEXT)
		return word;
	if (len == 0 || len >= sizeof plain || strchr("+-.0123456789", text[0]) == NULL)
		return YAML_TEXT;
	for (size_t i = 0; i < len; i++)
		if (text[i] != '_' || text[0] == '.')
			plain[kept++] = text[i];
	plain[kept] = '\0';
	if (read_integer(plain, number))
		return YAML_INTEGER;
	return read_fraction(plain, number) ? YAML_FRACTION : YAML_TEXT;
}

bool yaml_is_printable(unsigned code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return false;
	return code != 0x2028 && code != 0x2029 && code != 0xfeff && (code & 0xfffe) != 0xfffe;
}

bool yaml_needs_quotes(const char *text, size_t len)
{
	static const char numeric[] = "0123456789abcdefABCDEFxXoOtTzZ_:.,+- ";
	unsigned char first = len != 0 ? (unsigned char)text[0] : ' ';
	bool digit = first >= '0' && first <= '9';
	bool letter = (first | 0x20) >= 'a' && (first | 0x20) <= 'z';
	if (!digit && !letter && first != '_' && first != '/' && first < 0x80)
		return true;
	if (digit && strspn(text, numeric) >= len)
		return true;
	for (size_t i = 0; len <= 5 && i < sizeof words / sizeof *words; i++)
		if (strlen(words[i].text) == len && strncasecmp(words[i].text, text, len) == 0)
			return true;
	if (text[len - 1] == ' ' || text[len - 1] == ':')
		return true;
	for (size_t i = 0; i + 1 < len; i++)
		if ((text[i] == ':' && text[i + 1] == ' ') || (text[i] == ' ' && text[i + 1] == '#'))
			return true;
	return false;
}
