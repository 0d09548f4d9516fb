/* SPDX-License-Identifier: ISC */
/*
 * The floor for a delivery through TLS: starts OpenSSL, connects, does STARTTLS
 * and the handshake, and closes.  Nothing is verified and no mail is sent.
 *	handshake ADDRESS PORT
 */
#define _DEFAULT_SOURCE

#include <sys/socket.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

static int
accept_any(X509_STORE_CTX *ctx, void *unused)
{
	(void)ctx;
	(void)unused;
	return 1;
}

static SSL_CTX *
start_openssl(void)
{
	SSL_CTX *ctx;

	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG |
			     OPENSSL_INIT_NO_LOAD_SSL_STRINGS |
			     OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
			     OPENSSL_INIT_NO_ATEXIT,
	    NULL);
	ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		_exit(1);
	SSL_CTX_set_cert_verify_callback(ctx, accept_any, NULL);
	return ctx;
}

static int
dial(const char *address, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons((unsigned short)atoi(port)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int on = 1;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || fd == -1 ||
	    connect(fd, (const struct sockaddr *)&to, sizeof to) == -1)
		_exit(1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

/* Sends a command and reads a reply, which arrives in one piece here. */
static void
exchange(int fd, const char *command)
{
	char in[4096];

	if (write(fd, command, strlen(command)) == -1 ||
	    read(fd, in, sizeof in) <= 0)
		_exit(1);
}

int
main(int argc, char **argv)
{
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;

	if (argc != 3)
		return 2;
	fd = dial(argv[1], argv[2]);
	exchange(fd, "");
	exchange(fd, "EHLO me.example\r\n");
	exchange(fd, "STARTTLS\r\n");
	ctx = start_openssl();
	ssl = SSL_new(ctx);
	if (!ssl || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
		return 1;
	SSL_shutdown(ssl);
	close(fd);
	return 0;
}
