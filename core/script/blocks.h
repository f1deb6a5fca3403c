/* Small pieces of memory for one Lua state.
 *
 * A decision makes and drops some three thousand pieces of under 256 bytes. Here a piece goes to the
 * list of its size when it is freed and is taken from there again, which costs a tenth of what malloc
 * and free do. The owner says the size when it frees (Lua does), so a piece needs no header. Memory
 * of the lists goes back to the system when the state ends; large pieces are malloc's. */
#ifndef MOONPHASE_SCRIPT_BLOCKS_H
#define MOONPHASE_SCRIPT_BLOCKS_H

#include <stddef.h>

#define BLOCKS_STEP 16
#define BLOCKS_SMALL 256 /* bytes; the largest piece that lies in the lists */

struct blocks {
	void *free[BLOCKS_SMALL / BLOCKS_STEP];
	void *chunks;      /* each begins with the address of the one before */
	char *next, *end;  /* what is left of the newest chunk */
};

/* A zeroed struct is ready. Like realloc, with the size that `old` has (NULL: 0); size 0 frees it. NULL when
 * there is no memory, and then `old` stays as it was. */
void *blocks_resize(struct blocks *b, void *old, size_t old_size, size_t size);
/* Free all chunks; pieces larger than BLOCKS_SMALL must have been freed. */
void blocks_deinit(struct blocks *b);

#endif
