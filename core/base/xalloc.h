/* Allocation that either works or ends the process with one clear sentence.
 *
 * A controller that is out of memory can only restart; unwinding through every caller would
 * be code that nobody runs. Two places are different and do not use this: the allocator of a
 * policy state (its cap is a policy's error, not ours), and sizes taken from the network,
 * which are checked against a named limit first and reported as ERR_TOO_LARGE. */
#ifndef MOONPHASE_BASE_XALLOC_H
#define MOONPHASE_BASE_XALLOC_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
/* A copy of `len` bytes with a NUL behind it. */
char *xmemdup0(const void *bytes, size_t len);
/* printf into a string of its own; the caller frees it. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
