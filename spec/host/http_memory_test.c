/* The HTTP client when memory runs out, wherever that is: an exchange ends and is reported once, or the process ends with a
 * sentence (base/xalloc.h). It never waits for ever and never goes on in a broken state: libcurl by itself does both.
 *
 * A child process may have some room and no more, a page more each time; the server lives in its parent. */
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/scripted_server.h"
#include "http/client.h"
#include "loop/loop.h"
#include "test.h"

#define LIMIT_S 10
#define TIMEOUT_MS 5000
#define PAGE 4096
#define ROOM_MOST (400 * PAGE)
#define ENOUGH 3 /* rounds in a row that had room for all */

#ifdef __SANITIZE_ADDRESS__
#define IS_SANITIZED true /* which needs terabytes of address space */
#else
#define IS_SANITIZED false
#endif

struct talk {
	bool done;
	int done_count, code;
	size_t bytes;
};

static int on_data(void *arg, const char *bytes, size_t len)
{
	struct talk *t = arg;
	(void)bytes;
	t->bytes += len;
	return 0;
}

static void on_done(void *arg, const struct http_result *r)
{
	struct talk *t = arg;
	t->done = true;
	t->done_count++;
	t->code = r->err.code;
}

static const struct http_handlers handlers = {.on_data = on_data, .on_done = on_done};

/* Bytes of address space that this process has (proc_pid_statm(5)). */
static size_t address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (f == NULL || fscanf(f, "%lu", &pages) != 1)
		_exit(90);
	fclose(f);
	return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* In the child: an exchange with room for `room` bytes more. 0: it ended, and was reported once. */
static int live(const char *url, size_t room)
{
	static const char *const headers[] = {"Authorization: Bearer t", "Accept: application/json", NULL};
	mallopt(M_TOP_PAD, 0);
	struct loop *loop = loop_new();
	struct http_client *client = http_client_new(loop);
	struct transport *transport = http_client_transport(client);
	struct rlimit limit = {.rlim_cur = address_space() + room, .rlim_max = RLIM_INFINITY};
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return 91;
	struct talk t = {0};
	struct http_request r = {.method = "POST", .url = url, .headers = headers, .timeout_ms = TIMEOUT_MS, .body = "{\"a\":1}", .body_len = 7};
	transport->start(transport, &r, &handlers, &t);
	bool has_ended = loop_run_until(loop, &t.done, TIMEOUT_MS + 1000);
	return !has_ended ? 92 : t.done_count != 1 ? 93 : t.code == 0 && t.bytes != 2 ? 94 : 0;
}

/* How such a child ends, as wait(2) says it; its words in `said`. */
static int outcome(const char *url, size_t room, char *said, size_t size)
{
	int ends[2], status;
	CHECK_INT(pipe(ends), ==, 0);
	fflush(stderr);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(ends[1], 2);
		alarm(LIMIT_S);
		_exit(live(url, room));
	}
	close(ends[1]);
	size_t used = 0;
	for (ssize_t got; used + 1 < size && (got = read(ends[0], said + used, size - 1 - used)) > 0;)
		used += (size_t)got;
	said[used] = '\0';
	close(ends[0]);
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	return status;
}

TEST(with_any_amount_of_memory_an_exchange_ends_once_or_the_process_with_a_sentence)
{
	if (IS_SANITIZED)
		return;
	static const struct scripted_step steps[] = {S_READ, S_ANSWER("200 OK", "{}"), S_CLOSE, S_END};
	struct scripted_server *s = scripted_start((struct scripted_connection[]){{.steps = steps}}, 1);
	int told = 0, whole = 0;
	for (size_t room = 0; room < ROOM_MOST && whole < ENOUGH; room += PAGE) {
		char said[2000];
		int status = outcome(scripted_url(s), room, said, sizeof said);
		bool has_lived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		whole = has_lived ? whole + 1 : 0;
		if (has_lived)
			continue;
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			FAIL("with %zu bytes of room it ended with wait status 0x%x and said: %s", room, (unsigned)status, said);
		CHECK_CONTAINS(said, "out of memory");
		told++;
	}
	CHECK_INT(whole, ==, ENOUGH);
	CHECK_INT(told, >, 3);
	scripted_stop(s);
}

TEST_MAIN(T_TIMED(with_any_amount_of_memory_an_exchange_ends_once_or_the_process_with_a_sentence))
