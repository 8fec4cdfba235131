"""The histories of rooms in the store: publish, read on from a position, heads, and who is there."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from session import keys
from session.config import Config
from session.protocol import Published, encode
from session.recovery import Position, is_unused, parse_chain
from session.store import Arg, Store

PAGE_ENTRIES = 200
PAGE_BYTES = 262_144
"""A page of history ends after so many bytes, so that one slow reader costs no more."""
STATEFUL = ("seats:", f"{keys.LEDGER}:")
"""Rooms whose readers also have a state, which another store may not share though both have no history."""
COUNT_TTL_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Page:
    """What follows a position: ``entries`` are (private part, frame), from ``offset + 1`` on."""

    head: Position
    chain: dict[str, int]
    entries: Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Lost:
    """The position is not part of the surviving history, or the history no longer reaches back."""

    head: Position
    chain: dict[str, int]
    why: str


class Rooms:
    """The rooms as the store has them."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._size = config.history_size
        self._ttl_ms = int(config.history_ttl * 1000)

    async def publish(
        self,
        room: str,
        data: bytes,
        *,
        request_id: str,
        seen: Position | None = None,
        term: int | None = None,
    ) -> Published:
        """Append a message to a room's history and tell everyone; ``data`` is JSON.

        The same ``request_id``, within a day or the room's newest 10,000, brings the first answer.
        ``term`` is that of the connection that speaks, if one does; see `Store.script`.
        ``seen`` is where this server's own reader of the room is: a second check for a lost tail.

        Raises:
            Unavailable: the store did not answer; ask again with the same request id.
        """
        k = keys.room(room)
        script_keys = [k.meta, k.stream, k.ids, *([k.counter] if k.counter else [])]
        left = b'{"type":"message","room":' + encode(room) + b","
        right = b',"data":' + data + b',"sentAt":'
        at = seen or Position("", 0)
        args: list[Arg] = [
            k.channel,
            room,
            request_id,
            left,
            right,
            self._size,
            self._ttl_ms,
            at.epoch,
            at.offset,
        ]
        _, epoch, offset = await self._store.script("publish", script_keys, args, term=term)
        return Published(room=room, epoch=epoch.decode(), offset=int(offset))

    async def history(self, room: str, since: Position | None) -> Page | Lost:
        """Read on from a position, a page at most; without one, only where the room is.

        Raises:
            Unavailable: the store did not answer in time.
        """
        k = keys.room(room)
        # an empty word asks for the position alone; as a client's it is just another unknown one
        at = Position(since.epoch or "?", since.offset) if since else Position("", 0)
        saw_nothing = is_unused(at) and not room.startswith(STATEFUL)
        args: list[Arg] = [at.epoch, at.offset, PAGE_ENTRIES, PAGE_BYTES, int(saw_nothing)]
        verdict, epoch, head, chain, rest = await self._store.script("history", [k.meta, k.stream], args)
        position = Position(epoch.decode(), int(head))
        links = parse_chain(chain.decode())
        if verdict == b"lost":
            return Lost(position, links, rest.decode())
        return Page(position, links, [(rest[i + 1], rest[i]) for i in range(0, len(rest), 2)])

    async def head(self, room: str) -> Position | None:
        """Where the room is, cheaply; None where it was never used, or its meta was lost."""
        epoch, head = await self._store.command("HMGET", keys.room(room).meta, "e", "h")
        return None if epoch is None else Position(epoch.decode(), int(head))

    async def tell_count(
        self, event_id: str, instance: str, count: int, gone: Collection[str]
    ) -> dict[str, int]:
        """Write how many connections of an event this server has, tell the others, and read all counts."""
        args: list[Arg] = [
            keys.room(f"event:{event_id}").channel,
            event_id,
            instance,
            count,
            COUNT_TTL_MS,
            *gone,
        ]
        return _counts(await self._store.script("count", [keys.counts(event_id)], args))

    async def counts(self, event_id: str) -> dict[str, int]:
        """Instance -> connections in ``event:<id>`` there."""
        return _counts(await self._store.command("HGETALL", keys.counts(event_id)))


def _counts(flat: Sequence[bytes]) -> dict[str, int]:
    return {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
