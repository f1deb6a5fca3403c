/* One way to fail: a small code to branch on and a sentence to read.
 *
 * Fallible functions return 0 or one of these negative codes and, where a person will read
 * about it, fill a caller-owned `struct err`. The sentence says what was wrong, where (file,
 * line, field) and what to do; it never holds a token or the value of a Secret. A NULL
 * `struct err *` is allowed everywhere and means that only the code is wanted. */
#ifndef MOONPHASE_BASE_ERR_H
#define MOONPHASE_BASE_ERR_H

enum err_code {
	ERR_OK = 0,
	ERR_INVALID = -1,  /* the input breaks a rule; trying again cannot help */
	ERR_TOO_LARGE = -2,/* a named limit was passed */
	ERR_NOT_FOUND = -3,
	ERR_IO = -4,       /* file, socket or process trouble; trying again may help */
	ERR_TIMEOUT = -5,
	ERR_CANCELLED = -6,
	ERR_CONFLICT = -7, /* somebody else was first */
	ERR_NOMEM = -8,    /* only where the size came from outside; see xalloc.h */
	ERR_SCRIPT = -9,   /* a policy or script failed */
	ERR_FENCED = -10,  /* this process does not lead: it may not write */
};

#define ERR_TEXT_MAX 1024

struct err {
	int code;
	char text[ERR_TEXT_MAX];
};

/* Fill `e` (may be NULL) and return `code`, so that callers write `return err_set(...)`.
 * A text that is too long ends in "...". */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put "context: " before the text of `e`, keep its code and return it. */
int err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A stable name of the code, for logs and metrics: "invalid", "timeout" ... */
const char *err_name(int code);

#endif
