/* SPDX-License-Identifier: ISC */
#ifndef CACHE_DEMAND_H
#define CACHE_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Which keys deliveries have asked for lately, and whether more than one has.
 * Pure but for a random number; times are milliseconds of one clock, and never
 * less than in the call before.
 */

#define DEMAND_MS 30000  /* for so long it counts that a key was asked for */
#define DEMAND_KEYS 2048 /* that are remembered; older ones are not */

struct demand;

struct demand *demand_create(void);
void demand_destroy(struct demand *);

/* This client asks for the key. */
void demand_note(struct demand *, const char *key, uint64_t client,
    int64_t now);

/* Whether another client than this one has asked for the key lately. */
bool demand_is_there(const struct demand *, const char *key, uint64_t client,
    int64_t now);

#endif
