"""MTA-STS policies as real web servers serve them."""

import pytest

import realservers
from test_sts import FETCH, GOOD, POLICY, Site

NOT_TEXT = "the reply is not text/plain"
# What comes of each kind of site; None: the policy.
NGINX = {
    "file": None, "text": None, "chunked": None, "gzip": None,
    "no-type": NOT_TEXT, "html": NOT_TEXT,
    "redirect": "the host replied 301", "missing": "the host replied 404", "limited": "the host replied 403",
    "closed": "the reply was cut off",
}
LIGHTTPD = {
    "file": None, "charset": None, "chunked": None, "length": None, "gzip": None,
    "no-type": NOT_TEXT, "html": NOT_TEXT,
    "redirect": "the host replied 301", "missing": "the host replied 404", "limited": "the host replied 403",
    "short": "the reply was cut off", "broken": "the host replied 500",
}
SERVERS = {realservers.Nginx: NGINX, realservers.Lighttpd: LIGHTTPD}


@pytest.fixture(scope="session", autouse=True)
def _stop():
    yield
    realservers.stop_all()


@pytest.mark.parametrize("server, kind", [(s, kind) for s, kinds in SERVERS.items() for kind in kinds],
                         ids=lambda value: getattr(value, "name", value))
def test_policies_of_real_servers(home, dns, certs, server, kind):
    """We do not offer gzip."""
    dns.zone(realservers.start(server, certs, POLICY).zone())
    domain, reason = f"{kind}.{server.name}.example", SERVERS[server][kind]
    run = Site(home, dns, certs).run(domain)
    if reason is None:
        assert (run.code, run.said) == (0, GOOD.replace("dst.example", domain, 1))
    else:
        assert (run.code, run.said) == (1, f"{domain}: {reason} ({FETCH})\n")


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_every_site_is_tried(server):
    assert set(SERVERS[server]) == set(server.sites)
