/* SPDX-License-Identifier: ISC */
#ifndef IO_LATENCY_H
#define IO_LATENCY_H

/*
 * Asks the kernel to let this process run soon after it wakes up, however many
 * others want to run: in exchange its turns on the processor are short, which
 * does not matter to one that does little each time.  It gets no more of the
 * processor's time, and needs no right for it.
 *
 * Nothing here fails: Linux can do it since 6.12, and without it the process
 * waits for its turn like all others.  Children inherit it.
 */
void latency_lower(void);

#endif
