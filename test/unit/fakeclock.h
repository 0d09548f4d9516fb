/* SPDX-License-Identifier: ISC */
#ifndef TEST_FAKECLOCK_H
#define TEST_FAKECLOCK_H

#include <stdint.h>

#include "base/deadline.h"

/* In place of base/deadline: a clock that tests set, so no wait takes time. */
extern int64_t now_ms;

#endif
