/* fs: whole files and folders. Blocking, so for small things at the edges: manifests, policies. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/bind.h"
#include "script/files.h"

#define FS_READ_MAX (16u << 20)

static int system_fail(lua_State *L, const char *doing, const char *path)
{
	struct err e;
	err_set(&e, ERR_IO, "cannot %s %s: %s", doing, path, strerror(errno));
	return bind_fail(L, &e);
}

static int l_read(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct buffer *text = bind_scratch(L, FS_READ_MAX);
	struct err e = {0};
	if (files_read(path, text, &e) != 0)
		return bind_fail(L, &e);
	lua_pushlstring(L, buffer_text(text), text->len);
	buffer_deinit(text);
	return 1;
}

static int l_write(lua_State *L)
{
	size_t len;
	const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
	struct err e = {0};
	if (files_write(path, text, len, &e) != 0)
		return bind_fail(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

/* Added in one write, so that lines of several writers stay whole. */
static int l_append(lua_State *L)
{
	size_t len;
	const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return system_fail(L, "open", path);
	ssize_t n = write(fd, text, len);
	int why = errno;
	close(fd);
	errno = n < 0 ? why : ENOSPC;
	if (n != (ssize_t)len)
		return system_fail(L, "append to", path);
	lua_pushboolean(L, 1);
	return 1;
}

/* The last bytes of a file that may be larger than what fs.read takes. */
static int l_tail(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	lua_Integer most = luaL_checkinteger(L, 2);
	luaL_argcheck(L, most > 0 && most <= (lua_Integer)FS_READ_MAX, 2, "from 1 to 16 MiB");
	char *bytes = lua_newuserdatauv(L, (size_t)most, 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return system_fail(L, "open", path);
	off_t size = lseek(fd, 0, SEEK_END);
	ssize_t n = pread(fd, bytes, (size_t)most, size > most ? size - most : 0);
	close(fd);
	if (n < 0)
		return system_fail(L, "read", path);
	lua_pushlstring(L, bytes, (size_t)n);
	return 1;
}

static int l_list(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	lua_Integer n = 0;
	if (count < 0)
		return system_fail(L, "list", path);
	lua_createtable(L, count, 0);
	for (int i = 0; i < count; i++) {
		if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0) {
			lua_pushstring(L, entries[i]->d_name);
			lua_rawseti(L, -2, ++n);
		}
		free(entries[i]);
	}
	free(entries);
	return 1;
}

static int l_kind(lua_State *L)
{
	struct stat st;
	if (stat(luaL_checkstring(L, 1), &st) != 0)
		lua_pushnil(L);
	else
		lua_pushstring(L, S_ISDIR(st.st_mode) ? "directory" : S_ISREG(st.st_mode) ? "file" : "other");
	return 1;
}

static int l_make_folder(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat st;
	if (mkdir(path, 0777) != 0 && (errno != EEXIST || stat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
		return system_fail(L, "make the folder", path);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_remove(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	if (unlink(path) != 0 && (errno != EISDIR || rmdir(path) != 0))
		return system_fail(L, "remove", path);
	lua_pushboolean(L, 1);
	return 1;
}

static int l_temporary(lua_State *L)
{
	const char *base = getenv("TMPDIR");
	lua_pushfstring(L, "%s/moonphase-XXXXXX", base && *base ? base : "/tmp");
	size_t len;
	const char *pattern = lua_tolstring(L, -1, &len);
	char *path = lua_newuserdatauv(L, len + 1, 0);
	memcpy(path, pattern, len + 1);
	if (!mkdtemp(path))
		return system_fail(L, "make the folder", path);
	lua_pushstring(L, path);
	return 1;
}

static const luaL_Reg fs_functions[] = {
	{"read", l_read},
	{"write", l_write},
	{"append", l_append},
	{"tail", l_tail},
	{"list", l_list},
	{"kind", l_kind},
	{"make_folder", l_make_folder},
	{"remove", l_remove},
	{"temporary", l_temporary},
	{NULL, NULL},
};

int bind_open_fs(lua_State *L)
{
	luaL_newlib(L, fs_functions);
	return 1;
}
