#include "socket_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define STEP_MS 10

static void wait_ms(struct loop *l, uint64_t ms)
{
	static const bool never;
	loop_run_until(l, &never, ms);
}

int peer_connect(const char *address, int receive_bytes)
{
	const char *colon = strrchr(address, ':');
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)atoi(colon + 1))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (receive_bytes != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		fprintf(stderr, "    no connection to %s: %s\n", address, strerror(errno));
		exit(1);
	}
	return fd;
}

void peer_say(struct loop *l, int fd, const char *text)
{
	size_t len = strlen(text);
	while (len != 0) {
		ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (n < 0 && errno != EAGAIN)
			return;
		else
			wait_ms(l, STEP_MS / 2);
	}
}

const char *peer_hear(struct loop *l, int fd, uint64_t ms)
{
	static char text[65536];
	size_t len = 0;
	for (uint64_t waited = 0; waited < ms; waited += STEP_MS) {
		wait_ms(l, STEP_MS);
		ssize_t n = recv(fd, text + len, sizeof text - len - 10, MSG_DONTWAIT);
		if (n > 0)
			len += (size_t)n;
		if (n == 0 || (n < 0 && errno == ECONNRESET)) {
			strcpy(text + len, "<closed>");
			return text;
		}
	}
	text[len] = '\0';
	return text;
}
