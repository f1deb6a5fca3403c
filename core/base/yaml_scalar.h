/* What a plain scalar of YAML is, and which texts must be quoted so that none is misread. Shared
 * by the reader and the writer of YAML only. */
#ifndef MOONPHASE_BASE_YAML_SCALAR_H
#define MOONPHASE_BASE_YAML_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

#define YAML_NUMBER_MAX 48

enum yaml_scalar {
	YAML_TEXT,
	YAML_NULL,
	YAML_TRUE,
	YAML_FALSE,
	YAML_INTEGER,
	YAML_FRACTION,
	YAML_NOT_FINITE, /* .inf, .nan */
};

/* As go-yaml 2 (kubectl) resolves it. `number` (YAML_NUMBER_MAX bytes) receives a number as JSON
 * writes it. */
enum yaml_scalar yaml_resolve(const char *text, size_t len, char *number);
/* Whether any reader could take the text, unquoted, for something other than this string. */
bool yaml_needs_quotes(const char *text, size_t len);
/* Whether YAML allows the code point as it is in a quoted text or block. */
bool yaml_is_printable(unsigned code);

#endif
