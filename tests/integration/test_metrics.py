"""What operators see of a sale and of those who come back, on two real servers."""

from collections.abc import Callable

from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.servers import ServerProcess
from tests.support.tokens import token
from tests.support.waiting import eventually

PATIENCE = 30.0


async def counted(server: ServerProcess, name: str, is_so: Callable[[float], bool]) -> float:
    """A metric, as soon as it is so."""

    def read() -> tuple[float] | None:
        value = server.metric(name)
        return (value,) if is_so(value) else None

    return (await eventually(read, f"{name} is right", PATIENCE))[0]


async def test_a_sale_in_figures(servers: Servers, connect: Connect) -> None:
    """Who waits, is let in, and after how long; who did not come; what is held, refused and sold: the same on
    each server where the store says it, and each server's own where it does it itself."""
    a, b = servers(2, entry_grace=1)
    api = Api(a)
    await api.put(
        "/api/events/1",
        {"title": "E", "seats": ["A-1", "A-2"], "capacity": 1, "holdSeconds": 600, "admissionSeconds": 3600},
    )
    first, second = await connect(a, user="first"), await connect(b, user="second")
    await first.do("join-queue", eventId="1")
    await second.do("join-queue", eventId="1")
    waiting = [await counted(s, "keepseat_queue_waiting", lambda n: n == 1) for s in (a, b)]
    # a server that was slow to start knows nothing of what was before its first look
    before = [s.metric("keepseat_queue_admissions_total") for s in (a, b)]
    await first.do("leave-queue", eventId="1")
    await second.expect("queue-entry-allowed", PATIENCE)
    await second.do("hold-seats", eventId="1", seats=["A-1", "A-2"])
    held = [await counted(s, "keepseat_seats_held", lambda n: n == 2) for s in (a, b)]
    await api.post("/api/events/1/bookings", {"userId": "second", "seats": ["A-1"]}, Idempotency_Key="k")
    await api.post("/api/events/1/bookings", {"userId": "second", "seats": ["A-1"]}, Idempotency_Key="k")
    await api.post("/api/events/1/bookings", {"userId": "first", "seats": ["A-2"]})
    await api.post("/api/events/1/holds/second", {"action": "release"})
    sold = [await counted(s, "keepseat_seats_sold", lambda n: n == 1) for s in (a, b)]
    await second.drop()
    no_shows = [await counted(s, "keepseat_queue_no_shows_total", lambda n: n > 0) for s in (a, b)]

    assert ([1, 1], [2, 2], [1, 1], [1, 1]) == (waiting, held, sold, no_shows)
    assert [n + 1 for n in before] == [s.metric("keepseat_queue_admissions_total") for s in (a, b)]
    assert [0, 0] == [await counted(s, "keepseat_queue_admitted", lambda n: n == 0) for s in (a, b)]
    assert [0, 1] == [s.metric("keepseat_queue_wait_seconds_count") for s in (a, b)]
    assert (1, 1) == tuple(a.metric(f'keepseat_bookings_total{{result="{r}"}}') for r in ("ok", "conflict"))


async def test_holds_that_expire_are_counted(servers: Servers, connect: Connect) -> None:
    """Once, though every server looks for them."""
    a, b = servers(2)
    # both have looked at it before it expires: what was before a server's first look is not counted
    await Api(a).put("/api/events/1", {"title": "E", "seats": ["A-1"], "holdSeconds": 3})
    client = await connect(a, user="mina")
    await client.do("hold-seats", eventId="1", seats=["A-1"])
    await client.expect("seats-expired", PATIENCE)

    assert [1, 1] == [await counted(s, "keepseat_holds_expired_total", lambda n: n > 0) for s in (a, b)]


async def test_coming_back_in_figures(servers: Servers, connect: Connect) -> None:
    """To the same server, or another one; with what was missed; or not at all, and why."""
    a, b = servers(2)
    first = await connect(a, user="mina")
    await first.do("join-event", eventId="1")
    await first.drop()
    for n in range(3):
        await Api(b).publish("event:1", {"n": n})
    second = await connect(b, user="mina", before=first)
    assert [{"n": n} for n in range(3)] == await second.expect_messages("event:1", 3, PATIENCE)
    await second.drop()
    third = await connect(b, user="mina", before=second)
    await third.expect("session-restored", PATIENCE)
    stale = token("mina", lifetime=-100)
    refused = await connect(b, user="mina", token=stale, before=third, wait=False)
    await refused.closed(PATIENCE)
    third.assert_contiguous()

    came = {s: b.metric(f'keepseat_reconnects_total{{server="{s}"}}') for s in ("same", "other", "unknown")}
    assert {"same": 1, "other": 1, "unknown": 0} == came
    assert 3 == b.metric("keepseat_recovered_messages_total")
    assert 1 == b.metric('keepseat_reconnect_failures_total{reason="token_expired"}')
    assert 0 < await counted(b, "keepseat_repair_seconds_count", lambda n: n > 0)
