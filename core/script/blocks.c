/* Free lists by size, cut from chunks: see blocks.h. */
#include "script/blocks.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE (16u << 10)

/* Under AddressSanitizer every piece is malloc's, so that a wrong use of it is seen. */
#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined __SANITIZE_ADDRESS__ || __has_feature(address_sanitizer)
#define SMALL ((size_t)0)
#else
#define SMALL ((size_t)BLOCKS_SMALL)
#endif

static size_t class_of(size_t size)
{
	return (size - 1) / BLOCKS_STEP;
}

static void *cut(struct blocks *b, size_t size)
{
	if ((size_t)(b->end - b->next) < size) {
		char *chunk = malloc(CHUNK_SIZE);
		if (chunk == NULL)
			return NULL;
		*(void **)(void *)chunk = b->chunks;
		b->chunks = chunk;
		b->next = chunk + BLOCKS_STEP;
		b->end = chunk + CHUNK_SIZE;
	}
	void *piece = b->next;
	b->next += size;
	return piece;
}

static void *take(struct blocks *b, size_t size)
{
	if (size > SMALL)
		return malloc(size);
	void **list = &b->free[class_of(size)], *piece = *list;
	if (piece == NULL)
		return cut(b, (class_of(size) + 1) * BLOCKS_STEP);
	*list = *(void **)piece;
	return piece;
}

static void drop(struct blocks *b, void *piece, size_t size)
{
	if (size > SMALL) {
		free(piece);
		return;
	}
	void **list = &b->free[class_of(size)];
	*(void **)piece = *list;
	*list = piece;
}

void *blocks_resize(struct blocks *b, void *old, size_t old_size, size_t size)
{
	if (old == NULL || old_size == 0)
		return size != 0 ? take(b, size) : NULL;
	if (size == 0) {
		drop(b, old, old_size);
		return NULL;
	}
	if (old_size > SMALL && size > SMALL)
		return realloc(old, size);
	if (old_size <= SMALL && size <= SMALL && class_of(old_size) == class_of(size))
		return old;
	void *made = take(b, size);
	if (made == NULL)
		return NULL;
	memcpy(made, old, old_size < size ? old_size : size);
	drop(b, old, old_size);
	return made;
}

void blocks_deinit(struct blocks *b)
{
	while (b->chunks != NULL) {
		void *chunk = b->chunks;
		b->chunks = *(void **)chunk;
		free(chunk);
	}
	*b = (struct blocks){0};
}
