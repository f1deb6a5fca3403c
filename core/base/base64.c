/* Three bytes in four letters: see base64.h.
 *
 * Decoders differ in what they let pass, and what passes here is later compared, signed or sent.
 * So there is one reading: every text that is accepted encodes back to itself (but for line
 * breaks). */
#include "base/base64.h"

#include <stdint.h>

#include "base/err.h"

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* `n` letters of a group (2 to 4) were read into `bits`, the rest is padding. */
static int add_group(struct buffer *out, uint32_t bits, int n)
{
	bits <<= 6 * (4 - n);
	size_t len = (size_t)n - 1;
	if ((bits & ((1u << (8 * (3 - len))) - 1)) != 0)
		return ERR_INVALID;
	char bytes[3] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
	return buffer_add(out, bytes, len);
}

int base64_decode(const char *text, size_t len, struct buffer *out)
{
	uint32_t bits = 0;
	int n = 0, padding = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n' || text[i] == '\r')
			continue;
		if (text[i] == '=') {
			if (n < 2 || n + ++padding > 4)
				return ERR_INVALID;
			continue;
		}
		int value = value_of(text[i]);
		if (value < 0 || padding > 0)
			return ERR_INVALID;
		bits = bits << 6 | (uint32_t)value;
		if (++n < 4)
			continue;
		int rc = add_group(out, bits, 4);
		if (rc != 0)
			return rc;
		bits = 0;
		n = 0;
	}
	if (n == 0)
		return padding == 0 ? 0 : ERR_INVALID;
	return n + padding == 4 ? add_group(out, bits, n) : ERR_INVALID;
}

static void encode_group(const unsigned char *in, size_t n, char out[4])
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0) | (n > 2 ? in[2] : 0);
	out[0] = letters[bits >> 18];
	out[1] = letters[bits >> 12 & 63];
	out[2] = n > 1 ? letters[bits >> 6 & 63] : '=';
	out[3] = n > 2 ? letters[bits & 63] : '=';
}

size_t base64_encode_to(const void *bytes, size_t len, char *out)
{
	const unsigned char *in = bytes;
	char *at = out;
	for (size_t i = 0; i < len; i += 3, at += 4)
		encode_group(in + i, len - i < 3 ? len - i : 3, at);
	return (size_t)(at - out);
}

int base64_encode(const void *bytes, size_t len, struct buffer *out)
{
	const unsigned char *in = bytes;
	for (size_t i = 0; i < len; i += 3) {
		char group[4];
		encode_group(in + i, len - i < 3 ? len - i : 3, group);
		int rc = buffer_add(out, group, sizeof group);
		if (rc != 0)
			return rc;
	}
	return 0;
}
