"""Who stands in the doorway: connections in all, and those of an address that have not signed in."""

import ipaddress
from collections.abc import Sequence

from tornado.httputil import HTTPServerRequest

from session.config import Config
from session.descriptors import Descriptors

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Doorway:
    """Counts, so that nobody fills the server without a token."""

    def __init__(self, config: Config, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._most = config.max_connections
        self._most_unknown = config.unauthenticated_limit
        self._unknown: dict[str, int] = {}
        self._proxies = [ipaddress.ip_network(proxy) for proxy in config.trusted_proxies]

    def address_of(self, request: HTTPServerRequest) -> str:
        """The client's address: the right-most one of X-Forwarded-For that is no trusted proxy.

        Without trusted proxies, or when the peer is none of them, the header is a claim of the client's
        and is ignored (Tornado's xheaders would also believe X-Real-Ip, which balancers pass on unseen).
        """
        return forwarded(str(request.remote_ip), request.headers.get("X-Forwarded-For", ""), self._proxies)

    def enter(self, address: str, sockets: int, descriptor: int) -> bool:
        """A socket has opened; False where it is one too many. `leave` must follow either way."""
        self._unknown[address] = self._unknown.get(address, 0) + 1
        if sockets > self._most or not self._descriptors.may_stay(descriptor):
            return False
        return not self._most_unknown or self._unknown[address] <= self._most_unknown

    def leave(self, address: str) -> None:
        """A socket has signed in, or closed before it did."""
        left = self._unknown.get(address, 0) - 1
        if left > 0:
            self._unknown[address] = left
        else:
            self._unknown.pop(address, None)


def forwarded(peer: str, header: str, proxies: Sequence[Network]) -> str:
    """The right-most address that is no proxy's, beginning with the peer's own."""
    hops = [hop.strip() for hop in header.split(",") if hop.strip()]
    address = peer
    while hops and _is_within(address, proxies):
        address = _without_port(hops.pop())
    return address


def _without_port(hop: str) -> str:
    """An AWS ALB may append the port: ``1.2.3.4:5`` or ``[::1]:5``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
