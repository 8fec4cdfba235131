"""Who a client is by its token, and what that opens; and the marks by which tokens are revoked."""

from collections.abc import Iterable

from msgspec import Struct

OPEN = frozenset({"event", "queue", "seats"})
"""Namespaces that a token opens without a pattern."""
CLOSED = frozenset({"user", "queue", "seats"})
"""Namespaces that no pattern opens."""


class Identity(Struct, frozen=True):
    """What a valid token says. ``expires_at`` is Unix seconds, ``sign_in`` the claim ``sid``."""

    user_id: str
    role: str
    expires_at: int
    sign_in: str | None
    marks: tuple[str, ...]
    """Each of them ends it when it is among the user's revoked ones; the last is of this very token."""
    issued_at_ms: int = 0
    """Unix ms by the clock of who signed it; 0 where the token does not say."""
    rooms: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """What signing out with this token revokes: the sign-in, or the token where it names none."""
        return self.marks[-1] if self.sign_in is None else sign_in_mark(self.sign_in)

    def is_revoked_by(self, revoked: Iterable[str]) -> bool:
        """Whether one of a user's revocations means this token: a mark of its own, or ``i:`` and until when
        (Unix ms) all that was issued is revoked."""
        return any(
            self.issued_at_ms <= int(mark[2:]) if mark.startswith("i:") else mark in self.marks
            for mark in revoked
        )

    def may_join(self, room: str) -> bool:
        """Whether the user may be in a room; who has a place in a line is not asked here."""
        namespace, _, ident = room.partition(":")
        if namespace == "user":
            return ident == self.user_id
        if namespace in OPEN:
            return True
        return namespace not in CLOSED and _matches(self.rooms, room)

    def may_publish(self, room: str) -> bool:
        """Whether the user may say something in a room."""
        return room.partition(":")[0] not in CLOSED and _matches(self.publish, room)


def sign_in_mark(sign_in: str) -> str:
    """The revocation mark of a sign-in."""
    return f"s:{sign_in}"


def token_mark(jti: str) -> str:
    """The revocation mark of a token that has a name of its own."""
    return f"j:{jti}"


def _matches(patterns: Iterable[str], room: str) -> bool:
    return any(room.startswith(p[:-1]) if p.endswith("*") else room == p for p in patterns)
