/* Log lines: see log.h.
 *
 * The problem is that values are hostile: an image name, a pod's message or an error from a
 * webhook may hold a newline that forges a second line, an escape sequence for the terminal,
 * or a token that somebody put into a URL. So a value passes three steps, in this order:
 * secrets are blotted out, the rest is cut to a length, and what is left is escaped for the
 * format. Call sites cannot forget any of them. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/json.h"

/* Room for all fields at six bytes a character. */
#define LINE_MAX_BYTES ((size_t)(LOG_FIELDS_MAX + 2) * (LOG_VALUE_MAX + 64) * 6)

static enum log_level least = LOG_INFO;
static enum log_format format = LOG_TEXT;

static const char redacted[] = "<redacted>";

void log_configure(enum log_level new_least, enum log_format new_format)
{
	least = new_least;
	format = new_format;
}

enum log_level log_least(void)
{
	return least;
}

static bool names_a_secret(const char *name)
{
	static const char *const ends[] = {"token", "password", "authorization", "secret", "key_data"};
	size_t len = strlen(name);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		size_t end = strlen(ends[i]);
		if (len >= end && strcasecmp(name + len - end, ends[i]) == 0)
			return true;
	}
	return false;
}

/* The length of the run of letters, digits and bytes of `more` at the front of `p`. */
static size_t run(const char *p, const char *end, const char *more)
{
	const char *start = p;
	while (p < end && *p != '\0' && ((*p >= '0' && *p <= '9') || ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') ||
	       strchr(more, *p) != NULL))
		p++;
	return (size_t)(p - start);
}

/* How many bytes of a secret stand at `p`; *skip of them, in front, may be shown. Before *no_token no JSON web token begins: a long
 * run of letters that is none is not looked at from each of its letters. */
static size_t secret_at(const char *p, const char *end, size_t *skip, const char **no_token)
{
	*skip = 0;
	if (end - p > 7 && (*p | 0x20) == 'b' && strncasecmp(p, "bearer", 6) == 0) {
		const char *token = p + 6;
		while (token < end && *token != '\0' && strchr(" \t:=\"'", *token) != NULL)
			token++;
		size_t len = run(token, end, "-._~+/=");
		*skip = (size_t)(token - p);
		return *skip > 6 && len != 0 ? *skip + len : 0;
	}
	if (p >= *no_token && end - p > 8 && memcmp(p, "eyJ", 3) == 0) {
		size_t header = run(p, end, "-_");
		size_t all = p[header] == '.' ? run(p, end, "-_.") : 0;
		*no_token = p + header;
		return all > header + 1 ? all : 0;
	}
	return 0;
}

static void blot_out_secrets(const char *text, struct buffer *out)
{
	const char *p = text, *shown = text, *no_token = text, *end = text + strlen(text);
	while (p < end) {
		size_t skip, len = secret_at(p, end, &skip, &no_token);
		if (len == 0) {
			p++;
			continue;
		}
		buffer_add(out, shown, (size_t)(p - shown) + skip);
		buffer_add_text(out, redacted);
		shown = p += len;
	}
	buffer_add(out, shown, (size_t)(end - shown));
}

static void cut(struct buffer *b)
{
	if (b->len <= LOG_VALUE_MAX)
		return;
	b->len = LOG_VALUE_MAX - 3;
	while (b->len > 0 && ((unsigned char)b->data[b->len] & 0xc0) == 0x80)
		b->len--; /* not in the middle of a character */
	buffer_add_text(b, "...");
}

/* Code points that end lines, steer terminals or turn text around. */
static bool must_be_escaped(unsigned code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
		(code >= 0x2066 && code <= 0x2069);
}

static unsigned code_point(const char *p, size_t len)
{
	if (len == 1)
		return (unsigned char)*p;
	unsigned code = (unsigned char)*p & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++)
		code = code << 6 | ((unsigned char)p[i] & 0x3fu);
	return code;
}

static void add_escaped(struct buffer *line, const char *p, size_t len, bool quoted)
{
	for (const char *end = p + len; p < end;) {
		size_t step = json_utf8_length(p, end);
		unsigned code = step != 0 ? code_point(p, step) : 0xfffd;
		if (step == 0)
			buffer_add_text(line, "\xef\xbf\xbd");
		else if (code == '\n' || code == '\t' || code == '\r')
			buffer_printf(line, "\\%c", code == '\n' ? 'n' : code == '\t' ? 't' : 'r');
		else if (must_be_escaped(code))
			buffer_printf(line, "\\u%04x", code);
		else if (quoted && (code == '"' || code == '\\'))
			buffer_printf(line, "\\%c", (char)code);
		else
			buffer_add(line, p, step);
		p += step != 0 ? step : 1;
	}
}

static bool needs_quotes(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] >= 0x7f || strchr("\"=\\", text[i]) != NULL)
			return true;
	return len == 0;
}

static bool is_json_number(const char *text)
{
	struct json_reader r;
	json_reader_init(&r, text, strlen(text));
	return json_next(&r) == JSON_NUMBER && json_next(&r) == JSON_END && r.text.len == strlen(text);
}

static void clean(const char *text, struct buffer *out)
{
	buffer_clear(out);
	blot_out_secrets(text, out);
	cut(out);
}

/* A field's name comes from our code, but also from Lua: keep it from forging. */
static void add_text_name(struct buffer *line, const char *name)
{
	for (; *name != '\0'; name++)
		buffer_add_byte(line, (unsigned char)*name <= ' ' || (unsigned char)*name >= 0x7f || *name == '=' || *name == '"'
			? '_' : *name);
}

static void add_text_field(struct buffer *line, const char *name, const struct buffer *value)
{
	bool quotes = needs_quotes(buffer_text(value), value->len);
	buffer_add_byte(line, ' ');
	add_text_name(line, name);
	buffer_add_text(line, quotes ? "=\"" : "=");
	add_escaped(line, buffer_text(value), value->len, quotes);
	if (quotes)
		buffer_add_byte(line, '"');
}

static void add_json_field(struct buffer *line, const char *name, const struct buffer *value, bool is_number)
{
	static const char *const ours[][2] = {{"time", "time_"}, {"level", "level_"}, {"message", "message_"}};
	for (size_t i = 0; i < 3; i++)
		if (strcmp(name, ours[i][0]) == 0)
			name = ours[i][1];
	buffer_add_byte(line, ',');
	json_add_string(line, name, strlen(name));
	buffer_add_byte(line, ':');
	if (is_number && is_json_number(buffer_text(value)))
		buffer_add(line, value->data, value->len);
	else
		json_add_string(line, buffer_text(value), value->len);
}

static void add_time(struct buffer *line)
{
	struct timespec now;
	struct tm utc;
	char text[32];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
	buffer_printf(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void add_head(struct buffer *line, enum log_level level, const struct buffer *message)
{
	static const char *const levels[] = {"debug", "info", "warn", "error"};
	if (format == LOG_TEXT) {
		add_time(line);
		buffer_printf(line, " %-5s ", levels[level]);
		add_escaped(line, buffer_text(message), message->len, false);
		return;
	}
	buffer_add_text(line, "{\"time\":\"");
	add_time(line);
	buffer_printf(line, "\",\"level\":\"%s\",\"message\":", levels[level]);
	json_add_string(line, buffer_text(message), message->len);
}

static void add_field(struct buffer *line, const struct log_field *field, struct buffer *value)
{
	clean(names_a_secret(field->name) ? redacted : field->value != NULL ? field->value : "", value);
	if (format == LOG_TEXT)
		add_text_field(line, field->name, value);
	else
		add_json_field(line, field->name, value, field->is_number);
}

/* A log that cannot be written is no reason to stop or to wait: what does not go out is lost. */
static void write_line(const struct buffer *line)
{
	size_t done = 0;
	while (done < line->len) {
		ssize_t n = write(STDERR_FILENO, line->data + done, line->len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

void log_write(enum log_level level, const char *message, const struct log_field *fields, size_t count)
{
	if (level < least)
		return;
	int saved_errno = errno;
	struct buffer line, scratch;
	buffer_init(&line, LINE_MAX_BYTES);
	buffer_init(&scratch, SIZE_MAX / 4);
	clean(message, &scratch);
	add_head(&line, level, &scratch);
	for (size_t i = 0; i < count && i < LOG_FIELDS_MAX; i++)
		add_field(&line, &fields[i], &scratch);
	buffer_add_text(&line, format == LOG_TEXT ? "\n" : "}\n");
	write_line(&line);
	buffer_deinit(&line);
	buffer_deinit(&scratch);
	errno = saved_errno;
}

static void write_pairs(enum log_level level, const char *message, va_list args)
{
	struct log_field fields[LOG_FIELDS_MAX];
	size_t count = 0;
	const char *name;
	if (level < least)
		return;
	while (count < LOG_FIELDS_MAX && (name = va_arg(args, const char *)) != NULL)
		fields[count++] = (struct log_field){.name = name, .value = va_arg(args, const char *)};
	log_write(level, message, fields, count);
}

#define DEFINE(function, level) \
	void function(const char *message, ...) \
	{ \
		va_list args; \
		va_start(args, message); \
		write_pairs(level, message, args); \
		va_end(args); \
	}
DEFINE(log_debug, LOG_DEBUG)
DEFINE(log_info, LOG_INFO)
DEFINE(log_warn, LOG_WARN)
DEFINE(log_error, LOG_ERROR)
