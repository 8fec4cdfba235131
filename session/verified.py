"""Tokens that were found good a while ago, and whom they name: who loses a line comes back with the same one.

What a token says does not change. Whether it has expired is looked at each time, whether it was revoked is
the store's to say, and when the keys change all are verified anew.
"""

import time
from collections import deque
from hashlib import sha256

from session.identity import Identity


class Verified:
    """``most`` of them, the newest; none for longer than its token is good."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: object = None
        self._known: dict[bytes, Identity] = {}
        """Not by the tokens themselves: they are long, and whoever has one is its user."""
        self._order: deque[bytes] = deque()
        """The oldest first. A dictionary finds its own first entry by a walk over all that were removed."""

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str, keys: object) -> Identity | None:
        """Whom a token names that ``keys`` have verified, and that has not expired."""
        if keys is not self._keys:
            self._keys = keys
            self._known.clear()
            self._order.clear()
            return None
        known = self._known.get(_name(token))
        return known if known is not None and known.expires_at > time.time() else None

    def keep(self, token: str, identity: Identity) -> None:
        """A token was verified by the keys that `find` was asked about."""
        name = _name(token)
        if name not in self._known:
            self._make_room()
            self._order.append(name)
        self._known[name] = identity

    def _make_room(self) -> None:
        """Two go for one that comes, where their time is over: never all of them at once."""
        known, order = self._known, self._order
        for _ in range(2):
            if len(order) >= self._most or (order and known[order[0]].expires_at <= time.time()):
                del known[order.popleft()]


def _name(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()
