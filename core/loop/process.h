/* Child processes: exec credential plugins, and what specs start. */
#ifndef MOONPHASE_LOOP_PROCESS_H
#define MOONPHASE_LOOP_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

struct process;

struct process_options {
	const char *const *argv;   /* NULL behind the last; argv[0] is looked for in PATH */
	const char *const *env;    /* "NAME=value", added to our own environment; may be NULL */
	const char *directory;     /* NULL: ours */
	const char *input;         /* standard input; NULL: empty */
	size_t input_len;
	size_t output_max;         /* of each of stdout and stderr; more ends the process with an error; 0: 1 MiB */
	uint64_t timeout_ms;       /* 0: none; then SIGTERM, and SIGKILL 2 s later */
	int inherit_output;        /* 1: the child writes to our stdout and stderr */
	int inherit_input;         /* 1: and, without `input`, reads our stdin */
	int background;            /* 1: where processors are scarce it gets what we leave, as a worker thread does */
};

struct process_result {
	int status;        /* exit status, or 128 + signal */
	struct err err;    /* code != 0: it could not be started, took too long, or wrote too much */
	const char *output, *errors; /* NUL-terminated, valid during the callback */
	size_t output_len, errors_len;
};

/* `done` is called exactly once, never from inside this call. Everything in `o` is copied. */
struct process *process_start(struct loop *l, const struct process_options *o,
	void (*done)(void *arg, const struct process_result *r), void *arg);
/* 0 once it has ended. */
int process_id(const struct process *p);
void process_signal(struct process *p, int number);
/* Kill it and never call `done`: for an owner that goes away first. */
void process_abandon(struct process *p);
/* What a running process has written so far (`errors`: to stderr); valid until the loop goes on. "" if
 * nothing, or with inherit_output. */
const char *process_output(const struct process *p, int errors, size_t *len);

#endif
