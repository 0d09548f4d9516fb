/* SPDX-License-Identifier: ISC */
#include "files.h"

#include "config.h"

#define SMALL 4096 /* bytes read at once */

struct setup_files
files_of_qmail(bool are_read_only)
{
	return (struct setup_files){
		.state = QMAIL_STATE,
		.helper = QMAIL_HOME "/bin/qmail-remote-tls",
		.sts = QMAIL_HOME "/bin/qmail-remote-sts",
		.relays = {
			.routes = {
				.text = "control/smtproutes",
				.index = QMAIL_STATE "/smtproutes.cdb",
				.lock = QMAIL_STATE "/smtproutes.lock",
				.small = SMALL,
				.is_read_only = are_read_only,
			},
			.senders = "control/authsenders",
			.auth = "control/smtpauth",
		},
		.families = {
			.text = "control/ipfamily",
			.index = QMAIL_STATE "/ipfamily.cdb",
			.lock = QMAIL_STATE "/ipfamily.lock",
			.small = SMALL,
			.is_read_only = are_read_only,
		},
		.sources = {
			{
			    .text = "control/outgoingip6",
			    .index = QMAIL_STATE "/outgoingip6.cdb",
			    .lock = QMAIL_STATE "/outgoingip6.lock",
			    .is_strict = true,
			    .has_addresses = true,
			    .is_read_only = are_read_only,
			},
			{
			    .text = "control/outgoingip",
			    .index = QMAIL_STATE "/outgoingip.cdb",
			    .lock = QMAIL_STATE "/outgoingip.lock",
			    .is_strict = true,
			    .has_addresses = true,
			    .is_read_only = are_read_only,
			},
		},
		.policies = {
			.text = "control/tlspolicy",
			.index = QMAIL_STATE "/tlspolicy.cdb",
			.lock = QMAIL_STATE "/tlspolicy.lock",
			.is_strict = true,
			.is_read_only = are_read_only,
		},
		.tcpto = {
			.path4 = "queue/lock/tcpto",
			.path6 = QMAIL_STATE "/tcpto6",
			.is_read_only = are_read_only,
		},
		.memory = QMAIL_STATE "/addresses",
		.are_read_only = are_read_only,
	};
}
