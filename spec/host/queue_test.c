/* The queue's rules one by one, then a random walk against a model that is too simple to be
 * wrong: no key is lost, none is in two hands. */
#include "base/metrics.h"
#include "pick.h"
#include "test.h"
#include "work/queue.h"

static struct clock clock_;
static struct queue *q;
static int ready_calls;

static void ready(void *arg)
{
	(void)arg;
	ready_calls++;
}

static void start(void)
{
	clock_init_virtual(&clock_, 0);
	q = queue_new(&clock_, NULL, ready, NULL);
}

static void stop(void)
{
	queue_free(q);
	CHECK_INT(clock_next_due_ms(&clock_), ==, CLOCK_NEVER);
	clock_deinit(&clock_);
}

static void take(const char *key)
{
	CHECK_TEXT(queue_take(q), key);
}

TEST(a_key_added_often_comes_once)
{
	start();
	for (int i = 0; i < 5; i++)
		queue_add(q, "a", QUEUE_LIVE);
	CHECK_INT(queue_depth(q), ==, 1);
	take("a");
	CHECK(queue_take(q) == NULL);
	queue_done(q, "a");
	CHECK(queue_take(q) == NULL);
	stop();
}

TEST(keys_come_in_the_order_in_which_they_were_added)
{
	start();
	queue_add(q, "b", QUEUE_LIVE);
	queue_add(q, "a", QUEUE_LIVE);
	queue_add(q, "c", QUEUE_LIVE);
	queue_add(q, "b", QUEUE_LIVE);
	take("b"), take("a"), take("c");
	stop();
}

TEST(a_key_in_work_is_not_handed_out_twice_and_comes_back_after_done)
{
	start();
	queue_add(q, "a", QUEUE_LIVE);
	take("a");
	queue_add(q, "a", QUEUE_LIVE);
	queue_add(q, "a", QUEUE_LIVE);
	CHECK(queue_take(q) == NULL);
	CHECK_INT(queue_depth(q), ==, 0);
	CHECK_INT(queue_in_work(q), ==, 1);
	queue_done(q, "a");
	take("a");
	queue_done(q, "a");
	CHECK(queue_take(q) == NULL);
	CHECK_INT(queue_in_work(q), ==, 0);
	stop();
}

TEST(live_changes_overtake_first_list_keys)
{
	start();
	queue_add(q, "old1", QUEUE_BACKGROUND);
	queue_add(q, "old2", QUEUE_BACKGROUND);
	queue_add(q, "new", QUEUE_LIVE);
	take("new"), take("old1"), take("old2");
	stop();
}

TEST(a_live_change_lifts_a_waiting_background_key)
{
	start();
	queue_add(q, "a", QUEUE_BACKGROUND);
	queue_add(q, "b", QUEUE_BACKGROUND);
	queue_add(q, "b", QUEUE_LIVE);
	CHECK_INT(queue_depth(q), ==, 2);
	take("b"), take("a");
	stop();
}

TEST(a_background_addition_does_not_lower_a_live_key)
{
	start();
	queue_add(q, "a", QUEUE_BACKGROUND);
	queue_add(q, "b", QUEUE_LIVE);
	queue_add(q, "b", QUEUE_BACKGROUND);
	take("b");
	queue_add(q, "b", QUEUE_LIVE);
	queue_add(q, "b", QUEUE_BACKGROUND);
	queue_done(q, "b");
	take("b"), take("a");
	stop();
}

TEST(failures_come_back_after_5_ms_doubling_to_5_minutes)
{
	start();
	uint64_t expected = 5;
	queue_add(q, "a", QUEUE_LIVE);
	for (unsigned i = 0; i < 40; i++) {
		take("a");
		CHECK_INT(queue_retry(q, "a"), ==, expected);
		queue_done(q, "a");
		CHECK_INT(queue_failures(q, "a"), ==, i + 1);
		clock_virtual_advance(&clock_, expected - 1);
		CHECK(queue_take(q) == NULL);
		clock_virtual_advance(&clock_, 1);
		expected = expected * 2 > 300000 ? 300000 : expected * 2;
	}
	stop();
}

TEST(success_forgets_the_failures_of_that_key_alone)
{
	start();
	queue_retry(q, "a"), queue_retry(q, "a"), queue_retry(q, "b");
	queue_forget(q, "a");
	CHECK_INT(queue_failures(q, "a"), ==, 0);
	CHECK_INT(queue_failures(q, "b"), ==, 1);
	CHECK_INT(queue_retry(q, "a"), ==, 5);
	CHECK_INT(queue_retry(q, "b"), ==, 10);
	stop();
}

TEST(a_retry_goes_back_to_the_line_it_came_from)
{
	start();
	queue_add(q, "old", QUEUE_BACKGROUND);
	take("old");
	queue_retry(q, "old");
	queue_done(q, "old");
	clock_virtual_advance(&clock_, 5);
	queue_add(q, "new", QUEUE_LIVE);
	take("new"), take("old");
	stop();
}

TEST(a_delayed_addition_keeps_the_earliest_time)
{
	start();
	queue_add_after(q, "a", 1000, QUEUE_LIVE);
	queue_add_after(q, "a", 5000, QUEUE_LIVE);
	CHECK_INT(queue_waiting(q), ==, 1);
	queue_add_after(q, "a", 300, QUEUE_LIVE);
	clock_virtual_advance(&clock_, 299);
	CHECK(queue_take(q) == NULL);
	clock_virtual_advance(&clock_, 1);
	take("a");
	CHECK_INT(queue_waiting(q), ==, 0);
	queue_done(q, "a");
	clock_virtual_advance(&clock_, 10000);
	CHECK(queue_take(q) == NULL);
	stop();
}

TEST(an_immediate_addition_does_not_lose_a_delayed_one)
{
	start();
	queue_add_after(q, "a", 1000, QUEUE_LIVE);
	queue_add(q, "a", QUEUE_LIVE);
	take("a");
	queue_done(q, "a");
	CHECK_INT(queue_waiting(q), ==, 1);
	clock_virtual_advance(&clock_, 1000);
	take("a");
	stop();
}

TEST(a_delay_that_ends_while_the_key_is_in_work_waits_for_done)
{
	start();
	queue_add(q, "a", QUEUE_LIVE);
	take("a");
	queue_add_after(q, "a", 10, QUEUE_LIVE);
	clock_virtual_advance(&clock_, 20);
	CHECK(queue_take(q) == NULL);
	queue_done(q, "a");
	take("a");
	stop();
}

TEST(ready_is_said_when_there_was_nothing_before)
{
	start();
	queue_add(q, "a", QUEUE_LIVE);
	queue_add(q, "b", QUEUE_LIVE);
	CHECK_INT(ready_calls, ==, 1);
	take("a"), take("b");
	queue_add(q, "a", QUEUE_LIVE);
	CHECK_INT(ready_calls, ==, 1);
	queue_done(q, "a");
	CHECK_INT(ready_calls, ==, 2);
	take("a");
	queue_add_after(q, "c", 10, QUEUE_LIVE);
	CHECK_INT(ready_calls, ==, 2);
	clock_virtual_advance(&clock_, 10);
	CHECK_INT(ready_calls, ==, 3);
	stop();
}

static void take_at_once(void *arg)
{
	(void)arg;
	const char *key = queue_take(q);
	if (key != NULL) {
		ready_calls++;
		queue_done(q, key);
	}
}

TEST(ready_may_take_and_finish_keys_at_once)
{
	clock_init_virtual(&clock_, 0);
	q = queue_new(&clock_, NULL, take_at_once, NULL);
	queue_add(q, "a", QUEUE_LIVE);
	queue_add_after(q, "a", 5, QUEUE_BACKGROUND);
	clock_virtual_advance(&clock_, 5);
	CHECK_INT(ready_calls, ==, 2);
	CHECK_INT(queue_depth(q), ==, 0);
	stop();
}

TEST(after_stop_nothing_is_handed_out_and_work_ends_as_usual)
{
	start();
	queue_add(q, "a", QUEUE_LIVE);
	queue_add(q, "b", QUEUE_LIVE);
	queue_add_after(q, "c", 10, QUEUE_LIVE);
	take("a");
	queue_add(q, "a", QUEUE_LIVE);
	queue_stop(q);
	CHECK(queue_take(q) == NULL);
	CHECK_INT(queue_waiting(q), ==, 0);
	CHECK_INT(clock_next_due_ms(&clock_), ==, CLOCK_NEVER);
	int calls = ready_calls;
	queue_retry(q, "a");
	queue_done(q, "a");
	queue_add(q, "d", QUEUE_LIVE);
	clock_virtual_advance(&clock_, 1000);
	CHECK_INT(queue_in_work(q), ==, 0);
	CHECK_INT(ready_calls, ==, calls);
	CHECK(queue_take(q) == NULL);
	stop();
}

TEST(done_of_a_key_that_is_not_in_work_is_ignored)
{
	start();
	queue_done(q, "a");
	queue_add(q, "a", QUEUE_LIVE);
	queue_done(q, "a");
	CHECK_INT(queue_in_work(q), ==, 0);
	take("a");
	stop();
}

TEST(the_metrics_carry_the_names_of_client_go)
{
	clock_init_virtual(&clock_, 0);
	q = queue_new(&clock_, "phdeployments", NULL, NULL);
	queue_add(q, "a", QUEUE_LIVE);
	queue_add(q, "a", QUEUE_LIVE);
	queue_add(q, "b", QUEUE_LIVE);
	clock_virtual_advance(&clock_, 50);
	take("a");
	clock_virtual_advance(&clock_, 2000);
	struct buffer out;
	buffer_init(&out, 1 << 20);
	metrics_write(&out);
	const char *text = buffer_text(&out);
	CHECK_CONTAINS(text, "workqueue_depth{name=\"phdeployments\"} 1\n");
	CHECK_CONTAINS(text, "workqueue_adds_total{name=\"phdeployments\"} 2\n");
	CHECK_CONTAINS(text, "workqueue_retries_total{name=\"phdeployments\"} 0\n");
	CHECK_CONTAINS(text, "workqueue_queue_duration_seconds_bucket{name=\"phdeployments\",le=\"0.1\"} 1\n");
	CHECK_CONTAINS(text, "workqueue_unfinished_work_seconds{name=\"phdeployments\"} 2\n");
	CHECK_CONTAINS(text, "workqueue_longest_running_processor_seconds{name=\"phdeployments\"} 2\n");
	queue_done(q, "a");
	queue_free(q);
	buffer_clear(&out);
	metrics_write(&out);
	CHECK_CONTAINS(buffer_text(&out), "workqueue_work_duration_seconds_count{name=\"phdeployments\"} 1\n");
	CHECK_CONTAINS(buffer_text(&out), "workqueue_depth{name=\"phdeployments\"} 0\n");
	buffer_deinit(&out);
	metrics_reset();
	clock_deinit(&clock_);
}

/* --- the model: per key, whether it is wanted now, when it is wanted later, who works on it --- */

#define KEYS 7

static struct {
	bool wanted, in_work;
	uint64_t later; /* CLOCK_NEVER: not */
	unsigned failures;
	const char *taken;
} model[KEYS];

static void model_later(unsigned k, uint64_t after)
{
	uint64_t due = clock_now_ms(&clock_) + after;
	if (due < model[k].later)
		model[k].later = due;
}

static void model_check(void)
{
	size_t depth = 0, in_work = 0, waiting = 0;
	for (unsigned k = 0; k < KEYS; k++) {
		depth += model[k].wanted && !model[k].in_work;
		in_work += model[k].in_work;
		waiting += model[k].later != CLOCK_NEVER;
		char key[2] = {(char)('a' + k), 0};
		CHECK_INT(queue_failures(q, key), ==, model[k].failures);
	}
	CHECK_INT(queue_depth(q), ==, depth);
	CHECK_INT(queue_in_work(q), ==, in_work);
	CHECK_INT(queue_waiting(q), ==, waiting);
}

static void model_take(void)
{
	bool any = false;
	for (unsigned k = 0; k < KEYS; k++)
		any |= model[k].wanted && !model[k].in_work;
	const char *key = queue_take(q);
	CHECK_INT(key != NULL, ==, any);
	if (key == NULL)
		return;
	unsigned k = (unsigned)(key[0] - 'a');
	CHECK(model[k].wanted);
	CHECK(!model[k].in_work);
	model[k].in_work = true;
	model[k].wanted = false;
	model[k].taken = key;
}

static void model_advance(void)
{
	clock_virtual_advance(&clock_, pick(40));
	for (unsigned k = 0; k < KEYS; k++) {
		if (model[k].later > clock_now_ms(&clock_))
			continue;
		model[k].later = CLOCK_NEVER;
		model[k].wanted = true;
	}
}

static void model_step(void)
{
	unsigned k = pick(KEYS);
	uint64_t after = 1 + pick(60);
	char key[2] = {(char)('a' + k), 0};
	enum queue_priority p = pick(2) ? QUEUE_LIVE : QUEUE_BACKGROUND;
	switch (pick(7)) {
	case 0:
		queue_add(q, key, p);
		model[k].wanted = true;
		break;
	case 1:
		queue_add_after(q, key, after, p);
		model_later(k, after);
		break;
	case 2:
		model_later(k, queue_retry(q, key));
		model[k].failures++;
		break;
	case 3:
		queue_forget(q, key);
		model[k].failures = 0;
		break;
	case 4:
		model_take();
		break;
	case 5:
		if (model[k].in_work)
			queue_done(q, model[k].taken);
		model[k].in_work = false;
		break;
	default:
		model_advance();
	}
	model_check();
}

TEST(in_200000_random_steps_no_key_is_lost_and_none_is_in_two_hands)
{
	start();
	for (unsigned k = 0; k < KEYS; k++)
		model[k].later = CLOCK_NEVER;
	for (int i = 0; i < 200000; i++)
		model_step();
	stop();
}

TEST_MAIN(T(a_key_added_often_comes_once), T(keys_come_in_the_order_in_which_they_were_added),
	T(a_key_in_work_is_not_handed_out_twice_and_comes_back_after_done), T(live_changes_overtake_first_list_keys),
	T(a_live_change_lifts_a_waiting_background_key), T(a_background_addition_does_not_lower_a_live_key),
	T(failures_come_back_after_5_ms_doubling_to_5_minutes), T(success_forgets_the_failures_of_that_key_alone),
	T(a_retry_goes_back_to_the_line_it_came_from), T(a_delayed_addition_keeps_the_earliest_time),
	T(an_immediate_addition_does_not_lose_a_delayed_one),
	T(a_delay_that_ends_while_the_key_is_in_work_waits_for_done),
	T(ready_is_said_when_there_was_nothing_before), T(ready_may_take_and_finish_keys_at_once),
	T(after_stop_nothing_is_handed_out_and_work_ends_as_usual),
	T(done_of_a_key_that_is_not_in_work_is_ignored), T(the_metrics_carry_the_names_of_client_go),
	T(in_200000_random_steps_no_key_is_lost_and_none_is_in_two_hands))
