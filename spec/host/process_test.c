/* Child processes: output, input, limits, and every way to fail, each told once. */
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/xalloc.h"
#include "loop/process.h"
#include "test.h"

static struct loop *l;
static int done_count, status;
static bool done;
static struct err err;
static char *output, *errors;
static size_t output_len;

static void on_done(void *arg, const struct process_result *r)
{
	(void)arg;
	done_count++;
	done = true;
	status = r->status;
	err = r->err;
	output_len = r->output_len;
	output = xmemdup0(r->output, r->output_len);
	errors = xmemdup0(r->errors, r->errors_len);
}

static void run(const struct process_options *o)
{
	l = loop_new();
	process_start(l, o, on_done, NULL);
	CHECK(!done);
	CHECK(loop_run_until(l, &done, 10000));
	CHECK_INT(done_count, ==, 1);
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
}

static void clean(void)
{
	free(output);
	free(errors);
}

static void run_shell(const char *script, struct process_options o)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	o.argv = argv;
	run(&o);
}

TEST(output_errors_and_exit_status_are_told)
{
	run_shell("echo out; echo err >&2; exit 3", (struct process_options){0});
	CHECK_INT(err.code, ==, 0);
	CHECK_INT(status, ==, 3);
	CHECK_TEXT(output, "out\n");
	CHECK_TEXT(errors, "err\n");
	clean();
}

TEST(input_reaches_the_child_also_when_it_is_large)
{
	size_t len = 1 << 20;
	char *text = xmalloc(len);
	memset(text, 'x', len);
	run_shell("cat", (struct process_options){.input = text, .input_len = len, .output_max = 2 << 20});
	CHECK_INT(err.code, ==, 0);
	CHECK_INT(output_len, ==, len);
	free(text);
	clean();
}

TEST(a_child_that_does_not_read_its_input_is_no_trouble)
{
	size_t len = 1 << 20;
	char *text = xcalloc(1, len);
	run_shell("exec <&-; echo done", (struct process_options){.input = text, .input_len = len});
	CHECK_INT(err.code, ==, 0);
	CHECK_TEXT(output, "done\n");
	free(text);
	clean();
}

TEST(without_input_the_child_reads_nothing)
{
	run_shell("cat; echo end", (struct process_options){.timeout_ms = 5000});
	CHECK_INT(err.code, ==, 0);
	CHECK_TEXT(output, "end\n");
	clean();
}

TEST(variables_are_added_to_ours_and_replace_them)
{
	setenv("KEPT", "kept", 1);
	setenv("REPLACED", "old", 1);
	const char *env[] = {"REPLACED=new", "ADDED=added", NULL};
	run_shell("echo $KEPT $REPLACED $ADDED; pwd", (struct process_options){.env = env, .directory = "/usr"});
	CHECK_TEXT(output, "kept new added\n/usr\n");
	clean();
}

TEST(a_program_that_is_not_there_is_told_later_with_its_name)
{
	const char *argv[] = {"no-such-program-here", NULL};
	run(&(struct process_options){.argv = argv});
	CHECK_INT(err.code, ==, ERR_NOT_FOUND);
	CHECK_CONTAINS(err.text, "no-such-program-here cannot be started");
	CHECK_CONTAINS(err.text, "in PATH?");
	CHECK_INT(status, ==, 127);
	clean();
}

TEST(a_child_past_its_time_is_stopped)
{
	run_shell("exec sleep 30", (struct process_options){.timeout_ms = 100});
	CHECK_INT(err.code, ==, ERR_TIMEOUT);
	CHECK_CONTAINS(err.text, "did not end within 0.1 s");
	CHECK_INT(status, ==, 128 + SIGTERM);
	clean();
}

TEST(a_child_that_ignores_sigterm_is_killed)
{
	run_shell("trap '' TERM; while :; do sleep 0.1; done", (struct process_options){.timeout_ms = 100});
	CHECK_INT(err.code, ==, ERR_TIMEOUT);
	CHECK_INT(status, ==, 128 + SIGKILL);
	clean();
}

TEST(too_much_output_ends_the_child)
{
	run_shell("exec yes", (struct process_options){.output_max = 100000});
	CHECK_INT(err.code, ==, ERR_TOO_LARGE);
	CHECK_CONTAINS(err.text, "wrote more than 100000 bytes");
	CHECK_INT(output_len, <=, 100000);
	clean();
}

TEST(a_grandchild_that_holds_the_output_does_not_hold_the_end)
{
	run_shell("sleep 5 & echo out", (struct process_options){0});
	CHECK_INT(err.code, ==, 0);
	CHECK_TEXT(output, "out\n");
	clean();
}

/* It may begin before it is told; nice(1) without a command prints what it has. */
TEST(a_child_in_the_background_gets_what_others_leave)
{
	run_shell("while [ $(nice) -lt 10 ]; do sleep 0.01; done; nice", (struct process_options){.background = 1});
	CHECK_INT(err.code, ==, 0);
	CHECK_INT(atoi(output), >=, 10);
	clean();
}

TEST(a_signal_reaches_the_child)
{
	const char *argv[] = {"sleep", "30", NULL};
	l = loop_new();
	struct process *p = process_start(l, &(struct process_options){.argv = argv}, on_done, NULL);
	CHECK_INT(process_id(p), >, 0);
	process_signal(p, SIGINT);
	CHECK(loop_run_until(l, &done, 5000));
	CHECK_INT(status, ==, 128 + SIGINT);
	loop_free(l);
	clean();
}

TEST(an_abandoned_child_dies_and_is_not_heard_of)
{
	const char *argv[] = {"sleep", "30", NULL}, *missing[] = {"no-such-program-here", NULL};
	l = loop_new();
	struct process *p = process_start(l, &(struct process_options){.argv = argv}, on_done, NULL);
	int pid = process_id(p);
	process_abandon(p);
	CHECK_INT(kill(pid, 0), ==, -1); /* and it is no zombie */
	process_abandon(process_start(l, &(struct process_options){.argv = missing}, on_done, NULL));
	loop_run_until(l, &done, 50);
	CHECK_INT(done_count, ==, 0);
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
}

TEST_MAIN(T(output_errors_and_exit_status_are_told),
	T(input_reaches_the_child_also_when_it_is_large),
	T(a_child_that_does_not_read_its_input_is_no_trouble),
	T(without_input_the_child_reads_nothing),
	T(variables_are_added_to_ours_and_replace_them),
	T(a_program_that_is_not_there_is_told_later_with_its_name),
	T_TIMED(a_child_past_its_time_is_stopped),
	T_TIMED(a_child_that_ignores_sigterm_is_killed),
	T(too_much_output_ends_the_child),
	T(a_grandchild_that_holds_the_output_does_not_hold_the_end),
	T(a_child_in_the_background_gets_what_others_leave),
	T(a_signal_reaches_the_child),
	T(an_abandoned_child_dies_and_is_not_heard_of))
