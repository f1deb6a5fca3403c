/* Leases: who of several processes may write, as one object.
 *
 * From its start on a lease guards the cluster that it was started on: no write of that cluster leaves while the lease
 * is not held (cluster_guard), also not one that waited for its retry or its connection. That is kept in C, below
 * every caller, so that no Lua can forget it; what Lua is told (on_started, on_lost) is only for not beginning work in
 * vain. When the lease ends, the guard stays and says no: nobody writes as a leader who has handed over.
 *
 * A running lease is anchored: it goes on until release has ended, close, or the host's end. Its callbacks run at once
 * and must not wait. */
#include <string.h>

#include "kube/lease.h"
#include "script/bind.h"
#include "script/task.h"

#define LEASE_CLASS "moonphase.lease"

struct lease_box {
	struct host_resource resource;
	struct host *host;
	struct cluster *cluster; /* held by the user value */
	struct lease *lease; /* NULL: ended */
	bool releasing, given_back;
	struct waiters released;
	int on_started, on_lost, on_observed, anchor;
};

/* --- what it calls --- */

struct told {
	int function;
	const char *holder; /* NULL: no argument */
};

static int tell(lua_State *L)
{
	const struct told *t = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, t->function);
	if (t->holder)
		lua_pushstring(L, t->holder);
	lua_call(L, t->holder != NULL, 0);
	return 0;
}

static void call(const struct lease_box *box, int function, const char *holder)
{
	struct told t = {function, holder};
	if (function != LUA_NOREF)
		host_protect(box->host, tell, &t, "a callback of a lease");
}

static void on_started(void *arg)
{
	const struct lease_box *box = arg;
	call(box, box->on_started, NULL);
}

static void on_lost(void *arg)
{
	const struct lease_box *box = arg;
	call(box, box->on_lost, NULL);
}

static void on_observed(void *arg, const char *holder)
{
	const struct lease_box *box = arg;
	call(box, box->on_observed, holder);
}

/* --- life --- */

static bool may_write(void *lease)
{
	return lease_may_write(lease);
}

static bool nobody(void *arg)
{
	(void)arg;
	return false;
}

static void close_lease(struct host_resource *r)
{
	struct lease_box *box = (struct lease_box *)r;
	host_resource_remove(r);
	if (!box->lease)
		return;
	cluster_guard(box->cluster, nobody, NULL);
	lease_free(box->lease);
	box->lease = NULL;
	waiters_wake(&box->released);
	bind_unref(box->host->L, &box->on_started);
	bind_unref(box->host->L, &box->on_lost);
	bind_unref(box->host->L, &box->on_observed);
	bind_unref(box->host->L, &box->anchor); /* last: it holds the box */
}

static struct lease_box *new_box(lua_State *L, struct cluster *cluster)
{
	struct lease_box *box = lua_newuserdatauv(L, sizeof *box, 1);
	memset(box, 0, sizeof *box);
	box->host = host_of(L);
	box->cluster = cluster;
	box->on_started = box->on_lost = box->on_observed = box->anchor = LUA_NOREF;
	luaL_setmetatable(L, LEASE_CLASS);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1); /* the cluster outlives it */
	return box;
}

int bind_cluster_lease(lua_State *L)
{
	static const char *const known[] = {"namespace", "name", "identity", "duration", "deadline", "retry", "on_started",
		"on_lost", "on_observed", NULL};
	struct lease_options o = {.cluster = bind_check_cluster(L, 1), .started = on_started, .lost = on_lost,
		.observed = on_observed};
	struct err e = {0};
	lua_settop(L, 2);
	opt_check(L, 2, "cluster:lease", known);
	o.namespace_ = need_text(L, 2, "namespace");
	o.name = need_text(L, 2, "name");
	o.identity = opt_text(L, 2, "identity", NULL);
	o.lease_ms = opt_ms(L, 2, "duration", 0);
	o.deadline_ms = opt_ms(L, 2, "deadline", 0);
	o.retry_ms = opt_ms(L, 2, "retry", 0);
	struct lease_box *box = new_box(L, o.cluster);
	int at = lua_gettop(L);
	o.seed = host_random(box->host->realm);
	box->on_started = opt_reference(L, 2, "on_started");
	box->on_lost = opt_reference(L, 2, "on_lost");
	box->on_observed = opt_reference(L, 2, "on_observed");
	lua_settop(L, at);
	lua_pushvalue(L, at);
	box->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	o.arg = box;
	box->lease = lease_start(&o, &e);
	if (!box->lease) {
		bind_unref(box->host->L, &box->on_started);
		bind_unref(box->host->L, &box->on_lost);
		bind_unref(box->host->L, &box->on_observed);
		bind_unref(box->host->L, &box->anchor);
		return bind_fail(L, &e);
	}
	cluster_guard(box->cluster, may_write, box->lease);
	host_resource_add(box->host, &box->resource, close_lease);
	return 1;
}

static struct lease_box *check_lease(lua_State *L)
{
	return luaL_checkudata(L, 1, LEASE_CLASS);
}

static int l_close(lua_State *L)
{
	struct lease_box *box = check_lease(L);
	if (box->lease)
		close_lease(&box->resource);
	return 0;
}

/* --- asking --- */

static int l_may_write(lua_State *L)
{
	const struct lease_box *box = check_lease(L);
	lua_pushboolean(L, box->lease && lease_may_write(box->lease));
	return 1;
}

static int l_holder(lua_State *L)
{
	const struct lease_box *box = check_lease(L);
	lua_pushstring(L, box->lease ? lease_holder(box->lease) : "");
	return 1;
}

static int l_identity(lua_State *L)
{
	const struct lease_box *box = check_lease(L);
	lua_pushstring(L, box->lease ? lease_identity(box->lease) : "");
	return 1;
}

static int l_look(lua_State *L)
{
	const struct lease_box *box = check_lease(L);
	if (box->lease)
		lease_look(box->lease);
	return 0;
}

/* --- giving it back --- */

static void on_released(void *arg, bool given_back)
{
	struct lease_box *box = arg;
	box->given_back = given_back;
	close_lease(&box->resource);
}

static int released_answer(lua_State *L, struct host_wait *w)
{
	const struct lease_box *box = ((struct waiter *)w)->data;
	lua_pushboolean(L, box->given_back);
	return 1;
}

static const struct host_wait_kind released_kind = {waiter_disarm, released_answer, NULL};

static int l_release(lua_State *L)
{
	struct lease_box *box = check_lease(L);
	uint64_t ms = arg_ms(L, 2, CLOCK_NEVER);
	struct waiter *w = waiter_new(L, &released_kind);
	w->data = box;
	if (!box->lease)
		host_wake(&w->wait);
	else if (!box->releasing)
		lease_release(box->lease, on_released, box);
	box->releasing = true;
	return waiter_await(L, w, box->lease ? &box->released : NULL, box->lease ? ms : CLOCK_NEVER);
}

static const luaL_Reg lease_methods[] = {
	{"may_write", l_may_write},
	{"holder", l_holder},
	{"identity", l_identity},
	{"look", l_look},
	{"release", l_release},
	{"close", l_close},
	{NULL, NULL},
};

void bind_open_lease(lua_State *L)
{
	bind_class(L, LEASE_CLASS, lease_methods, NULL);
}
