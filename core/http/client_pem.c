/* Certificate files, read once for each revision.
 *
 * curl can read certificates from files itself, but it tells connections apart by the names of
 * the files: after a rotation (same name, new content) it would go on using connections of the
 * old identity. So files are read here and handed over as bytes, which curl compares. The content
 * is kept under (path, revision): a request costs no system call, and whoever rotates a
 * certificate makes a struct http_tls with a new revision. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/xalloc.h"
#include "http/client_internal.h"

static void clear(struct pem_file *f)
{
	free(f->path);
	if (f->text != NULL)
		explicit_bzero(f->text, f->len); /* it may be a key */
	free(f->text);
	*f = (struct pem_file){0};
}

static int read_all(int fd, const char *path, struct buffer *b, struct err *e)
{
	char part[8192];
	for (;;) {
		ssize_t n = read(fd, part, sizeof part);
		if (n == 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, ERR_IO, "cannot read the certificate file %s: %s", path, strerror(errno));
		if (buffer_add(b, part, (size_t)n) != 0)
			return err_set(e, ERR_TOO_LARGE, "the certificate file %s is larger than %u bytes", path,
				PEM_BYTES_MAX);
	}
	explicit_bzero(part, sizeof part);
	if (b->len == 0)
		return err_set(e, ERR_INVALID, "the certificate file %s is empty", path);
	return 0;
}

static int load(struct pem_file *f, const char *path, uint64_t revision, struct err *e)
{
	/* O_NONBLOCK: a FIFO in place of a file must not hold the loop. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open the certificate file %s: %s",
			path, strerror(errno));
	struct buffer b;
	buffer_init(&b, PEM_BYTES_MAX);
	int rc = read_all(fd, path, &b, e);
	close(fd);
	if (rc != 0) {
		buffer_deinit(&b);
		return rc;
	}
	clear(f);
	f->path = xstrdup(path);
	f->revision = revision;
	f->text = buffer_take(&b, &f->len);
	return 0;
}

int client_pem_read(struct http_client *c, const char *path, uint64_t revision, struct curl_blob *text,
	struct err *e)
{
	struct pem_file *f = NULL;
	for (size_t i = 0; i < PEM_FILES_MAX && f == NULL; i++)
		if (c->pem[i].path != NULL && strcmp(c->pem[i].path, path) == 0)
			f = &c->pem[i];
	if (f == NULL)
		f = &c->pem[c->pem_next++ % PEM_FILES_MAX];
	if (f->path == NULL || f->revision != revision || strcmp(f->path, path) != 0) {
		int rc = load(f, path, revision, e);
		if (rc != 0)
			return rc;
	}
	*text = (struct curl_blob){.data = f->text, .len = f->len, .flags = CURL_BLOB_COPY};
	return 0;
}

void client_pem_forget(struct http_client *c)
{
	for (size_t i = 0; i < PEM_FILES_MAX; i++)
		clear(&c->pem[i]);
}
