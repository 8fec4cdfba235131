"""What the notices of a user's bucket make this server do, and whether one was missed.

Each notice in a bucket carries the bucket's counter; a jump means that one was lost, and that what is
known of the users of that bucket must be read again.
"""

from collections.abc import Callable

from session.hub import Hub
from session.protocol import Close, Code, Refused
from session.seats import Holding

OnHolding = Callable[[str, str, str, Holding], None]


class Notices:
    """Acts on notices; `known` is the last number heard in each bucket."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.known: dict[str, int] = {}
        self.on_jump: Callable[[str], None] = lambda bucket: None
        """Told the bucket in which a notice was missed."""
        self.on_line: Callable[[str, str], None] = lambda event_id, user_id: None
        """Told an event, and a user who has got a place in a line through another server."""
        self.on_seats: Callable[[str, str], None] = lambda event_id, user_id: None
        """Told an event, and a user who has got seats in an event through another server."""
        self.on_holding: OnHolding = lambda event_id, user_id, by, holding: None
        """Told what a user holds from now on, and by which socket."""

    def count(self, bucket: str, number: int) -> None:
        """A notice has come."""
        known = self.known.get(bucket)
        if known is not None and number > known + 1:
            self.on_jump(bucket)
        if known is None or number > known:
            self.known[bucket] = number

    def act(self, kind: bytes, text: str) -> None:
        """Do what a notice says: ``i`` counts, ``x`` replaced, ``d`` removed, ``k`` revoked, ``q`` has a
        place in a line, ``s`` has seats, ``h`` holds these from now on."""
        if kind == b"i":
            event_id, instance, count = text.split(" ")
            room = self._hub.rooms.get(f"event:{event_id}")
            if room is not None:
                room.hear_count(instance, int(count))
        elif kind == b"x":
            user_id, *sockets = text.split(" ")
            gone = frozenset(sockets)
            self._hub.close_user(user_id, Close.REPLACED, "replaced", lambda c: c.socket_id in gone)
        elif kind == b"d":
            user_id, at = text.split(" ")
            self._hub.close_user(user_id, Close.REMOVED, "removed", lambda c: c.attached_at <= int(at))
        elif kind == b"k":
            user_id, mark = text.split(" ")
            self.revoke(user_id, frozenset((mark,)))

        elif kind == b"q":
            user_id, event_id = text.split(" ")
            self.on_line(event_id, user_id)
        elif kind == b"s":
            user_id, event_id = text.split(" ")
            self.on_seats(event_id, user_id)
        elif kind == b"h":
            event_id, user_id, by, first, until, version, *seats = text.split(" ")
            holding = Holding(int(first), int(until), int(version), [*filter(None, seats)])
            self.on_holding(event_id, user_id, by, holding)

    def revoke(self, user_id: str, marks: frozenset[str]) -> None:
        """Close those of a user's connections here whose token is among the revoked."""
        for connection in list(self._hub.users.get(user_id, ())):
            if connection.identity is not None and connection.identity.is_revoked_by(marks):
                connection.refuse(Refused(Code.TOKEN_REVOKED, "this sign-in has ended"))
