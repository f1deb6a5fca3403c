#include "temporary.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/moonphase-spec-XXXXXX";

static void clean_up(void)
{
	char command[100];
	snprintf(command, sizeof command, "rm -r %s", folder);
	if (system(command) != 0)
		perror(command);
}

const char *temporary_folder(void)
{
	static int made;
	if (!made && mkdtemp(folder) == NULL) {
		perror(folder);
		exit(1);
	}
	if (!made)
		atexit(clean_up);
	made = 1;
	return folder;
}
