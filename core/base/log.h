/* What the operator says while it runs: one line an event, as text or as JSON.
 *
 * Lines go to standard error. A line is a level, a message (a sentence without values in it)
 * and fields (the values). Secrets are kept out here and not at call sites: the value of a field
 * whose name is token, password, authorization, secret, key_data (or ends in one of these) is
 * written as "<redacted>", and so is anything in a message or value that looks like a bearer
 * token ("Bearer ..." or a JWT).
 *
 * Nothing in a value can make a second line or a field of its own: control characters (and
 * those that turn text around) are escaped, bytes that are no UTF-8 are replaced, and what is
 * longer than LOG_VALUE_MAX bytes is cut and ends in "...". A line is one write(2); any thread
 * may log. */
#ifndef MOONPHASE_BASE_LOG_H
#define MOONPHASE_BASE_LOG_H

#include <stddef.h>

#define LOG_VALUE_MAX 4096
#define LOG_FIELDS_MAX 32 /* what comes beyond is left out */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* At the start of the process, before there are threads. Until then: info and above, as text. */
void log_configure(enum log_level least, enum log_format format);
enum log_level log_least(void);

struct log_field {
	const char *name;
	const char *value; /* text; numbers are given as text with is_number set */
	int is_number;
};
void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count);
/* Names and text values in pairs, NULL behind the last:
 * log_info("watch ended", "kind", "pods", "why", err.text, NULL) */
void log_debug(const char *message, ...) __attribute__((sentinel));
void log_info(const char *message, ...) __attribute__((sentinel));
void log_warn(const char *message, ...) __attribute__((sentinel));
void log_error(const char *message, ...) __attribute__((sentinel));

#endif
