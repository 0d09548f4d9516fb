/* SPDX-License-Identifier: ISC */
/*
 * qmail-remote-cache: holds connections for the next message.
 *
 * It is started by a delivery, or by a supervisor, and ends by itself.  What it
 * does is in cache/broker.h; what concerns the process is here.
 */
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/broker.h"
#include "io/fdio.h"
#include "io/latency.h"
#include "io/pass.h"
#include "io/sandbox.h"
#include "io/spawn.h"
#include "io/watch.h"
#include "qmail/timeoutidle.h"
#include "tls/request.h"

#include "config.h"
#include "version.h"

#define SOCKET "cache.sock"
#define LOCK "cache.lock"
#define PROGRAM QMAIL_HOME "/bin/qmail-remote-cache"
#define PROGRAM_TLS QMAIL_HOME "/bin/qmail-remote-tls"
#define TIMEOUTIDLE QMAIL_HOME "/control/timeoutidle"
#define CONCURRENCYHOSTS QMAIL_HOME "/control/concurrencyhosts"

#define BACKLOG 512
#define DESCRIPTORS 8192 /* if the system allows as many */
#define MEMORY_MAX ((size_t)256 << 20)
#define EXIT_FAILED 111 /* as qmail's programs: it may work later */

/* SIGTERM writes to it. */
static int stop_pipe[2];

static int
fail(const char *what)
{
	fprintf(stderr, "qmail-remote-cache: %s: %s\n", what, strerror(errno));
	return -1;
}

static int
refuse(const char *why)
{
	fprintf(stderr, "qmail-remote-cache: %s\n", why);
	return -1;
}

static void
on_signal(int signal)
{
	int error = errno;

	(void)signal;
	(void)!write(stop_pipe[1], "", 1);
	errno = error;
}

static int
catch_signals(void)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;

	if (pipe(stop_pipe) == -1 || fdio_set_nonblocking(stop_pipe[1]) == -1 ||
	    fdio_set_cloexec(stop_pipe[0], true) == -1 ||
	    fdio_set_cloexec(stop_pipe[1], true) == -1)
		return fail("pipe");
	sigemptyset(&stop.sa_mask);
	sigemptyset(&none);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

/* The deliveries are of the user that owns the state directory. */
static int
enter_directory(void)
{
	struct stat st;

	if (chdir(QMAIL_STATE) == -1 || stat(".", &st) == -1)
		return fail(QMAIL_STATE);
	if (getuid() == 0 || geteuid() == 0)
		return refuse("must not be run by root");
	if (st.st_uid != getuid())
		return refuse(QMAIL_STATE " is owned by another user");
	return 0;
}

/*
 * Held until the process ends, so that there is one broker at a time.  One that
 * waits takes the place of another at the moment at which that ends, before a
 * delivery starts the next one.
 */
static int
take_lock(bool waits)
{
	int fd = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd == -1)
		return fail(QMAIL_STATE "/" LOCK);
	if (fdio_lock(fd, FDIO_LOCK_EXCLUSIVE, waits ? -1 : 0) == 0)
		return 0;
	return errno == EWOULDBLOCK ? refuse("another one is running")
				    : fail(QMAIL_STATE "/" LOCK);
}

/* One of an earlier broker may be left; who has the lock may remove it. */
static int
make_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	if (fd == -1 || fdio_set_cloexec(fd, true) == -1 ||
	    fdio_set_nonblocking(fd) == -1)
		return fail("socket");
	if (unlink(SOCKET) == -1 && errno != ENOENT)
		return fail(QMAIL_STATE "/" SOCKET);
	umask(0177);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) == -1 ||
	    listen(fd, BACKLOG) == -1)
		return fail(QMAIL_STATE "/" SOCKET);
	return fd;
}

static bool
is_of(int socket, uid_t user)
{
	uid_t peer;

	return pass_peer(socket, &peer) == 0 && peer == user;
}

static bool
may_use(void *data, int socket)
{
	(void)data;
	return is_of(socket, getuid());
}

/* An administrator. */
static bool
may_list(void *data, int socket)
{
	(void)data;
	return is_of(socket, 0);
}

static void
read_limits(void *data, struct store_limits *limits)
{
	struct timeoutidle t;

	(void)data;
	timeoutidle_read(&t, TIMEOUTIDLE);
	*limits = (struct store_limits){ t.seconds, t.total, t.per_key };
}

static void
raise_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == -1)
		return;
	r.rlim_cur = r.rlim_max < DESCRIPTORS ? r.rlim_max : DESCRIPTORS;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

/* From here on nothing is printed: who started it need not wait. */
static int
leave_standard(void)
{
	int fd = open("/dev/null", O_RDWR);

	if (fd == -1)
		return fail("/dev/null");
	for (int i = 0; i <= 2; i++)
		if (dup2(fd, i) == -1)
			return fail("/dev/null");
	if (fd > 2)
		close(fd);
	return 0;
}

static int64_t
milliseconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/*
 * A qmail-remote-tls that has started before a session needs it; before the
 * sandbox is entered, which it could not be started in.  Returns our end of its
 * socket, or 0: deliveries start their own as ever.
 */
static int
start_tls(void)
{
	struct tls_service service = { .home = QMAIL_HOME,
		.state = QMAIL_STATE };
	int end[2];
	char **argv;
	pid_t pid = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end) == -1)
		return 0;
	if (fdio_set_cloexec(end[0], true) == 0 &&
	    fdio_set_cloexec(end[1], true) == 0) {
		service.serve = (unsigned long)end[1];
		argv = tls_service_format(&service, PROGRAM_TLS);
		pid = spawn_start(argv, &end[1], 1);
		tls_request_free(argv);
	}
	close(end[1]);
	if (pid != -1)
		return end[0];
	close(end[0]);
	return 0;
}

/* If the file has changed, it is watched as it is now. */
static void
look_at_limits(struct broker *b, struct watch *limits)
{
	if (!watch_has_changed(limits))
		return;
	*limits = (struct watch){ 0 };
	watch_add(limits, CONCURRENCYHOSTS);
	broker_change_limits(b);
}

static void
run(int listener, int tls, const struct watch *programs)
{
	const struct broker_config config = {
		.version = PROGRAM_VERSION,
		.tls = tls,
		.limits = read_limits,
		.may_use = may_use,
		.may_list = may_list,
	};
	int64_t looked = milliseconds();
	struct broker *b = broker_create(&config, listener, looked);
	struct watch limits = { 0 };

	watch_add(&limits, CONCURRENCYHOSTS);
	while (broker_turn(b, milliseconds, stop_pipe[0]) &&
	       !broker_is_over(b, milliseconds())) {
		if (milliseconds() - looked < BROKER_TURN_MS)
			continue;
		if (watch_has_changed(programs))
			break;
		look_at_limits(b, &limits);
		/* The qmail-remote-tls, if it could not serve. */
		spawn_reap(deadline_in(0));
		looked = milliseconds();
	}
	/* First: nobody is to connect any more. */
	unlink(SOCKET);
	broker_destroy(b);
}

int
main(int argc, char **argv)
{
	bool waits = argc == 2 && strcmp(argv[1], "--wait") == 0;
	struct watch programs = { 0 };
	int listener, tls;

	if (version_is_wanted(argc, argv))
		return version_print(VERSION_MARK("qmail-remote-cache"));
	if (fdio_fill_standard() == -1)
		return EXIT_FAILED;
	sandbox_harden();
	watch_add(&programs, PROGRAM);
	watch_add(&programs, PROGRAM_TLS);
	if (enter_directory() == -1 || take_lock(waits) == -1 ||
	    catch_signals() == -1)
		return EXIT_FAILED;
	/* While it has waited, maybe. */
	if (watch_has_changed(&programs))
		return 0;
	/* Before the umask, which it inherits, is changed for the socket. */
	tls = start_tls();
	listener = make_socket();
	if (listener == -1 || leave_standard() == -1)
		return EXIT_FAILED;
	raise_descriptors();
	/* Deliveries do not wait for long, and one answer is little work. */
	latency_lower();
	sandbox_enter_holding(MEMORY_MAX, QMAIL_STATE);
	run(listener, tls, &programs);
	return 0;
}
