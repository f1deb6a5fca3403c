/* Whole files, bounded: see files.h. */
#include "script/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"

static int system_error(struct err *e, const char *doing, const char *path)
{
	int code = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
	return err_set(e, code, "cannot %s %s: %s", doing, path, strerror(errno));
}

static int read_all(int fd, const char *path, struct buffer *out, struct err *e)
{
	char block[16384];
	for (;;) {
		ssize_t n = read(fd, block, sizeof block);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return system_error(e, "read", path);
		if (n == 0)
			return 0;
		if (buffer_add(out, block, (size_t)n) != 0)
			return err_set(e, ERR_TOO_LARGE, "%s is larger than the %zu MiB that are read", path, out->max >> 20);
	}
}

/* Our own input may be a socket (libuv gives its children some), which has no name to be opened by. */
static int open_file(const char *path)
{
	if (strcmp(path, "/dev/stdin") == 0)
		return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hold us */
}

int files_read(const char *path, struct buffer *out, struct err *e)
{
	struct stat st;
	int fd = open_file(path);
	if (fd < 0)
		return system_error(e, "open", path);
	int rc = 0;
	if (fstat(fd, &st) != 0)
		rc = system_error(e, "read", path);
	else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISSOCK(st.st_mode))
		rc = err_set(e, ERR_INVALID, "%s is not a file", path);
	else if (fcntl(fd, F_SETFL, 0) != 0)
		rc = system_error(e, "read", path);
	else
		rc = read_all(fd, path, out, e);
	close(fd);
	return rc;
}

static int write_all(int fd, const char *at, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static mode_t mode_for(const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0)
		return st.st_mode & 07777;
	mode_t mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

int files_write(const char *path, const void *bytes, size_t len, struct err *e)
{
	char *temporary = xasprintf("%s.XXXXXX", path);
	int rc = 0, fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		rc = system_error(e, "write", path);
		goto out;
	}
	if (write_all(fd, bytes, len) != 0 || fchmod(fd, mode_for(path)) != 0 || fsync(fd) != 0)
		rc = system_error(e, "write", path);
	if (close(fd) != 0 && rc == 0)
		rc = system_error(e, "write", path);
	if (rc == 0 && rename(temporary, path) != 0)
		rc = system_error(e, "write", path);
	if (rc != 0)
		unlink(temporary);
out:
	free(temporary);
	return rc;
}
