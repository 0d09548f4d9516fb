/* SPDX-License-Identifier: ISC */
#ifndef PROG_FILES_H
#define PROG_FILES_H

#include "delivery/setup.h"

/* The files of the qmail that this was built for. */
struct setup_files files_of_qmail(bool are_read_only);

#endif
