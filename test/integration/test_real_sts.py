"""MTA-STS policies as nginx serves them."""

import pytest

import realservers
from test_sts import FETCH, GOOD, POLICY, Site

SITES = {
    "file": None, "text": None, "chunked": None, "gzip": None,
    "no-type": "the reply is not text/plain", "html": "the reply is not text/plain",
    "redirect": "the host replied 301", "missing": "the host replied 404", "limited": "the host replied 403",
    "closed": "the reply was cut off",
}


@pytest.fixture(scope="session", autouse=True)
def _stop():
    yield
    realservers.stop_all()


@pytest.fixture
def nginx(certs, dns):
    server = realservers.start(realservers.Nginx, certs, POLICY)
    dns.zone(server.zone())
    return server


@pytest.mark.parametrize("kind", SITES)
def test_policies_of_nginx(nginx, home, dns, certs, kind):
    """We do not offer gzip."""
    domain = f"{kind}.nginx.example"
    run = Site(home, dns, certs).run(domain)
    if SITES[kind] is None:
        assert (run.code, run.said) == (0, GOOD.replace("dst.example", domain, 1))
    else:
        assert (run.code, run.said) == (1, f"{domain}: {SITES[kind]} ({FETCH})\n")


def test_every_site_of_nginx_is_tried():
    assert set(SITES) == set(realservers.Nginx.sites)
