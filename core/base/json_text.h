/* The text inside of a JSON string: where it ends, and what its bytes stand for.
 *
 * Nearly all bytes of a Kubernetes object lie inside strings, so the two that run over them are here, inline: they look
 * at eight bytes at a time. In each byte of `odd` the top bit says that the byte is worth a look by itself; a borrow can
 * make false ones, but only above a true one, and the lowest counts. What is rare (escapes, longer UTF-8 sequences) is
 * json_text.c. Used by the reader; what others need of it is in json.h. */
#ifndef MOONPHASE_BASE_JSON_TEXT_H
#define MOONPHASE_BASE_JSON_TEXT_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The first byte at or behind `p` that is not plain ASCII text. */
static inline const char *json_text_plain(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
	while (end - p >= 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		w = le64toh(w);
		uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
		uint64_t odd = (((w - ones * 0x20) | (quote - ones) | (slash - ones)) & ~w & tops) | (w & tops);
		if (odd != 0)
			return p + (__builtin_ctzll(odd) >> 3);
		p += 8;
	}
	while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* Behind the quote that ends a sound text, of which `p` is the first byte; `end` if there is none. */
static inline const char *json_text_end(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
	for (;;) {
		while (end - p >= 8) {
			uint64_t w;
			memcpy(&w, p, 8);
			w = le64toh(w);
			uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
			uint64_t odd = (((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & tops;
			if (odd != 0) {
				p += __builtin_ctzll(odd) >> 3;
				break;
			}
			p += 8;
		}
		while (p < end && *p != '"' && *p != '\\')
			p++;
		if (end - p < 2)
			return end;
		if (*p == '"')
			return p + 1;
		p += 2;
	}
}

/* The escape at `p`: what it stands for, and its length (a surrogate pair is one); 0: wrong. */
size_t json_text_escape(const char *p, const char *end, unsigned *code);

#endif
