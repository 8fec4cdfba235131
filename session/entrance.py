"""Letting connections in: token, turn, attach; the rest is `restoring`'s. And attaching them again.

Authentication comes first; a stored session never stands in for a token.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from msgspec import UNSET, UnsetType

from session import keys
from session.boards import Boards
from session.claims import Expired
from session.connection import Connection
from session.hub import Hub, State
from session.identity import Identity
from session.janitor import Janitor, plan_renewal
from session.leases import Leases
from session.listener import Listener, Start
from session.lobby import Lobby
from session.manager import (
    Attached,
    Fence,
    Forgotten,
    Gone,
    Session,
    SessionManager,
    is_socket_of,
    new_socket_id,
)
from session.metrics import Metrics
from session.protocol import (
    Authenticated,
    Close,
    Code,
    CommandId,
    Refused,
    Since,
)
from session.recorder import Recorder
from session.restoring import Restorer
from session.sale import Replaced
from session.store import Store, Unavailable
from session.tokens import Verifier
from session.turnstile import Turnstile, retry_after_ms

log = logging.getLogger(__name__)
T = TypeVar("T")


class Entrance:
    """Lets connections in, and attaches them again when the store lost them."""

    def __init__(
        self, *, metrics: Metrics, store: Store, verifier: Verifier, manager: SessionManager,
        restorer: Restorer, hub: Hub, listener: Listener, leases: Leases, janitor: Janitor, lobby: Lobby,
        boards: Boards, recorder: Recorder,
    ) -> None:  # fmt: skip
        self._metrics = metrics
        self._store = store
        self._verifier = verifier
        self._manager = manager
        self._restorer = restorer
        self._hub = hub
        self._listener = listener
        self._leases = leases
        self._janitor = janitor
        self._lobby = lobby
        self._boards = boards
        self._recorder = recorder
        self.turnstile = Turnstile(metrics)

    # --- the token ---

    async def sign_in(
        self,
        connection: Connection,
        token: str,
        resume: Mapping[str, Since | None] | None = None,
        replaces: str = "",
        command_id: CommandId | UnsetType = UNSET,
    ) -> None:
        """Let a connection in, or refuse and close it. Raises nothing that a client can cause."""
        started = time.monotonic()
        connection.token_came()
        try:
            identity = await self._verifier.verify(token)
            if replaces and not is_socket_of(identity.user_id, replaces):
                replaces = ""
            async with self.turnstile.turn(returning=resume is not None):
                if connection.is_open and await self._let_in(
                    connection, identity, resume, replaces, command_id
                ):
                    self._metrics.restore_seconds.observe(time.monotonic() - started)
        except Refused as refused:
            if isinstance(refused, Expired):
                what = f"refused {self._leases.instance} {refused.code.value}"
                self._recorder.note(refused.user_id, what)
            if resume is not None:
                self._metrics.reconnect_failures.labels(refused.code.value).inc()
            # the store is away, or no key set was ever loaded: that is no fault of the token's
            away = refused.code is Code.UNAVAILABLE
            (self.turn_away if away else self.refuse)(connection, refused, command_id)

    async def _let_in(
        self,
        connection: Connection,
        identity: Identity,
        resume: Mapping[str, Since | None] | None,
        replaces: str,
        command_id: CommandId | UnsetType,
    ) -> bool:
        """Attach a connection and restore it; False where it has ended meanwhile.

        Raises:
            Refused: it was not attached.
        """
        attached = await self._attach(connection, identity, replaces)
        if attached is None:
            return False
        try:
            await self._restorer.restore(connection, attached, resume, replaces, command_id)
        except Unavailable as error:
            self.turn_away(connection, error)
            return False
        except Replaced:
            self.removed(connection, Gone(0))
            return False
        return True

    async def renew(self, connection: Connection, token: str, command_id: CommandId | UnsetType) -> None:
        """Take a new token on an open connection; another user's, or a bad one, closes it.

        Raises:
            Refused: the store, or the keys, are out of reach; the old token stands.
        """
        bucket, notices = keys.bucket(connection.user_id), self._listener.notices
        try:
            identity = await self._verifier.verify(token)
            heard = notices.known.get(bucket)
            if identity.user_id != connection.user_id:
                raise Refused(Code.USER_MISMATCH, "the token names another user")
            # a revoked sign-in may not come back by this door either
            if identity.is_revoked_by((await self._manager.check(identity.user_id)).revoked):
                raise Refused(Code.TOKEN_REVOKED, "this sign-in has ended")
        except Refused as refused:
            if refused.code is Code.UNAVAILABLE:
                raise
            self.refuse(connection, refused, command_id)
        else:
            connection.sign_in(identity)
            self._note_renewal(connection, identity)
            connection.send(Authenticated(id=command_id, token_expires_at=identity.expires_at * 1000))
            # a revocation that was heard while the store answered has found the old token here
            if notices.known.get(bucket) != heard:
                self._listener.on_bucket(bucket)

    def refuse(
        self, connection: Connection, refused: Refused, command_id: CommandId | UnsetType = UNSET
    ) -> None:
        """Say why, and close with 3000 and the same word."""
        connection.send(refused.event(command_id))
        connection.close(Close.UNAUTHORIZED, refused.code.value)

    def turn_away(
        self, connection: Connection, error: Refused, command_id: CommandId | UnsetType = UNSET
    ) -> None:
        """The store is away, this server is full, or too many come at once: come back later."""
        later = {**(error.details or {}), "retryAfterMs": retry_after_ms()}
        connection.send(Refused(error.code, error.message, later).event(command_id))
        connection.close(Close.TRY_LATER, error.code.value)

    # --- attaching ---

    async def _attach(self, connection: Connection, identity: Identity, replaces: str) -> Attached | None:
        """The first wait; None where the peer has gone meanwhile. The room of the user is opened before
        the script is sent, so that nothing published after it is missed."""
        socket_id = new_socket_id(identity.user_id)
        room = self._listener.room(f"user:{identity.user_id}")
        term = self._store.clock.term
        try:
            attached = await self._manager.attach(
                identity.user_id, socket_id, marks=identity.marks, issued_at_ms=identity.issued_at_ms,
                replaces=replaces,
            )  # fmt: skip
        except Unavailable:
            # it may have run all the same
            self._janitor.detach_once_more(identity.user_id, socket_id)
            raise
        if not connection.is_open:
            self._janitor.detach_later(identity.user_id, socket_id)
            return None
        self._listener.begin(room, Start(attached.user_room, attached.chain))
        if room.state is State.REPAIRING:
            self._listener.repair(room, "attach")
        connection.socket_id, connection.term = socket_id, term
        connection.attached_at = attached.order
        connection.sign_in(identity)
        plan_renewal(connection, time.monotonic())
        self._hub.add(connection)
        if term != self._store.clock.term:
            # the lease was renewed on the way, and who speaks in it must be known to be attached in it
            await self.reattach(connection)
        self._metrics.opened.inc()
        # a notice about this user that was heard before the answer found no connection to act on
        bucket = keys.bucket(identity.user_id)
        if self._listener.notices.known.get(bucket, 0) > attached.notices:
            self._listener.on_bucket(bucket)
        return attached

    async def reattach(self, connection: Connection) -> None:
        """Attach a connection again that the store has lost, or may have removed, with the rooms that this
        server knows of; close it where it was removed.

        Raises:
            Unavailable: the store did not answer in time.
        """
        if connection.identity is None or not connection.is_open:
            return
        user_id, term, identity = connection.user_id, self._store.clock.term, connection.identity
        try:
            attached = await self._manager.attach(
                user_id, connection.socket_id, marks=identity.marks, issued_at_ms=identity.issued_at_ms,
                order=connection.attached_at,
            )  # fmt: skip
        except Gone as gone:
            self.removed(connection, gone)
            return
        except Refused as refused:
            if isinstance(refused, Unavailable):
                raise
            self.refuse(connection, refused)
            return
        if not connection.is_open:
            self._janitor.detach_later(user_id, connection.socket_id)
            return
        before, connection.attached_at = connection.attached_at, attached.order
        try:
            await self._write_back(connection, attached.session, is_lost=before != attached.order)
        except Unavailable:
            # its old order makes the next attempt find again that there is something to write back
            connection.attached_at = before
            raise
        connection.term = term

    async def _write_back(self, connection: Connection, session: Session, *, is_lost: bool) -> None:
        """Tell the store what this server knows of a session that it has lost; what is there stands. Of one
        that was not lost the newest names may be: without them nobody looks for what is put back there."""
        user_id, by = connection.user_id, fence(connection)
        ids = {
            "event_id": connection.event_id,
            "queue_event_id": connection.queue_event_id,
            "seat_event_id": connection.seat_event_id,
        }
        known = {name: value for name, value in ids.items() if value}
        lines, holds = self._lobby.of(user_id), self._boards.of(user_id)
        try:
            if is_lost and (known or connection.free_rooms):
                await self._manager.update(user_id, {}, defaults=known, join=connection.free_rooms, by=by)
            for event_id in lines:
                if is_lost or event_id not in session.lines:
                    await self._manager.tell_line(user_id, event_id, by=by, again=True)
            for event_id in holds:
                if is_lost or event_id not in session.holds:
                    await self._manager.tell_seats(user_id, event_id, by=by, again=True)
        except Gone as gone:
            self.removed(connection, gone)
        except Forgotten:
            self._janitor.doubt(connection)
        except Unavailable:
            raise
        except Refused as refused:
            log.warning(
                "rooms of a lost session are not written back: %s", refused.message, extra=connection.about
            )

    def removed(self, connection: Connection, gone: Gone) -> None:
        """Close a connection that was removed from its user's."""
        if connection.attached_at <= gone.kicked_at:
            connection.close(Close.REMOVED, "removed")
        else:
            connection.close(Close.REPLACED, "replaced")

    async def attached(self, connection: Connection, change: Callable[[], Awaitable[T]]) -> T:
        """Do something that demands that the connection is attached; once again if the store lost it.

        Raises:
            Unavailable: the store did not answer in time.
            Refused: as ``change`` does.
            Gone: the connection was removed, and has been closed.
        """
        try:
            return await change()
        except Forgotten:
            await self.reattach(connection)
        except Gone as gone:
            self.removed(connection, gone)
            raise
        try:
            return await change()
        except Forgotten:
            raise Unavailable("none") from None

    def _note_renewal(self, connection: Connection, identity: Identity) -> None:
        what = f"renewed {self._leases.instance} {connection.socket_id} {identity.expires_at * 1000}"
        self._recorder.note(connection.user_id, what, what)


def fence(connection: Connection) -> Fence:
    """The mark of a connection in the store, which scripts that change its session demand."""
    return Fence(connection.socket_id, connection.attached_at)
