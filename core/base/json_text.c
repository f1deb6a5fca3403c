/* What the bytes inside of a JSON string stand for: UTF-8 (RFC 3629) and escapes (RFC 8259, section 7).
 *
 * The reader has to refuse what is no text (half a surrogate pair, an overlong form), for it would be written to the
 * cluster again; so it asks here for the length of what it meets, and later, only if somebody reads the string and it has
 * an escape, json_unescape turns it into plain UTF-8. That never makes it longer. */
#include "base/json_text.h"

#include "base/json.h"

static bool between(char c, int low, int high)
{
	int u = (unsigned char)c;
	return u >= low && u <= high;
}

/* RFC 3629: the shortest form only, no surrogates, nothing above U+10FFFF. */
size_t json_utf8_length(const char *p, const char *end)
{
	int first = (unsigned char)*p;
	if (first < 0x80)
		return 1;
	size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
	if (first < 0xc2 || first > 0xf4 || (size_t)(end - p) < len)
		return 0;
	int low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	int high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
	if (!between(p[1], low, high))
		return 0;
	for (size_t i = 2; i < len; i++)
		if (!between(p[i], 0x80, 0xbf))
			return 0;
	return len;
}

static int hex_digit(char c)
{
	if (between(c, '0', '9'))
		return c - '0';
	c |= 0x20;
	return between(c, 'a', 'f') ? c - 'a' + 10 : -1;
}

/* The code unit behind "\u", or -1. */
static int code_unit(const char *p, const char *end)
{
	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	int unit = 0;
	for (int i = 2; i < 6; i++) {
		int digit = hex_digit(p[i]);
		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

size_t json_text_escape(const char *p, const char *end, unsigned *code)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	if (end - p < 2)
		return 0;
	if (p[1] != 'u') {
		const char *letter = p[1] != '\0' ? strchr(letters, p[1]) : NULL;
		*code = letter != NULL ? (unsigned char)meanings[letter - letters] : 0;
		return letter != NULL ? 2 : 0;
	}
	int unit = code_unit(p, end);
	*code = (unsigned)unit;
	if (unit < 0xd800 || unit > 0xdfff)
		return unit < 0 ? 0 : 6;
	int low = unit < 0xdc00 ? code_unit(p + 6, end) : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*code = 0x10000 + (((unsigned)unit - 0xd800) << 10) + ((unsigned)low - 0xdc00);
	return 12;
}

static size_t put_utf8(char *out, unsigned code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	for (size_t i = len - 1; i > 0; i--, code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)((0xf00 >> len) | code);
	return len;
}

size_t json_unescape(struct json_span text, char *out)
{
	const char *p = text.at, *end = p + text.len;
	char *to = out;
	while (p < end) {
		const char *slash = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((slash != NULL ? slash : end) - p);
		memcpy(to, p, run);
		to += run;
		p += run;
		unsigned code = 0;
		size_t len = slash != NULL ? json_text_escape(p, end, &code) : 0;
		if (len == 0)
			break;
		to += put_utf8(to, code);
		p += len;
	}
	return (size_t)(to - out);
}
