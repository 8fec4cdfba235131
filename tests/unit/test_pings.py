"""How long a ping was under way: measured where the answer says it, and only there."""

import time

import pytest

from session.connection import Connection


class Pipe:
    """A transport that counts pings."""

    def __init__(self) -> None:
        self.pings = 0

    def ping(self) -> None:
        self.pings += 1


@pytest.fixture
def connection() -> Connection:
    """One that pings whenever it is asked what is due, and waits for long."""
    pipe = Pipe()
    return Connection(
        pipe,  # type: ignore[arg-type]
        auth_timeout=1e6,
        ping_interval=0,
        ping_timeout=1e6,
        max_backlog=1,
    )


def test_an_answer_says_how_long_the_ping_was_under_way(connection: Connection) -> None:
    """From when it was sent; the second of two under way says nothing that is not known."""
    sent_at = time.monotonic()
    connection.on_due(sent_at)
    connection.on_due(sent_at + 1)

    seconds = connection.ponged()

    assert seconds is not None
    assert 0 <= seconds <= time.monotonic() - sent_at
    assert connection.ponged() is None


def test_what_nobody_asked_for_is_not_measured(connection: Connection) -> None:
    """A client may send pongs as it likes."""
    assert connection.ponged() is None


def test_an_answer_that_was_read_late_is_not_measured(connection: Connection) -> None:
    """No frame is read while a command runs: that is the server's time, not the network's."""
    connection.on_due(time.monotonic())
    connection.busy = True
    connection.done()
    late = connection.ponged()
    connection.on_due(time.monotonic())

    assert late is None
    assert connection.ponged() is not None
