/* SPDX-License-Identifier: ISC */
#include "version.h"

#include <stdio.h>
#include <string.h>

bool
version_is_wanted(int argc, char **argv)
{
	return argc == 2 && strcmp(argv[1], "--version") == 0;
}

int
version_print(const char *mark)
{
	if (puts(mark + strlen("@(#)")) == EOF || fflush(stdout) == EOF)
		return 1;
	return 0;
}
