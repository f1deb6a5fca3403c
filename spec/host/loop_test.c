/* The loop: its edge, its clock, its signals, its threads, and watching paths. */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/xalloc.h"
#include "loop/loop.h"
#include "test.h"

#define QUIET_MS 50

static struct loop *l;
static bool never;

static void wait_ms(uint64_t ms)
{
	loop_run_until(l, &never, ms);
}

static uint64_t now(void)
{
	return clock_now_ms(loop_clock(l));
}

struct job {
	struct loop_task task;
	int runs, again;
};

static void run_job(struct loop_task *t)
{
	struct job *j = t->data;
	j->runs++;
	if (j->again-- > 0)
		loop_defer(l, t);
}

static struct job job(int again)
{
	return (struct job){.task = {.run = run_job}, .again = again};
}

TEST(a_deferred_task_runs_though_nothing_else_happens)
{
	l = loop_new();
	struct job j = job(0);
	j.task.data = &j;
	loop_defer(l, &j.task);
	loop_defer(l, &j.task); /* waits already */
	CHECK_INT(j.runs, ==, 0);
	uint64_t from = now();
	wait_ms(30);
	CHECK_INT(j.runs, ==, 1);
	CHECK_INT(now() - from, <, 200);
	loop_free(l);
}

TEST(a_task_that_defers_itself_does_not_hold_the_loop)
{
	l = loop_new();
	struct job j = job(1000000000);
	j.task.data = &j;
	loop_defer(l, &j.task);
	for (int round = 0; round < 500 && j.runs <= 10; round++)
		wait_ms(20); /* timers still fire */
	CHECK_INT(j.runs, >, 10);
	loop_undefer(l, &j.task);
	int runs = j.runs;
	wait_ms(10);
	CHECK_INT(j.runs, ==, runs);
	loop_free(l);
}

static struct job *victims[2];

static void undefer_victims(struct loop_task *t)
{
	(void)t;
	loop_undefer(l, &victims[0]->task);
	loop_undefer(l, &victims[1]->task);
}

TEST(a_task_can_be_taken_back_while_tasks_run)
{
	l = loop_new();
	struct job a = job(0), b = job(0), c = job(0);
	struct loop_task killer = {.run = undefer_victims};
	a.task.data = &a;
	b.task.data = &b;
	c.task.data = &c;
	victims[0] = &a;
	victims[1] = &c;
	loop_defer(l, &killer);
	loop_defer(l, &a.task);
	loop_defer(l, &b.task);
	loop_defer(l, &c.task);
	wait_ms(20);
	CHECK_INT(a.runs, ==, 0);
	CHECK_INT(b.runs, ==, 1);
	CHECK_INT(c.runs, ==, 0);
	loop_defer(l, &c.task); /* the list is whole */
	wait_ms(10);
	CHECK_INT(c.runs, ==, 1);
	loop_free(l);
}

TEST(freeing_the_loop_runs_what_was_deferred)
{
	l = loop_new();
	struct job j = job(2);
	j.task.data = &j;
	loop_defer(l, &j.task);
	loop_free(l);
	CHECK_INT(j.runs, ==, 3);
}

static uint64_t fired_at[3];

static void note_time(struct clock_timer *t)
{
	*(uint64_t *)t->data = now();
}

TEST(timers_fire_in_their_time_and_not_before)
{
	l = loop_new();
	struct clock_timer t[3];
	uint64_t from = now(), after[3] = {60, 20, 40};
	for (int i = 0; i < 3; i++) {
		t[i] = (struct clock_timer){.fire = note_time, .data = &fired_at[i]};
		clock_arm(loop_clock(l), &t[i], after[i]);
	}
	wait_ms(100);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(fired_at[i] - from, >=, after[i]);
		CHECK_INT(fired_at[i] - from, <, after[i] + 30);
	}
	loop_free(l);
}

static void arm_sooner(struct loop_task *task)
{
	clock_arm(loop_clock(l), task->data, 10);
}

TEST(a_timer_armed_for_sooner_than_the_armed_one_fires_sooner)
{
	l = loop_new();
	struct clock_timer late = {.fire = note_time, .data = &fired_at[0]};
	struct clock_timer soon = {.fire = note_time, .data = &fired_at[1]};
	uint64_t from = now();
	clock_arm(loop_clock(l), &late, 500);
	struct loop_task task = {.run = arm_sooner, .data = &soon};
	loop_defer(l, &task);
	wait_ms(60);
	CHECK_INT(fired_at[1] - from, <, 50);
	CHECK_INT(fired_at[0], ==, 0);
	clock_disarm(loop_clock(l), &late);
	loop_free(l);
}

static void set_flag(struct clock_timer *t)
{
	*(bool *)t->data = true;
}

TEST(what_is_waited_for_in_a_timer_is_noticed_at_once)
{
	l = loop_new();
	bool flag = false;
	struct clock_timer t = {.fire = set_flag, .data = &flag};
	clock_arm(loop_clock(l), &t, 20);
	uint64_t from = now();
	CHECK(loop_run_until(l, &flag, 5000));
	CHECK_INT(now() - from, <, 1000);
	CHECK(!loop_run_until(l, &never, 20));
	loop_free(l);
}

static void stop_loop(struct clock_timer *t)
{
	(void)t;
	loop_stop(l);
}

TEST(the_loop_runs_until_it_is_stopped)
{
	l = loop_new();
	struct clock_timer t = {.fire = stop_loop};
	clock_arm(loop_clock(l), &t, 30);
	uint64_t from = now();
	loop_run(l);
	CHECK_INT(now() - from, >=, 30);
	loop_stop(l);
	loop_run(l); /* stopped beforehand: returns at once */
	clock_arm(loop_clock(l), &t, 10);
	loop_run(l); /* and runs again afterwards */
	CHECK_INT(now() - from, >=, 40);
	loop_free(l);
}

static void run_inside(struct loop_task *t)
{
	(void)t;
	loop_run(l);
}

static int ends_by(void (*what)(void))
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		alarm(20);
		freopen("/dev/null", "w", stderr);
		what();
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void reenter(void)
{
	l = loop_new();
	struct loop_task t = {.run = run_inside};
	loop_defer(l, &t);
	loop_run(l);
}

TEST(running_the_loop_from_inside_of_itself_aborts)
{
	CHECK_INT(ends_by(reenter), ==, SIGABRT);
}

static void leave_a_handle(void)
{
	l = loop_new();
	static uv_timer_t forgotten;
	uv_timer_init(loop_uv(l), &forgotten);
	if (loop_open_handles(l) == 1)
		loop_free(l);
}

TEST(a_forgotten_handle_is_counted_and_aborts_at_the_end)
{
	CHECK_INT(ends_by(leave_a_handle), ==, SIGABRT);
	l = loop_new();
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
}

static int signals_seen;

static void on_signal(void *arg, int number)
{
	CHECK_TEXT(arg, "arg");
	CHECK_INT(number, ==, SIGHUP);
	signals_seen++;
}

TEST(signals_arrive_on_the_loop_and_sigpipe_is_ignored)
{
	l = loop_new();
	static char arg[] = "arg";
	loop_on_signal(l, SIGHUP, on_signal, arg);
	raise(SIGPIPE);
	raise(SIGHUP);
	wait_ms(30);
	raise(SIGHUP);
	wait_ms(30);
	CHECK_INT(signals_seen, ==, 2);
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
}

struct thread_job {
	pthread_t worked_on;
	bool signals_blocked, done;
	int nice;
};

static void work(void *arg)
{
	struct thread_job *j = arg;
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	j->signals_blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGHUP);
	j->worked_on = pthread_self();
	j->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void work_done(void *arg)
{
	((struct thread_job *)arg)->done = true;
}

TEST(work_is_done_on_another_thread_and_reported_on_this_one)
{
	l = loop_new();
	struct thread_job j = {0};
	loop_work(l, work, work_done, &j);
	CHECK(loop_run_until(l, &j.done, 5000));
	CHECK(!pthread_equal(j.worked_on, pthread_self()));
	CHECK(j.signals_blocked);
	CHECK_INT(j.nice, >=, 10); /* where processors are scarce the loop comes first */
	sigset_t mine;
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	CHECK(!sigismember(&mine, SIGTERM));
	j.done = false;
	loop_work(l, work, work_done, &j);
	loop_free(l); /* waits for it */
	CHECK(j.done);
}

static void burn(struct clock_timer *t)
{
	(void)t;
	uint64_t end = uv_hrtime() + 25000000;
	while (uv_hrtime() < end)
		;
}

TEST(a_long_turn_is_measured_and_waiting_is_not)
{
	l = loop_new();
	wait_ms(10);
	loop_turns_reset(l);
	wait_ms(100);
	/* Another process may take the processor from us, so not 0. */
	CHECK_INT(loop_turns(l).longest_us, <, 90000);
	CHECK_INT(loop_turns(l).count, >, 0);
	loop_turns_reset(l);
	struct clock_timer t = {.fire = burn};
	clock_arm(loop_clock(l), &t, 30);
	wait_ms(100);
	CHECK_INT(loop_turns(l).longest_us, >=, 25000);
	CHECK_INT(loop_turns(l).over_10ms, >=, 1);
	CHECK_INT(loop_turns(l).longest_cpu_us, >, 0);
	CHECK_INT(loop_turns(l).longest_cpu_us, <=, loop_turns(l).longest_us + 1000);
	loop_free(l);
}

/* As if the kernel had taken us off the processor. */
static void be_off(struct clock_timer *t)
{
	(void)t;
	usleep(25000);
}

TEST(time_that_a_turn_spent_off_the_processor_is_told_apart)
{
	l = loop_new();
	wait_ms(10);
	loop_turns_reset(l);
	struct clock_timer t = {.fire = be_off};
	clock_arm(loop_clock(l), &t, 10);
	wait_ms(60);
	CHECK_INT(loop_turns(l).longest_us, >=, 24000);
	CHECK_INT(loop_turns(l).longest_cpu_us, <, 10000);
	CHECK_INT(loop_turns(l).over_10ms_cpu, ==, 0);
	loop_free(l);
}

/* ---- watching ---- */

static char folder[64];
static int changes;

static void on_change(void *arg)
{
	(void)arg;
	changes++;
}

static char *in_folder(const char *name)
{
	static char path[4][200];
	static int next;
	char *p = path[next++ % 4];
	snprintf(p, sizeof path[0], "%s/%s", folder, name);
	return p;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in_folder(name), "w");
	CHECK(f != NULL);
	fputs(text, f);
	fclose(f);
}

static void make_folder(void)
{
	snprintf(folder, sizeof folder, "/tmp/moonphase-loop-test-XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	CHECK(mkdir(in_folder("children"), 0700) == 0);
	write_file("a.lua", "1");
	write_file("children/b.lua", "1");
	l = loop_new();
	changes = 0;
}

static void remove_folder(void)
{
	CHECK_INT(loop_open_handles(l), ==, 0);
	loop_free(l);
	char command[100];
	snprintf(command, sizeof command, "rm -rf %s", folder);
	CHECK(system(command) == 0);
}

TEST(a_burst_of_changes_in_a_folder_is_one_change)
{
	make_folder();
	struct err e;
	struct loop_watch *w = loop_watch_path(l, folder, QUIET_MS, on_change, NULL, &e);
	CHECK(w != NULL);
	wait_ms(100);
	CHECK_INT(changes, ==, 0);
	for (int i = 0; i < 10; i++) {
		write_file("a.lua", i % 2 ? "two" : "three");
		wait_ms(5);
	}
	CHECK_INT(changes, ==, 0); /* not while it goes on */
	wait_ms(150);
	CHECK_INT(changes, ==, 1);
	loop_watch_close(w);
	remove_folder();
}

TEST(a_change_in_a_folder_below_is_seen_also_when_the_folder_is_new)
{
	make_folder();
	struct loop_watch *w = loop_watch_path(l, folder, QUIET_MS, on_change, NULL, NULL);
	write_file("children/b.lua", "22");
	wait_ms(150);
	CHECK_INT(changes, ==, 1);
	CHECK(mkdir(in_folder("new"), 0700) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 2);
	write_file("new/c.lua", "1");
	wait_ms(150);
	CHECK_INT(changes, ==, 3);
	CHECK(unlink(in_folder("new/c.lua")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 4);
	loop_watch_close(w);
	remove_folder();
}

TEST(what_came_and_went_is_no_change)
{
	make_folder();
	struct loop_watch *w = loop_watch_path(l, folder, QUIET_MS, on_change, NULL, NULL);
	write_file(".a.lua.swp", "x");
	CHECK(unlink(in_folder(".a.lua.swp")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 0);
	loop_watch_close(w);
	remove_folder();
}

TEST(a_configmap_that_swaps_its_data_link_is_one_change)
{
	make_folder();
	CHECK(mkdir(in_folder("..1"), 0700) == 0 && mkdir(in_folder("..2"), 0700) == 0);
	write_file("..1/phases.lua", "1");
	write_file("..2/phases.lua", "2");
	CHECK(symlink("..1", in_folder("..data")) == 0);
	CHECK(symlink("..data/phases.lua", in_folder("phases.lua")) == 0);
	struct loop_watch *w = loop_watch_path(l, folder, QUIET_MS, on_change, NULL, NULL);
	struct loop_watch *f = loop_watch_path(l, in_folder("phases.lua"), QUIET_MS, on_change, NULL, NULL);
	wait_ms(100);
	CHECK_INT(changes, ==, 0);
	CHECK(symlink("..2", in_folder("..data_tmp")) == 0);
	CHECK(rename(in_folder("..data_tmp"), in_folder("..data")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 2); /* the folder, and the file that is reached through the link */
	loop_watch_close(w);
	loop_watch_close(f);
	remove_folder();
}

TEST(a_file_is_seen_to_be_replaced_and_its_neighbours_do_not_matter)
{
	make_folder();
	struct loop_watch *w = loop_watch_path(l, in_folder("a.lua"), QUIET_MS, on_change, NULL, NULL);
	write_file("neighbour", "1");
	wait_ms(150);
	CHECK_INT(changes, ==, 0);
	write_file("a.tmp", "2");
	CHECK(rename(in_folder("a.tmp"), in_folder("a.lua")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 1);
	write_file("a.lua", "333"); /* and the new file is watched in turn */
	wait_ms(150);
	CHECK_INT(changes, ==, 2);
	loop_watch_close(w);
	remove_folder();
}

TEST(a_link_on_the_way_that_is_swapped_is_a_change)
{
	make_folder();
	CHECK(mkdir(in_folder("v1"), 0700) == 0 && mkdir(in_folder("v2"), 0700) == 0);
	CHECK(mkdir(in_folder("v1/policies"), 0700) == 0 && mkdir(in_folder("v2/policies"), 0700) == 0);
	write_file("v1/policies/a.lua", "1");
	write_file("v2/policies/a.lua", "2");
	CHECK(symlink("v1", in_folder("current")) == 0);
	struct loop_watch *w = loop_watch_path(l, in_folder("current/policies"), QUIET_MS, on_change, NULL, NULL);
	struct loop_watch *f = loop_watch_path(l, in_folder("current/policies/a.lua"), QUIET_MS, on_change, NULL, NULL);
	struct loop_watch *itself = loop_watch_path(l, in_folder("current"), QUIET_MS, on_change, NULL, NULL);
	for (int i = 1; i <= 2; i++) {
		CHECK(symlink(i % 2 ? "v2" : "v1", in_folder("next")) == 0);
		CHECK(rename(in_folder("next"), in_folder("current")) == 0);
		wait_ms(150);
		CHECK_INT(changes, ==, 3 * i);
	}
	loop_watch_close(w);
	loop_watch_close(f);
	loop_watch_close(itself);
	remove_folder();
}

TEST(a_folder_that_was_away_is_seen_to_come_back)
{
	make_folder();
	CHECK(mkdir(in_folder("policies"), 0700) == 0);
	write_file("policies/a.lua", "1");
	struct loop_watch *w = loop_watch_path(l, in_folder("policies"), QUIET_MS, on_change, NULL, NULL);
	CHECK(rename(in_folder("policies"), in_folder("away")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 1);
	CHECK(rename(in_folder("away"), in_folder("policies")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 2);
	write_file("policies/a.lua", "22");
	wait_ms(150);
	CHECK_INT(changes, ==, 3);
	loop_watch_close(w);
	remove_folder();
}

TEST(a_folder_in_the_place_of_another_is_watched_in_turn)
{
	make_folder();
	CHECK(mkdir(in_folder("policies"), 0700) == 0 && mkdir(in_folder("new"), 0700) == 0);
	write_file("policies/a.lua", "1");
	write_file("new/a.lua", "22");
	struct loop_watch *w = loop_watch_path(l, in_folder("policies"), QUIET_MS, on_change, NULL, NULL);
	CHECK(rename(in_folder("policies"), in_folder("away")) == 0 && rename(in_folder("new"), in_folder("policies")) == 0);
	wait_ms(150);
	CHECK_INT(changes, ==, 1);
	write_file("policies/a.lua", "333");
	wait_ms(150);
	CHECK_INT(changes, ==, 2);
	write_file("policies/b.lua", "4");
	wait_ms(150);
	CHECK_INT(changes, ==, 3);
	loop_watch_close(w);
	remove_folder();
}

TEST(a_path_that_is_not_there_cannot_be_watched)
{
	l = loop_new();
	struct err e;
	CHECK(loop_watch_path(l, "/nowhere/at/all", QUIET_MS, on_change, NULL, &e) == NULL);
	CHECK_INT(e.code, ==, ERR_NOT_FOUND);
	CHECK_CONTAINS(e.text, "cannot watch /nowhere/at/all");
	loop_free(l);
}

/* --- virtual time --- */

TEST(a_virtual_loop_runs_its_turns_inside_a_turn_of_another)
{
	struct loop *v = loop_new_virtual(5000, 1000000);
	struct job j = job(2);
	j.task = (struct loop_task){.run = run_job, .data = &j};
	l = v; /* run_job defers there */
	CHECK(loop_is_virtual(v) && !loop_is_busy(v) && !loop_turn(v));
	loop_defer(v, &j.task);
	CHECK(loop_is_busy(v) && j.runs == 0);
	CHECK(loop_turn(v));
	CHECK_INT(j.runs, ==, 1);
	CHECK(loop_turn(v) && loop_turn(v) && !loop_turn(v));
	CHECK_INT(j.runs, ==, 3);
	CHECK_INT(clock_now_ms(loop_clock(v)), ==, 5000);
	CHECK_INT(clock_wall_ms(loop_clock(v)), ==, 1000000);
	loop_defer(v, &j.task);
	loop_undefer(v, &j.task);
	CHECK(!loop_turn(v));
	loop_free(v);
}

static void count(void *arg)
{
	++*(int *)arg;
}

TEST(work_on_a_virtual_loop_is_done_at_once_and_told_later)
{
	struct loop *v = loop_new_virtual(1, 1);
	int worked = 0;
	loop_work(v, count, count, &worked);
	CHECK_INT(worked, ==, 1);
	CHECK(loop_turn(v));
	CHECK_INT(worked, ==, 2);
	loop_work(v, count, count, &worked);
	loop_free(v); /* done always comes */
	CHECK_INT(worked, ==, 4);
}

TEST_MAIN(T(a_deferred_task_runs_though_nothing_else_happens),
	T(a_task_that_defers_itself_does_not_hold_the_loop),
	T(a_task_can_be_taken_back_while_tasks_run),
	T(freeing_the_loop_runs_what_was_deferred),
	T_TIMED(timers_fire_in_their_time_and_not_before),
	T_TIMED(a_timer_armed_for_sooner_than_the_armed_one_fires_sooner),
	T(what_is_waited_for_in_a_timer_is_noticed_at_once),
	T_TIMED(the_loop_runs_until_it_is_stopped),
	T(running_the_loop_from_inside_of_itself_aborts),
	T(a_forgotten_handle_is_counted_and_aborts_at_the_end),
	T(signals_arrive_on_the_loop_and_sigpipe_is_ignored),
	T(work_is_done_on_another_thread_and_reported_on_this_one),
	T(time_that_a_turn_spent_off_the_processor_is_told_apart),
	T(a_long_turn_is_measured_and_waiting_is_not),
	T_TIMED(a_burst_of_changes_in_a_folder_is_one_change),
	T(a_change_in_a_folder_below_is_seen_also_when_the_folder_is_new),
	T(what_came_and_went_is_no_change),
	T(a_configmap_that_swaps_its_data_link_is_one_change),
	T(a_file_is_seen_to_be_replaced_and_its_neighbours_do_not_matter),
	T(a_link_on_the_way_that_is_swapped_is_a_change), T(a_folder_that_was_away_is_seen_to_come_back),
	T(a_folder_in_the_place_of_another_is_watched_in_turn),
	T(a_path_that_is_not_there_cannot_be_watched),
	T(a_virtual_loop_runs_its_turns_inside_a_turn_of_another),
	T(work_on_a_virtual_loop_is_done_at_once_and_told_later))
