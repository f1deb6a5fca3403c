/* The table of subcommands. A subcommand is a Lua module; C is here only for what Lua must not do. */
#include "command/command.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "script/asset.h"
#include "script/policy.h"

#define WATCHDOG_SECONDS 10
#define HELP_MAX 8192

static void start_watchdog(struct host *h)
{
	(void)h;
	policy_watchdog_start(WATCHDOG_SECONDS);
}

const struct command commands[] = {
	{"run", "the operator", "command.run", start_watchdog, false},
	{"check", "load, lint, specs, every reachable state of a policy folder", "command.check", NULL, true},
	{"test", "run Lua specs", "command.test", NULL, true},
	{"plan", "what a policy folder would change", "command.plan", NULL, false},
	{"apply", "do what a saved plan says, and no more", "command.apply", NULL, false},
	{"render", "the children of a PhDeployment as YAML", "command.render", NULL, false},
	{"rbac", "what it has to be allowed, as RBAC manifests", "command.rbac", NULL, false},
	{"explain", "why an object is in its phase", "command.explain", NULL, false},
	{"policies", "show or copy the built-in policies", "command.policies", NULL, false},
	{"repl", "look around, or run a script", "command.repl", NULL, true},
	{"sandbox", "a simulated cluster", "command.sandbox", NULL, true},
	{"look", NULL, "command.look", NULL, true}, /* for an operator that runs: no word of it in the help */
	{"phd", "kubectl phd: list, logs, history, diff, rollback, start, stop, predict", "command.phd", NULL, false},
	{NULL, NULL, NULL, NULL, false},
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

bool command_is_built_in(const struct command *c)
{
	char file[128];
	snprintf(file, sizeof file, "lua/command/%s.lua", c->name);
	for (size_t i = 0; i < asset_count; i++)
		if (strcmp(assets[i].name, file) == 0)
			return true;
	return false;
}

char *command_help(void)
{
	struct buffer out;
	buffer_init(&out, HELP_MAX);
	buffer_add_text(&out, "moonphase runs PrimeHub model deployments on Kubernetes; Lua policies say how.\n\n"
		"usage: moonphase [--lua DIR] COMMAND [options]\n\n");
	for (const struct command *c = commands; c->name; c++)
		if (c->summary && command_is_built_in(c))
			buffer_printf(&out, "  %-10s %s\n", c->name, c->summary);
	buffer_add_text(&out, "\n  --lua DIR  load the host's library from a folder in place of the built-in one\n"
		"  --version  which moonphase this is\n\n"
		"moonphase COMMAND --help says more.\n\n"
		"example:\n  moonphase run --namespace hub\n");
	return buffer_take(&out, NULL);
}
