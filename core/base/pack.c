/* See pack.h. LZ4's stream interface is used for what it offers besides streams: a dictionary of up
 * to 64 KiB that both sides know. */
#include "base/pack.h"

#include <lz4.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

#define DICTIONARY_MAX (16u << 10) /* longer texts are packed, but serve nobody else */
#define DICTIONARY_MIN 256u        /* there is nothing to learn from less */
#define DICTIONARY_AGE 64u         /* texts that are packed with one before the next text takes its place */

struct pack_dictionary {
	uint32_t users; /* texts packed with it, and its packer */
	uint32_t len;
	char bytes[];
};

static void leave(struct packer *p, struct pack_dictionary *d)
{
	if (d == NULL || --d->users != 0)
		return;
	p->bytes -= sizeof *d + d->len;
	free(d);
}

static void learn(struct packer *p, const char *bytes, size_t len)
{
	leave(p, p->dictionary);
	p->dictionary = xmalloc(sizeof *p->dictionary + len);
	*p->dictionary = (struct pack_dictionary){.users = 1, .len = (uint32_t)len};
	memcpy(p->dictionary->bytes, bytes, len);
	p->bytes += sizeof *p->dictionary + len;
	p->age = 0;
}

size_t pack_bound(size_t len)
{
	return len <= LZ4_MAX_INPUT_SIZE ? (size_t)LZ4_compressBound((int)len) : 0;
}

size_t pack(struct packer *p, const char *bytes, size_t len, char *out, struct pack_dictionary **with)
{
	LZ4_stream_t stream;
	if (len >= DICTIONARY_MIN && len <= DICTIONARY_MAX && (p->dictionary == NULL || p->age >= DICTIONARY_AGE))
		learn(p, bytes, len);
	*with = p->dictionary;
	LZ4_initStream(&stream, sizeof stream);
	if (p->dictionary != NULL) {
		p->dictionary->users++;
		p->age++;
		LZ4_loadDict(&stream, p->dictionary->bytes, (int)p->dictionary->len);
	}
	return (size_t)LZ4_compress_fast_continue(&stream, bytes, out, (int)len, (int)pack_bound(len), 1);
}

bool pack_open(const struct pack_dictionary *with, const char *packed, size_t packed_len, char *out, size_t len)
{
	return LZ4_decompress_safe_usingDict(packed, out, (int)packed_len, (int)len, with ? with->bytes : NULL,
		with ? (int)with->len : 0) == (int)len;
}

void pack_release(struct packer *p, struct pack_dictionary *with)
{
	leave(p, with);
}

void packer_deinit(struct packer *p)
{
	leave(p, p->dictionary);
	*p = (struct packer){0};
}
