/* kube: clusters and calls to them. (Caches are bind_cache.c, watches bind_watch.c, leases bind_lease.c.) */
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "kube/cluster.h"
#include "script/bind.h"
#include "script/memory_net.h"
#include "script/task.h"
#include "script/value.h"

#define PATH_TEXT_MAX 16384
#define BODY_TEXT_MAX (16u << 20)

struct cluster_box {
	struct host_resource resource;
	struct cluster *cluster;
	struct transport *memory; /* of a handler; else NULL */
};

static void close_cluster(struct host_resource *r)
{
	struct cluster_box *box = (struct cluster_box *)r;
	host_resource_remove(r);
	cluster_free(box->cluster);
	box->cluster = NULL;
	memory_transport_free(box->memory);
	box->memory = NULL;
}

static int cluster_collect(lua_State *L)
{
	close_cluster(lua_touserdata(L, 1));
	return 0;
}

struct cluster *bind_check_cluster(lua_State *L, int index)
{
	const struct cluster_box *box = luaL_checkudata(L, index, CLUSTER_CLASS);
	luaL_argcheck(L, box->cluster != NULL, index, "the cluster was closed");
	return box->cluster;
}

bool bind_cluster_is_handler(lua_State *L, int index)
{
	const struct cluster_box *box = luaL_checkudata(L, index, CLUSTER_CLASS);
	return box->memory != NULL;
}

/* The cluster behind a handler has no address and asks nobody who we are. */
static void memory_config(lua_State *L, struct kube_config *config)
{
	config->source = xstrdup("a handler in this process");
	config->context = xstrdup("memory");
	config->server = xstrdup("http://memory");
	config->namespace_ = xstrdup(opt_text(L, 1, "namespace", "default"));
}

static int load_config(lua_State *L, struct kube_config *config, struct err *e)
{
	struct kube_config_options wanted = {NULL, NULL};
	if (!lua_isnil(L, 1)) {
		wanted.path = opt_text(L, 1, "kubeconfig", NULL);
		wanted.context = opt_text(L, 1, "context", NULL);
	}
	return kube_config_load(&wanted, config, e);
}

/* Whether there is a handler, which stays on the stack then. Checks the options. */
static bool read_handler(lua_State *L)
{
	static const char *const known[] = {"kubeconfig", "context", "handler", "namespace", NULL};
	if (lua_isnoneornil(L, 1))
		return false;
	opt_check(L, 1, "kube.open", known);
	bool named = opt_text(L, 1, "kubeconfig", NULL) || opt_text(L, 1, "context", NULL);
	const char *namespace = opt_text(L, 1, "namespace", NULL);
	bool in_memory = opt_function(L, 1, "handler");
	if (in_memory && named)
		luaL_error(L, "kube.open: a handler takes the place of kubeconfig and context");
	if (!in_memory && namespace)
		luaL_error(L, "kube.open: namespace goes with a handler; else it is the context's");
	return in_memory;
}

static void set_cluster_fields(lua_State *L, const struct kube_config *config)
{
	lua_newtable(L);
	set_text(L, "server", config->server);
	set_text(L, "namespace", config->namespace_);
	set_text(L, "context", config->context);
	set_text(L, "source", config->source);
	lua_setiuservalue(L, -2, 1);
}

static int l_open(lua_State *L)
{
	struct host *h = host_of(L);
	struct err e = {0};
	lua_settop(L, 1);
	bool in_memory = read_handler(L); /* at 2 */
	if (!in_memory)
		host_need_machine(L, "kube.open without a handler");
	if (!in_memory && !h->transport)
		luaL_error(L, "kube.open: this host has no HTTP client");
	struct cluster_box *box = lua_newuserdatauv(L, sizeof *box, 1);
	memset(box, 0, sizeof *box);
	luaL_setmetatable(L, CLUSTER_CLASS);
	struct kube_config *config = xcalloc(1, sizeof *config);
	if (in_memory) {
		memory_config(L, config);
		box->memory = memory_transport_new(L, 2);
	} else if (load_config(L, config, &e) != 0) {
		kube_config_deinit(config);
		free(config);
		return bind_fail(L, &e);
	}
	struct cluster_options o = {.clock = h->realm->clock, .transport = in_memory ? box->memory : h->transport,
		.loop = in_memory ? NULL : h->loop, .config = config};
	box->cluster = cluster_new(&o, &e);
	if (!box->cluster)
		return bind_fail(L, &e);
	host_resource_add(h, &box->resource, close_cluster);
	set_cluster_fields(L, cluster_config(box->cluster));
	return 1;
}

static int l_compare_versions(lua_State *L)
{
	lua_pushinteger(L, resource_version_compare(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
	return 1;
}

/* --- one call --- */

struct call {
	struct host_wait wait;
	struct host *host;
	struct cluster_call *call; /* NULL when it is over */
	struct cluster_answer answer;
	int on_bytes; /* of a stream */
	const char *piece; /* being told */
	size_t piece_len;
};

static void call_disarm(struct host_wait *w)
{
	struct call *c = (struct call *)w;
	if (c->call)
		cluster_cancel(c->call);
	c->call = NULL;
}

static void call_release(struct host_wait *w)
{
	struct call *c = (struct call *)w;
	free(c->answer.body);
	c->answer.body = NULL;
	luaL_unref(c->host->L, LUA_REGISTRYINDEX, c->on_bytes);
	c->on_bytes = LUA_NOREF;
}

static int call_answer(lua_State *L, struct host_wait *w)
{
	const struct cluster_answer *a = &((struct call *)w)->answer;
	if (a->err.code != 0) {
		bind_fail(L, &a->err);
		lua_pushstring(L, err_name(a->err.code));
		return 3;
	}
	lua_createtable(L, 0, 5);
	set_integer(L, "status", a->status);
	lua_pushlstring(L, a->body ? a->body : "", a->body ? a->body_len : 0);
	lua_setfield(L, -2, "body");
	set_text(L, "reason", a->reason);
	set_text(L, "message", a->message);
	if (a->retry_after_s > 0)
		set_integer(L, "retry_after", a->retry_after_s);
	return 1;
}

static const struct host_wait_kind call_kind = {call_disarm, call_answer, call_release};

static void on_answer(void *arg, struct cluster_answer *a)
{
	struct call *c = arg;
	c->call = NULL;
	c->answer = *a;
	a->body = NULL;
	host_wake(&c->wait);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_query(lua_State *L, int query, struct buffer *out)
{
	size_t n = 0, room = 0;
	for (lua_pushnil(L); lua_next(L, query); lua_pop(L, 1))
		room++;
	const char **names = lua_newuserdatauv(L, (room + 1) * sizeof *names, 0);
	for (lua_pushnil(L); lua_next(L, query); lua_pop(L, 1)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "option \"query\": a table of names and values was expected");
		names[n++] = lua_tostring(L, -2);
	}
	qsort(names, n, sizeof *names, compare_names);
	int rc = 0;
	char before = strchr(buffer_text(out), '?') ? '&' : '?';
	for (size_t i = 0; i < n; i++, before = '&') {
		lua_getfield(L, query, names[i]);
		rc |= buffer_add_byte(out, before);
		rc |= cluster_escape(out, names[i]);
		rc |= buffer_add_byte(out, '=');
		rc |= cluster_escape(out, luaL_tolstring(L, -1, NULL));
		lua_pop(L, 2);
	}
	if (rc != 0)
		luaL_error(L, "the path and query of a request are longer than %d bytes", PATH_TEXT_MAX);
}

/* Leaves what it made on the stack. */
static const char *request_path(lua_State *L, int options)
{
	struct buffer *path = bind_scratch(L, PATH_TEXT_MAX);
	if (buffer_add_text(path, need_text(L, options, "path")) != 0)
		luaL_error(L, "option \"path\" is longer than %d bytes", PATH_TEXT_MAX);
	lua_getfield(L, options, "query");
	if (!lua_isnil(L, -1)) {
		luaL_checktype(L, -1, LUA_TTABLE);
		add_query(L, lua_gettop(L), path);
	}
	return buffer_text(path);
}

static void request_body(lua_State *L, int options, struct cluster_request *r)
{
	lua_getfield(L, options, "body");
	if (lua_type(L, -1) == LUA_TSTRING) {
		r->body = lua_tolstring(L, -1, &r->body_len);
	} else if (!lua_isnil(L, -1)) {
		struct buffer *text = bind_scratch(L, BODY_TEXT_MAX);
		value_to_json(L, -2, text, 0);
		r->body = buffer_text(text);
		r->body_len = text->len;
	}
}

static struct cluster_request read_request(lua_State *L, const char *what)
{
	static const char *const known[] = {"method", "path", "query", "body", "content_type", "accept", "timeout",
		"on_bytes", "regardless", NULL};
	struct cluster_request r = {0};
	opt_check(L, 2, what, known);
	r.method = opt_text(L, 2, "method", "GET");
	r.content_type = opt_text(L, 2, "content_type", NULL);
	r.accept = opt_text(L, 2, "accept", NULL);
	r.timeout_ms = opt_ms(L, 2, "timeout", 0);
	r.regardless = opt_bool(L, 2, "regardless");
	r.path = request_path(L, 2);
	request_body(L, 2, &r);
	return r;
}

static struct call *call_new(lua_State *L)
{
	struct call *c = host_wait_new(L, sizeof *c, &call_kind);
	c->host = host_of(L);
	c->on_bytes = LUA_NOREF;
	return c;
}

static int l_request(lua_State *L)
{
	struct cluster *cluster = bind_check_cluster(L, 1);
	struct cluster_request r = read_request(L, "cluster:request");
	struct call *c = call_new(L);
	c->call = cluster_send(cluster, &r, on_answer, c);
	return host_await(L, &c->wait);
}

static int tell_bytes(lua_State *L)
{
	const struct call *c = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, c->on_bytes);
	lua_pushlstring(L, c->piece, c->piece_len);
	lua_call(L, 1, 0);
	return 0;
}

static int on_bytes(void *arg, const char *bytes, size_t len)
{
	struct call *c = arg;
	c->piece = bytes;
	c->piece_len = len;
	return host_protect(c->host, tell_bytes, c, "bytes of a stream") ? 0 : ERR_SCRIPT;
}

static int l_stream(lua_State *L)
{
	static const struct cluster_stream_handlers handlers = {NULL, on_bytes, on_answer};
	struct cluster *cluster = bind_check_cluster(L, 1);
	struct cluster_request r = read_request(L, "cluster:stream");
	if (!opt_function(L, 2, "on_bytes"))
		luaL_error(L, "cluster:stream: option \"on_bytes\" is missing");
	struct call *c = call_new(L);
	lua_pushvalue(L, -2);
	c->on_bytes = luaL_ref(L, LUA_REGISTRYINDEX);
	c->call = cluster_stream(cluster, &r, &handlers, c);
	return host_await(L, &c->wait);
}

static int l_counts(lua_State *L)
{
	struct cluster_counts n = cluster_counts(bind_check_cluster(L, 1));
	lua_createtable(L, 0, 4);
	set_integer(L, "reads", (lua_Integer)n.reads);
	set_integer(L, "writes", (lua_Integer)n.writes);
	set_integer(L, "watches", (lua_Integer)n.watches);
	set_integer(L, "retries", (lua_Integer)n.retries);
	return 1;
}

static int l_escape(lua_State *L)
{
	struct buffer *out = bind_scratch(L, PATH_TEXT_MAX);
	if (cluster_escape(out, luaL_checkstring(L, 1)) != 0)
		luaL_error(L, "the text is longer than %d bytes", PATH_TEXT_MAX);
	lua_pushlstring(L, buffer_text(out), out->len);
	return 1;
}

static const luaL_Reg cluster_methods[] = {
	{"request", l_request},
	{"stream", l_stream},
	{"counts", l_counts},
	{"watch", bind_cluster_watch},
	{"lease", bind_cluster_lease},
	{NULL, NULL},
};

static const luaL_Reg kube_functions[] = {
	{"open", l_open},
	{"compare_versions", l_compare_versions},
	{"escape", l_escape},
	{"cache", bind_fed_cache},
	{NULL, NULL},
};

int bind_open_kube(lua_State *L)
{
	bind_class_with_fields(L, CLUSTER_CLASS, cluster_methods, cluster_collect);
	bind_open_cache(L);
	bind_open_watch(L);
	bind_open_fed_cache(L);
	bind_open_lease(L);
	luaL_newlib(L, kube_functions);
	return 1;
}
