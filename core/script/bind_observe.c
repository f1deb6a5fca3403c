/* log and metrics: what the operator says about itself. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "script/bind.h"

#define METRICS_TEXT_MAX (16u << 20)
#define FAMILY_CLASS "moonphase.family"

/* --- log --- */

static int compare_fields(const void *a, const void *b)
{
	return strcmp(((const struct log_field *)a)->name, ((const struct log_field *)b)->name);
}

/* The fields of the table at 2, sorted; their texts stay in a table that is left on the stack. */
static size_t read_fields(lua_State *L, struct log_field *fields)
{
	size_t n = 0;
	lua_newtable(L);
	int texts = lua_gettop(L);
	lua_pushnil(L);
	while (n < LOG_FIELDS_MAX && lua_next(L, 2)) {
		if (lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "log: the fields of a line are names and values");
		fields[n].name = lua_tostring(L, -2);
		fields[n].is_number = lua_type(L, -1) == LUA_TNUMBER;
		fields[n].value = luaL_tolstring(L, -1, NULL);
		lua_rawseti(L, texts, (lua_Integer)++n);
		lua_pop(L, 1);
	}
	lua_settop(L, texts);
	qsort(fields, n, sizeof *fields, compare_fields);
	return n;
}

static int write_line(lua_State *L, enum log_level level)
{
	struct log_field fields[LOG_FIELDS_MAX];
	size_t n = 0;
	const char *message = luaL_checkstring(L, 1);
	if (level < log_least())
		return 0;
	if (!lua_isnoneornil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		n = read_fields(L, fields);
	}
	log_write(level, message, fields, n);
	return 0;
}

static int l_debug(lua_State *L)
{
	return write_line(L, LOG_DEBUG);
}

static int l_info(lua_State *L)
{
	return write_line(L, LOG_INFO);
}

static int l_warn(lua_State *L)
{
	return write_line(L, LOG_WARN);
}

static int l_error(lua_State *L)
{
	return write_line(L, LOG_ERROR);
}

static int l_configure(lua_State *L)
{
	static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
	static const char *const formats[] = {"text", "json", NULL};
	int level = luaL_checkoption(L, 1, "info", levels), format = luaL_checkoption(L, 2, "text", formats);
	log_configure((enum log_level)level, (enum log_format)format);
	return 0;
}

static const luaL_Reg log_functions[] = {
	{"debug", l_debug},
	{"info", l_info},
	{"warn", l_warn},
	{"error", l_error},
	{"configure", l_configure},
	{NULL, NULL},
};

int bind_open_log(lua_State *L)
{
	luaL_newlib(L, log_functions);
	return 1;
}

/* --- metrics --- */

struct family {
	struct metric *metric;
	enum metric_kind kind;
	int labels;
};

static const double *read_buckets(lua_State *L, int index, size_t *count)
{
	*count = 0;
	if (lua_isnoneornil(L, index))
		return NULL;
	luaL_checktype(L, index, LUA_TTABLE);
	size_t n = lua_rawlen(L, index);
	double *bounds = lua_newuserdatauv(L, (n + 1) * sizeof *bounds, 0);
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, index, (lua_Integer)i + 1);
		bounds[i] = luaL_checknumber(L, -1);
		lua_pop(L, 1);
		luaL_argcheck(L, i == 0 || bounds[i] > bounds[i - 1], index, "the bounds of buckets must ascend");
	}
	*count = n;
	return n > 0 ? bounds : NULL;
}

static int new_family(lua_State *L, enum metric_kind kind)
{
	const char *name = luaL_checkstring(L, 1), *help = luaL_checkstring(L, 2);
	const char *labels[METRIC_LABELS_MAX + 1] = {NULL};
	int n = 0;
	size_t bucket_count;
	if (!lua_isnoneornil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		n = (int)lua_rawlen(L, 3);
		luaL_argcheck(L, n <= METRIC_LABELS_MAX, 3, "too many labels");
	}
	for (int i = 0; i < n; i++) {
		luaL_argcheck(L, lua_rawgeti(L, 3, i + 1) == LUA_TSTRING, 3, "label names are texts");
		labels[i] = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	const double *buckets = read_buckets(L, 4, &bucket_count);
	struct family *f = lua_newuserdatauv(L, sizeof *f, 0);
	f->kind = kind;
	f->labels = n;
	f->metric = metric_register(kind, name, help, labels, buckets, bucket_count);
	luaL_argcheck(L, f->metric != NULL, 1, "cannot be registered: the name is taken by another kind of metric");
	luaL_setmetatable(L, FAMILY_CLASS);
	return 1;
}

static int l_counter(lua_State *L)
{
	return new_family(L, METRIC_COUNTER);
}

static int l_gauge(lua_State *L)
{
	return new_family(L, METRIC_GAUGE);
}

static int l_histogram(lua_State *L)
{
	return new_family(L, METRIC_HISTOGRAM);
}

/* (family, number, label values...) */
static struct metric_series *check_series(lua_State *L, enum metric_kind a, enum metric_kind b)
{
	const struct family *f = luaL_checkudata(L, 1, FAMILY_CLASS);
	const char *values[METRIC_LABELS_MAX + 1] = {NULL};
	luaL_argcheck(L, f->kind == a || f->kind == b, 1, "this kind of metric cannot do that");
	luaL_checknumber(L, 2);
	if (lua_gettop(L) - 2 != f->labels)
		luaL_error(L, "this metric has %d labels, and %d values were given", f->labels, lua_gettop(L) - 2);
	for (int i = 0; i < f->labels; i++)
		values[i] = luaL_checkstring(L, 3 + i);
	return metric_with(f->metric, values);
}

static int l_family_add(lua_State *L)
{
	metric_add(check_series(L, METRIC_COUNTER, METRIC_GAUGE), lua_tonumber(L, 2));
	return 0;
}

static int l_family_set(lua_State *L)
{
	metric_set(check_series(L, METRIC_GAUGE, METRIC_GAUGE), lua_tonumber(L, 2));
	return 0;
}

static int l_family_observe(lua_State *L)
{
	metric_observe(check_series(L, METRIC_HISTOGRAM, METRIC_HISTOGRAM), lua_tonumber(L, 2));
	return 0;
}

static int l_text(lua_State *L)
{
	struct buffer *out = bind_scratch(L, METRICS_TEXT_MAX);
	if (metrics_write(out) != 0)
		luaL_error(L, "the metrics are larger than %d MiB", METRICS_TEXT_MAX >> 20);
	lua_pushlstring(L, buffer_text(out), out->len);
	buffer_deinit(out);
	return 1;
}

static const luaL_Reg family_methods[] = {
	{"add", l_family_add},
	{"set", l_family_set},
	{"observe", l_family_observe},
	{NULL, NULL},
};

static const luaL_Reg metrics_functions[] = {
	{"counter", l_counter},
	{"gauge", l_gauge},
	{"histogram", l_histogram},
	{"text", l_text},
	{NULL, NULL},
};

int bind_open_metrics(lua_State *L)
{
	bind_class(L, FAMILY_CLASS, family_methods, NULL);
	luaL_newlib(L, metrics_functions);
	return 1;
}
