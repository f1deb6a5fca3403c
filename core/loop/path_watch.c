/* Watching a folder of policies or a file: loop_watch_path of loop.h.
 *
 * What tells of a change is not what decides that there was one. Events come in bursts (an
 * editor writes, renames, removes), for things that do not matter (a swap file that came and
 * went), or not at all (a network file system, inotify's limits). So events only start a wait for
 * some quiet, and every 10 s one is assumed; then everything is looked at again, and only a
 * different fingerprint is a change.
 *
 * A ConfigMap's folder holds links to ..data/key, and ..data is a link that is swapped: stat
 * follows the links, so the new files show as new inodes. A file is watched through its folder,
 * because editors and ConfigMaps replace files and a watch would stay with the old inode.
 * Folders one level down (children/) are watched too, and those of the links on the way. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/xalloc.h"
#include "loop/loop.h"

#define POLL_MS 10000
#define FOLDERS_MAX 16
#define ENTRIES_MAX 10000

struct loop_watch {
	struct loop *loop;
	char *path;
	bool is_file;
	uint64_t quiet_ms, fingerprint;
	struct clock_timer quiet, poll;
	uv_fs_event_t events[FOLDERS_MAX];
	size_t used; /* of events */
	size_t open_handles;
	void (*on_change)(void *arg);
	void *arg;
};

struct look {
	uint64_t sum;
	size_t entries;
	char *folders[FOLDERS_MAX];
	size_t folder_count;
};

static uint64_t mix(uint64_t hash, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 1099511628211ull; /* FNV-1a */
	return hash;
}

/* The order of a folder's entries is arbitrary, so their hashes are added up. */
static void look_at(struct look *k, const char *path, const struct stat *st)
{
	const int64_t facts[] = {(int64_t)st->st_ino, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
		st->st_ctim.tv_sec, st->st_ctim.tv_nsec, (int64_t)st->st_mode};
	uint64_t hash = mix(14695981039346656037ull, path, strlen(path));
	bool is_folder = S_ISDIR(st->st_mode); /* its times say nothing that its entries do not */
	k->sum += mix(hash, facts, is_folder ? sizeof facts[0] : sizeof facts);
}

static void look_into(struct look *k, const char *folder, int depth)
{
	if (k->folder_count < FOLDERS_MAX)
		k->folders[k->folder_count++] = xstrdup(folder);
	DIR *d = opendir(folder);
	if (d == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(d)) != NULL && k->entries < ENTRIES_MAX; ) {
		struct stat st;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		char *path = xasprintf("%s/%s", folder, entry->d_name);
		k->entries++;
		if (stat(path, &st) == 0) {
			look_at(k, path, &st);
			if (depth > 0 && S_ISDIR(st.st_mode))
				look_into(k, path, depth - 1);
		}
		free(path);
	}
	closedir(d);
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xmemdup0(path, (size_t)(slash - path));
}

static void add_folder_of(struct look *k, const char *path)
{
	if (k->folder_count < FOLDERS_MAX)
		k->folders[k->folder_count++] = folder_of(path);
}

/* The folders of the links on the way: one that is swapped (git-sync, `current -> releases/7`) changes no folder but its own. */
static void add_links(struct look *k, const char *path)
{
	struct stat st;
	char *way = xstrdup(path);
	for (char *end = way + strlen(way); end != way; end = strrchr(way, '/')) {
		*end = '\0';
		if (lstat(way, &st) == 0 && S_ISLNK(st.st_mode))
			add_folder_of(k, way);
		if (strchr(way, '/') == NULL)
			break;
	}
	free(way);
}

static void look(struct loop_watch *w, struct look *k)
{
	struct stat st;
	*k = (struct look){0};
	if (w->is_file)
		add_folder_of(k, w->path);
	add_links(k, w->path);
	if (stat(w->path, &st) != 0) {
		if (!w->is_file)
			add_folder_of(k, w->path); /* where it will come back */
		return;
	}
	look_at(k, w->path, &st);
	if (!w->is_file && S_ISDIR(st.st_mode))
		look_into(k, w->path, 1);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
	(void)name;
	(void)events;
	(void)status;
	struct loop_watch *w = handle->data;
	clock_arm(loop_clock(w->loop), &w->quiet, w->quiet_ms);
}

/* A folder that cannot be watched is left to the poll. */
static void watch_folders(struct loop_watch *w, struct look *k)
{
	for (size_t i = 0; i < w->used; i++)
		uv_fs_event_stop(&w->events[i]);
	w->used = k->folder_count;
	for (size_t i = 0; i < k->folder_count; i++) {
		uv_fs_event_start(&w->events[i], on_event, k->folders[i], 0);
		free(k->folders[i]);
	}
}

/* Watched first, looked at second: what changes in between is seen by one of the two. */
static bool look_again(struct loop_watch *w)
{
	struct look k;
	look(w, &k);
	watch_folders(w, &k);
	struct look after;
	look(w, &after);
	for (size_t i = 0; i < after.folder_count; i++)
		free(after.folders[i]);
	bool changed = after.sum != w->fingerprint;
	w->fingerprint = after.sum;
	return changed;
}

static void on_quiet(struct clock_timer *t)
{
	struct loop_watch *w = t->data;
	clock_arm(loop_clock(w->loop), &w->poll, POLL_MS);
	if (look_again(w))
		w->on_change(w->arg); /* may close the watch */
}

struct loop_watch *loop_watch_path(struct loop *l, const char *path, uint64_t quiet_ms, void (*on_change)(void *arg),
	void *arg, struct err *e)
{
	struct stat st;
	if (stat(path, &st) != 0) {
		err_set(e, ERR_NOT_FOUND, "cannot watch %s: it is not there, or may not be read", path);
		return NULL;
	}
	struct loop_watch *w = xcalloc(1, sizeof *w);
	w->loop = l;
	w->path = xstrdup(path);
	w->is_file = !S_ISDIR(st.st_mode);
	w->quiet_ms = quiet_ms;
	w->on_change = on_change;
	w->arg = arg;
	w->quiet = (struct clock_timer){.fire = on_quiet, .data = w};
	w->poll = (struct clock_timer){.fire = on_quiet, .data = w};
	for (; w->open_handles < FOLDERS_MAX; w->open_handles++) {
		uv_fs_event_init(loop_uv(l), &w->events[w->open_handles]);
		w->events[w->open_handles].data = w;
	}
	look_again(w);
	clock_arm(loop_clock(l), &w->poll, POLL_MS);
	return w;
}

static void on_closed(uv_handle_t *handle)
{
	struct loop_watch *w = handle->data;
	if (--w->open_handles != 0)
		return;
	free(w->path);
	free(w);
}

void loop_watch_close(struct loop_watch *w)
{
	if (w == NULL)
		return;
	clock_disarm(loop_clock(w->loop), &w->quiet);
	clock_disarm(loop_clock(w->loop), &w->poll);
	for (size_t i = 0; i < FOLDERS_MAX; i++)
		uv_close((uv_handle_t *)&w->events[i], on_closed);
}
