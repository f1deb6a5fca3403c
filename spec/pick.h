/* Chance for tests that walk at random: the same numbers in every run (xorshift64), so that a walk that fails fails again. */
#ifndef MOONPHASE_SPEC_PICK_H
#define MOONPHASE_SPEC_PICK_H

#include <stdint.h>

/* 0 to n - 1. */
static unsigned pick(unsigned n)
{
	static uint64_t state = 88172645463325252u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

#endif
