/* SPDX-License-Identifier: ISC */
#include "tlsd/describe.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/ip.h"

/* Copies n bytes; those that are not printable become '?'. */
static void
copy(char text[TLS_TEXT_SIZE], const char *from, size_t n)
{
	size_t i;

	for (i = 0; i < n && i < TLS_TEXT_SIZE - 1; i++)
		text[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	text[i] = '\0';
}

/* Appends a name, after a comma if it is not the first one. */
static void
append(struct buf *names, const void *name, size_t n)
{
	if (names->len > 0)
		buf_putc(names, ',');
	buf_append(names, name, n);
}

static void
append_address(struct buf *names, const ASN1_OCTET_STRING *address)
{
	const unsigned char *byte = ASN1_STRING_get0_data(address);
	int n = ASN1_STRING_length(address);
	char text[IP_TEXT_SIZE];
	struct ip ip;

	if (n != 4 && n != 16)
		return;
	ip = n == 4 ? ip_from_v4(byte) : ip_from_v6(byte);
	ip_format(&ip, text);
	append(names, text, strlen(text));
}

static void
append_name(struct buf *names, const GENERAL_NAME *name)
{
	if (name->type == GEN_DNS)
		append(names, ASN1_STRING_get0_data(name->d.dNSName),
		    (size_t)ASN1_STRING_length(name->d.dNSName));
	else if (name->type == GEN_IPADD)
		append_address(names, name->d.iPAddress);
}

void
tlsd_describe_names(const X509 *cert, char text[TLS_TEXT_SIZE])
{
	GENERAL_NAMES *all =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	struct buf names = { 0 };

	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++)
		append_name(&names, sk_GENERAL_NAME_value(all, i));
	copy(text, buf_text(&names), names.len);
	buf_finish(&names);
	GENERAL_NAMES_free(all);
	ERR_clear_error();
}

void
tlsd_describe_issuer(const X509 *cert, char text[TLS_TEXT_SIZE])
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *data = NULL;
	long n = 0;

	if (memory != NULL &&
	    X509_NAME_print_ex(memory, X509_get_issuer_name(cert), 0,
		XN_FLAG_RFC2253) >= 0)
		n = BIO_get_mem_data(memory, &data);
	copy(text, data, n > 0 ? (size_t)n : 0);
	BIO_free(memory);
	ERR_clear_error();
}

void
tlsd_describe_expiry(const X509 *cert, char text[TLS_TEXT_SIZE])
{
	struct tm t;

	text[0] = '\0';
	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &t) == 1)
		snprintf(text, TLS_TEXT_SIZE,
		    "%04d-%02d-%02d %02d:%02d:%02d UTC", t.tm_year + 1900,
		    t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
	ERR_clear_error();
}
