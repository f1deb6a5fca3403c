/* Reading a refusal.
 *
 * Kubernetes refuses with a Status object (k8s.io/apimachinery meta/v1), but what answers is not
 * always Kubernetes: load balancers and proxies send HTML, text or nothing at all. Either way a
 * person will read the message in a log, so it is short, printable and without markup. */
#include "kube/cluster_answer.h"

#include <string.h>

#include <cjson/cJSON.h>

#define EXCERPT_MAX 200

static const char *text_of(const cJSON *object, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
	return text != NULL ? text : "";
}

/* Copy at most `size - 1` bytes, never half a UTF-8 character; control characters become spaces,
 * because a message ends up in one line of a log. */
static void copy_line(char *out, size_t size, const char *text, size_t len)
{
	size_t n = len < size - 1 ? len : size - 1;
	while (n > 0 && n < len && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	out[n] = '\0';
}

static bool read_status(struct cluster_answer *a)
{
	cJSON *status = cJSON_ParseWithLength(a->body, a->body_len);
	bool is_status = cJSON_IsObject(status) && strcmp(text_of(status, "kind"), "Status") == 0;
	if (is_status) {
		const char *reason = text_of(status, "reason"), *message = text_of(status, "message");
		copy_line(a->reason, sizeof a->reason, reason, strlen(reason));
		copy_line(a->message, sizeof a->message, message, strlen(message));
		const cJSON *wait = cJSON_GetObjectItemCaseSensitive(
			cJSON_GetObjectItemCaseSensitive(status, "details"), "retryAfterSeconds");
		if (a->retry_after_s == 0 && cJSON_IsNumber(wait) && wait->valuedouble >= 1)
			a->retry_after_s = wait->valueint;
	}
	cJSON_Delete(status);
	return is_status;
}

/* The text between tags, its white space run together, ASCII only: nothing is known of its
 * encoding. */
static void read_excerpt(struct cluster_answer *a)
{
	size_t n = 0;
	bool in_tag = false, gap = false, more = false;
	for (size_t i = 0; i < a->body_len; i++) {
		unsigned char byte = (unsigned char)a->body[i];
		bool opens = byte == '<' && i + 1 < a->body_len && strchr("/!?abcdefghijklmnopqrstuvwxyz"
			"ABCDEFGHIJKLMNOPQRSTUVWXYZ", a->body[i + 1]) != NULL && a->body[i + 1] != '\0';
		in_tag = in_tag || opens;
		if (in_tag || byte <= ' ' || byte > '~') {
			gap = true;
			in_tag = in_tag && byte != '>';
			continue;
		}
		if (n + 2 > EXCERPT_MAX) {
			more = true;
			break;
		}
		if (gap && n > 0)
			a->message[n++] = ' ';
		gap = false;
		a->message[n++] = (char)byte;
	}
	a->message[n] = '\0';
	if (more)
		memcpy(a->message + n, "...", 4);
}

void cluster_answer_read(struct cluster_answer *a)
{
	a->reason[0] = a->message[0] = '\0';
	if (a->body == NULL || a->body_len == 0)
		return;
	if (!read_status(a))
		read_excerpt(a);
}
