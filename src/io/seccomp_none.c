/* SPDX-License-Identifier: ISC */
#include "io/seccomp.h"

void
seccomp_install(enum seccomp_filter filter, int socket)
{
	(void)filter;
	(void)socket;
}
