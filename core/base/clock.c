/* Timers on a binary heap, driven from outside: see clock.h. */
#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

#include "base/xalloc.h"

uint64_t clock_now_ms(const struct clock *c)
{
	return c->now_ms(c);
}

int64_t clock_wall_ms(const struct clock *c)
{
	return c->wall_ms(c);
}

static bool earlier(const struct clock_timer *a, const struct clock_timer *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void place(struct clock *c, size_t i, struct clock_timer *t)
{
	c->heap[i] = t;
	t->slot = i + 1;
}

static void sift_up(struct clock *c, size_t i, struct clock_timer *t)
{
	while (i > 0 && earlier(t, c->heap[(i - 1) / 2])) {
		place(c, i, c->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(c, i, t);
}

static void sift_down(struct clock *c, size_t i, struct clock_timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= c->count)
			break;
		if (child + 1 < c->count && earlier(c->heap[child + 1], c->heap[child]))
			child++;
		if (!earlier(c->heap[child], t))
			break;
		place(c, i, c->heap[child]);
		i = child;
	}
	place(c, i, t);
}

static void remove_at(struct clock *c, size_t i)
{
	c->heap[i]->slot = 0;
	struct clock_timer *last = c->heap[--c->count];
	if (i == c->count)
		return;
	if (i > 0 && earlier(last, c->heap[(i - 1) / 2]))
		sift_up(c, i, last);
	else
		sift_down(c, i, last);
}

void clock_arm(struct clock *c, struct clock_timer *t, uint64_t after_ms)
{
	if (t->slot != 0)
		remove_at(c, t->slot - 1);
	uint64_t now = clock_now_ms(c);
	t->due_ms = after_ms > CLOCK_NEVER - 1 - now ? CLOCK_NEVER - 1 : now + after_ms;
	t->order = c->orders++;
	if (c->count == c->capacity) {
		c->capacity = c->capacity ? c->capacity * 2 : 16;
		c->heap = xrealloc(c->heap, c->capacity * sizeof *c->heap);
	}
	sift_up(c, c->count++, t);
	if (t->slot == 1 && c->rearm != NULL)
		c->rearm(c);
}

void clock_disarm(struct clock *c, struct clock_timer *t)
{
	if (t->slot != 0)
		remove_at(c, t->slot - 1);
}

bool clock_is_armed(const struct clock_timer *t)
{
	return t->slot != 0;
}

uint64_t clock_next_due_ms(const struct clock *c)
{
	return c->count ? c->heap[0]->due_ms : CLOCK_NEVER;
}

/* Timers armed while firing wait for the next call, even when due at once: a timer that
 * re-arms itself with 0 cannot hold the loop. */
void clock_run_due(struct clock *c)
{
	uint64_t now = clock_now_ms(c), last_order = c->orders;
	while (c->count && c->heap[0]->due_ms <= now && c->heap[0]->order < last_order) {
		struct clock_timer *t = c->heap[0];
		remove_at(c, 0);
		t->fire(t);
	}
	if (c->rearm != NULL)
		c->rearm(c);
}

static uint64_t real_now_ms(const struct clock *c)
{
	(void)c;
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int64_t real_wall_ms(const struct clock *c)
{
	(void)c;
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void clock_init_real(struct clock *c)
{
	*c = (struct clock){.now_ms = real_now_ms, .wall_ms = real_wall_ms};
}

static uint64_t virtual_now_ms(const struct clock *c)
{
	return c->virtual_now_ms;
}

static int64_t virtual_wall_ms(const struct clock *c)
{
	return c->virtual_epoch_ms + (int64_t)c->virtual_now_ms;
}

void clock_init_virtual(struct clock *c, int64_t wall_epoch_ms)
{
	*c = (struct clock){.now_ms = virtual_now_ms, .wall_ms = virtual_wall_ms,
		.virtual_epoch_ms = wall_epoch_ms};
}

void clock_virtual_advance(struct clock *c, uint64_t ms)
{
	uint64_t end = c->virtual_now_ms + ms;
	while (clock_next_due_ms(c) <= end) {
		if (clock_next_due_ms(c) > c->virtual_now_ms)
			c->virtual_now_ms = clock_next_due_ms(c);
		clock_run_due(c);
	}
	c->virtual_now_ms = end;
}

void clock_virtual_set(struct clock *c, uint64_t now_ms)
{
	if (now_ms > c->virtual_now_ms)
		c->virtual_now_ms = now_ms;
}

void clock_virtual_reset(struct clock *c, uint64_t now_ms)
{
	if (c->count == 0)
		c->virtual_now_ms = now_ms;
}

size_t clock_count_due(const struct clock *c)
{
	uint64_t now = clock_now_ms(c);
	size_t count = 0;
	for (size_t i = 0; i < c->count; i++)
		count += c->heap[i]->due_ms <= now;
	return count;
}

void clock_fire_due(struct clock *c, size_t which)
{
	uint64_t now = clock_now_ms(c);
	const struct clock_timer *before = NULL;
	struct clock_timer *t = NULL;
	for (; which > 0; which--, before = t) {
		t = NULL;
		for (size_t i = 0; i < c->count; i++) {
			struct clock_timer *at = c->heap[i];
			if (at->due_ms <= now && (before == NULL || earlier(before, at)) && (t == NULL || earlier(at, t)))
				t = at;
		}
		if (t == NULL)
			return;
	}
	if (t == NULL)
		return;
	remove_at(c, t->slot - 1);
	t->fire(t);
}

void clock_deinit(struct clock *c)
{
	for (size_t i = 0; i < c->count; i++)
		c->heap[i]->slot = 0;
	free(c->heap);
	c->heap = NULL;
	c->count = c->capacity = 0;
}
