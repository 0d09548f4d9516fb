/* SPDX-License-Identifier: ISC */
#include "sts/domain.h"

#include <string.h>

#include "base/ip.h"
#include "base/str.h"
#include "dns/name.h"

bool
sts_domain_read(char domain[STS_DOMAIN_SIZE], const char *name)
{
	size_t n = strlen(name);
	struct ip ip;

	if (n > 0 && name[n - 1] == '.')
		n--;
	if (n == 0 || n > STS_DOMAIN_MAX || name[n - 1] == '.')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!str_is_alnum(name[i]) && !strchr("-_.", name[i]))
			return false;
		domain[i] = str_lower(name[i]);
	}
	domain[n] = '\0';
	return dns_name_is_valid(domain) && !ip_parse(domain, n, &ip);
}
