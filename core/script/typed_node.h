/* Schema nodes in a form that C walks quickly.
 *
 * lua/sandbox/schema makes a tree of Lua tables of each kind's schema. Reading an object along those costs a
 * dozen table look-ups for each value; here a node is translated once, when it is first used: its fields lie in
 * a small hash table, its type is a number. A translated node lives as long as its state, as the nodes of
 * built-in kinds do. Nodes may reach themselves. */
#ifndef MOONPHASE_SCRIPT_TYPED_NODE_H
#define MOONPHASE_SCRIPT_TYPED_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#define TYPED_FIELDS_MAX 128

enum typed_kind {
	TYPED_STRUCT,  /* an object with fields of its own; others are dropped */
	TYPED_MAP,     /* an object with free names */
	TYPED_LIST, TYPED_TEXT, TYPED_WHOLE, TYPED_TRUTH, TYPED_REAL,
	TYPED_EITHER,  /* an integer or a text */
	TYPED_ANY,     /* any JSON */
	TYPED_ANY_OBJECT,
	TYPED_UNUSUAL, /* what is left to Lua */
};

enum typed_format { TYPED_PLAIN, TYPED_INT32, TYPED_TIME, TYPED_QUANTITY, TYPED_BYTES, TYPED_ODD };

struct typed_node;

struct typed_field {
	const char *name;
	size_t len;
	const struct typed_node *node;
	bool omit; /* its zero is no value */
};

/* What is there though nobody gave it. */
struct typed_written {
	int field;
	const struct typed_node *node; /* an empty struct; NULL: the value is `value` of the texts */
};

struct typed_node {
	enum typed_kind kind;
	enum typed_format format;
	const struct typed_node *items; /* of a list or map */
	int field_count, written_count;
	uint32_t slot_mask;
	struct typed_field *fields;
	struct typed_written *written;
	unsigned char *slots; /* of the hash table: 1 + a field's number; 0: free */
};

/* The translation of the node (a table) at `index`, made on first need. Raises if it is no node. What is made
 * stays alive; nothing is left on the stack. */
const struct typed_node *typed_node_of(lua_State *L, int index);
/* Push the table of a struct's texts: the names of its fields at 1 and up, behind them the values of `written`. */
void typed_push_texts(lua_State *L, const struct typed_node *n);
/* The number of a struct's field, or -1. */
int typed_field_of(const struct typed_node *n, const char *name, size_t len);

#endif
