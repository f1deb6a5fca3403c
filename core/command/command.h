/* The subcommands: a name, a line for --help, and how it is run. */
#ifndef MOONPHASE_COMMAND_COMMAND_H
#define MOONPHASE_COMMAND_COMMAND_H

#include <stdbool.h>

#include "script/host.h"

struct command {
	const char *name;
	const char *summary;
	const char *module; /* "command.run" is lua/command/run.lua */
	/* Before the module, on the C side; NULL: nothing. */
	void (*prepare)(struct host *h);
	bool keeps_memory; /* of host_options */
};

extern const struct command commands[]; /* name NULL behind the last */

const struct command *command_find(const char *name); /* NULL if there is none */
/* Whether its module is in this binary. */
bool command_is_built_in(const struct command *c);
/* The screen of `moonphase --help`, with the commands that are built in; the caller frees it. */
char *command_help(void);

#endif
