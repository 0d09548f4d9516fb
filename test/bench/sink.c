/* SPDX-License-Identifier: ISC */
/*
 * An SMTP server that accepts all mail, discards it, and counts.
 *
 *	sink [-2] [-e EXTENSION]... [-j THREADS] [-n] [-p PORT] [-t PEM]
 *
 *	-2	TLS 1.2, no later
 *	-e	a line of the reply to EHLO, such as "SIZE 1000000"
 *	-j	connections at once (256)
 *	-n	leave Nagle's algorithm on
 *	-t	offer STARTTLS, with the key and the chain in this file
 *
 * It listens on all addresses, prints "ready", and reads commands from fd 0:
 *
 *	counters	print all of them in one line
 *	delay MS	wait before each group of replies, and before the first
 *			part of the handshake
 *	quiet MS	reply only after the client was silent for so long
 *	hold, release	keep back the replies to the end of mail data
 *
 * A wait is a group of replies before which the client had nothing more to
 * send; with "quiet" this does not depend on how its bytes arrive.
 */
#define _GNU_SOURCE /* memmem() */

#include <sys/resource.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define EXTENSIONS_MAX 16
#define IN_SIZE (256 * 1024)
#define OUT_SIZE (64 * 1024)
#define REPLY_MAX 1024
#define STACK_SIZE (256 * 1024)

enum dialogue { GO_ON, END };

struct peer {
	int fd;
	SSL *ssl;
	bool has_spoken; /* we sent the last handshake message */
	size_t start, end;
	size_t nout;
	char *in;
	char *out;
};

static struct {
	const char *extension[EXTENSIONS_MAX];
	size_t nextension;
	bool nagle;
	SSL_CTX *tls;
} config;

static atomic_int delay_ms, quiet_ms;
static atomic_long sessions, opened, secured, resumed;
static atomic_long messages, recipients, bytes, waits;

static pthread_mutex_t hold_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hold_change = PTHREAD_COND_INITIALIZER;
static bool holding;
static long held;

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	if (ms > 0)
		nanosleep(&t, NULL);
}

static ssize_t
receive(struct peer *p, void *data, size_t n)
{
	if (p->ssl)
		return SSL_read(p->ssl, data, (int)n);
	return read(p->fd, data, n);
}

static bool
transmit(struct peer *p, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t put = p->ssl ? SSL_write(p->ssl, data, (int)n)
				     : write(p->fd, data, n);

		if (put <= 0)
			return false;
		data += put;
		n -= (size_t)put;
	}
	return true;
}

static bool
is_silent(const struct peer *p)
{
	struct pollfd one = { .fd = p->fd, .events = POLLIN };

	if (quiet_ms == 0)
		return true;
	if (p->ssl && SSL_has_pending(p->ssl))
		return false;
	return poll(&one, 1, quiet_ms) == 0;
}

static bool
flush(struct peer *p)
{
	size_t n = p->nout;

	p->nout = 0;
	sleep_ms(delay_ms);
	return transmit(p, p->out, n);
}

/* Reads more from the client, after sending what is still pending. */
static bool
fill(struct peer *p)
{
	ssize_t got;

	if (p->start == p->end)
		p->start = p->end = 0;
	if (p->nout > 0 && is_silent(p)) {
		waits++;
		if (!flush(p))
			return false;
	}
	if (p->end == IN_SIZE) {
		memmove(p->in, p->in + p->start, p->end - p->start);
		p->end -= p->start;
		p->start = 0;
	}
	if (p->end == IN_SIZE)
		return false;
	got = receive(p, p->in + p->end, IN_SIZE - p->end);
	if (got <= 0)
		return false;
	p->end += (size_t)got;
	return true;
}

static bool
say(struct peer *p, const char *reply)
{
	size_t n = strlen(reply);

	if (n > OUT_SIZE - p->nout && !flush(p))
		return false;
	memcpy(p->out + p->nout, reply, n);
	p->nout += n;
	return true;
}

/* The next command, without its line end; NULL at the end. */
static char *
read_command(struct peer *p)
{
	for (;;) {
		char *at = p->in + p->start;
		char *lf = memchr(at, '\n', p->end - p->start);

		if (lf) {
			p->start += (size_t)(lf - at) + 1;
			*lf = '\0';
			if (lf > at && lf[-1] == '\r')
				lf[-1] = '\0';
			return at;
		}
		if (!fill(p))
			return NULL;
	}
}

static bool
is_verb(const char *command, const char *verb)
{
	return strncasecmp(command, verb, strlen(verb)) == 0;
}

static bool
say_extensions(struct peer *p)
{
	char text[REPLY_MAX] = "";
	size_t n = 0;

	for (size_t i = 0; i < config.nextension && n < sizeof text; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "250-%s\r\n",
		    config.extension[i]);
	if (config.tls && !p->ssl && n < sizeof text)
		n += (size_t)snprintf(text + n, sizeof text - n,
		    "250-STARTTLS\r\n");
	if (n < sizeof text)
		snprintf(text + n, sizeof text - n,
		    "250 ENHANCEDSTATUSCODES\r\n");
	return say(p, "250-sink.example\r\n") && say(p, text);
}

/*
 * A handshake message of the client after one of ours: it has waited for ours.
 */
static void
note_message(int writing, int version, int type, const void *data, size_t n,
    SSL *ssl, void *peer)
{
	struct peer *p = peer;

	(void)version;
	(void)data;
	(void)n;
	(void)ssl;
	if (type != SSL3_RT_HANDSHAKE)
		return;
	if (!writing && p->has_spoken)
		waits++;
	p->has_spoken = writing;
}

/*
 * Before TLS 1.3 the client waits for our last flight too; in TLS 1.3 that
 * flight has only tickets.
 */
static bool
shake_hands(struct peer *p)
{
	if (SSL_accept(p->ssl) != 1)
		return false;
	if (SSL_version(p->ssl) < TLS1_3_VERSION && p->has_spoken)
		waits++;
	secured++;
	if (SSL_session_reused(p->ssl))
		resumed++;
	return true;
}

/* The handshake is one wait in TLS 1.3; TLS 1.2 has another, without delay. */
static void
await_hello(const struct peer *p)
{
	struct pollfd one = { .fd = p->fd, .events = POLLIN };

	(void)poll(&one, 1, -1);
	sleep_ms(delay_ms);
}

static bool
start_tls(struct peer *p)
{
	SSL *ssl;

	if (!say(p, "220 2.0.0 go ahead\r\n"))
		return false;
	waits++;
	if (!flush(p))
		return false;
	p->start = p->end = 0;
	ssl = SSL_new(config.tls);
	if (!ssl)
		return false;
	p->ssl = ssl;
	p->has_spoken = false;
	await_hello(p);
	SSL_set_fd(ssl, p->fd);
	SSL_set_msg_callback(ssl, note_message);
	SSL_set_msg_callback_arg(ssl, p);
	return shake_hands(p);
}

static bool
accept_message(struct peer *p)
{
	pthread_mutex_lock(&hold_lock);
	held++;
	while (holding)
		pthread_cond_wait(&hold_change, &hold_lock);
	held--;
	pthread_mutex_unlock(&hold_lock);
	messages++;
	return say(p, "250 2.0.0 taken\r\n");
}

/* Removes this many bytes of mail data. */
static void
skip(struct peer *p, size_t n)
{
	bytes += (long)n;
	p->start += n;
}

/*
 * Reads up to the end of mail data, in any pieces; bytes after it are commands.
 * The line end before an empty message is that of DATA.
 */
static bool
take_data(struct peer *p)
{
	static const char end[] = "\r\n.\r\n";
	const size_t nend = sizeof end - 1;

	while (p->end - p->start < nend - 2)
		if (!fill(p))
			return false;
	if (memcmp(p->in + p->start, end + 2, nend - 2) == 0) {
		skip(p, nend - 2);
		return accept_message(p);
	}
	for (;;) {
		char *at = p->in + p->start;
		size_t n = p->end - p->start;
		char *found = memmem(at, n, end, nend);

		if (found) {
			skip(p, (size_t)(found - at) + nend);
			return accept_message(p);
		}
		/* The input may end inside it. */
		if (n >= nend)
			skip(p, n - (nend - 1));
		if (!fill(p))
			return false;
	}
}

static enum dialogue
obey(struct peer *p, const char *command)
{
	bool ok;

	if (is_verb(command, "QUIT")) {
		(void)say(p, "221 2.0.0 bye\r\n");
		(void)flush(p);
		return END;
	}
	if (is_verb(command, "EHLO")) {
		ok = say_extensions(p);
	} else if (is_verb(command, "RCPT")) {
		recipients++;
		ok = say(p, "250 2.1.5 ok\r\n");
	} else if (is_verb(command, "DATA")) {
		ok = say(p, "354 go ahead\r\n") && take_data(p);
	} else if (is_verb(command, "STARTTLS") && config.tls && !p->ssl) {
		ok = start_tls(p);
	} else {
		ok = say(p, "250 2.0.0 ok\r\n");
	}
	return ok ? GO_ON : END;
}

static void
serve(struct peer *p)
{
	const char *command;
	int on = 1;

	if (!config.nagle)
		setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	p->ssl = NULL;
	p->start = p->end = p->nout = 0;
	if (!say(p, "220 sink.example ESMTP\r\n"))
		return;
	while ((command = read_command(p)))
		if (obey(p, command) == END)
			break;
	if (p->ssl)
		SSL_shutdown(p->ssl);
	SSL_free(p->ssl);
}

static void *
work(void *listener)
{
	struct peer p = { .in = malloc(IN_SIZE), .out = malloc(OUT_SIZE) };

	if (!p.in || !p.out)
		die("malloc");
	for (;;) {
		p.fd = accept(*(int *)listener, NULL, NULL);
		if (p.fd == -1)
			continue;
		sessions++;
		opened++;
		serve(&p);
		close(p.fd);
		opened--;
	}
	return NULL;
}

static int
listen_on(int port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6,
		.sin6_port = htons((unsigned short)port) };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	int on = 1, off = 0;

	if (fd == -1)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, (const struct sockaddr *)&any, sizeof any) == -1)
		die("bind");
	if (listen(fd, 4096) == -1)
		die("listen");
	return fd;
}

static void
set_up_tls(const char *pem, bool only12)
{
	config.tls = SSL_CTX_new(TLS_server_method());
	if (!config.tls ||
	    SSL_CTX_use_certificate_chain_file(config.tls, pem) != 1 ||
	    SSL_CTX_use_PrivateKey_file(config.tls, pem, SSL_FILETYPE_PEM) != 1)
		die(pem);
	SSL_CTX_set_min_proto_version(config.tls, TLS1_2_VERSION);
	if (only12)
		SSL_CTX_set_max_proto_version(config.tls, TLS1_2_VERSION);
}

static void
start_threads(int *listener, int n)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	while (n-- > 0)
		if (pthread_create(&thread, &attr, work, listener) != 0)
			die("pthread_create");
}

static void
set_holding(bool on)
{
	pthread_mutex_lock(&hold_lock);
	holding = on;
	pthread_cond_broadcast(&hold_change);
	pthread_mutex_unlock(&hold_lock);
}

static long
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	       u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static void
print_counters(void)
{
	long now_held;

	pthread_mutex_lock(&hold_lock);
	now_held = held;
	pthread_mutex_unlock(&hold_lock);
	printf("sessions %ld open %ld tls %ld resumed %ld messages %ld "
	       "recipients %ld bytes %ld waits %ld held %ld cpu_us %ld\n",
	    sessions, opened, secured, resumed, messages, recipients, bytes,
	    waits, now_held, cpu_us());
}

static void
obey_control(const char *line)
{
	int n;

	if (strcmp(line, "counters\n") == 0)
		print_counters();
	else if (sscanf(line, "delay %d", &n) == 1)
		delay_ms = n;
	else if (sscanf(line, "quiet %d", &n) == 1)
		quiet_ms = n;
	else if (strcmp(line, "hold\n") == 0)
		set_holding(true);
	else if (strcmp(line, "release\n") == 0)
		set_holding(false);
	else
		fprintf(stderr, "sink: what is %s", line);
}

int
main(int argc, char **argv)
{
	int threads = 256, port = 25, listener, c;
	bool only12 = false;
	const char *pem = NULL;
	char line[80];

	while ((c = getopt(argc, argv, "2e:j:np:t:")) != -1) {
		switch (c) {
		case '2':
			only12 = true;
			break;
		case 'e':
			if (config.nextension < EXTENSIONS_MAX)
				config.extension[config.nextension++] = optarg;
			break;
		case 'j':
			threads = atoi(optarg);
			break;
		case 'n':
			config.nagle = true;
			break;
		case 'p':
			port = atoi(optarg);
			break;
		case 't':
			pem = optarg;
			break;
		default:
			return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pem)
		set_up_tls(pem, only12);
	listener = listen_on(port);
	start_threads(&listener, threads);
	puts("ready");
	while (fgets(line, sizeof line, stdin))
		obey_control(line);
	/* The threads use objects that exit() would destroy. */
	fflush(stdout);
	_exit(0);
}
