/* Which lines of a policy its specs execute: a byte for each line of each file.
 *
 * Only a generation that runs specs has it. The line hook does nothing but note, so that a policy that
 * passes its specs under coverage has passed them under the limits of production: instructions are counted as ever. */
#include "script/policy_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"

static struct source *source_of(struct policy *p, const char *name)
{
	for (size_t i = 0; i < p->source_count; i++)
		if (strcmp(p->sources[i].name, name) == 0)
			return &p->sources[i];
	return NULL;
}

/* The hook: `ar` has the line. Chunks are called "=phases.lua" (policy_load.c). */
static void note_line(lua_State *L, lua_Debug *ar)
{
	struct policy *p = policy_of(L);
	lua_getinfo(L, "S", ar);
	const char *name = *ar->source == '=' ? ar->source + 1 : ar->source;
	if (p->covered == NULL || strcmp(p->covered->name, name) != 0)
		p->covered = source_of(p, name);
	if (p->covered != NULL && ar->currentline > 0 && (size_t)ar->currentline <= p->covered->line_count)
		p->covered->lines[ar->currentline - 1] = 1;
}

void policy_cover(struct policy *p)
{
	for (size_t i = 0; i < p->source_count; i++) {
		struct source *s = &p->sources[i];
		s->line_count = 1;
		for (size_t at = 0; at < s->len; at++)
			s->line_count += s->text[at] == '\n';
		s->lines = xcalloc(s->line_count, 1);
	}
	p->limits.on_line = note_line;
}

const unsigned char *policy_lines(const struct policy *p, const char *file, size_t *count)
{
	const struct source *s = policy_find_source(p, file);
	if (s == NULL || s->lines == NULL)
		return NULL;
	*count = s->line_count;
	return s->lines;
}
