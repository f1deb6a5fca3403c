/* The small files that kubeconfig points to: bounded, whole, and named in every error. */
#ifndef MOONPHASE_KUBE_CONFIG_FILES_H
#define MOONPHASE_KUBE_CONFIG_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define KUBE_FILE_MAX (1u << 20)

/* The whole file as a C string (the caller frees it), or NULL: ERR_NOT_FOUND, ERR_TOO_LARGE (over
 * KUBE_FILE_MAX), ERR_INVALID (it holds a NUL byte), ERR_IO. The error is "PATH: why". */
char *kube_read_file(const char *path, size_t *len, struct err *e);
/* The same for a token: white space around it is cut off, and it must be fit for a header. */
char *kube_read_token(const char *path, struct err *e);
/* Whether it can stand in a header line: not empty, no control characters. */
bool kube_is_header_text(const char *text);

#endif
