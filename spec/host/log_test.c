/* Log lines as a person or a program reads them on standard error. */
#include "test.h"

#include <regex.h>

#include <cjson/cJSON.h>

#include "base/log.h"

static int pipe_ends[2];
static char seen[1 << 16];

static void catch_stderr(enum log_level least, enum log_format format)
{
	if (pipe(pipe_ends) != 0 || dup2(pipe_ends[1], STDERR_FILENO) < 0)
		FAIL("no pipe");
	log_configure(least, format);
}

/* What one write(2) wrote, without its time if it is text. Failures go to the old stdout. */
static const char *line(void)
{
	ssize_t n = read(pipe_ends[0], seen, sizeof seen - 1);
	dup2(STDOUT_FILENO, STDERR_FILENO);
	CHECK_INT(n, >, 0);
	seen[n] = '\0';
	if (seen[n - 1] != '\n' || strchr(seen, '\n') != seen + n - 1)
		FAIL("not one line: %s", seen);
	seen[n - 1] = '\0';
	dup2(pipe_ends[1], STDERR_FILENO);
	return seen[0] == '{' ? seen : seen + 25;
}

TEST(a_text_line_is_time_level_message_and_fields)
{
	catch_stderr(LOG_INFO, LOG_TEXT);
	log_info("watch ended", "kind", "pods", "why", "connection reset", NULL);
	CHECK_TEXT(line(), "info  watch ended kind=pods why=\"connection reset\"");
	regex_t time;
	regcomp(&time, "^20[0-9][0-9]-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z ", REG_EXTENDED | REG_NOSUB);
	CHECK(regexec(&time, seen, 0, NULL, 0) == 0);
	regfree(&time);
	struct log_field fields[] = {{"count", "12", 1}, {"empty", "", 0}, {"quote", "a\"b\\c", 0}, {"pair", "a=b", 0}, {"none", NULL, 0}};
	log_write(LOG_ERROR, "no", fields, 5);
	CHECK_TEXT(line(), "error no count=12 empty=\"\" quote=\"a\\\"b\\\\c\" pair=\"a=b\" none=\"\"");
}

TEST(lines_below_the_least_level_are_not_written)
{
	catch_stderr(LOG_WARN, LOG_TEXT);
	log_debug("a", NULL);
	log_info("b", NULL);
	log_warn("c", NULL);
	CHECK_TEXT(line(), "warn  c");
	CHECK_INT(log_least(), ==, LOG_WARN);
}

TEST(values_cannot_forge_lines_or_steer_terminals)
{
	catch_stderr(LOG_INFO, LOG_TEXT);
	log_info("pod\nfailed", "image", "x\n2026-01-01T00:00:00.000Z error forged\x1b[31m", "bad na\nme", "v", NULL);
	CHECK_TEXT(line(), "info  pod\\nfailed image=\"x\\n2026-01-01T00:00:00.000Z error forged\\u001b[31m\" bad_na_me=v");
	log_info("m", "v", "\xc2\x9b" "31m \xe2\x80\xae \xe2\x80\xa8 \xff \xc3\xa9\r\t\x7f", NULL);
	CHECK_TEXT(line(), "info  m v=\"\\u009b31m \\u202e \\u2028 \xef\xbf\xbd \xc3\xa9\\r\\t\\u007f\"");
}

TEST(a_json_line_is_one_object)
{
	catch_stderr(LOG_DEBUG, LOG_JSON);
	struct log_field fields[] = {{"count", "12", 1}, {"fake", "1,\"level\":\"error\"", 1}, {"pod", "a\nb\xff\"", 0}, {"message", "second", 0}};
	log_write(LOG_DEBUG, "it \"is\"", fields, 4);
	cJSON *object = cJSON_ParseWithOpts(line(), NULL, 1);
	CHECK(object != NULL);
	CHECK_TEXT(cJSON_GetObjectItem(object, "level")->valuestring, "debug");
	CHECK_TEXT(cJSON_GetObjectItem(object, "message")->valuestring, "it \"is\"");
	CHECK_INT(strlen(cJSON_GetObjectItem(object, "time")->valuestring), ==, 24);
	CHECK(cJSON_GetObjectItem(object, "count")->valuedouble == 12);
	CHECK_TEXT(cJSON_GetObjectItem(object, "fake")->valuestring, "1,\"level\":\"error\"");
	CHECK_TEXT(cJSON_GetObjectItem(object, "pod")->valuestring, "a\nb\xef\xbf\xbd\"");
	CHECK_TEXT(cJSON_GetObjectItem(object, "message_")->valuestring, "second");
	cJSON_Delete(object);
}

TEST(secrets_are_blotted_out_by_name_and_by_look)
{
	static const char jwt[] = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl-_x";
	char message[300];
	catch_stderr(LOG_INFO, LOG_TEXT);
	log_info("m", "token", "abc", "access_token", "abc", "Password", "abc", "clientSecret", "abc", "client_key_data", "abc",
		"Authorization", "Basic abc", "tokens", "3", NULL);
	CHECK_TEXT(line(), "info  m token=<redacted> access_token=<redacted> Password=<redacted> clientSecret=<redacted> "
		"client_key_data=<redacted> Authorization=<redacted> tokens=3");
	snprintf(message, sizeof message, "sent Authorization: Bearer abc.def/1+2== and url?t=%s&x=1", jwt);
	log_info("m", "why", message, NULL);
	CHECK_TEXT(line(), "info  m why=\"sent Authorization: Bearer <redacted> and url?t=<redacted>&x=1\"");
	log_info(message, NULL);
	CHECK_TEXT(line(), "info  sent Authorization: Bearer <redacted> and url?t=<redacted>&x=1");
	log_info("m", "header", "authorization: bearer  s3cr3t", "short", "eyJabc", "long", "eyJeyJabcdefghij", "last", jwt, "empty", "Bearer ", NULL);
	CHECK_TEXT(line(), "info  m header=\"authorization: bearer  <redacted>\" short=eyJabc long=eyJeyJabcdefghij last=<redacted> empty=\"Bearer \"");
	log_configure(LOG_INFO, LOG_JSON);
	log_info("m", "token", "abc", "why", message, NULL);
	CHECK_CONTAINS(line(), "\"token\":\"<redacted>\",\"why\":\"sent Authorization: Bearer <redacted> and");
}

TEST(long_values_are_cut_between_characters)
{
	char value[LOG_VALUE_MAX + 100];
	memset(value, 'x', sizeof value);
	value[sizeof value - 1] = '\0';
	memcpy(value + LOG_VALUE_MAX - 4, "\xe2\x82\xac", 3);
	catch_stderr(LOG_INFO, LOG_TEXT);
	log_info("m", "v", value, NULL);
	const char *text = line();
	CHECK_INT(strlen(text), ==, strlen("info  m v=") + LOG_VALUE_MAX - 4 + 3);
	CHECK_TEXT(text + strlen(text) - 5, "xx...");
}

TEST_MAIN(T(a_text_line_is_time_level_message_and_fields), T(lines_below_the_least_level_are_not_written),
	T(values_cannot_forge_lines_or_steer_terminals), T(a_json_line_is_one_object),
	T(secrets_are_blotted_out_by_name_and_by_look), T(long_values_are_cut_between_characters))
