/* Base64 (RFC 4648, section 4), strictly: as Go's encoding/json reads []byte.
 * Line breaks are skipped (kubeconfig writers fold long data); anything else outside the alphabet,
 * missing padding or bits behind the end is an error. */
#ifndef MOONPHASE_BASE_BASE64_H
#define MOONPHASE_BASE_BASE64_H

#include <stddef.h>

#include "base/buffer.h"

/* Append what `text` means. 0; ERR_INVALID, ERR_TOO_LARGE: `out` may hold a part. */
int base64_decode(const char *text, size_t len, struct buffer *out);
int base64_encode(const void *bytes, size_t len, struct buffer *out);
/* The same into `out`, which has room for base64_encoded_size(len) bytes (no NUL is added); how many were written. */
#define base64_encoded_size(len) (((len) + 2) / 3 * 4)
size_t base64_encode_to(const void *bytes, size_t len, char *out);

#endif
