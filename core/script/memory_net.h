/* The network in memory: exchanges of kube.open { handler = ... } under way in one realm.
 *
 * What could arrive next (a request at its handler, an answer at its client, bytes of a stream) stands in
 * one line per realm, in the order in which it was sent. On the machine's loop the line is
 * delivered turn by turn; on virtual time whoever runs the realm delivers one at a time, and the
 * realm's chooser may take them out of order, as networks do. */
#ifndef MOONPHASE_SCRIPT_MEMORY_NET_H
#define MOONPHASE_SCRIPT_MEMORY_NET_H

#include <stdbool.h>

#include <lua.h>

#include "http/transport.h"

struct host_realm;

/* A transport of the realm of now that gives its requests to the Lua function at `index`. Its user frees it
 * when no exchange of his is left or wanted: those under way end without a callback. */
struct transport *memory_transport_new(lua_State *L, int index);
void memory_transport_free(struct transport *t);

/* For who runs a virtual realm: is there something to deliver, and delivering one thing. */
bool memory_net_is_busy(const struct host_realm *r);
void memory_net_deliver(struct host_realm *r);
void memory_net_free(struct host_realm *r);
void memory_net_open(lua_State *L); /* the class of writers */

#endif
