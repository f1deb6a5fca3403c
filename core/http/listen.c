/* Listening sockets: see listen.h.
 *
 * A Unix socket is a file, and files outlive their process: after a crash the next start finds
 * one that nobody answers on. Connecting tells a stale one from a live one. The file must never be
 * open to others, not for an instant: the mode comes from the umask at bind, not from a chmod
 * behind it. */
#include "http/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/xalloc.h"

#define BACKLOG 128

static int split(const char *address, char *host, size_t host_size, char *port, size_t port_size, struct err *e)
{
	const char *colon = strrchr(address, ':');
	if (colon == NULL)
		return err_set(e, ERR_INVALID, "\"%s\" is no address to listen on: it must be host:port or :port", address);
	const char *from = address, *to = colon;
	if (from[0] == '[' && to > from && to[-1] == ']') {
		from++;
		to--;
	} else if (memchr(from, ':', (size_t)(to - from)) != NULL) {
		return err_set(e, ERR_INVALID, "\"%s\" is no address to listen on: IPv6 is written [address]:port", address);
	}
	size_t digits = strspn(colon + 1, "0123456789");
	if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || atoi(colon + 1) > 65535)
		return err_set(e, ERR_INVALID, "\"%s\" is no address to listen on: the port must be a number up to 65535",
			address);
	if ((size_t)(to - from) >= host_size || digits >= port_size)
		return err_set(e, ERR_INVALID, "the address to listen on is too long");
	snprintf(host, host_size, "%.*s", (int)(to - from), from);
	snprintf(port, port_size, "%s", colon + 1);
	return 0;
}

static int bind_to(const struct addrinfo *a)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, zero = 0;
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void remember_socket(struct listener *l)
{
	struct stat st;
	l->socket_inode = fstat(l->fd, &st) == 0 ? st.st_ino : 0;
}

static void name_of(struct listener *l)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	char host[64] = "?", port[16] = "?";
	if (getsockname(l->fd, (struct sockaddr *)&a, &len) == 0)
		getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(l->name, sizeof l->name, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int listen_tcp(struct listener *l, const char *address, struct err *e)
{
	*l = (struct listener){.fd = -1};
	char host[256], port[16];
	int rc = split(address, host, sizeof host, port, sizeof port, e);
	if (rc != 0)
		return rc;
	/* With no host: the IPv6 wildcard, which takes IPv4 too, and IPv4 alone where there is no IPv6. */
	struct addrinfo hints = {.ai_family = host[0] != '\0' ? AF_UNSPEC : AF_INET6, .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
	int why = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
	if (why != 0)
		return err_set(e, ERR_INVALID, "cannot listen on %s: %s", address, gai_strerror(why));
	for (struct addrinfo *a = found; a != NULL && l->fd < 0; a = a->ai_next)
		l->fd = bind_to(a);
	int error = errno;
	freeaddrinfo(found);
	if (l->fd < 0 && host[0] == '\0' && error != EADDRINUSE && error != EACCES) {
		char any[32];
		snprintf(any, sizeof any, "0.0.0.0:%s", port);
		return listen_tcp(l, any, e);
	}
	if (l->fd < 0 && error == EADDRINUSE)
		return err_set(e, ERR_CONFLICT, "cannot listen on %s: the address is in use; stop what uses it or choose "
			"another", address);
	if (l->fd < 0)
		return err_set(e, ERR_IO, "cannot listen on %s: %s", address, strerror(error));
	remember_socket(l);
	name_of(l);
	return 0;
}

/* 0 when `path` is free now. */
static int clear_stale(const char *path, const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return 0; /* bind tells what else may be wrong */
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_CONFLICT, "cannot listen on %s: there is a file of that name which is no socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, ERR_IO, "cannot listen on %s: %s", path, strerror(errno));
	int rc = connect(fd, (const struct sockaddr *)a, sizeof *a), error = rc == 0 ? 0 : errno;
	close(fd);
	if (error != ECONNREFUSED)
		return err_set(e, ERR_CONFLICT, "cannot listen on %s: %s", path, error == 0 || error == EAGAIN ?
			"another process listens there" : strerror(error));
	unlink(path);
	return 0;
}

int listen_unix(struct listener *l, const char *path, struct err *e)
{
	*l = (struct listener){.fd = -1};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof a.sun_path)
		return err_set(e, ERR_INVALID, "cannot listen on %s: the path of a Unix socket may have %zu bytes", path,
			sizeof a.sun_path - 1);
	memcpy(a.sun_path, path, strlen(path) + 1);
	int rc = clear_stale(path, &a, e);
	if (rc != 0)
		return rc;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t before = umask(0177);
	rc = fd < 0 ? -1 : bind(fd, (struct sockaddr *)&a, sizeof a);
	int error = errno;
	umask(before);
	struct stat st;
	if (rc != 0 || listen(fd, BACKLOG) != 0 || stat(path, &st) != 0) {
		if (rc == 0)
			error = errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, ERR_IO, "cannot listen on %s: %s", path, strerror(error));
	}
	l->fd = fd;
	remember_socket(l);
	l->unix_path = xstrdup(path);
	l->device = st.st_dev;
	l->inode = st.st_ino;
	snprintf(l->name, sizeof l->name, "%s", path);
	return 0;
}

void listen_deinit(struct listener *l)
{
	struct stat st;
	if (l->unix_path != NULL && lstat(l->unix_path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
		unlink(l->unix_path);
	free(l->unix_path);
	l->unix_path = NULL;
}
