/* Listening sockets of our own making, so that "the port is taken" is a sentence. */
#ifndef MOONPHASE_HTTP_LISTEN_H
#define MOONPHASE_HTTP_LISTEN_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct listener {
	int fd;
	ino_t socket_inode; /* of fd: tells whether the number is still this socket */
	char name[128]; /* "127.0.0.1:43121", "[::1]:80", or the path */
	char *unix_path; /* NULL: TCP */
	dev_t device;    /* of the socket file that we made */
	ino_t inode;
};

/* "host:port", ":port" (all addresses), "[::1]:port"; port 0: any free one. */
int listen_tcp(struct listener *l, const char *address, struct err *e);
/* A Unix socket with mode 0600. A socket that nobody answers on is replaced. */
int listen_unix(struct listener *l, const char *path, struct err *e);
/* Removes the socket file if it is still ours, and frees; the descriptor is closed by its user. */
void listen_deinit(struct listener *l);

#endif
