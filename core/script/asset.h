/* Files built into the binary: lua/, policies/ and crds/, made into a table by the Makefile. */
#ifndef MOONPHASE_SCRIPT_ASSET_H
#define MOONPHASE_SCRIPT_ASSET_H

#include <stddef.h>

struct asset {
	const char *name;  /* "lua/controller.lua", "policies/phases.lua" */
	const char *bytes; /* NUL behind `len` bytes */
	size_t len;
};

/* Generated; sorted by name (strcmp). Only core/command refers to them: a host is given its files. */
extern const struct asset assets[];
extern const size_t asset_count;

#endif
