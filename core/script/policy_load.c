/* The files of a generation and `require`.
 *
 * Names reach us from a folder or from a ConfigMap, whose keys have no slash: the module
 * "children.deployment" is children/deployment.lua or children.deployment.lua. A file is run once
 * per generation, as text, in the environment of sandbox.c. */
#include "script/policy_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/xalloc.h"
#include "script/sandbox.h"

/* Helpers that only specs require (spec.lua, spec_cases.lua): code that an operator has no use for. */
#define SPEC_HELPERS "moonphase.spec"

static const char modules_key;

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);
	return len >= n && strcmp(text + len - n, end) == 0;
}

/* "children/deployment.lua" to "children.deployment"; NULL for what is no module. */
static char *module_name(const char *file)
{
	if (!ends_with(file, ".lua") || ends_with(file, "_spec.lua"))
		return NULL;
	char *name = xmemdup0(file, strlen(file) - 4);
	for (char *c = name; *c != '\0'; c++)
		if (*c == '/')
			*c = '.';
	return name;
}

static int check_file(const struct policy_file *f, size_t *total, struct policy_error *e)
{
	*total += f->len;
	if (strlen(f->name) > POLICY_NAME_MAX)
		policy_plain_error(e, SCRIPT_ERROR, "the name of the file \"%.100s\" is longer than %d bytes", f->name, POLICY_NAME_MAX);
	else if (f->len > POLICY_FILE_MAX)
		policy_plain_error(e, SCRIPT_ERROR, "the file %s is larger than %u KiB", f->name, POLICY_FILE_MAX >> 10);
	else if (*total > POLICY_FILES_MAX)
		policy_plain_error(e, SCRIPT_ERROR, "the files are larger than %u MiB together", POLICY_FILES_MAX >> 20);
	else
		return 0;
	return -1;
}

static int check_unique(const struct policy *p, const struct source *s, struct policy_error *e)
{
	for (size_t i = 0; i < p->source_count; i++) {
		const struct source *other = &p->sources[i];
		if (strcmp(other->name, s->name) != 0 &&
		    (other->module == NULL || s->module == NULL || strcmp(other->module, s->module) != 0))
			continue;
		policy_plain_error(e, SCRIPT_ERROR, "the files %s and %s are both the module \"%s\"; remove one", other->name,
			s->name, s->module != NULL ? s->module : s->name);
		return -1;
	}
	return 0;
}

static int take_file(struct policy *p, const struct policy_file *f, const char *folder, size_t *total, struct policy_error *e)
{
	if (check_file(f, total, e) != 0)
		return -1;
	bool has_folder = strncmp(f->name, folder, strlen(folder)) == 0;
	const char *suffix = folder[0] != '\0' && !ends_with(f->name, ".lua") ? ".lua" : "";
	struct source *s = &p->sources[p->source_count];
	*s = (struct source){.name = xasprintf("%s%s%s", has_folder ? "" : folder, f->name, suffix),
		.owned = f->lasts ? NULL : xmemdup0(f->source, f->len), .len = f->len};
	s->text = f->lasts ? f->source : s->owned;
	s->module = module_name(s->name);
	int rc = check_unique(p, s, e);
	p->source_count++;
	return rc;
}

int policy_take_files(struct policy *p, const struct policy_options *o, struct policy_error *e)
{
	size_t total = 0;
	p->sources = xcalloc(o->file_count + o->helper_count + 1, sizeof *p->sources);
	for (size_t i = 0; i < o->file_count; i++)
		if (take_file(p, &o->files[i], "", &total, e) != 0)
			return -1;
	p->file_count = p->source_count;
	for (size_t i = 0; i < o->helper_count; i++)
		if (take_file(p, &o->helpers[i], "moonphase/", &total, e) != 0)
			return -1;
	return 0;
}

void policy_drop_files(struct policy *p)
{
	for (size_t i = 0; i < p->source_count; i++) {
		free(p->sources[i].name);
		free(p->sources[i].module);
		free(p->sources[i].owned);
		free(p->sources[i].lines);
	}
	free(p->sources);
	p->sources = NULL;
	p->source_count = p->file_count = 0;
}

void policy_drop_specs(struct policy *p)
{
	for (size_t i = 0; i < p->source_count; i++) {
		if (!ends_with(p->sources[i].name, "_spec.lua"))
			continue;
		free(p->sources[i].owned);
		p->sources[i].text = p->sources[i].owned = NULL;
		p->sources[i].len = 0;
	}
}

const struct source *policy_find_source(const struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->source_count; i++)
		if (strcmp(p->sources[i].name, name) == 0)
			return &p->sources[i];
	return NULL;
}

static const struct source *find_module(const struct policy *p, const char *module)
{
	for (size_t i = 0; i < p->source_count; i++)
		if (p->sources[i].module != NULL && strcmp(p->sources[i].module, module) == 0)
			return &p->sources[i];
	return NULL;
}

void policy_push_modules(lua_State *L)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
}

/* "phases.lua requires history.lua, which requires phases.lua: a circle". */
static void refuse_circle(lua_State *L, const struct policy *p, const struct source *s)
{
	luaL_Buffer b;
	int i = 0;
	while (p->loading[i] != s)
		i++;
	luaL_buffinit(L, &b);
	for (int first = i; i < p->loading_count; i++) {
		luaL_addstring(&b, p->loading[i]->name);
		luaL_addstring(&b, i == first ? " requires " : ", which requires ");
		if (i + 1 < p->loading_count)
			continue;
		luaL_addstring(&b, s->name);
	}
	luaL_addstring(&b, ": a circle; move what both need into a third file");
	luaL_pushresult(&b);
	luaL_error(L, "%s", lua_tostring(L, -1));
}

static void check_loading(lua_State *L, const struct policy *p, const struct source *s)
{
	for (int i = 0; i < p->loading_count; i++)
		if (p->loading[i] == s)
			refuse_circle(L, p, s);
	if (p->loading_count == POLICY_LOADING_MAX)
		luaL_error(L, "%s: files require each other more than %d deep", s->name, POLICY_LOADING_MAX);
	if (s->len != 0 && s->text[0] == LUA_SIGNATURE[0])
		luaL_error(L, "%s is compiled Lua; a policy is text", s->name);
}

/* Lua's parser says where a mistake is, but for one: code that is nested deeper than its own stack. */
static void name_place(lua_State *L, const struct source *s)
{
	const char *text = lua_tostring(L, -1);
	size_t len = strlen(s->name);
	if (text != NULL && strncmp(text, s->name, len) == 0 && text[len] == ':')
		return;
	lua_pushfstring(L, "%s:1: it cannot be read: it is nested too deep (%s)", s->name, text != NULL ? text : "?");
}

/* Run a file and push what it returned (true if nothing), remembered under its module's name. */
static void load_source(lua_State *L, struct policy *p, const struct source *s)
{
	char chunk[POLICY_NAME_MAX + 32];
	check_loading(L, p, s);
	snprintf(chunk, sizeof chunk, "=%s", s->name);
	int status = luaL_loadbufferx(L, s->text, s->len, chunk, "t");
	if (status != LUA_OK && status != LUA_ERRMEM)
		name_place(L, s);
	if (status != LUA_OK)
		lua_error(L);
	sandbox_push_environment(L);
	lua_setupvalue(L, -2, 1);
	p->loading[p->loading_count++] = s;
	lua_pushstring(L, s->module);
	lua_call(L, 1, 1);
	p->loading_count--;
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	}
	policy_push_modules(L);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, s->module);
	lua_pop(L, 1);
}

static int l_require(lua_State *L)
{
	struct policy *p = policy_of(L);
	const char *module = luaL_checkstring(L, 1);
	policy_push_modules(L);
	if (lua_getfield(L, -1, module) != LUA_TNIL)
		return 1;
	const struct source *s = find_module(p, module);
	if (s == NULL && strncmp(module, "moonphase.", 10) == 0)
		return luaL_error(L, "the host offers no module \"%s\"", module);
	if (s == NULL)
		return luaL_error(L, "there is no file %s.lua for require \"%s\"", module, module);
	load_source(L, p, s);
	return 1;
}

/* The prelude's fields are globals of all files that are run after it. */
static void load_prelude(lua_State *L, struct policy *p)
{
	const struct source *s = find_module(p, "moonphase.prelude");
	if (s == NULL)
		return;
	load_source(L, p, s);
	luaL_checktype(L, -1, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, -2) != 0;) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "the prelude's table has a field without a name");
		sandbox_declare(L, lua_tostring(L, -2));
	}
	lua_pop(L, 1);
}

void policy_load_all(lua_State *L)
{
	struct policy *p = policy_of(L);
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &modules_key);
	lua_pushcfunction(L, l_require);
	sandbox_declare(L, "require");
	load_prelude(L, p);
	for (size_t i = 0; i < p->source_count; i++) {
		if (p->sources[i].module == NULL || strncmp(p->sources[i].module, SPEC_HELPERS, strlen(SPEC_HELPERS)) == 0)
			continue;
		policy_push_modules(L);
		bool is_loaded = lua_getfield(L, -1, p->sources[i].module) != LUA_TNIL;
		lua_pop(L, 2);
		if (is_loaded)
			continue;
		p->loading_count = 0; /* a failed require that somebody caught left it as it was */
		load_source(L, p, &p->sources[i]);
		lua_pop(L, 1);
	}
}

void policy_push_module(lua_State *L, const char *module)
{
	policy_push_modules(L);
	if (lua_getfield(L, -1, module) == LUA_TNIL)
		luaL_error(L, "there is no file %s.lua", module);
	lua_remove(L, -2);
}
