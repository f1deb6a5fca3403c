/* Timers on virtual time. */
#include "test.h"

#include "base/clock.h"

static struct clock c;
static char fired[1000]; /* the names of the timers, in the order in which they fired */

static void note(struct clock_timer *t)
{
	strcat(fired, t->data);
}

static void reset(void)
{
	clock_init_virtual(&c, 1000000);
	fired[0] = '\0';
}

#define TIMER(text) {.fire = note, .data = (char[]){text}}

TEST(timers_fire_at_their_own_instant)
{
	struct clock_timer a = TIMER("a"), b = TIMER("b"), later = TIMER("l");
	reset();
	clock_arm(&c, &later, 30);
	clock_arm(&c, &b, 20);
	clock_arm(&c, &a, 10);
	CHECK_INT(clock_next_due_ms(&c), ==, 10);
	clock_virtual_advance(&c, 9);
	CHECK_TEXT(fired, "");
	clock_virtual_advance(&c, 1);
	CHECK_TEXT(fired, "a");
	CHECK(!clock_is_armed(&a) && clock_is_armed(&b));
	clock_virtual_advance(&c, 15);
	CHECK_TEXT(fired, "ab");
	CHECK_INT(clock_now_ms(&c), ==, 25);
	CHECK_INT(clock_wall_ms(&c), ==, 1000025);
	clock_virtual_advance(&c, 100);
	CHECK_TEXT(fired, "abl");
	CHECK(clock_next_due_ms(&c) == CLOCK_NEVER);
	clock_deinit(&c);
}

TEST(timers_due_at_once_fire_in_the_order_of_arming)
{
	static const char names[] = "abcdefghijklmnopqrstuvwxyz";
	struct clock_timer timers[26];
	char texts[26][2];
	reset();
	for (int i = 0; i < 26; i++) {
		memcpy(texts[i], (char[]){names[i], '\0'}, 2);
		timers[i] = (struct clock_timer){.fire = note, .data = texts[i]};
		clock_arm(&c, &timers[i], 5);
	}
	clock_arm(&c, &timers[0], 5); /* arming again goes to the end */
	clock_disarm(&c, &timers[3]);
	clock_disarm(&c, &timers[3]);
	clock_virtual_advance(&c, 5);
	CHECK_TEXT(fired, "bcefghijklmnopqrstuvwxyza");
	clock_deinit(&c);
}

TEST(a_timer_can_be_moved)
{
	struct clock_timer a = TIMER("a"), b = TIMER("b");
	reset();
	clock_arm(&c, &a, 10);
	clock_arm(&c, &b, 20);
	clock_arm(&c, &a, 30);
	clock_virtual_advance(&c, 29);
	CHECK_TEXT(fired, "b");
	clock_arm(&c, &b, 5);
	clock_virtual_advance(&c, 5);
	CHECK_TEXT(fired, "bab");
	clock_deinit(&c);
}

struct chain {
	struct clock_timer timer;
	uint64_t every;
	int left;
	uint64_t seen_at;
};

static void again(struct clock_timer *t)
{
	struct chain *chain = t->data;
	chain->seen_at = clock_now_ms(&c);
	if (chain->left-- > 0)
		clock_arm(&c, t, chain->every);
}

TEST(a_callback_may_arm_its_own_timer)
{
	struct chain chain = {.timer = {.fire = again, .data = &chain}, .every = 7, .left = 4};
	reset();
	clock_arm(&c, &chain.timer, 7);
	clock_virtual_advance(&c, 27);
	CHECK_INT(chain.seen_at, ==, 21);
	clock_virtual_advance(&c, 100);
	CHECK_INT(chain.seen_at, ==, 35);
	clock_deinit(&c);
}

TEST(a_timer_that_arms_itself_with_nothing_does_not_hold_the_loop)
{
	struct chain chain = {.timer = {.fire = again, .data = &chain}, .every = 0, .left = 1000000};
	reset();
	clock_arm(&c, &chain.timer, 0);
	clock_run_due(&c);
	CHECK_INT(chain.left, ==, 999999);
	clock_run_due(&c);
	CHECK_INT(chain.left, ==, 999998);
	clock_deinit(&c);
}

static struct clock_timer victim = TIMER("v");

static void disarm_other(struct clock_timer *t)
{
	note(t);
	clock_disarm(&c, &victim);
}

TEST(a_callback_may_disarm_another_timer_that_is_due)
{
	struct clock_timer a = {.fire = disarm_other, .data = (char[]){"a"}}, b = TIMER("b");
	reset();
	clock_arm(&c, &a, 5);
	clock_arm(&c, &victim, 5);
	clock_arm(&c, &b, 5);
	clock_virtual_advance(&c, 10);
	CHECK_TEXT(fired, "ab");
	clock_deinit(&c);
}

static int rearms;

static void count_rearm(struct clock *clock)
{
	(void)clock;
	rearms++;
}

TEST(the_driver_hears_when_the_earliest_time_changes)
{
	struct clock_timer a = TIMER("a"), b = TIMER("b");
	reset();
	c.rearm = count_rearm;
	clock_arm(&c, &a, 10);
	CHECK_INT(rearms, ==, 1);
	clock_arm(&c, &b, 20);
	CHECK_INT(rearms, ==, 1);
	clock_arm(&c, &b, 5);
	CHECK_INT(rearms, ==, 2);
	clock_deinit(&c);
	CHECK(!clock_is_armed(&a));
}

TEST(very_long_waits_do_not_wrap_around)
{
	struct clock_timer a = TIMER("a");
	reset();
	clock_virtual_advance(&c, 1000);
	clock_arm(&c, &a, UINT64_MAX);
	CHECK(clock_next_due_ms(&c) == CLOCK_NEVER - 1);
	clock_virtual_advance(&c, 1000000);
	CHECK_TEXT(fired, "");
	clock_deinit(&c);
}

/* Every timer fires exactly when a plain list of due times says so. */
TEST(random_arming_and_disarming_matches_a_plain_list)
{
	enum { TIMERS = 60 };
	static struct chain timers[TIMERS];
	uint64_t due[TIMERS];
	reset();
	srand(5);
	for (size_t i = 0; i < TIMERS; i++) {
		timers[i] = (struct chain){.timer = {.fire = again, .data = &timers[i]}, .left = 0};
		due[i] = CLOCK_NEVER;
	}
	for (int round = 0; round < 20000; round++) {
		size_t i = (size_t)rand() % TIMERS;
		int action = rand() % 10;
		if (action < 6) {
			uint64_t after = (uint64_t)rand() % 100;
			clock_arm(&c, &timers[i].timer, after);
			due[i] = clock_now_ms(&c) + after;
		} else if (action < 8) {
			clock_disarm(&c, &timers[i].timer);
			due[i] = CLOCK_NEVER;
		} else {
			clock_virtual_advance(&c, (uint64_t)rand() % 20);
		}
		uint64_t earliest = CLOCK_NEVER;
		for (size_t k = 0; k < TIMERS; k++) {
			if (due[k] != CLOCK_NEVER && action >= 8 && due[k] <= clock_now_ms(&c)) {
				CHECK_INT(timers[k].seen_at, ==, due[k]);
				due[k] = CLOCK_NEVER;
			}
			CHECK(clock_is_armed(&timers[k].timer) == (due[k] != CLOCK_NEVER));
			if (due[k] < earliest)
				earliest = due[k];
		}
		CHECK(clock_next_due_ms(&c) == earliest);
	}
	clock_deinit(&c);
}

TEST(a_driver_may_fire_what_is_due_in_an_order_of_its_own)
{
	struct clock_timer a = TIMER("a"), b = TIMER("b"), d = TIMER("d"), later = TIMER("l");
	reset();
	clock_arm(&c, &later, 11);
	clock_arm(&c, &a, 10);
	clock_arm(&c, &b, 10);
	clock_arm(&c, &d, 5);
	CHECK_INT(clock_count_due(&c), ==, 0);
	clock_virtual_set(&c, 10);
	CHECK_TEXT(fired, "");
	CHECK_INT(clock_count_due(&c), ==, 3);
	clock_fire_due(&c, 4); /* there are only three */
	clock_fire_due(&c, 3);
	clock_fire_due(&c, 1);
	clock_fire_due(&c, 1);
	CHECK_TEXT(fired, "bda");
	CHECK_INT(clock_count_due(&c), ==, 0);
	clock_virtual_set(&c, 3); /* never backwards */
	CHECK_INT(clock_now_ms(&c), ==, 10);
	clock_deinit(&c);
}

TEST(the_real_clock_goes_forward_and_knows_the_year)
{
	struct clock real;
	clock_init_real(&real);
	uint64_t before = clock_now_ms(&real);
	CHECK(clock_now_ms(&real) >= before);
	CHECK(clock_wall_ms(&real) > 1700000000000);
	clock_deinit(&real);
}

TEST_MAIN(T(timers_fire_at_their_own_instant), T(timers_due_at_once_fire_in_the_order_of_arming), T(a_timer_can_be_moved),
	T(a_callback_may_arm_its_own_timer), T(a_timer_that_arms_itself_with_nothing_does_not_hold_the_loop),
	T(a_callback_may_disarm_another_timer_that_is_due), T(the_driver_hears_when_the_earliest_time_changes),
	T(very_long_waits_do_not_wrap_around), T(random_arming_and_disarming_matches_a_plain_list),
	T(a_driver_may_fire_what_is_due_in_an_order_of_its_own),
	T(the_real_clock_goes_forward_and_knows_the_year))
