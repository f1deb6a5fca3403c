/* What reading an object by its kind needs, from a text (typed_decode.c) or from tables (typed_clean.c). */
#ifndef MOONPHASE_SCRIPT_TYPED_PARTS_H
#define MOONPHASE_SCRIPT_TYPED_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "script/typed_node.h"

/* A set of field numbers. */
struct typed_fields {
	uint64_t bits[TYPED_FIELDS_MAX / 64];
};

static inline bool typed_is_in(const struct typed_fields *f, int field)
{
	return (f->bits[field / 64] >> (field % 64) & 1) != 0;
}

static inline void typed_put_in(struct typed_fields *f, int field)
{
	f->bits[field / 64] |= (uint64_t)1 << (field % 64);
}

/* RFC 3339 as the server writes it back, for the first 28 days of a month. */
bool typed_is_time(const char *text, size_t len);
bool typed_is_base64(const char *text, size_t len);
/* Stack: `count` names and values above `table`, which is made if it is nil still. They are set in it and popped. */
void typed_set_members(lua_State *L, int table, int count);
/* Push name and value of what is written always and not `given`; how many, or -1. texts: of typed_push_texts. */
int typed_push_written(lua_State *L, const struct typed_node *n, int texts, const struct typed_fields *given);

/* typed.decode(node, text, canonical) -> value | nil */
int typed_decode(lua_State *L);
/* typed.clean(node, value, canonical) -> value | nil */
int typed_clean(lua_State *L);
/* typed.clone(value, room) -> a shallow copy */
int typed_clone(lua_State *L);

#endif
