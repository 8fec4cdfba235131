"""Every Redis key and channel. ``docs/redis.md`` lists the type, life, bytes and owner of each.

All keys of an event share a hash tag, and so do all users of one of 256 buckets: what a script
touches lies in one slot of a Redis Cluster.
"""

from hashlib import blake2b
from typing import NamedTuple

LEASES = "{srv}leases"
"""Sorted set: instance -> end of its lease (Unix ms by Redis's clock)."""
EVENTS = "{srv}events"
"""Sorted set: event id -> when it was last written; names where to look, the event itself is the truth."""

BUCKETS = tuple(f"{n:02x}" for n in range(256))


class RoomKeys(NamedTuple):
    """The history of one room, and the channel that its publications are rung on."""

    meta: str
    stream: str
    ids: str
    channel: str
    counter: str
    """Counts the notices of a user bucket; empty for rooms with a head check of their own."""


class UserKeys(NamedTuple):
    """What belongs to one user."""

    session: str
    data: str
    rooms: str
    revoked: str
    counter: str
    channel: str


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


def user(user_id: str) -> UserKeys:
    tag = bucket_channel(bucket(user_id))
    return UserKeys(
        f"{tag}s:{user_id}", f"{tag}d:{user_id}", f"{tag}r:{user_id}", f"{tag}x:{user_id}", f"{tag}n", tag
    )


def family(user_id: str, sign_in: str) -> str:
    """Hash: a sign-in's refresh family."""
    return f"{bucket_channel(bucket(user_id))}f:{sign_in}"


def canary(instance: str) -> str:
    """The channel on which an instance hears itself."""
    return f"{{srv}}c:{instance}"


EVENT_NAMESPACES = frozenset({"event", "queue", "seats"})


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
