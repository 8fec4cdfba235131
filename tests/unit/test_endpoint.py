"""What a `--redis-url` says; that one which leads nowhere is told in words, without its password."""

import pytest

from session.config import ConfigError
from session.endpoint import Endpoint, Kind

HOST = "10.0.0.1"


@pytest.mark.parametrize(
    ("url", "kind", "addresses", "service"),
    [
        ("redis://10.0.0.1", Kind.SINGLE, [(HOST, 6379)], ""),
        ("redis://user:p%40ss@10.0.0.1:7000/3", Kind.SINGLE, [(HOST, 7000)], ""),
        ("rediss://[2001:db8::1]:6380/0", Kind.SINGLE, [("2001:db8::1", 6380)], ""),
        ("unix:///run/valkey.sock?db=2", Kind.SINGLE, [], ""),
        ("redis+cluster://10.0.0.1,10.0.0.2:7001", Kind.CLUSTER, [(HOST, 6379), ("10.0.0.2", 7001)], ""),
        ("rediss+cluster://:secret@cfg.example:6379/0", Kind.CLUSTER, [("cfg.example", 6379)], ""),
        ("redis+sentinel://10.0.0.1/tickets", Kind.SENTINEL, [(HOST, 26379)], "tickets"),
        ("rediss+sentinel://u:p@10.0.0.1:1,b:2/tickets/4", Kind.SENTINEL, [(HOST, 1), ("b", 2)], "tickets"),
    ],
)
def test_a_url_names_a_layout_and_whom_to_ask(
    url: str, kind: Kind, addresses: list[tuple[str, int]], service: str
) -> None:
    """Several hosts where several may be asked, each with a port of its own or the usual one."""
    endpoint = Endpoint(url)

    assert (kind, addresses, service) == (endpoint.kind, list(endpoint.addresses), endpoint.service)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("10.0.0.1:6379", "must start with redis://"),
        ("http://10.0.0.1", "must start with redis://"),
        ("unix+cluster:///run/valkey.sock", "must start with redis://"),
        ("redis://:secret@", "expected host:port"),
        ("redis://:secret@10.0.0.1:0", "expected host:port"),
        ("redis+cluster://:secret@10.0.0.1,", "expected host:port"),
        ("redis://user:sec/ret@10.0.0.1", "expected host:port"),
        ("redis://:secret@10.0.0.1,10.0.0.2", "several hosts need"),
        ("redis://:secret@10.0.0.1/first", "the number of a database"),
        ("redis+cluster://:secret@10.0.0.1/1", "a Cluster has database 0 only"),
        ("redis+sentinel://:secret@10.0.0.1", "expected /<service>"),
        ("redis+sentinel://:secret@10.0.0.1/tickets/first", "the number of a database"),
        ("redis://:secret@10.0.0.1?decode_responses=1", "'decode_responses' is not known here"),
        ("redis://:secret@10.0.0.1?ssl_ca_certs=/etc/ssl/ca.pem", "'ssl_ca_certs' is not known here"),
        ("rediss://:secret@10.0.0.1?ssl_ca_certs=/no/such/file", "the certificates: "),
        ("rediss://:secret@10.0.0.1?ssl_cert_reqs=maybe", "Invalid SSL"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_in_words(url: str, says: str) -> None:
    """At the start, and never its password."""
    with pytest.raises(ConfigError) as refused:
        Endpoint(url)

    assert str(refused.value).startswith("--redis-url: ")
    assert says in str(refused.value)
    assert not any(part in str(refused.value) for part in ("secret", "ret@", "user:"))
