/* A stream: the answer to a call of http.serve, piece by piece.
 *
 * It stays anchored from its beginning until it has ended, whoever ends it, because the server
 * calls back into it. Its end is told once, as a callback on the main thread, and so is each time
 * that all is sent; a stream that its owner has finished tells nothing. */
#include <string.h>

#include "http/server.h"
#include "script/bind.h"
#include "script/task.h"

#define STREAM_CLASS "moonphase.stream"

struct stream_box {
	struct host_resource resource;
	struct host *host;
	struct http_stream *stream; /* NULL: ended, or finished */
	int on_end, on_drain, anchor;
	enum http_stream_end why;
};

/* Let go of everything but what Lua holds. */
static void release(struct stream_box *box)
{
	host_resource_remove(&box->resource);
	box->stream = NULL;
	luaL_unref(box->host->L, LUA_REGISTRYINDEX, box->on_end);
	luaL_unref(box->host->L, LUA_REGISTRYINDEX, box->on_drain);
	luaL_unref(box->host->L, LUA_REGISTRYINDEX, box->anchor);
	box->on_end = box->on_drain = box->anchor = LUA_NOREF;
}

static void finish(struct host_resource *r)
{
	struct stream_box *box = (struct stream_box *)r;
	struct http_stream *s = box->stream;
	release(box);
	http_stream_finish(s);
}

static int tell_end(lua_State *L)
{
	static const char *const names[] = {"gone", "slow", "closed"};
	struct stream_box *box = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, box->on_end);
	enum http_stream_end why = box->why;
	release(box);
	if (lua_isnil(L, -1))
		return 0;
	lua_pushstring(L, names[why]);
	lua_call(L, 1, 0);
	return 0;
}

static void on_end(void *arg, enum http_stream_end why)
{
	struct stream_box *box = arg;
	box->stream = NULL;
	box->why = why;
	host_protect(box->host, tell_end, box, "the end of a stream");
}

static int tell_drain(lua_State *L)
{
	struct stream_box *box = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, box->on_drain);
	lua_call(L, 0, 0);
	return 0;
}

static void on_drain(void *arg)
{
	struct stream_box *box = arg;
	host_protect(box->host, tell_drain, box, "a stream that has sent all");
}

void bind_stream_check(lua_State *L, int index)
{
	static const char *const known[] = {"status", "content_type", "backlog", "on_end", "on_drain", NULL};
	opt_check(L, index, "call.stream", known);
	int64_t status = opt_integer(L, index, "status", 200);
	if (status < 200 || status > 599)
		luaL_error(L, "call.stream: the status must be from 200 to 599");
	if (opt_integer(L, index, "backlog", 0) < 0)
		luaL_error(L, "call.stream: the backlog must be a number of bytes");
	opt_text(L, index, "content_type", NULL);
	opt_function(L, index, "on_end");
	opt_function(L, index, "on_drain");
	lua_pop(L, 2);
}

int bind_stream(lua_State *L, int index, struct http_call *call)
{
	index = lua_absindex(L, index);
	struct stream_box *box = lua_newuserdatauv(L, sizeof *box, 0);
	memset(box, 0, sizeof *box);
	box->host = host_of(L);
	luaL_setmetatable(L, STREAM_CLASS);
	lua_pushvalue(L, -1);
	box->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
	opt_function(L, index, "on_end");
	box->on_end = luaL_ref(L, LUA_REGISTRYINDEX);
	opt_function(L, index, "on_drain");
	box->on_drain = luaL_ref(L, LUA_REGISTRYINDEX);
	host_resource_add(box->host, &box->resource, finish);
	box->stream = http_stream_begin(call, &(struct http_stream_options){
		.status = (int)opt_integer(L, index, "status", 200),
		.content_type = opt_text(L, index, "content_type", "application/json"),
		.backlog_max = (size_t)opt_integer(L, index, "backlog", 0), .on_end = on_end,
		.on_drain = box->on_drain != LUA_REFNIL ? on_drain : NULL, .arg = box});
	if (box->stream)
		return 1;
	release(box);
	lua_pushnil(L);
	lua_pushliteral(L, "nobody waits for the answer any more");
	return 2;
}

static int l_write(lua_State *L)
{
	struct stream_box *box = luaL_checkudata(L, 1, STREAM_CLASS);
	int rc = box->stream ? 0 : ERR_CANCELLED, count = lua_gettop(L);
	for (int i = 2; i <= count; i++)
		luaL_checkstring(L, i);
	for (int i = 2; i <= count && rc == 0; i++) {
		size_t len;
		const char *text = lua_tolstring(L, i, &len);
		rc = http_stream_write(box->stream, text, len);
	}
	if (rc == 0) {
		lua_pushboolean(L, 1);
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, rc == ERR_TOO_LARGE ? "the peer reads too slowly" : "the stream has ended");
	return 2;
}

static int l_finish(lua_State *L)
{
	struct stream_box *box = luaL_checkudata(L, 1, STREAM_CLASS);
	if (box->stream)
		finish(&box->resource);
	return 0;
}

static const luaL_Reg stream_methods[] = {
	{"write", l_write},
	{"finish", l_finish},
	{NULL, NULL},
};

void bind_open_stream(lua_State *L)
{
	bind_class(L, STREAM_CLASS, stream_methods, NULL);
}
