"""What ``--redis-url`` says: what kind of store it is, whom to ask for it, and how a connection is made."""

import ssl
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit, urlunsplit

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError

from session.config import ConfigError
from session.line import Wire

CONNECT_SECONDS = 1.0


class Kind(Enum):
    """How the store is laid out."""

    SINGLE = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


SCHEMES = frozenset(
    {"unix"}
    | {f"{base}{'+' * bool(kind.value)}{kind.value}" for base in ("redis", "rediss") for kind in Kind}
)
PORTS = {Kind.SINGLE: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}


class Address(NamedTuple):
    """Where a process listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Endpoint:
    """A ``--redis-url`` that has been understood."""

    def __init__(self, url: str) -> None:
        """Read a URL.

        Raises:
            ConfigError: no store could be reached by it, whoever listens there. The message repeats nothing
                of the URL, which holds a password.
        """
        try:
            self._read(url)
            self._try_out()
        except (ValueError, TypeError, OSError, RedisError) as error:
            raise ConfigError(f"--redis-url: {error}") from None

    def _read(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES:
            raise ValueError("must start with " + ", ".join(f"{s}://" for s in sorted(SCHEMES)))
        base, _, kind = scheme.partition("+")
        self.kind = Kind(kind)
        parts = urlsplit(f"{base}://{rest}")
        user, at, hosts = parts.netloc.rpartition("@")
        self.addresses = () if base == "unix" else tuple(_addresses(hosts, PORTS[self.kind]))
        """Of the store; or of those to ask for it."""
        if self.kind is Kind.SINGLE and len(self.addresses) > 1:
            raise ValueError("several hosts need redis+cluster:// or redis+sentinel://")
        self.service, path = _service(self.kind, parts)
        _check_query(parts)
        # redis-py reads the rest; each connection is given its host and port
        netloc = parts.netloc if base == "unix" else f"{user}{at}host"
        options: dict[str, Any] = {**parse_url(urlunsplit((base, netloc, path, parts.query, "")))}
        self._connection: type[AbstractConnection] = options.pop("connection_class", Connection)
        self._options = options | {"protocol": 2, "driver_info": None, "socket_timeout": None}
        if base != "unix":
            self._options |= {"socket_connect_timeout": CONNECT_SECONDS, "socket_keepalive": True}

    def _try_out(self) -> None:
        """Make a connection and do not connect it: what redis-py and OpenSSL make of the options."""
        context = getattr(self._new(*self.addresses[:1]), "ssl_context", None)
        if context is not None:
            try:
                context.get()
            except (OSError, ssl.SSLError) as error:
                raise ValueError(f"the certificates: {error}") from None

    def _new(self, address: Address | None = None, **options: Any) -> AbstractConnection:
        where = {"host": address.host, "port": address.port} if address else {}
        return self._connection(**{**self._options, **where, **options})

    async def open(self, address: Address | None = None) -> Wire:
        """A connection to the store, signed in; to another process of it where an address is given.

        Raises:
            Exception: nobody there, or who is there does not let us in.
        """
        return await _connected(self._new(address or next(iter(self.addresses), None)))

    async def open_sentinel(self, address: Address, *, sign_in: bool) -> Wire:
        """A connection to a Sentinel, which has no databases, and a password of its own or none.

        Raises:
            Exception: as `open`.
        """
        options: dict[str, Any] = {"db": 0}
        return await _connected(
            self._new(address, **options if sign_in else options | {"username": None, "password": None})
        )


async def _connected(connection: AbstractConnection) -> Wire:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
    except BaseException:
        # it took too long: nobody else knows of the socket
        await connection.disconnect(nowait=True)
        raise
    connection.pack_commands = _packed  # type: ignore[method-assign]
    connection.write_packed = partial(_write_packed, connection)  # type: ignore[attr-defined]
    connection.read_buffered = partial(_read_buffered, connection)  # type: ignore[attr-defined]
    return connection  # type: ignore[return-value]  # it has all of a `Wire` now


def _write_packed(connection: AbstractConnection, commands: list[bytes]) -> None:
    """Hand packed commands to the transport. redis-py does it only together with a wait."""
    writer = connection._writer
    if writer is not None:
        writer.writelines(commands)


def _read_buffered(connection: AbstractConnection) -> Iterator[Any]:
    """The answers that have come, error replies among them. redis-py reads each in four coroutines."""
    read = connection._parser._reader.gets  # type: ignore[attr-defined]  # hiredis's, which we need
    while (answer := read()) is not NOT_ENOUGH_DATA:
        yield answer


def _packed(commands: Iterable[Iterable[Any]]) -> list[bytes]:
    """Commands as they are sent, in a tenth of the time that redis-py's own packing takes."""
    return [pack_command(tuple(command)) for command in commands]


def _addresses(hosts: str, default_port: int) -> Iterator[Address]:
    for host in hosts.split(","):
        try:
            parts = urlsplit(f"//{host}")
            port = default_port if parts.port is None else parts.port
            known = bool(parts.hostname) and 0 < port < 65536
        except ValueError:
            known = False
        if not known:
            raise ValueError("expected host:port, with a port of 1 to 65535, for each host")
        yield Address(str(parts.hostname), port)


def _service(kind: Kind, parts: SplitResult) -> tuple[str, str]:
    """The name that Sentinel knows the store by, and the path that is left for the database."""
    if parts.scheme == "unix":
        return "", parts.path
    first, _, second = parts.path.strip("/").partition("/")
    service, db = (first, second) if kind is Kind.SENTINEL else ("", parts.path.strip("/"))
    if kind is Kind.SENTINEL and not service:
        raise ValueError("expected /<service> after the hosts: the name that Sentinel knows the primary by")
    if db and not db.isdecimal():
        raise ValueError("expected the number of a database after the host, or nothing")
    if kind is Kind.CLUSTER and int(db or 0) != 0:
        raise ValueError("a Cluster has database 0 only")
    return service, f"/{db}"


def _check_query(parts: SplitResult) -> None:
    """Options of redis-py that would change how answers look, or how long is waited, are not for here."""
    allowed = {"db", "username", "password"} if parts.scheme == "unix" else {"db"}
    for name in parse_qs(parts.query, keep_blank_values=True):
        if name not in allowed and not (parts.scheme == "rediss" and name.startswith("ssl_")):
            raise ValueError(f"the option {name!r} is not known here")
