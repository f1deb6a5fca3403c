/* Kubernetes quantities ("500m", "1Gi", "129e6"), exactly.
 * The grammar is that of k8s.io/apimachinery/pkg/api/resource: an optional sign, digits with an
 * optional point, then one of n u m "" k M G T P E, Ki Mi Gi Ti Pi Ei, or e/E and an exponent
 * ("E" alone is exa). Values are kept in nano units in 128 bits; finer fractions round away
 * from zero, as in the server. What has a binary suffix is capped at 2^63-1 units, as in the
 * server; everything else, which the server does not cap, saturates at 1.7e29 units. White
 * space is refused (Go trims it off JSON strings, not here), and so is a text without a digit:
 * "Gi" is 0 to the server, which is hardly what anybody meant. */
#ifndef MOONPHASE_BASE_QUANTITY_H
#define MOONPHASE_BASE_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct quantity {
	__int128 nano;
};

#define QUANTITY_LENGTH_MAX (64u << 10) /* bytes; a server takes more, which nobody means */
/* 0, or ERR_INVALID. */
int quantity_parse(const char *text, size_t len, struct quantity *q, struct err *e);
/* -1, 0, 1 */
int quantity_compare(struct quantity a, struct quantity b);
/* Saturating. */
struct quantity quantity_add(struct quantity a, struct quantity b);
struct quantity quantity_sub(struct quantity a, struct quantity b);
struct quantity quantity_multiply(struct quantity a, int64_t by);
/* The canonical decimal form: "500m", "2", "1500", with m, u or n only where it is needed and no
 * larger suffix: what every parser reads alike. Returns the length (as snprintf: what it would
 * be); QUANTITY_TEXT_MAX bytes are enough. */
#define QUANTITY_TEXT_MAX 48
size_t quantity_format(struct quantity q, char *out, size_t size);
/* In thousandths and in units, rounded up (away from zero), saturated to int64. */
int64_t quantity_milli(struct quantity q);
int64_t quantity_units(struct quantity q);

#endif
