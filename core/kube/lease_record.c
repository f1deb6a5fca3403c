/* A Lease as JSON: see lease_record.h.
 *
 * A Lease comes from outside and belongs to everybody who holds it in turn: client-go writes it,
 * people edit it, later versions of Kubernetes add fields. So it is read field by field, what makes
 * no sense counts as not there, and it is never written back as a whole. */
#include "kube/lease_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/xalloc.h"

#define NUMBER_MAX INT32_MAX /* both numbers are int32 in the API */
#define VERSION_MAX_BYTES 128 /* an unsigned 64-bit number today */
#define HOLDER_MAX_BYTES 1024 /* four times what we write; the API has no bound, and it is kept, logged and told to Lua */

static int64_t number_of(const char *body, size_t len, const char *name)
{
	int64_t number = json_find_integer(body, len, 0, "spec", name, NULL);
	return number >= 0 && number <= NUMBER_MAX ? number : 0;
}

/* Whoever holds it: a longer text is cut between two characters, and is nobody's identity that we know. */
static char *holder_of(const char *body, size_t len)
{
	char *holder = json_find_string(body, len, "spec", "holderIdentity", NULL);
	if (holder == NULL)
		return xstrdup("");
	size_t end = strlen(holder);
	if (end <= HOLDER_MAX_BYTES)
		return holder;
	for (end = HOLDER_MAX_BYTES; end > 0 && ((unsigned char)holder[end] & 0xc0) == 0x80;)
		end--;
	char *kept = xmemdup0(holder, end);
	free(holder);
	return kept;
}

int lease_record_read(const char *body, size_t len, struct lease_record *r, struct err *e)
{
	struct json_span kind;
	enum json_token token;
	if (body == NULL || !json_find(body, len, &kind, &token, "kind", NULL) || token != JSON_STRING ||
		kind.len != strlen("Lease") || memcmp(kind.at, "Lease", kind.len) != 0)
		return err_set(e, ERR_INVALID, "the answer is no Lease");
	char *version = json_find_string(body, len, "metadata", "resourceVersion", NULL);
	if (version == NULL || *version == '\0' || strlen(version) > VERSION_MAX_BYTES) {
		free(version);
		return err_set(e, ERR_INVALID, "the Lease in the answer has no usable resourceVersion");
	}
	r->version = version;
	r->holder = holder_of(body, len);
	r->acquired = json_find_string(body, len, "spec", "acquireTime", NULL);
	r->renewed = json_find_string(body, len, "spec", "renewTime", NULL);
	r->duration_s = number_of(body, len, "leaseDurationSeconds");
	r->transitions = number_of(body, len, "leaseTransitions");
	return 0;
}

void lease_record_deinit(struct lease_record *r)
{
	free(r->version);
	free(r->holder);
	free(r->acquired);
	free(r->renewed);
	*r = (struct lease_record){0};
}

static bool is_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool lease_record_is_same(const struct lease_record *a, const struct lease_record *b)
{
	return is_same_text(a->holder, b->holder) && is_same_text(a->acquired, b->acquired) &&
		is_same_text(a->renewed, b->renewed) && a->duration_s == b->duration_s && a->transitions == b->transitions;
}

/* A MicroTime: RFC 3339 with microseconds, of which the clock knows the first three digits. */
static void add_time(struct buffer *out, const char *name, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm tm;
	char text[64] = "";
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	buffer_printf(out, ",\"%s\":\"%s.%03d000Z\"", name, text, (int)(wall_ms % 1000));
}

static void add_string(struct buffer *out, const char *text)
{
	json_add_string(out, text, strlen(text));
}

void lease_claim_write(struct buffer *out, const struct lease_claim *c)
{
	buffer_add_text(out, "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{");
	buffer_add_text(out, c->version != NULL ? "\"resourceVersion\":" : "\"name\":");
	add_string(out, c->version != NULL ? c->version : c->name);
	buffer_add_text(out, "},\"spec\":{\"holderIdentity\":");
	add_string(out, c->holder);
	buffer_printf(out, ",\"leaseDurationSeconds\":%lld", (long long)c->duration_s);
	add_time(out, "renewTime", c->now_wall_ms);
	if (c->acquires) {
		add_time(out, "acquireTime", c->now_wall_ms);
		buffer_printf(out, ",\"leaseTransitions\":%lld",
			(long long)(c->transitions <= NUMBER_MAX ? c->transitions : NUMBER_MAX));
	}
	buffer_add_text(out, "}}");
}
