/* The shape of an object: what its field set depends on, as one number.
 *
 * metadata.managedFields names every field that a manager set, which is half of what a Deployment weighs. It depends on
 * which fields an object has and on the keys of its lists, and hardly ever on a value: a thousand Deployments of one
 * operator have one set between them. lua/sandbox/managed.lua keeps sets by shape and makes one only when it has
 * not seen the shape. */
#ifndef MOONPHASE_SCRIPT_TYPED_SHAPE_H
#define MOONPHASE_SCRIPT_TYPED_SHAPE_H

#include <lua.h>

/* typed.shape(value, live, atom) -> integer | nil. Equal for values for which sandbox/typed/compare.lua says the same
 * about what changed, the same `live` and `atom` given: names of fields, keys of items, what is empty, and values where `live` has one too.
 * nil: not worth it (a duplicate key, a wrong type). A 64-bit hash, seeded in each process. */
int typed_shape(lua_State *L);

#endif
