"""Every Redis key and channel. ``docs/redis.md`` lists the type, life, bytes and owner of each.

All keys of an event share a hash tag, and so do all users of one of 256 buckets: what a script
touches lies in one slot of a Redis Cluster.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

LEASES = "{srv}leases"
"""Sorted set: instance -> end of its lease (Unix ms by Redis's clock)."""
EVENTS = "{srv}events"
"""Sorted set: event id -> when it was last written; names where to look, the event itself is the truth."""
ACTIVE = "{srv}active"
"""Sorted set: event id -> when a server last used its line or its seats: what is looked at for timed work."""
FIGURES = "{srv}figures"
"""Hash: instance -> what it does, as JSON: for operators."""

BUCKETS = tuple(f"{n:02x}" for n in range(256))


class RoomKeys(NamedTuple):
    """The history of one room, and the channel that its publications are rung on."""

    meta: str
    stream: str
    ids: str
    channel: str
    counter: str
    """Counts the notices of a user bucket; empty for rooms with a head check of their own."""


class Sale(NamedTuple):
    """All that belongs to the sale of one event, in the order in which ``lua/shared/sale.lua`` takes it."""

    event: str
    map: str
    shown: str
    holds: str
    due: str
    pending: str
    state: str
    seats_meta: str
    seats_stream: str
    fence: str
    bookings: str
    present: str
    absent: str
    lapse: str
    admitted: str
    cap: str
    rate: str
    ledger_meta: str
    ledger_stream: str
    instances: str


class UserKeys(NamedTuple):
    """What belongs to one user."""

    session: str
    data: str
    rooms: str
    revoked: str
    cut: str
    """Until when (Unix ms) all that was issued to the user is revoked."""
    recorder: str
    counter: str
    channel: str


KEPT = 1024
"""Names whose keys are remembered: each command of a user, or of an event, asks for the same again."""


@lru_cache(KEPT)
def bucket(user_id: str) -> str:
    """The bucket of a user: two hexadecimal digits."""
    return blake2b(user_id.encode(), digest_size=1).hexdigest()


def bucket_channel(bucket: str) -> str:
    return f"{{u:{bucket}}}"


def bucket_counter(bucket: str) -> str:
    return f"{{u:{bucket}}}n"


def index(bucket: str, instance: str) -> str:
    """Hash socket id -> user id: the connections that an instance has in a bucket."""
    return f"{{u:{bucket}}}i:{instance}"


@lru_cache(KEPT)
def user(user_id: str) -> UserKeys:
    tag = bucket_channel(bucket(user_id))
    return UserKeys(
        f"{tag}s:{user_id}", f"{tag}d:{user_id}", f"{tag}r:{user_id}", f"{tag}x:{user_id}",
        f"{tag}v:{user_id}", f"{tag}l:{user_id}", f"{tag}n", tag,
    )  # fmt: skip


def family(user_id: str, sign_in: str) -> str:
    """Hash: a sign-in's refresh family."""
    return f"{bucket_channel(bucket(user_id))}f:{sign_in}"


def canary(instance: str, number: int) -> str:
    """A channel on which an instance hears itself; by the number they are in different slots."""
    return f"{{srv{number or ''}}}c:{instance}"


LEDGER = "#ledger"
"""Namespace of the rooms that only servers read: no client can say this name."""
EVENT_NAMESPACES = frozenset({"event", "queue", "seats", LEDGER})


@lru_cache(KEPT)
def room(name: str) -> RoomKeys:
    """The keys of a room by its name, ``namespace:id``."""
    namespace, _, ident = name.partition(":")
    counter = ""
    if namespace == "user":
        tag = bucket_channel(bucket(ident))
        counter = f"{tag}n"
    elif namespace in EVENT_NAMESPACES:
        tag = f"{{e:{ident}}}"
    else:
        tag = f"{{r:{name}}}"
    return RoomKeys(f"{tag}m:{name}", f"{tag}h:{name}", f"{tag}q:{name}", tag, counter)


def event(event_id: str) -> str:
    """Hash: an event's settings, sections and seats."""
    return f"{{e:{event_id}}}cfg"


def counts(event_id: str) -> str:
    """Hash instance -> connections in ``event:<id>`` there."""
    return f"{{e:{event_id}}}n"


@lru_cache(KEPT)
def sale(event_id: str) -> Sale:
    tag = f"{{e:{event_id}}}"
    seats, ledger = room(f"seats:{event_id}"), room(f"{LEDGER}:{event_id}")
    return Sale(
        event=event(event_id),
        map=f"{tag}map",
        shown=f"{tag}shown",
        holds=f"{tag}holds",
        due=f"{tag}due",
        pending=f"{tag}pending",
        state=f"{tag}sale",
        seats_meta=seats.meta,
        seats_stream=seats.stream,
        fence=f"{tag}fence",
        bookings=f"{tag}bookings",
        present=f"{tag}present",
        absent=f"{tag}absent",
        lapse=f"{tag}lapse",
        admitted=f"{tag}admitted",
        cap=f"{tag}cap",
        rate=f"{tag}rate",
        ledger_meta=ledger.meta,
        ledger_stream=ledger.stream,
        instances=f"{tag}instances",
    )


def here(event_id: str, instance: str) -> str:
    """Set of users with a place in the line, or an admission, who are connected to an instance."""
    return f"{{e:{event_id}}}here:{instance}"
