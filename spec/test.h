/* Sixty lines that make a C test program (after libuv's task.h): assertions that are always on
 * and print both values, one process per program, one line per test.
 *
 *     TEST(buffer_refuses_more_than_its_maximum) { ... CHECK_INT(rc, ==, ERR_TOO_LARGE); }
 *     TEST_MAIN(T(buffer_refuses_more_than_its_maximum), ...)
 *
 * A failed check ends its test (its process: each test runs in a fork of its own, so that one
 * crash is one failure) and says file, line and values. `PROGRAM name` runs one test in this
 * process, for a debugger. */
#ifndef MOONPHASE_SPEC_TEST_H
#define MOONPHASE_SPEC_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
	int timed;
};

#define TEST(name) static void name(void)
#define T(name) {#name, name, 0}
/* Judges how long something took: left out where the clock means nothing (MOONPHASE_SLOW is set: valgrind). */
#define T_TIMED(name) {#name, name, 1}

#define FAIL(...) do { \
	fprintf(stderr, "    %s:%d: ", __FILE__, __LINE__); \
	fprintf(stderr, __VA_ARGS__); \
	fputc('\n', stderr); \
	exit(1); \
} while (0)

#define CHECK(condition) do { if (!(condition)) FAIL("expected %s", #condition); } while (0)

#define CHECK_INT(a, op, b) do { \
	long long a_ = (long long)(a), b_ = (long long)(b); \
	if (!(a_ op b_)) FAIL("expected %s %s %s, got %lld and %lld", #a, #op, #b, a_, b_); \
} while (0)

#define CHECK_TEXT(a, b) do { \
	const char *a_ = (a), *b_ = (b); \
	if (a_ == NULL || b_ == NULL || strcmp(a_, b_) != 0) \
		FAIL("expected %s to be\n      %s\n    but it is\n      %s", #a, b_ ? b_ : "(null)", a_ ? a_ : "(null)"); \
} while (0)

#define CHECK_CONTAINS(text, part) do { \
	const char *t_ = (text), *p_ = (part); \
	if (t_ == NULL || strstr(t_, p_) == NULL) FAIL("expected \"%s\" in %s, which is\n      %s", p_, #text, t_ ? t_ : "(null)"); \
} while (0)

static int test_main(int argc, char **argv, const struct test *tests, size_t count)
{
	int failed = 0;
	size_t skipped = 0;
	if (argc > 1) {
		for (size_t i = 0; i < count; i++)
			if (strcmp(tests[i].name, argv[1]) == 0)
				return tests[i].run(), 0;
		fprintf(stderr, "%s: no test is called %s\n", argv[0], argv[1]);
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		if (tests[i].timed && getenv("MOONPHASE_SLOW") != NULL) {
			printf("skip %s\n", tests[i].name);
			skipped++;
			continue;
		}
		fflush(NULL);
		pid_t child = fork();
		if (child == 0) {
			tests[i].run();
			exit(0);
		}
		int status = 1;
		waitpid(child, &status, 0);
		if (status != 0)
			failed++;
		if (WIFSIGNALED(status))
			fprintf(stderr, "    ended by signal %d\n", WTERMSIG(status));
		printf("%s %s\n", status == 0 ? "ok  " : "FAIL", tests[i].name);
	}
	printf("%zu passed, %d failed\n", count - skipped - (size_t)failed, failed);
	return failed != 0;
}

#define TEST_MAIN(...) \
	int main(int argc, char **argv) \
	{ \
		static const struct test tests[] = {__VA_ARGS__}; \
		return test_main(argc, argv, tests, sizeof tests / sizeof *tests); \
	}

#endif
