/* Bytes with a maximum: see buffer.h. */
#include "base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/xalloc.h"

void buffer_init(struct buffer *b, size_t max)
{
	*b = (struct buffer){.max = max};
}

void buffer_deinit(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){.max = b->max};
}

/* Room for `more` bytes and a NUL. Doubling, but never far past the maximum. */
static int reserve(struct buffer *b, size_t more)
{
	if (more > b->max - b->len)
		return ERR_TOO_LARGE;
	size_t need = b->len + more + 1;
	if (need <= b->capacity)
		return 0;
	size_t capacity = b->capacity ? b->capacity : 64;
	while (capacity < need)
		capacity *= 2;
	if (capacity > b->max + 1)
		capacity = b->max + 1;
	b->data = xrealloc(b->data, capacity);
	b->capacity = capacity;
	return 0;
}

int buffer_add(struct buffer *b, const void *bytes, size_t len)
{
	int rc = reserve(b, len);
	if (rc != 0)
		return rc;
	if (len != 0)
		memcpy(b->data + b->len, bytes, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

char *buffer_room(struct buffer *b, size_t len)
{
	if (reserve(b, len) != 0)
		return NULL;
	char *room = b->data + b->len;
	b->len += len;
	b->data[b->len] = '\0';
	return room;
}

int buffer_add_text(struct buffer *b, const char *text)
{
	return buffer_add(b, text, strlen(text));
}

int buffer_add_byte(struct buffer *b, char byte)
{
	return buffer_add(b, &byte, 1);
}

int buffer_vprintf(struct buffer *b, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	int rc = n < 0 ? ERR_INVALID : reserve(b, (size_t)n);
	if (rc == 0) {
		vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return rc;
}

int buffer_printf(struct buffer *b, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int rc = buffer_vprintf(b, format, args);
	va_end(args);
	return rc;
}

void buffer_consume(struct buffer *b, size_t len)
{
	if (len > b->len)
		len = b->len;
	if (len == 0)
		return;
	memmove(b->data, b->data + len, b->len - len + 1);
	b->len -= len;
}

void buffer_clear(struct buffer *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

char *buffer_take(struct buffer *b, size_t *len)
{
	char *bytes = b->data != NULL ? b->data : xstrdup("");
	if (len != NULL)
		*len = b->len;
	*b = (struct buffer){.max = b->max};
	return bytes;
}

const char *buffer_text(const struct buffer *b)
{
	return b->data != NULL ? b->data : "";
}
