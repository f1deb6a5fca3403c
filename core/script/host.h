/* The host state: the Lua that runs moonphase itself (lua/), on the loop's thread.
 *
 * Its code is ours and trusted, so it has most of Lua's library and everything that the bind_*.c
 * files offer (lua/types/host.lua describes it). It runs in tasks: coroutines that the loop
 * resumes, which wait by yielding inside a C function (task.h). One gate leads in, the resume of
 * a task; a second, host_protect, is for short callbacks that must not wait. */
#ifndef MOONPHASE_SCRIPT_HOST_H
#define MOONPHASE_SCRIPT_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include "http/transport.h"
#include "loop/loop.h"
#include "script/asset.h"

struct host;

struct host_options {
	struct transport *transport; /* for http and kube; NULL: calls to them fail */
	const char *lua_dir;         /* --lua DIR: modules come from here; NULL: from `assets` */
	const struct asset *assets;  /* must outlive the host; sorted by name */
	size_t asset_count;
	bool assets_in_file;         /* they are the program's own read-only pages, which the system can read again */
	bool keeps_memory;           /* small pieces come from a store of its own, faster by far, that gives nothing back to the
	                              * system: for programs that make much and do not run for months */
};

struct host *host_new(struct loop *l, const struct host_options *o);
/* Run module `name` ("command.run" is lua/command/run.lua) as the first task, with the words `args`
 * (NULL behind the last) in the global `args`, and the loop until that task ends or somebody calls
 * loop.exit. A function that the module returns (or the function `run` of a table) is called with
 * `args`. The status: what loop.exit was given, or an integer that was returned; false is 1,
 * nothing is 0; an error is told on standard error and is 1. */
int host_run_module(struct host *h, const char *name, const char *const *args);
/* Ends every task, closes what Lua left open (watches, servers, queues, child processes), then the state. */
void host_free(struct host *h);
/* Bytes that the state holds. */
size_t host_memory(const struct host *h);
/* For tests: collect garbage all the time, so that whatever is not anchored goes at once. */
void host_stress_memory(struct host *h);

#endif
