/* Realms: where tasks live, what they opened, and their chance. See task.h.
 *
 * The host's own realm is on the machine's loop. Others are on virtual time, so that a whole operator can
 * run inside one call, be stopped in any state and go without a trace: ending a realm cancels
 * its tasks first (they may hold what is closed then), and closes what they opened, newest first. */
#include "script/memory_net.h"
#include "script/task.h"

#include <lauxlib.h>

void host_realm_init(struct host_realm *r, struct host *h, struct loop *l, uint64_t seed)
{
	*r = (struct host_realm){.host = h, .loop = l, .clock = loop_clock(l), .random = seed};
	r->ready_end = &r->ready;
	r->turn = (struct loop_task){.run = host_run_turn, .data = r};
}

void host_realm_end(struct host_realm *r)
{
	host_end_tasks(r);
	while (r->resources)
		r->resources->close(r->resources);
	memory_net_free(r);
}

/* --- what they opened --- */

void host_resource_add(struct host *h, struct host_resource *r, void (*close)(struct host_resource *r))
{
	struct host_resource **list = &h->realm->resources;
	r->close = close;
	r->next = *list;
	r->link = list;
	if (r->next)
		r->next->link = &r->next;
	*list = r;
}

void host_resource_remove(struct host_resource *r)
{
	if (!r->link)
		return;
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
	r->link = NULL;
}

/* --- chance, and the machine --- */

/* splitmix64 */
uint64_t host_random(struct host_realm *r)
{
	uint64_t z = r->random += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void host_need_machine(lua_State *L, const char *what)
{
	const struct host *h = host_of(L);
	if (h->realm != &h->own)
		luaL_error(L, "%s: there is no such thing on virtual time (loop.virtual): call it outside", what);
}
