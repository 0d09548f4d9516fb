/* SPDX-License-Identifier: ISC */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stddef.h>

/*
 * Giving up what a program will not need, before a server is listened to.
 *
 * On Linux by Landlock and a seccomp filter, on OpenBSD by unveil and pledge,
 * everywhere by resource limits.  Nothing here fails: what the system lacks,
 * or a container forbids, is left out, and mail goes on.  A program that asks
 * for what it gave up is killed by a signal, never ended with an exit code:
 * that means "try again" to whoever started it.
 *
 * Who gives up what, and why not more:
 *
 * qmail-remote		writing anywhere but where its state is, signalling
 *	and tracing what it did not start (qmail-rspawn has the same user),
 *	TCP servers of its own.  It has to connect, read configuration and run
 *	programs, and what it gives up its children cannot have either: the
 *	TLS helper is to find its loader, libraries, certificates and keys
 *	wherever they are.  So reading and executing stay, and there is no
 *	filter: it would have to let nearly all through, and costs each of the
 *	programs more than the rest of this together.
 * qmail-remote-io	all but moving bytes between descriptors that it has.
 * qmail-remote-tls	the same, once its files are read.  Trust anchors in a
 *	directory are read while the handshake goes on; so until its end files
 *	may be read, though not those of the queue.
 */

/*
 * The first thing in every program: exec gives no privileges any more (no
 * set-user-id qmail-queue), there is no core file, and no other process of
 * the same user may trace this one or read its memory.
 */
void sandbox_harden(void);

/*
 * From now on files are written, made and removed beneath this directory, and
 * these n files written to, and no others.  What does not exist is left out.
 */
void sandbox_keep_writes(const char *directory, const char *const *file,
    size_t n);

enum sandbox_kind {
	SANDBOX_BYTES,      /* reads, writes, polls, allocates memory */
	SANDBOX_TLS,        /* and what a TLS library asks of the system */
	SANDBOX_TLS_READING /* and reads files, until sandbox_end_reading() */
};

/*
 * From now on nothing is opened, started or signalled, no memory becomes
 * executable, and no more than this of it is had.  With
 * SANDBOX_TLS_READING, files can be read beneath this directory, and beneath
 * /usr and /etc: links in it most often lead there.  To find out where each
 * of 150 does lead would take longer than all the rest.
 */
void sandbox_enter(enum sandbox_kind, size_t memory, const char *directory);
void sandbox_end_reading(void);

#endif
