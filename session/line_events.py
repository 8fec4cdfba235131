"""How users are told where they stand in a line, in events and in answers."""

from typing import Any

from msgspec import UNSET

from session.protocol import QueueEntryAllowed, QueueLeft, QueueUpdated
from session.store import Store
from session.tokens import Issuer
from session.waiting_room import ADMITTED, Figures, Place

LineEvent = QueueEntryAllowed | QueueLeft | QueueUpdated


class LineEvents:
    """Makes them; a pass is signed with each admission that is told."""

    def __init__(self, issuer: Issuer, store: Store) -> None:
        self._issuer = issuer
        self._store = store

    def standing(self, user_id: str, event_id: str, place: Place) -> dict[str, Any]:
        """What a client is told of a place, as fields of an answer."""
        if place.status == ADMITTED:
            pass_ = self._pass(event_id, user_id, place.until)
            return {"status": place.status, "expires_at": place.until, "pass_": pass_}
        return {
            "status": place.status,
            "position": place.position,
            "total": max(place.figures.total, place.position),
            "eta_seconds": place.figures.eta_seconds(place.position),
        }

    def of(self, event_id: str, user_id: str, place: Place) -> QueueEntryAllowed | QueueUpdated:
        """The event that says the same."""
        if place.status == ADMITTED:
            return self.allowed(event_id, user_id, place.until)
        return queue_updated(event_id, place.position, place.figures)

    def allowed(self, event_id: str, user_id: str, until: int | None) -> QueueEntryAllowed:
        """The user may enter, until then (Unix ms)."""
        pass_ = self._pass(event_id, user_id, until)
        return QueueEntryAllowed(event_id=event_id, expires_at=until, pass_=pass_)

    def _pass(self, event_id: str, user_id: str, until: int | None) -> str | None:
        """None where this server has no key to sign with."""
        return self._issuer.entry(user_id, event_id, until, self._store.clock.now_ms())


def queue_updated(event_id: str, position: int, figures: Figures) -> QueueUpdated:
    """The user waits, at that position."""
    return QueueUpdated(
        event_id=event_id,
        position=position,
        total=max(figures.total, position),
        eta_seconds=figures.eta_seconds(position),
        available=figures.available,
    )


def queue_left(event_id: str, why: str) -> QueueLeft:
    """The place, or the admission, is gone."""
    return QueueLeft(event_id=event_id, reason=UNSET if why == "left" else why)
