"""SessionManager: the sessions in the store, and which sockets belong to which user.

A session outlives its connections. It is written through from the first command, never when a
disconnect is noticed, and each operation is one script: two tabs on two servers lose nothing.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from session import keys
from session.config import Config
from session.protocol import MAX_SESSION_DATA_BYTES, Code, Refused, SessionState, UnixMs, encode
from session.recovery import Position, parse_chain
from session.store import Arg, Store

CONNECTED_EXTRA_SECONDS = 1200
"""A connected user's keys live so much longer than a session, and are renewed as often; a crash so
never shortens the session's hour."""
RENEW_SECONDS = CONNECTED_EXTRA_SECONDS

FIELDS = {"event_id": "ev", "queue_event_id": "qe", "seat_event_id": "se"}
"""Names of a session's fields in the store: short, because every user has them."""
MOST_NAMES = 16
"""Events in whose lines a user may stand at a time, and events in which it may hold seats."""
SOCKET = "c"
LINE, SEATS = "w", "h"
"""What a session names an event for: a place in its line, or seats held there."""
TOLD = {LINE: "q", SEATS: "s"}
"""The notice by which other servers learn of it."""


class Membership(Protocol):
    """What the manager asks about the servers."""

    instance: str

    @property
    def dead(self) -> frozenset[str]:
        """Instances that are dead."""

    async def living(self) -> frozenset[str]:
        """All others."""


class Socket(Struct, rename="camel", frozen=True):
    """A connection as the store knows it; ``connected_at`` is Unix milliseconds."""

    socket_id: str
    instance: str
    connected_at: UnixMs


class Session(Struct, frozen=True, kw_only=True):
    """A stored session; ``exists`` is False where only connections are known of the user."""

    exists: bool
    event_id: str | None = None
    queue_event_id: str | None = None
    seat_event_id: str | None = None
    last_activity: int | None = None
    data: Mapping[str, Raw] = msgspec.field(default_factory=dict)
    rooms: Sequence[str] = ()
    sockets: Sequence[Socket] = ()
    kicked_at: int = 0
    last_instance: str | None = None
    """The server to which a connection of the user came last."""
    lines: frozenset[str] = frozenset()
    """Events in whose line the user may have a place, and where else to look for it nobody knows."""
    holds: frozenset[str] = frozenset()
    """Events in which the user may hold seats."""

    def state(self, selected_seats: Sequence[str] = ()) -> SessionState:
        """What clients and the back end see of it."""
        return SessionState(
            event_id=self.event_id,
            queue_event_id=self.queue_event_id,
            seat_event_id=self.seat_event_id,
            selected_seats=list(selected_seats),
            last_activity=self.last_activity,
            data=dict(self.data),
        )

    @property
    def rooms_to_rejoin(self) -> list[str]:
        """The rooms that a connection without ``resume`` gets back."""
        ids = {"event": self.event_id, "queue": self.queue_event_id, "seats": self.seat_event_id}
        return [f"{namespace}:{ident}" for namespace, ident in ids.items() if ident] + sorted(self.rooms)


@dataclass(frozen=True, slots=True)
class User:
    """What is known of a user over all servers."""

    user_id: str
    session: Session | None
    connections: list[Socket]


class Attached(Struct, frozen=True):
    """The store's half of a connect: the order of the connection, the user's room, the session before."""

    order: int
    user_room: Position
    chain: dict[str, int]
    session: Session
    notices: int
    """How many notices had been rung in the user's bucket when it was attached."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a server must know after it may have missed notices about a user."""

    session: Session
    revoked: frozenset[str]
    """What `session.tokens.Identity.is_revoked_by` takes."""
    user_room: Position


@dataclass(frozen=True, slots=True)
class Fence:
    """The connection on whose behalf a session is changed: it must still be attached."""

    socket_id: str
    order: int


class Gone(Exception):  # noqa: N818 - an outcome
    """The connection was removed meanwhile: replaced, over the limit, or by an administrator."""

    def __init__(self, kicked_at: int) -> None:
        super().__init__(kicked_at)
        self.kicked_at = kicked_at


class Forgotten(Exception):  # noqa: N818 - an outcome
    """The store has lost the session that the connection was attached to; attach again."""


def new_socket_id(user_id: str) -> str:
    """A name that no socket ever had; it begins with the bucket in which it is found again."""
    return keys.bucket(user_id) + secrets.token_urlsafe(12)


def is_socket_of(user_id: str, socket_id: str) -> bool:
    """Whether that may have been the name of a socket of this user's."""
    return len(socket_id) == len(new_socket_id(user_id)) and socket_id.startswith(keys.bucket(user_id))


class SessionManager:
    """Operations on sessions and sockets; each is atomic, and safe to repeat."""

    def __init__(self, store: Store, config: Config, servers: Membership) -> None:
        self._store = store
        self._servers = servers
        self._ttl_ms = int(config.session_ttl * 1000)
        self._connected_ttl_ms = self._ttl_ms + CONNECTED_EXTRA_SECONDS * 1000
        self._most = config.max_connections_per_user
        self._most_rooms = config.max_rooms

    # --- sockets ---

    async def attach(
        self,
        user_id: str,
        socket_id: str,
        *,
        marks: Iterable[str] = (),
        issued_at_ms: int = 0,
        replaces: str = "",
        order: int = 0,
    ) -> Attached:
        """Map a socket to its user, and read the session. The token's ``marks`` and when it was issued say
        whether it is revoked; ``order`` is that of an earlier attach.

        Raises:
            Refused: the token was revoked.
            Gone: the socket had been attached and was removed.
            Unavailable: the store did not answer in time.
        """
        k, bucket = keys.user(user_id), keys.bucket(user_id)
        room = keys.room(f"user:{user_id}")
        index = keys.index(bucket, self._servers.instance)
        args: list[Arg] = [k.channel, user_id, socket_id, self._servers.instance, self._most]
        args += [self._connected_ttl_ms, replaces, order, " ".join(self._servers.dead), " ".join(marks)]
        args.append(issued_at_ms)
        answer = await self._store.script(
            "attach",
            [k.session, index, k.counter, k.data, k.rooms, k.revoked, room.meta, k.cut, k.recorder],
            args,
        )
        if answer[0] == b"revoked":
            raise Refused(Code.TOKEN_REVOKED, "this sign-in has ended")
        if answer[0] == b"gone":
            raise Gone(int(answer[1] or 0))
        _, at, epoch, head, chain, flat, data, rooms, notices = answer
        position = Position(epoch.decode(), int(head))
        session = _session(flat, data, rooms)
        return Attached(int(at), position, parse_chain(chain.decode()), session, int(notices))

    async def detach(self, user_id: str, socket_id: str, instance: str | None = None, how: str = "") -> None:
        """Unmap a socket. With the last one the session's hour begins. The user's recorder is told ``how`` it
        ended, once."""
        k = keys.user(user_id)
        index = keys.index(keys.bucket(user_id), instance or self._servers.instance)
        await self._store.script(
            "detach", [k.session, index, k.data, k.rooms, k.recorder], [socket_id, self._ttl_ms, how]
        )

    async def renew_index(self, bucket: str) -> None:
        """Lengthen the life of this server's list of a bucket: without it nobody could sweep us."""
        index = keys.index(bucket, self._servers.instance)
        await self._store.command("PEXPIRE", index, self._connected_ttl_ms)

    async def sockets(self, user_id: str) -> list[Socket]:
        """A user's sockets on all living servers, oldest first."""
        return self._living((await self.check(user_id)).session)

    async def find_user(self, socket_id: str) -> str | None:
        """The user of a socket, on whichever living server; None where there is none."""
        bucket = socket_id[:2]
        if bucket not in keys.BUCKETS:
            return None
        for instance in await self._servers.living():
            user_id = await self._store.command("HGET", keys.index(bucket, instance), socket_id)
            if user_id is not None:
                return str(user_id.decode())
        return None

    async def indexed(self, bucket: str, instance: str) -> dict[str, str]:
        """Socket -> user, as an instance left them in a bucket."""
        flat = await self._store.command("HGETALL", keys.index(bucket, instance))
        return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}

    # --- sessions ---

    async def save(
        self, user_id: str, fields: Mapping[str, str | None], data: Mapping[str, Raw] | None = None
    ) -> None:
        """Write a session's fields, creating it where there is none, and merge ``data`` into its own."""
        await self.update(user_id, fields)
        if data:
            await self.update_data(user_id, data)

    async def get(self, user_id: str) -> Session | None:
        """A user's session; None where there is none."""
        session = (await self.check(user_id)).session
        return session if session.exists else None

    async def update(
        self,
        user_id: str,
        fields: Mapping[str, str | None],
        *,
        defaults: Mapping[str, str] | None = None,
        join: Iterable[str] = (),
        leave: Iterable[str] = (),
        notes: Iterable[str] = (),
        by: Fence | None = None,
    ) -> None:
        """Change some fields (names of `FIELDS`; None clears) and rooms, creating the session;
        ``defaults`` are for fields that are absent, ``notes`` for the user's recorder.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
            Refused: the session has too many rooms.
        """
        changes: list[Arg] = ["seen", "", ""]
        for name, value in fields.items():
            changes += ["clear", FIELDS[name], ""] if value is None else ["set", FIELDS[name], value]
        for name, value in (defaults or {}).items():
            changes += ["default", FIELDS[name], value]
        for room in join:
            changes += ["join", room, ""]
        for room in leave:
            changes += ["leave", room, ""]
        for what in notes:
            changes += ["note", what, ""]
        await self._change(user_id, changes, by)

    async def clear(
        self, user_id: str, name: str, value: str, *, note: str = "", by: Fence | None = None
    ) -> None:
        """Clear a field, where it still has that value; ``note`` is for the user's recorder.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
        """
        changes: list[Arg] = ["seen", "", "", "clear", FIELDS[name], value]
        await self._change(user_id, changes + (["note", note, ""] if note else []), by)

    async def name(self, user_id: str, kind: str, event_id: str, *, by: Fence | None = None) -> list[str]:
        """Name an event in which the user is about to have a place, or to hold seats; each time anew.

        Returns the events that are named already where there are too many of them, else nothing.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
        """
        k = keys.user(user_id)
        notice = f"{TOLD[kind]} {user_id} {event_id}"
        args = [*self._fence(by), MOST_NAMES, f"{kind}:{event_id}", notice, k.channel, self._servers.instance]
        answer = await self._store.script("session_name", [k.session, k.data, k.rooms, k.counter], args)
        _raise_fenced(answer)
        return [name.decode() for name in answer[1:]]

    async def named(self, user_id: str, kind: str, event_id: str) -> str:
        """The name that a session has for an event; '' where it has none.

        Raises:
            Unavailable: the store did not answer in time.
        """
        name = await self._store.command("HGET", keys.user(user_id).session, f"{kind}:{event_id}")
        return "" if name is None else str(name.decode())

    async def unname(
        self, user_id: str, kind: str, event_id: str, name: str, *, by: Fence | None = None
    ) -> None:
        """Take back a name that leads to nothing (any more), and the session's id of that event's line;
        unless it has been named anew.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
        """
        await self._change(user_id, ["unname", f"{kind}:{event_id}", name], by)

    async def tell_line(
        self, user_id: str, event_id: str, *, by: Fence | None = None, again: bool = False
    ) -> None:
        """The user has got a place: its session says so, and so do its other servers learn. Told ``again``
        after the store has lost it, the session's own event stands.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
        """
        await self._tell(user_id, LINE, "queue_event_id", event_id, by, again=again)

    async def tell_seats(
        self, user_id: str, event_id: str, *, by: Fence | None = None, again: bool = False
    ) -> None:
        """The user has got seats: its session says so, and so do its other servers learn. Told ``again``
        after the store has lost it, the session's own event stands.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
        """
        await self._tell(user_id, SEATS, "seat_event_id", event_id, by, again=again)

    async def _tell(
        self, user_id: str, kind: str, name: str, event_id: str, by: Fence | None, *, again: bool
    ) -> None:
        how = "default" if again else "set"
        named = secrets.token_hex(3)
        changes: list[Arg] = ["seen", "", "", how, FIELDS[name], event_id, "set", f"{kind}:{event_id}", named]
        channel = keys.user(user_id).channel
        changes += ["tell", f"{TOLD[kind]} {user_id} {event_id}", f"{channel} {self._servers.instance}"]
        await self._change(user_id, changes, by)

    async def renew(self, user_id: str, *, active: bool, by: Fence) -> None:
        """Lengthen the life of a connected user's keys; an ``active`` one's last activity is now.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
        """
        await self._change(user_id, ["touch", "", ""] if active else [], by)

    async def update_data(
        self, user_id: str, data: Mapping[str, Raw], *, by: Fence | None = None
    ) -> dict[str, Raw]:
        """Merge the client's own state into the session; null removes a key. Returns the whole.

        Raises:
            Gone, Forgotten: the connection ``by`` is not attached any more.
            Refused: the whole would have more than 8 KiB; nothing was changed.
        """
        k = keys.user(user_id)
        args = [*self._fence(by), MAX_SESSION_DATA_BYTES]
        for name, value in data.items():
            args += [encode(name), b"" if bytes(value) == b"null" else bytes(value)]
        answer = await self._store.script("session_data", [k.session, k.data], args)
        _raise_fenced(answer)
        if answer == [b"full"]:
            raise Refused(Code.BAD_MESSAGE, f"data: more than {MAX_SESSION_DATA_BYTES} bytes in all")
        return _data(answer[1])

    async def delete(self, user_id: str) -> bool:
        """Delete a user's session; the connections stay. False where there was none."""
        k = keys.user(user_id)
        return bool((await self._store.script("session_delete", [k.session, k.data, k.rooms]))[1])

    # --- users ---

    async def check(self, user_id: str) -> Checked:
        """All that is known of a user, read at one moment."""
        k = keys.user(user_id)
        meta = keys.room(f"user:{user_id}").meta
        names = [k.session, k.data, k.rooms, k.revoked, meta, k.cut]
        answer = await self._store.script("session_read", names)
        flat, data, rooms, revoked, epoch, head = answer
        marks = frozenset(mark.decode() for mark in revoked)
        return Checked(_session(flat, data, rooms), marks, Position(epoch.decode(), int(head)))

    async def user(self, user_id: str) -> User | None:
        """What is known of a user over all servers; None where nothing is."""
        session = (await self.check(user_id)).session
        sockets = self._living(session)
        if not session.exists and not sockets:
            return None
        return User(user_id, session if session.exists else None, sockets)

    async def disconnect(self, user_id: str) -> int:
        """Close all of a user's connections, on every server, with 3003. Returns how many there were."""
        k = keys.user(user_id)
        args: list[Arg] = [k.channel, user_id, self._ttl_ms]
        return int((await self._store.script("kick", [k.session, k.counter, k.recorder], args))[1])

    # --- within ---

    def _living(self, session: Session) -> list[Socket]:
        return [s for s in session.sockets if s.instance not in self._servers.dead]

    def _fence(self, by: Fence | None) -> list[Arg]:
        return ["", 0, self._ttl_ms] if by is None else [by.socket_id, by.order, self._connected_ttl_ms]

    async def _change(self, user_id: str, changes: list[Arg], by: Fence | None) -> None:
        k = keys.user(user_id)
        args = [*self._fence(by), self._most_rooms, *changes]
        answer = await self._store.script(
            "session_update", [k.session, k.data, k.rooms, k.counter, k.recorder], args
        )
        _raise_fenced(answer)
        if answer == [b"full"]:
            raise Refused(Code.TOO_MANY_ROOMS, f"a session has at most {self._most_rooms} rooms")


_key = msgspec.json.Decoder(str)


def _raise_fenced(answer: list[Any]) -> None:
    if answer[0] == b"gone":
        raise Gone(int(answer[1] or 0))
    if answer[0] == b"lost":
        raise Forgotten


def _data(flat: Sequence[bytes]) -> dict[str, Raw]:
    return {_key.decode(flat[i]): Raw(flat[i + 1]) for i in range(0, len(flat), 2)}


def _session(flat: Sequence[bytes], data: Sequence[bytes], rooms: Sequence[bytes]) -> Session:
    fields: dict[str, str] = {}
    sockets: list[Socket] = []
    named: dict[str, list[str]] = {LINE: [], SEATS: []}
    each = iter(flat)
    for field, text in zip(each, each, strict=True):
        kind, colon, name = field.decode().partition(":")
        value = text.decode()
        if not colon:
            fields[kind] = value
        elif kind == SOCKET:
            instance, _, order = value.rpartition(":")
            sockets.append(Socket(name, instance, int(order)))
        elif kind in named:
            named[kind].append(name)
    if len(sockets) > 1:
        sockets.sort(key=lambda s: s.connected_at)
    return Session(
        exists="la" in fields,
        event_id=fields.get("ev"),
        queue_event_id=fields.get("qe"),
        seat_event_id=fields.get("se"),
        last_activity=int(fields["la"]) if "la" in fields else None,
        data=_data(data),
        rooms=[room.decode() for room in rooms],
        sockets=sockets,
        kicked_at=int(fields.get("k", 0)),
        last_instance=fields.get("o"),
        lines=frozenset(named[LINE]),
        holds=frozenset(named[SEATS]),
    )
