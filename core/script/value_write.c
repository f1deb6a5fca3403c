/* Lua values to JSON text.
 *
 * The same value gives the same bytes in every run: names are sorted bytewise, as Go sorts them.
 * A table is an array if it is marked or has exactly the keys 1..n; what is neither that nor an
 * object is refused with its path, because guessing loses data ({} that became [] has restarted
 * other people's pods). Only raw access is used: no policy code runs in here, so the names that
 * are held while they are sorted cannot go away. */
#include "script/value.h"

#include <endian.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "base/json.h"
#include "script/limits.h"
#include "script/value_path.h"
#include "script/value_read.h"

#define NAMES_INLINE 32
#define CHARGE_EVERY 256 /* values */

struct name {
	const char *text;
	size_t len;
	uint64_t head; /* its first bytes, as a number that sorts like them */
	int value; /* where it is on the stack; 0: it must be fetched */
};

struct writer {
	lua_State *L;
	struct buffer *out;
	int indent, depth;
	unsigned values; /* since the last charge */
};

static void set_name(struct name *name, lua_State *L, int index, int value)
{
	name->text = lua_tolstring(L, index, &name->len);
	name->value = value;
	uint64_t head = 0;
	memcpy(&head, name->text, name->len < sizeof head ? name->len : sizeof head);
	name->head = be64toh(head);
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	if (x->head != y->head)
		return x->head < y->head ? -1 : 1;
	int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Most objects have a handful of names, which qsort is slow for. */
static void sort_names(struct name *names, size_t count)
{
	if (count > NAMES_INLINE) {
		qsort(names, count, sizeof *names, compare_names);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct name one = names[i];
		size_t j = i;
		for (; j > 0 && compare_names(&names[j - 1], &one) > 0; j--)
			names[j] = names[j - 1];
		names[j] = one;
	}
}

static void put(struct writer *w, const struct value_path *path, const char *bytes, size_t len)
{
	struct buffer *out = w->out;
	if (len < out->capacity - out->len) { /* the usual piece: a few bytes, and room for them */
		memcpy(out->data + out->len, bytes, len);
		out->len += len;
		out->data[out->len] = '\0';
	} else if (buffer_add(out, bytes, len) != 0)
		value_path_error(w->L, path, "the JSON is larger than %zu bytes", out->max);
}

static void put_line(struct writer *w, const struct value_path *path)
{
	static const char spaces[] = "\n                                                                ";
	if (w->indent == 0)
		return;
	size_t width = (size_t)(w->indent * w->depth) + 1;
	put(w, path, spaces, width < sizeof spaces ? width : sizeof spaces - 1);
}

/* Copy a text if all of it is ASCII that JSON writes as it stands; nearly all texts are. `to` has room for it. */
static bool copy_plain(char *to, const char *text, size_t len)
{
	const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
	for (; len >= 8; text += 8, to += 8, len -= 8) {
		uint64_t w;
		memcpy(&w, text, 8);
		uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
		if (((((w - ones * 0x20) | (quote - ones) | (slash - ones)) & ~w) | w) & tops)
			return false;
		memcpy(to, &w, 8);
	}
	for (; len > 0; text++, to++, len--) {
		if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x80 || *text == '"' || *text == '\\')
			return false;
		*to = *text;
	}
	return true;
}

/* The usual text: plain, and there is room. False: nothing was written. */
static bool put_plain(struct buffer *out, const char *before, size_t before_len, const char *text, size_t len, const char *after,
	size_t after_len)
{
	if (before_len + len + after_len >= out->capacity - out->len)
		return false;
	char *to = out->data + out->len;
	for (size_t i = 0; i < before_len; i++)
		*to++ = before[i];
	if (!copy_plain(to, text, len)) {
		out->data[out->len] = '\0';
		return false;
	}
	to += len;
	for (size_t i = 0; i < after_len; i++)
		*to++ = after[i];
	*to = '\0';
	out->len = (size_t)(to - out->data);
	return true;
}

static void put_string(struct writer *w, const struct value_path *path, const char *text, size_t len)
{
	if (put_plain(w->out, "\"", 1, text, len, "\"", 1))
		return;
	if (value_utf8_check(text, len) != len)
		value_path_error(w->L, path, "a text is not UTF-8");
	if (json_add_string(w->out, text, len) != 0)
		value_path_error(w->L, path, "the JSON is larger than %zu bytes", w->out->max);
}

static void put_integer(struct writer *w, const struct value_path *path, lua_Integer value)
{
	char digits[24], *p = digits + sizeof digits;
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	do
		*--p = (char)('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (value < 0)
		*--p = '-';
	put(w, path, p, (size_t)(digits + sizeof digits - p));
}

/* An integral float is written without ".0": Go refuses 5.0 for an int32. */
static void put_number(struct writer *w, const struct value_path *path, int index)
{
	if (lua_isinteger(w->L, index)) {
		put_integer(w, path, lua_tointeger(w->L, index));
		return;
	}
	double value = lua_tonumber(w->L, index);
	if (!isfinite(value))
		value_path_error(w->L, path, "%s is no JSON value", isnan(value) ? "not-a-number" : "infinity");
	if (value >= -9007199254740992.0 && value <= 9007199254740992.0 && value == floor(value)) {
		put_integer(w, path, (lua_Integer)value);
		return;
	}
	char text[40];
	int len = 0;
	for (int digits = 15; digits <= 17; digits++) {
		len = snprintf(text, sizeof text, "%.*g", digits, value);
		double again = strtod(text, NULL);
		if (memcmp(&again, &value, sizeof value) == 0)
			break;
	}
	put(w, path, text, (size_t)len);
}

static void write_value(struct writer *w, const struct value_path *path, int index);

static void write_array(struct writer *w, const struct value_path *path, int table, size_t count)
{
	put(w, path, "[", 1);
	w->depth++;
	for (size_t i = 1; i <= count; i++) {
		struct value_path step = {.up = path, .position = (lua_Integer)i};
		if (i > 1)
			put(w, path, ",", 1);
		put_line(w, path);
		lua_rawgeti(w->L, table, (lua_Integer)i);
		write_value(w, &step, lua_gettop(w->L));
		lua_pop(w->L, 1);
	}
	w->depth--;
	if (count != 0)
		put_line(w, path);
	put(w, path, "]", 1);
}

/* A comma if needed, and the name: nearly always one piece. */
static void put_name(struct writer *w, const struct value_path *path, const struct name *name, bool first)
{
	if (w->indent == 0 && put_plain(w->out, first ? "\"" : ",\"", 2 - (size_t)first, name->text, name->len, "\":", 2))
		return;
	if (!first)
		put(w, path, ",", 1);
	put_line(w, path);
	put_string(w, path, name->text, name->len);
	put(w, path, ": ", w->indent != 0 ? 2 : 1);
}

static void write_members(struct writer *w, const struct value_path *path, int table,
	const struct name *names, size_t count)
{
	put(w, path, "{", 1);
	w->depth++;
	for (size_t i = 0; i < count; i++) {
		struct value_path step = {.up = path, .name = names[i].text, .name_len = names[i].len};
		put_name(w, &step, &names[i], i == 0);
		if (names[i].value != 0) {
			write_value(w, &step, names[i].value);
			continue;
		}
		lua_pushlstring(w->L, names[i].text, names[i].len);
		lua_rawget(w->L, table);
		write_value(w, &step, lua_gettop(w->L));
		lua_pop(w->L, 1);
	}
	w->depth--;
	if (count != 0)
		put_line(w, path);
	put(w, path, "}", 1);
}

static void write_object(struct writer *w, const struct value_path *path, int table, size_t count)
{
	lua_State *L = w->L;
	int top = lua_gettop(L);
	struct name *names = lua_newuserdatauv(L, count * sizeof *names, 0);
	size_t i = 0;
	for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1), i++)
		set_name(&names[i], L, -2, 0);
	sort_names(names, count);
	write_members(w, path, table, names, count);
	lua_settop(L, top);
}

/* Most tables are small objects; those are written from one walk, which leaves the values on the stack.
 * False: it is none. */
static bool write_small_object(struct writer *w, const struct value_path *path, int table)
{
	lua_State *L = w->L;
	int top = lua_gettop(L), at = top;
	struct name names[NAMES_INLINE];
	size_t count = 0;
	for (lua_pushnil(L); lua_next(L, table) != 0; count++) {
		if (count == NAMES_INLINE || lua_type(L, -2) != LUA_TSTRING) {
			lua_settop(L, top);
			return false;
		}
		set_name(&names[count], L, at + 1, at + 2);
		lua_pushvalue(L, at + 1); /* name and value stay, the name goes on */
		at += 2;
	}
	sort_names(names, count);
	write_members(w, path, table, names, count);
	lua_settop(L, top);
	return true;
}

/* Pop a metatable: whether it is that of arrays. */
static bool is_array_mark(lua_State *L)
{
	value_push_mark(L);
	bool same = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	return same;
}

/* The table has a metatable. False: it is not frozen, or wanted in another form. */
static bool write_frozen(struct writer *w, const struct value_path *path, int table)
{
	if (w->indent != 0 || !value_push_frozen(w->L, table))
		return false;
	size_t len;
	const char *text = lua_tolstring(w->L, -1, &len);
	put(w, path, text, len);
	lua_pop(w->L, 1);
	return true;
}

static void write_table(struct writer *w, const struct value_path *path, int table)
{
	struct value_shape shape;
	const char *why;
	if (w->depth >= VALUE_DEPTH_MAX)
		value_path_error(w->L, path, "tables are nested more than %d deep (or hold themselves)", VALUE_DEPTH_MAX);
	limits_check_stack(w->L, 2 * NAMES_INLINE + 8);
	bool marked = false;
	if (lua_getmetatable(w->L, table)) {
		marked = is_array_mark(w->L);
		if (!marked && write_frozen(w, path, table))
			return;
	}
	if (!marked && write_small_object(w, path, table))
		return;
	if (!value_shape(w->L, table, &shape, &why))
		value_path_error(w->L, path, "%s", why);
	if (marked && shape.names != 0)
		value_path_error(w->L, path, "an array has names");
	if (marked || shape.positions != 0)
		write_array(w, path, table, shape.positions);
	else
		write_object(w, path, table, shape.names);
}

/* Writes the value at `index`, which is absolute. */
static void write_value(struct writer *w, const struct value_path *path, int index)
{
	size_t len;
	const char *text;
	if (++w->values >= CHARGE_EVERY) {
		limits_charge(w->L, w->values * 8);
		w->values = 0;
	}
	switch (lua_type(w->L, index)) {
	case LUA_TSTRING:
		text = lua_tolstring(w->L, index, &len);
		put_string(w, path, text, len);
		return;
	case LUA_TNUMBER:
		put_number(w, path, index);
		return;
	case LUA_TBOOLEAN:
		text = lua_toboolean(w->L, index) ? "true" : "false";
		put(w, path, text, strlen(text));
		return;
	case LUA_TTABLE:
		write_table(w, path, index);
		return;
	default:
		if (!value_is_null(w->L, index))
			value_path_error(w->L, path, "a %s is no JSON value", luaL_typename(w->L, index));
		put(w, path, "null", 4);
	}
}

void value_to_json(lua_State *L, int index, struct buffer *out, int indent)
{
	struct writer w = {.L = L, .out = out, .indent = indent};
	struct value_path root = {0};
	limits_check_stack(L, 8);
	lua_pushvalue(L, index);
	write_value(&w, &root, lua_gettop(L));
	lua_pop(L, 1);
}
