/* The credentials of every request, kept fresh.
 *
 * Token files are read again every 60 s (a failed read keeps the old token), client certificates
 * every 5 minutes, exec plugins when their answer expires or the server says 401. Whoever needs
 * an Authorization header asks for it each time and may have to wait for a plugin. */
#ifndef MOONPHASE_KUBE_CREDENTIALS_H
#define MOONPHASE_KUBE_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "http/transport.h"
#include "kube/config.h"
#include "loop/loop.h"

struct credentials;

/* `loop` runs exec plugins; NULL (virtual time): configs with a plugin are refused. `config` must
 * outlive it. */
struct credentials *credentials_new(struct loop *loop, struct clock *clock, const struct kube_config *config,
	struct err *e);
void credentials_free(struct credentials *c);

/* Call `ready(w, header, tls, err)` with a whole "Authorization: ..." header line, or NULL when
 * there is none to send; at once (from inside) when it is known, else when the plugin has
 * answered. `err` is NULL or why there is none. The pointers live until the callback returns;
 * who uses `tls` longer (an exchange does) holds it and drops it again. */
struct credentials_wait {
	void (*ready)(struct credentials_wait *w, const char *authorization, const struct http_tls *tls,
		const struct err *err);
	void *data;
	struct credentials_wait *next;
	uint64_t revision; /* of what `ready` was given: see credentials_refused */
};
void credentials_get(struct credentials *c, struct credentials_wait *w);
void credentials_cancel(struct credentials *c, struct credentials_wait *w);
void credentials_hold(struct credentials *c, const struct http_tls *tls);
void credentials_drop(struct credentials *c, const struct http_tls *tls);
/* The server said 401 to the credentials of this revision: forget what can be had anew. Whether
 * trying again makes sense (they changed meanwhile, the token file holds another token now, or
 * the plugin can be asked again). */
bool credentials_refused(struct credentials *c, uint64_t revision);

#endif
