/* Many texts that resemble one another, kept small.
 *
 * A cache holds thousands of objects of one kind, and an object of a kind says mostly what the one
 * before it said. Each is compressed (LZ4) against one of them, the dictionary, so that what is
 * kept is about what is its own: a Deployment of 5 KB takes about 1 KB, at a few microseconds to pack
 * and fewer to unpack.
 *
 * Objects change over time, so now and then the next text becomes the new dictionary. A dictionary
 * lives as long as anything was packed with it. */
#ifndef MOONPHASE_BASE_PACK_H
#define MOONPHASE_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>

struct pack_dictionary;

/* All zero is a packer that has seen nothing. */
struct packer {
	struct pack_dictionary *dictionary; /* of the next text; NULL: none yet */
	unsigned age;                       /* texts packed with it */
	size_t bytes;                       /* held by dictionaries that are alive */
};

/* Room that packing `len` bytes may take. */
size_t pack_bound(size_t len);
/* Pack into `out` (of pack_bound(len) bytes); how many bytes it took. *with: the dictionary that it takes to unpack
 * (NULL: none), held until pack_release. */
size_t pack(struct packer *p, const char *bytes, size_t len, char *out, struct pack_dictionary **with);
/* Into `out`, of exactly the `len` bytes that were packed. False if the packed bytes are not what pack made. */
bool pack_open(const struct pack_dictionary *with, const char *packed, size_t packed_len, char *out, size_t len);
/* What was packed with it is forgotten. NULL is allowed. */
void pack_release(struct packer *p, struct pack_dictionary *with);
/* Frees the present dictionary's hold; what is packed still must have been released. */
void packer_deinit(struct packer *p);

#endif
