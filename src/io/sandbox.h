/* SPDX-License-Identifier: ISC */
#ifndef IO_SANDBOX_H
#define IO_SANDBOX_H

#include <stddef.h>

/*
 * Drop the rights that a program does not need, before it reads from a server.
 *
 * On Linux by Landlock, seccomp filters (x86-64 and 64-bit ARM) and resource
 * limits; on other systems nothing is dropped (sandbox_none.c).  Nothing here
 * fails: where the kernel lacks a mechanism, or a container forbids it, it is
 * left out and mail is delivered.  A program that uses a dropped right is
 * killed by a signal and not ended with an exit code, because a signal means
 * "try again" to the program that started it.  test_sandbox.py tries each of
 * these things in a program that a server has taken over.
 *
 * qmail-remote drops:
 *	- writing, creating and removing files, except below its state
 *	  directory and files that it names; changing modes, owners, times and
 *	  attributes of files by name (modes of its own state: 0660 at most);
 *	- acting on other processes of the same user, qmail-rspawn for example:
 *	  tracing them, reading their memory, changing their priority,
 *	  scheduling, limits or memory, System V IPC; signals, except SIGKILL
 *	  to a single process, which ends a stuck helper.  From Linux 6.12 on
 *	  Landlock ensures that it is a child of ours; before that it could be
 *	  any process of the user;
 *	- what concerns the whole machine (mounts, namespaces, modules, clocks,
 *	  names), and kernel interfaces that are not needed and have often had
 *	  bugs: io_uring, bpf, perf, userfaultfd, keys;
 *	- TCP servers, services behind Unix stream sockets, and address
 *	  families other than IPv4, IPv6 and routing netlink.
 * All programs that it starts inherit this.  It keeps:
 *	- connecting, which is its task;
 *	- reading: the TLS helper has to find its libraries, certificates and
 *	  keys wherever they are;
 *	- executing.  Landlock can restrict that to our programs.  But they
 *	  need the loader, which starts any file that can be read: with such
 *	  rules "/lib64/ld-linux-x86-64.so.2 /bin/sh" was tried and ran.  The
 *	  rules cost 0.03 ms for each delivery.  A program started in this way
 *	  has this sandbox too.
 *
 * qmail-remote-io drops everything except moving bytes between descriptors that
 * it has, waiting for the end of its children, and sending its connection
 * through the socket to qmail-remote-cache, if it has one.  Then the limit on
 * descriptors stays as it was: without a filter, it could open sockets.
 *
 * qmail-remote-cache drops the same, apart from accepting clients of its
 * socket, passing descriptors between them, and reading files: it reads a
 * control file for each connection, and notices that programs were replaced. It
 * reads nothing that comes from a server.
 *
 * qmail-remote-sts has two processes.  The one that talks to a policy host
 * drops the same as qmail-remote-io when it is connected, before it reads a
 * byte of the host's reply.  The other one checks what the first says, and
 * writes it to the state directory; it has the rights of qmail-remote, but for
 * local sockets.
 *
 * qmail-remote-tls drops the same after it has read its files.  Its libraries
 * are updated without a new build of it.  So a call that is in no list, which
 * is no attack, fails as on a kernel without that call, and opening a file
 * fails with EACCES.  Trust anchors in a directory are read during the
 * handshake; until its end files may be read, but not those of the queue.
 */

/*
 * Called first in every program: exec gives no privileges any more (no
 * set-user-id qmail-queue), there is no core file, and no other process of the
 * same user may trace this one or read its memory.
 */
void sandbox_harden(void);

/*
 * For qmail-remote.  Files may be written, created and removed only below this
 * directory, and these n files may be written.  Files that do not exist are
 * ignored.
 */
void sandbox_enter_search(const char *directory, const char *const *file,
    size_t n);

/* The same for qmail-remote-sts, without any local socket. */
void sandbox_enter_fetch(const char *directory, const char *const *file,
    size_t n);

/*
 * For qmail-remote-io and qmail-remote-sts, and for qmail-remote-tls: from now
 * on nothing can be opened, started or signalled, no memory can become
 * executable, and the address space is limited to this many bytes.  Descriptors
 * can be sent through this socket, by pass_send(), if it is not -1.
 */
void sandbox_enter_bytes(size_t memory, int socket);
void sandbox_enter_tls(size_t memory);

/*
 * For qmail-remote-cache.  Besides moving bytes it may accept clients of a
 * socket that it has, pass descriptors on, read files, and remove files from
 * this directory.
 */
void sandbox_enter_holding(size_t memory, const char *directory);

/*
 * As sandbox_enter_tls(), but until sandbox_end_reading() files can be read
 * below this directory, and below /usr and /etc, where links in it usually
 * lead.  To find the target of each of 150 links would take longer than
 * everything else.
 */
void sandbox_enter_tls_reading(size_t memory, const char *directory);
void sandbox_end_reading(void);

#endif
