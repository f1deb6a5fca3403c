/* Reading files that others write: kubeconfig, tokens, certificates.
 *
 * The kubelet swaps projected files while we run, and a person may point a field at anything: a
 * folder, a device, a gigabyte. So a file is read in one go, up to a limit, and only if it is a
 * regular file (or a pipe, as in `--kubeconfig <(...)`). */
#include "kube/config_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/xalloc.h"

static int read_all(int fd, const char *path, struct buffer *out, struct err *e)
{
	char chunk[16384];
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
		if (n == 0)
			return 0;
		if (buffer_add(out, chunk, (size_t)n) != 0)
			return err_set(e, ERR_TOO_LARGE, "%s: is larger than %u bytes", path, KUBE_FILE_MAX);
	}
}

static int open_file(const char *path, struct err *e)
{
	struct stat s;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set(e, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, "%s: cannot be opened: %s",
			path, strerror(errno));
	if (fstat(fd, &s) == 0 && (S_ISREG(s.st_mode) || S_ISFIFO(s.st_mode)))
		return fd;
	close(fd);
	return err_set(e, ERR_INVALID, "%s: is no file", path);
}

char *kube_read_file(const char *path, size_t *len, struct err *e)
{
	struct buffer text;
	int fd = open_file(path, e);
	if (fd < 0)
		return NULL;
	buffer_init(&text, KUBE_FILE_MAX);
	int rc = read_all(fd, path, &text, e);
	close(fd);
	if (rc == 0 && text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
		rc = err_set(e, ERR_INVALID, "%s: is no text (it has a NUL byte)", path);
	if (rc != 0) {
		buffer_deinit(&text);
		return NULL;
	}
	size_t n;
	char *result = buffer_take(&text, &n);
	if (len != NULL)
		*len = n;
	return result;
}

bool kube_is_header_text(const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return *text != '\0';
}

char *kube_read_token(const char *path, struct err *e)
{
	static const char white[] = " \t\r\n";
	size_t len;
	char *text = kube_read_file(path, &len, e);
	if (text == NULL)
		return NULL;
	while (len > 0 && strchr(white, text[len - 1]) != NULL)
		text[--len] = '\0';
	size_t skip = strspn(text, white);
	char *token = xstrdup(text + skip);
	free(text);
	if (kube_is_header_text(token))
		return token;
	err_set(e, ERR_INVALID, *token == '\0' ? "%s: holds no token" : "%s: is no token (it has more than one line)",
		path);
	free(token);
	return NULL;
}
