/* SPDX-License-Identifier: ISC */
#ifndef IO_SANDBOX_H
#define IO_SANDBOX_H

#include <stddef.h>

/*
 * Giving up what a program will not need, before a server is listened to.
 *
 * On Linux by Landlock, seccomp filters (x86-64 and 64-bit ARM) and resource
 * limits; elsewhere nothing is given up (sandbox_none.c).  Nothing here fails:
 * what the kernel lacks, or a container forbids, is left out, and mail goes
 * on.  A program that asks for what it gave up is killed by a signal, never
 * ended with an exit code: that means "try again" to whoever started it.
 * test_sandbox.py tries each of these things in a program that obeys a server.
 *
 * qmail-remote gives up:
 *	- writing, making and removing files, but beneath its state directory
 *	  and in files that it names; changing modes, owners, times and
 *	  attributes of files by name (its own state: 0660 at most);
 *	- acting on other processes of the same user, as qmail-rspawn is one:
 *	  tracing them, reading their memory, changing their priority,
 *	  scheduling, limits or memory, System V IPC; signals, but for SIGKILL
 *	  to a single process, which ends a helper that is stuck.  That it is
 *its own helper Landlock sees to since Linux 6.12; before that it could be any
 *process of the user;
 *	- what concerns the whole machine (mounts, namespaces, modules, clocks,
 *	  names), and interfaces to the kernel that are not needed and have
 *	  often had faults: io_uring, bpf, perf, userfaultfd, keys;
 *	- TCP servers of its own, services behind Unix stream sockets, and
 *	  address families other than IPv4, IPv6 and routing netlink.
 * All that it starts inherits this.  It keeps:
 *	- connecting, which is its work;
 *	- reading: the TLS helper has to find its libraries, certificates and
 *	  keys wherever they are;
 *	- executing.  Landlock can restrict that to our programs, but they need
 *	  the loader, which starts any file that can be read: with such rules
 *	  "/lib64/ld-linux-x86-64.so.2 /bin/sh" was tried and ran.  They cost
 *	  0.03 ms for each delivery.  What is started so has this sandbox too.
 *
 * qmail-remote-io gives up all but moving bytes between descriptors that it
 * has, and waiting for the end of its children.
 *
 * qmail-remote-tls gives up the same, once its files are read.  Its libraries
 * are updated without it being built again, so what is no attack (a call that
 * no list has) is answered as by a kernel that lacks the call, and opening a
 * file by EACCES.  Trust anchors in a directory are read while the handshake
 * goes on; so until its end files may be read, though not those of the queue.
 */

/*
 * The first thing in every program: exec gives no privileges any more (no
 * set-user-id qmail-queue), there is no core file, and no other process of
 * the same user may trace this one or read its memory.
 */
void sandbox_harden(void);

/*
 * For qmail-remote.  Files are written, made and removed beneath this
 * directory, and these n files written to.  What does not exist is left out.
 */
void sandbox_enter_search(const char *directory, const char *const *file,
    size_t n);

/*
 * For qmail-remote-io and qmail-remote-tls: from now on nothing is opened,
 * started or signalled, no memory becomes executable, and no more than so
 * many bytes of it are had.
 */
void sandbox_enter_bytes(size_t memory);
void sandbox_enter_tls(size_t memory);

/*
 * The same, but until sandbox_end_reading() files can be read beneath this
 * directory, and beneath /usr and /etc: links in it most often lead there.  To
 * find out where each of 150 does lead would take longer than all the rest.
 */
void sandbox_enter_tls_reading(size_t memory, const char *directory);
void sandbox_end_reading(void);

#endif
