/* A growing run of bytes that knows how large it may become.
 *
 * Every buffer is made with a maximum (after curl's dynbuf): bytes come from API servers,
 * webhooks and files, and whoever makes a buffer must decide what too much is. Passing the
 * maximum is an error to report, never an abort. `data` always has a NUL behind `len` bytes
 * once anything was added, so text can be used as a C string. */
#ifndef MOONPHASE_BASE_BUFFER_H
#define MOONPHASE_BASE_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

struct buffer {
	char *data; /* NULL until the first byte */
	size_t len;
	size_t capacity;
	size_t max;
};

void buffer_init(struct buffer *b, size_t max);
/* Free the bytes; the buffer is empty and usable again. */
void buffer_deinit(struct buffer *b);
/* 0, or ERR_TOO_LARGE with nothing added. */
int buffer_add(struct buffer *b, const void *bytes, size_t len);
/* `len` more bytes, for the caller to write; NULL (nothing added) past the maximum. */
char *buffer_room(struct buffer *b, size_t len);
int buffer_add_text(struct buffer *b, const char *text);
int buffer_add_byte(struct buffer *b, char byte);
int buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
int buffer_vprintf(struct buffer *b, const char *format, va_list args);
/* Drop the first `len` bytes (a line that was handled). */
void buffer_consume(struct buffer *b, size_t len);
/* Keep the memory, forget the content. */
void buffer_clear(struct buffer *b);
/* Hand the bytes (NUL behind them) to the caller, who frees them; the buffer is empty again.
 * Never NULL: an empty buffer gives "". */
char *buffer_take(struct buffer *b, size_t *len);
/* The content as text, never NULL. */
const char *buffer_text(const struct buffer *b);

#endif
