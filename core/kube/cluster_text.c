/* The two texts of the API that must be right to the byte: what goes into a URL, and how
 * resourceVersions compare. */
#include <string.h>

#include "kube/cluster.h"

int cluster_escape(struct buffer *out, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	for (; *text != '\0'; text++) {
		unsigned char byte = (unsigned char)*text;
		bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
			byte == '-' || byte == '.' || byte == '_' || byte == '~';
		char escaped[3] = {'%', hex[byte >> 4], hex[byte & 15]};
		int rc = plain ? buffer_add_byte(out, (char)byte) : buffer_add(out, escaped, sizeof escaped);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* The digits of a number without leading zeros, or NULL. */
static const char *number(const char *text, size_t *len)
{
	*len = 0;
	if (text == NULL || *text == '\0' || text[strspn(text, "0123456789")] != '\0')
		return NULL;
	text += strspn(text, "0");
	*len = strlen(text);
	return text;
}

int resource_version_compare(const char *a, const char *b)
{
	size_t a_len, b_len;
	const char *a_digits = number(a, &a_len), *b_digits = number(b, &b_len);
	if (a_digits == NULL || b_digits == NULL)
		return (a_digits != NULL) - (b_digits != NULL);
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	int order = memcmp(a_digits, b_digits, a_len);
	return (order > 0) - (order < 0);
}
