/* Child processes: see process.h.
 *
 * A child ends in three events that come in any order: its exit, and the ends of its two
 * outputs. It is done when all three came. An output can outlive the child (a grandchild holds
 * it open): after the exit it is waited for a short while only. Every way to fail (cannot start,
 * too slow, too much output) leads to the same end, and `done` is called there, once, when all
 * handles are closed. */
#include "loop/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/xalloc.h"

#define OUTPUT_MAX (1u << 20)
#define KILL_AFTER_MS 2000
#define LINGER_MS 500
#define READ_BYTES 16384

extern char **environ;

struct output {
	uv_pipe_t pipe;
	struct buffer bytes;
	bool is_open, ended;
};

struct process {
	struct loop *loop;
	uv_process_t handle;
	uv_pipe_t in;
	struct output out, err;
	uv_write_t write;
	struct clock_timer timer; /* the limit, then the kill, then the linger */
	struct loop_task failed;  /* could not start: told later */
	char *name, *input;
	uint64_t timeout_ms;
	size_t handles;           /* that are open */
	bool exited, finishing, abandoned, terminated;
	struct process_result result;
	void (*done)(void *arg, const struct process_result *r);
	void *arg;
	char scratch[READ_BYTES];
};

static void free_process(struct process *p)
{
	loop_undefer(p->loop, &p->failed);
	clock_disarm(loop_clock(p->loop), &p->timer);
	buffer_deinit(&p->out.bytes);
	buffer_deinit(&p->err.bytes);
	free(p->name);
	free(p->input);
	free(p);
}

static void tell(struct process *p)
{
	p->result.output = buffer_text(&p->out.bytes);
	p->result.output_len = p->out.bytes.len;
	p->result.errors = buffer_text(&p->err.bytes);
	p->result.errors_len = p->err.bytes.len;
	if (!p->abandoned)
		p->done(p->arg, &p->result);
	free_process(p);
}

static void on_closed(uv_handle_t *handle)
{
	struct process *p = handle->data;
	if (--p->handles == 0)
		tell(p);
}

static void close_handle(struct process *p, uv_handle_t *handle)
{
	if (handle->data == p && !uv_is_closing(handle))
		uv_close(handle, on_closed);
}

/* Close everything; the last close callback tells. */
static void finish(struct process *p)
{
	if (p->finishing)
		return;
	p->finishing = true;
	clock_disarm(loop_clock(p->loop), &p->timer);
	close_handle(p, (uv_handle_t *)&p->handle);
	close_handle(p, (uv_handle_t *)&p->in);
	close_handle(p, (uv_handle_t *)&p->out.pipe);
	close_handle(p, (uv_handle_t *)&p->err.pipe);
}

static void check_end(struct process *p)
{
	if (!p->exited)
		return;
	if ((!p->out.is_open || p->out.ended) && (!p->err.is_open || p->err.ended))
		finish(p);
	else
		clock_arm(loop_clock(p->loop), &p->timer, LINGER_MS);
}

static void on_exit_of(uv_process_t *handle, int64_t status, int number)
{
	struct process *p = handle->data;
	p->exited = true;
	p->result.status = number != 0 ? 128 + number : (int)status;
	check_end(p);
}

static void terminate(struct process *p, int number)
{
	if (p->exited || p->terminated)
		return;
	uv_process_kill(&p->handle, number);
	p->terminated = true;
	clock_arm(loop_clock(p->loop), &p->timer, KILL_AFTER_MS);
}

static void on_time(struct clock_timer *t)
{
	struct process *p = t->data;
	if (p->exited) {
		finish(p);
		return;
	}
	if (p->terminated) {
		uv_process_kill(&p->handle, SIGKILL);
		return;
	}
	err_set(&p->result.err, ERR_TIMEOUT, "%s did not end within %g s and was stopped", p->name,
		(double)p->timeout_ms / 1000);
	terminate(p, SIGTERM);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)suggested;
	struct process *p = handle->data;
	*buf = uv_buf_init(p->scratch, sizeof p->scratch);
}

/* Output past the limit is still read, or the child could not end. */
static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct process *p = stream->data;
	struct output *o = stream == (uv_stream_t *)&p->out.pipe ? &p->out : &p->err;
	if (n < 0) {
		o->ended = true;
		check_end(p);
		return;
	}
	if (p->result.err.code == ERR_TOO_LARGE || buffer_add(&o->bytes, buf->base, (size_t)n) == 0)
		return;
	if (p->result.err.code == 0)
		err_set(&p->result.err, ERR_TOO_LARGE, "%s wrote more than %zu bytes and was stopped", p->name,
			o->bytes.max);
	terminate(p, SIGTERM);
}

static void on_written(uv_write_t *request, int status)
{
	(void)status; /* a child need not read its input */
	struct process *p = request->data;
	if (!p->finishing)
		close_handle(p, (uv_handle_t *)&p->in);
}

static const char *find_variable(const char *const *list, const char *name, size_t len)
{
	for (; list != NULL && *list != NULL; list++)
		if (strncmp(*list, name, len) == 0 && (*list)[len] == '=')
			return *list;
	return NULL;
}

/* Ours, where not replaced, and the added ones. The strings are not copied. */
static char **make_environment(const char *const *added)
{
	size_t count = 1, n = 0;
	for (char **v = environ; *v != NULL; v++)
		count++;
	for (const char *const *v = added; v != NULL && *v != NULL; v++)
		count++;
	char **all = xcalloc(count, sizeof *all);
	for (char **v = environ; *v != NULL; v++)
		if (find_variable(added, *v, strcspn(*v, "=")) == NULL)
			all[n++] = *v;
	for (const char *const *v = added; v != NULL && *v != NULL; v++)
		all[n++] = (char *)(uintptr_t)*v;
	return all;
}

static void init_pipe(struct process *p, uv_pipe_t *pipe)
{
	uv_pipe_init(loop_uv(p->loop), pipe, 0);
	pipe->data = p;
	p->handles++;
}

static int spawn(struct process *p, const struct process_options *o)
{
	uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}};
	if (p->input == NULL && o->inherit_input) {
		stdio[0].flags = UV_INHERIT_FD;
		stdio[0].data.fd = 0;
	}
	if (p->input != NULL) {
		init_pipe(p, &p->in);
		stdio[0].flags = UV_CREATE_PIPE | UV_READABLE_PIPE;
		stdio[0].data.stream = (uv_stream_t *)&p->in;
	}
	struct output *outputs[2] = {&p->out, &p->err};
	for (int i = 0; i < 2; i++) {
		stdio[i + 1].flags = UV_INHERIT_FD;
		stdio[i + 1].data.fd = i + 1;
		if (o->inherit_output)
			continue;
		init_pipe(p, &outputs[i]->pipe);
		outputs[i]->is_open = true;
		stdio[i + 1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
		stdio[i + 1].data.stream = (uv_stream_t *)&outputs[i]->pipe;
	}
	char **environment = make_environment(o->env);
	uv_process_options_t options = {.file = o->argv[0], .args = (char **)(uintptr_t)o->argv, .env = environment,
		.cwd = o->directory, .exit_cb = on_exit_of, .stdio_count = 3, .stdio = stdio};
	p->handle.data = p;
	p->handles++;
	int rc = uv_spawn(loop_uv(p->loop), &p->handle, &options);
	free(environment);
	if (rc == 0 && o->background)
		loop_background(p->handle.pid);
	return rc;
}

static void run_failed(struct loop_task *t)
{
	finish(t->data);
}

static void begin_talk(struct process *p, size_t input_len)
{
	if (p->out.is_open) {
		uv_read_start((uv_stream_t *)&p->out.pipe, on_room, on_output);
		uv_read_start((uv_stream_t *)&p->err.pipe, on_room, on_output);
	}
	if (p->input != NULL) {
		uv_buf_t buf = uv_buf_init(p->input, (unsigned)input_len);
		p->write.data = p;
		uv_write(&p->write, (uv_stream_t *)&p->in, &buf, 1, on_written);
	}
	if (p->timeout_ms != 0)
		clock_arm(loop_clock(p->loop), &p->timer, p->timeout_ms);
}

struct process *process_start(struct loop *l, const struct process_options *o,
	void (*done)(void *arg, const struct process_result *r), void *arg)
{
	struct process *p = xcalloc(1, sizeof *p);
	p->loop = l;
	p->done = done;
	p->arg = arg;
	p->name = xstrdup(o->argv[0]);
	p->input = o->input != NULL ? xmemdup0(o->input, o->input_len) : NULL;
	p->timeout_ms = o->timeout_ms;
	p->timer = (struct clock_timer){.fire = on_time, .data = p};
	p->failed = (struct loop_task){.run = run_failed, .data = p};
	buffer_init(&p->out.bytes, o->output_max != 0 ? o->output_max : OUTPUT_MAX);
	buffer_init(&p->err.bytes, p->out.bytes.max);
	int rc = spawn(p, o);
	if (rc == 0) {
		begin_talk(p, o->input_len);
		return p;
	}
	p->exited = true;
	p->result.status = rc == UV_ENOENT ? 127 : 126;
	err_set(&p->result.err, rc == UV_ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s cannot be started: %s%s", p->name,
		uv_strerror(rc), rc != UV_ENOENT ? "" : o->directory != NULL ?
		"; is it installed and in PATH, and is the folder there?" : "; is it installed and in PATH?");
	loop_defer(l, &p->failed);
	return p;
}

int process_id(const struct process *p)
{
	return p->exited ? 0 : (int)p->handle.pid;
}

void process_signal(struct process *p, int number)
{
	if (!p->exited)
		uv_process_kill(&p->handle, number);
}

const char *process_output(const struct process *p, int errors, size_t *len)
{
	const struct buffer *bytes = errors ? &p->err.bytes : &p->out.bytes;
	*len = bytes->len;
	return buffer_text(bytes);
}

/* libuv does not wait for a child whose handle is closed, so we do: SIGKILL is prompt. */
void process_abandon(struct process *p)
{
	p->abandoned = true;
	if (!p->exited) {
		int pid = (int)p->handle.pid;
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		p->exited = true;
	}
	finish(p);
}
