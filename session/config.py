"""Every option: its default, its help line, where it is read from, and what it may be.

An option comes from the command line, else from ``KEEPSEAT_<OPTION>``, else, for a few, from the
variable that hosting platforms set (``PORT``, ``REDIS_URL``, ``REDIS_HOST`` + ``REDIS_PORT``,
``JWT_SECRET``), else from its default here. Durations are seconds.
"""

import argparse
import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

MIN_SECRET_BYTES = 32
"""RFC 7518, 3.2: a key of the size of the hash output or larger MUST be used (HS256: 32 bytes)."""


class ConfigError(ValueError):
    """The options make no sense; the message is one line for the person who set them."""


def _option(
    default: Any, help: str, group: str, low: float | None = None, choices: Sequence[str] = ()
) -> Any:
    return field(default=default, metadata={"help": help, "group": group, "low": low, "choices": choices})


SERVER, STORE, AUTH, CLIENTS, ROOMS, SALE = (
    "server", "store", "authentication", "connections", "rooms and sessions", "waiting room and seats",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All options, validated. Field names are the option names with underscores."""

    port: int = _option(8000, "TCP port to listen on; 0 takes a free one", SERVER, 0)
    address: str = _option("127.0.0.1", "address to listen on; 0.0.0.0 for all", SERVER)
    processes: int = _option(1, "server processes that share the port", SERVER, 1)
    drain_seconds: float = _option(20.0, "after SIGTERM, reconnects are spread over this time", SERVER, 0)
    log_format: str = _option("text", "how log lines look", SERVER, choices=("text", "json"))
    trusted_proxies: tuple[str, ...] = _option(
        (), "networks (CIDR) whose X-Forwarded-For is believed; none: the header is ignored", SERVER
    )

    redis_url: str = _option("", "URL of the store; empty: an embedded Valkey", STORE)
    data_dir: str = _option("var", "where the embedded Valkey and generated demo keys live", STORE)

    jwt_secret: str = _option("", "HS256 secret, 32 bytes or more", AUTH)
    jwt_previous_secret: str = _option(
        "", "another HS256 secret whose tokens are good, and with which nothing is signed", AUTH
    )
    jwt_public_key: str = _option("", "public key in PEM, or the path of a file that holds it", AUTH)
    jwt_jwks_url: str = _option(
        "", "http(s) URL of a JSON Web Key Set; keys are fetched in the background", AUTH
    )
    jwt_algorithms: tuple[str, ...] = _option(
        (), "allow-list of signature algorithms; default: HS256, or what fits the key given", AUTH
    )
    jwt_issuer: str = _option("", "required iss claim; empty: not checked", AUTH)
    jwt_audience: str = _option("", "required aud claim; empty: not checked", AUTH)
    query_token: bool = _option(True, "accept /ws?token=...; false: the parameter is ignored", AUTH)
    allowed_origins: tuple[str, ...] = _option(
        (), "other origins whose pages may connect, such as https://shop.example; * for all", AUTH
    )
    api_key: str = _option("", "bearer key of the HTTP API; empty: API off (demo: a generated one)", AUTH)
    api_previous_key: str = _option("", "another key that the HTTP API takes", AUTH)
    demo: bool | None = _option(
        None, "demo page and sign-in by name; default: on only without any JWT key", AUTH
    )
    demo_kill: bool = _option(False, "the demo page may kill its server, which something starts again", AUTH)
    access_token_ttl: float = _option(900.0, "life of an access token from the demo sign-in", AUTH, 1)
    refresh_token_ttl: float = _option(14 * 86400.0, "life of a sign-in", AUTH, 1)
    refresh_grace: float = _option(15.0, "a used refresh token still brings its successor this long", AUTH, 0)

    auth_timeout: float = _option(10.0, "time for the first frame to bring a token", CLIENTS, 0.1)
    max_connections: int = _option(15000, "connections a process", CLIENTS, 1)
    max_unauthenticated_per_address: int = _option(
        0,
        "connections an address may have before they sign in; 0: off, on (100) with --trusted-proxies",
        CLIENTS,
        0,
    )
    max_message_bytes: int = _option(65536, "largest frame accepted from a client", CLIENTS, 1024)
    max_buffer_bytes: int = _option(
        1048576, "most that may wait for one slow reader, or in one room", CLIENTS, 65536
    )
    max_connections_per_user: int = _option(10, "over all servers; the oldest goes", CLIENTS, 1)
    max_rooms: int = _option(50, "rooms a connection", CLIENTS, 1)
    message_rate: float = _option(20.0, "commands a second, a connection", CLIENTS, 0.1)
    message_burst: int = _option(40, "commands at once, a connection", CLIENTS, 1)
    ping_interval: float = _option(25.0, "time between pings", CLIENTS, 0.1)
    ping_timeout: float = _option(
        10.0, "time for the pong; then the connection closes with 4001", CLIENTS, 0.1
    )

    history_size: int = _option(1000, "messages kept a room", ROOMS, 1)
    history_ttl: float = _option(3600.0, "how long a message is kept", ROOMS, 1)
    session_ttl: float = _option(3600.0, "life of a session after the last connection", ROOMS, 1)

    queue_grace: float = _option(3600.0, "how long a place is kept for a user who is away", SALE, 0)
    entry_grace: float = _option(120.0, "how long an admission is kept for a user who is away", SALE, 0)
    hold_seconds: float = _option(300.0, "how long seats are held", SALE, 1)
    max_hold_seconds: float = _option(600.0, "how long they may be held with extensions", SALE, 1)
    max_seats: int = _option(4, "seats a user may hold in an event", SALE, 1)

    @property
    def has_jwt_key(self) -> bool:
        """Whether a key to check tokens with was given; without one the server runs as a demo."""
        return bool(self.jwt_secret or self.jwt_previous_secret or self.jwt_public_key or self.jwt_jwks_url)

    @property
    def is_demo(self) -> bool:
        """Whether the demo's sign-in by name is served."""
        return not self.has_jwt_key if self.demo is None else self.demo

    @property
    def unauthenticated_limit(self) -> int:
        """Connections an address may have before they sign in; 0 is no limit.

        Off by default without trusted proxies: behind a balancer every client has its address.
        """
        return self.max_unauthenticated_per_address or (100 if self.trusted_proxies else 0)


ALIASES = {"port": ("PORT",), "redis_url": ("REDIS_URL",), "jwt_secret": ("JWT_SECRET",)}
"""Options that are also read from a variable without the ``KEEPSEAT_`` prefix."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="server.py",
        allow_abbrev=False,
        usage="server.py [--option=value ...]",
        description="Keepseat: the real-time back end of a ticket sale. "
        "Never lose a place in line, a seat or a message.",
        epilog="Each option is also read from KEEPSEAT_<OPTION>, such as KEEPSEAT_REDIS_URL; further from "
        "PORT, REDIS_URL, REDIS_HOST + REDIS_PORT and JWT_SECRET. Without options: one process, demo mode, "
        "embedded Valkey.",
    )
    groups = {name: parser.add_argument_group(name) for name in (SERVER, STORE, AUTH, CLIENTS, ROOMS, SALE)}
    for f in fields(Config):
        shown = "" if f.default in ("", (), None) else f" (default: {_show(f.default)})"
        groups[f.metadata["group"]].add_argument(
            f"--{f.name.replace('_', '-')}",
            metavar="X",
            nargs="?" if f.name == "demo" else None,
            const="true" if f.name == "demo" else None,
            help=(f.metadata["help"] + shown).replace("%", "%%"),
        )
    return parser


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _convert(name: str, raw: str, default: Any, low: float | None, choices: Sequence[str]) -> Any:
    option = f"--{name.replace('_', '-')}"
    if isinstance(default, tuple):
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    if default is None or isinstance(default, bool):
        words = dict.fromkeys(("true", "1", "yes", "on"), True)
        words |= dict.fromkeys(("false", "0", "no", "off"), False)
        if raw.lower() not in words:
            raise ConfigError(f"{option}: expected true or false, got {raw!r}")
        return words[raw.lower()]
    if isinstance(default, (int, float)):
        try:
            number = type(default)(raw)
        except ValueError:
            raise ConfigError(f"{option}: expected a number, got {raw!r}") from None
        if not (low is None or number >= low) or not math.isfinite(number):
            raise ConfigError(f"{option}: must be {low:g} or more, got {raw}")
        return number
    if choices and raw not in choices:
        raise ConfigError(f"{option}: expected {' or '.join(choices)}, got {raw!r}")
    return raw


def _from_environment(name: str, environ: Mapping[str, str]) -> str | None:
    for variable in (f"KEEPSEAT_{name.upper()}", *ALIASES.get(name, ())):
        if variable in environ:
            return environ[variable]
    if name == "redis_url" and "REDIS_HOST" in environ:
        return f"redis://{environ['REDIS_HOST']}:{environ.get('REDIS_PORT', '6379')}/0"
    return None


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Read the options.

    Raises:
        ConfigError: an option is unknown, malformed, or does not go with another.
        SystemExit: ``--help`` was asked for and has been printed.
    """
    given = vars(_parser().parse_args(argv))
    values = {}
    for f in fields(Config):
        raw = given[f.name] if given[f.name] is not None else _from_environment(f.name, environ)
        if raw is not None:
            values[f.name] = _convert(f.name, raw, f.default, f.metadata["low"], f.metadata["choices"])
    config = Config(**values)
    _check(config)
    return config


def _check_lists(config: Config) -> None:
    for proxy in config.trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ConfigError(f"--trusted-proxies: {error}") from None
    for origin in config.allowed_origins:
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+/?", origin):
            raise ConfigError(
                f"--allowed-origins: expected an origin such as https://shop.example, got {origin!r}"
            )


def _check(config: Config) -> None:
    _check_lists(config)
    for option, secret in (
        ("--jwt-secret", config.jwt_secret),
        ("--jwt-previous-secret", config.jwt_previous_secret),
    ):
        if secret and len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigError(f"{option}: must have at least {MIN_SECRET_BYTES} bytes")
    if config.max_hold_seconds < config.hold_seconds:
        raise ConfigError("--max-hold-seconds: must not be less than --hold-seconds")
    if not 0 <= config.port <= 65535:
        raise ConfigError(f"--port: must be 0 to 65535, got {config.port}")
    if config.demo_kill and not config.is_demo:
        raise ConfigError("--demo-kill is for a demo only")
    if config.demo is False and not config.has_jwt_key:
        raise ConfigError("--demo=false needs a key: --jwt-secret, --jwt-public-key or --jwt-jwks-url")
