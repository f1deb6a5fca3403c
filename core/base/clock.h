/* Time and timers as a parameter.
 *
 * Queue, cache, watch and lease never ask the machine what time it is: they are given a
 * clock. The event loop drives one with the machine's time; `clock_virtual_*` drives one by
 * hand, so that a test or the checker lives through ten minutes in a microsecond and the code
 * under test is the code that runs in production.
 *
 * A clock is a heap of one-shot timers. Whoever drives it calls clock_run_due when
 * clock_next_due_ms says so. Timers due at the same instant fire in the order in which they
 * were armed: a run repeats exactly.
 *
 * Ownership: a timer is embedded by its user, who disarms it before it goes away. A callback
 * may arm and disarm any timer, its own included. */
#ifndef MOONPHASE_BASE_CLOCK_H
#define MOONPHASE_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock_timer {
	void (*fire)(struct clock_timer *);
	void *data; /* the user's */
	uint64_t due_ms;
	uint64_t order;
	size_t slot; /* place in the heap + 1; 0: not armed */
};

struct clock {
	/* Monotonic milliseconds. */
	uint64_t (*now_ms)(const struct clock *);
	/* Milliseconds since 1970, for times that people and the API see. */
	int64_t (*wall_ms)(const struct clock *);
	/* The earliest due time changed: the driver arms its own timer again. May be NULL. */
	void (*rearm)(struct clock *);
	void *driver;
	struct clock_timer **heap;
	size_t count, capacity;
	uint64_t orders;
	/* virtual clocks only */
	uint64_t virtual_now_ms;
	int64_t virtual_epoch_ms;
};

#define CLOCK_NEVER UINT64_MAX

uint64_t clock_now_ms(const struct clock *c);
int64_t clock_wall_ms(const struct clock *c);

/* Arm (or move) a timer so that it fires once, `after_ms` from now. `fire` and `data` are set
 * by the caller beforehand. */
void clock_arm(struct clock *c, struct clock_timer *t, uint64_t after_ms);
/* Idempotent. */
void clock_disarm(struct clock *c, struct clock_timer *t);
bool clock_is_armed(const struct clock_timer *t);

/* For drivers: when the earliest timer is due (CLOCK_NEVER if none), and firing all that are. */
uint64_t clock_next_due_ms(const struct clock *c);
void clock_run_due(struct clock *c);

/* The machine's time, without a driver: rearm stays NULL until the loop sets it. */
void clock_init_real(struct clock *c);
/* A clock that stands still until it is advanced. Wall time starts at `wall_epoch_ms`. */
void clock_init_virtual(struct clock *c, int64_t wall_epoch_ms);
/* Advance by `ms`, firing each timer at its own instant on the way. */
void clock_virtual_advance(struct clock *c, uint64_t ms);
/* Stand at `now_ms` (never earlier than now) without firing what is due: clock_run_due or clock_fire_due does that. */
void clock_virtual_set(struct clock *c, uint64_t now_ms);
/* Stand at `now_ms`, also an earlier one; only while no timer is armed. For a driver that goes back to a state that it saved. */
void clock_virtual_reset(struct clock *c, uint64_t now_ms);
/* How many timers are due now, and firing one of them (1 to that number, in their usual order): for a driver that
 * tries every order. */
size_t clock_count_due(const struct clock *c);
void clock_fire_due(struct clock *c, size_t which);
/* Frees the heap; armed timers are forgotten. */
void clock_deinit(struct clock *c);

#endif
