/* moonphase: global options, then a subcommand in the host state.
 *
 * Everything that lives as long as the process is made and freed here, in order: the loop, the
 * HTTP client on it, the host state on both. Called as kubectl-phd, it is `moonphase phd`. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "base/xalloc.h"
#include "command/command.h"
#include "http/client.h"
#include "loop/loop.h"
#include "script/host.h"

#define USAGE 2

struct invocation {
	const char *lua_dir;
	const char *command;
	const char *const *args; /* behind the command */
	int status;              /* -1: run it */
};

static int print_help(void)
{
	char *text = command_help();
	fputs(text, stdout);
	free(text);
	return 0;
}

static int usage(const char *before, const char *word, const char *after)
{
	fprintf(stderr, "moonphase: %s%s%s\nTry moonphase --help.\n", before, word, after);
	return USAGE;
}

static bool is_plugin(const char *program)
{
	const char *name = strrchr(program, '/');
	return strcmp(name ? name + 1 : program, "kubectl-phd") == 0;
}

static bool holds_command(const char *lua_dir, const char *name)
{
	char *file = xasprintf("%s/command/%s.lua", lua_dir, name);
	bool is_there = access(file, R_OK) == 0;
	free(file);
	return is_there;
}

/* Options before the command. */
static struct invocation read_words(const char *const *words)
{
	struct invocation v = {.status = -1};
	for (; *words && **words == '-'; words++) {
		const char *word = *words;
		if (strcmp(word, "--version") == 0)
			v.status = printf("moonphase %s\n", moonphase_version) < 0;
		else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
			v.status = print_help();
		else if (strncmp(word, "--lua=", 6) == 0)
			v.lua_dir = word + 6;
		else if (strcmp(word, "--lua") == 0 && words[1])
			v.lua_dir = *++words;
		else if (strcmp(word, "--lua") == 0)
			v.status = usage("", word, " needs a folder");
		else
			v.status = usage("there is no option ", word, " before the command");
		if (v.status >= 0)
			return v;
	}
	v.command = *words;
	v.args = *words ? words + 1 : words;
	if (!v.command)
		v.status = usage("which command?", "", "");
	else if (strcmp(v.command, "help") == 0)
		v.status = print_help();
	else if (!command_find(v.command) || (!v.lua_dir && !command_is_built_in(command_find(v.command))))
		v.status = usage("there is no command \"", v.command, "\"");
	else if (v.lua_dir && !holds_command(v.lua_dir, v.command))
		v.status = usage("--lua: no host's library is in ", v.lua_dir, ": it has a folder \"command\"");
	return v;
}

static int run(const struct invocation *v)
{
	const struct command *c = command_find(v->command);
	struct loop *loop = loop_new();
	struct http_client *client = http_client_new(loop);
	struct host_options o = {
		.transport = http_client_transport(client),
		.lua_dir = v->lua_dir,
		.assets = assets,
		.asset_count = asset_count,
		.assets_in_file = true,
		.keeps_memory = c->keeps_memory,
	};
	struct host *host = host_new(loop, &o);
	if (c->prepare)
		c->prepare(host);
	int status = host_run_module(host, c->module, v->args);
	host_free(host);
	http_client_free(client);
	loop_free(loop);
	return status;
}

/* Pages of lists are large and short-lived: mapped, they go back whole when they are freed. glibc would learn from
 * the first of them to keep the next in the heap, where they leave holes. Its fast bins are walked whenever a free leaves 64 KB
 * free in one piece; what Lua and curl do makes that all the time (7 % of a plan of 1,000 objects). Small pieces have their
 * thread's cache before them anyway. */
static void tune_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MXFAST, 0);
}

int main(int argc, char **argv)
{
	tune_memory();
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* a line that was said is seen, also in a pipe */
	struct invocation v;
	if (argc > 0 && is_plugin(argv[0]))
		v = (struct invocation){.command = "phd", .args = (const char *const *)argv + 1,
			.status = command_is_built_in(command_find("phd")) ? -1 : usage("kubectl phd is not there yet", "", "")};
	else
		v = read_words((const char *const *)argv + (argc > 0));
	return v.status >= 0 ? v.status : run(&v);
}
