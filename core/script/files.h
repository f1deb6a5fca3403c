/* Whole files, bounded: what fs and the module loader read and write. */
#ifndef MOONPHASE_SCRIPT_FILES_H
#define MOONPHASE_SCRIPT_FILES_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/err.h"

/* Append the file to `out` (whose max is the limit). ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_IO. Refuses what
 * is no regular file or pipe. */
int files_read(const char *path, struct buffer *out, struct err *e);
/* Replace the file as a whole: a temporary file beside it, written to the disk, then renamed. A new file
 * has mode 0666 less the umask; an old one keeps its mode. */
int files_write(const char *path, const void *bytes, size_t len, struct err *e);

#endif
