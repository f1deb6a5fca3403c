/* The other end of a server under test: a plain socket, in the test's own thread.
 *
 * The loop under test runs only while somebody waits here, so what a test has sent is read, and answered, when it listens.
 * A failure of the socket itself ends the test. */
#ifndef MOONPHASE_SPEC_SOCKET_PEER_H
#define MOONPHASE_SPEC_SOCKET_PEER_H

#include <stdint.h>

#include "loop/loop.h"

/* Connect to "HOST:PORT" on this machine. receive_bytes: the room that it has for what comes; 0: as usual. */
int peer_connect(const char *address, int receive_bytes);
/* Send it, letting the loop run where the other side is slow; a peer that has gone is no failure. */
void peer_say(struct loop *l, int fd, const char *text);
/* What the server says within so many ms; "<closed>" behind it if it closed. Valid until the next call. */
const char *peer_hear(struct loop *l, int fd, uint64_t ms);

#endif
