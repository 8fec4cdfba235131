"""A session names the events in which its user holds seats, or nobody would look for them when it is back."""

from typing import Any

import pytest

from session import keys
from session.events import EventDraft
from session.sale import Who
from tests.support.parts import Cluster, Server, Tab
from tests.support.sale import assert_one_holder
from tests.support.waiting import eventually

EVENT = "42"
SESSION = keys.user("mina").session


async def put(cluster: Cluster, **settings: Any) -> None:
    draft = EventDraft(title="A", seats=[f"A-{n}" for n in range(1, 9)], **settings)
    await cluster.server(1).services.events.put(EVENT, draft)


async def come(server: Server) -> Tab:
    tab = Tab(server, "mina")
    await tab.sign_in()
    return tab


async def hold(tab: Tab, *seats: str) -> list[str]:
    answer = await tab.call("hold-seats", eventId=EVENT, seats=[*seats])
    assert answer is not None
    held: list[str] = answer["held"]
    return held


async def finds(server: Server) -> list[str]:
    """The seats that who comes back is told to hold."""
    back = await come(server)
    (restored,) = (frame for frame in back.heard if frame["type"] == "session-restored")
    held: list[str] = restored["seats"]["held"]
    return held


def scripts_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a server asks the store for from now on for its users."""
    asked: list[str] = []
    run = server.services.store.script

    async def noted(name: str, *args: Any, **more: Any) -> Any:
        if name in {"session_name", "hold", "session_update", "release"}:
            asked.append(name)
        return await run(name, *args, **more)

    monkeypatch.setattr(server.services.store, "script", noted)
    return asked


async def test_who_holds_seats_has_named_the_event(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One script a seat, when others are held already; from another tab, too."""
    await put(cluster)
    server = cluster.server(0)
    tab, other = await come(server), await come(server)
    asked = scripts_of(server, monkeypatch)
    await hold(tab, "A-1")
    assert ["session_name", "hold", "session_update"] == asked
    await eventually(lambda: other.heard[-1].get("held") == ["A-1"], "the other tab is told")

    asked.clear()
    await hold(tab, "A-2")
    assert ["hold"] == asked
    assert ["A-1", "A-2", "A-3"] == await hold(other, "A-3")
    assert "session_name" not in asked

    await tab.call("release-seats", eventId=EVENT)
    asked.clear()
    await hold(tab, "A-4")
    assert ["session_name", "hold"] == asked[:2]
    assert_one_holder(cluster.redis, EVENT)


async def test_a_hold_that_ends_soon_is_no_name(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may end before the next one begins, and the name be forgotten between."""
    await put(cluster, hold_seconds=2.5)
    server = cluster.server(0)
    tab = await come(server)
    await hold(tab, "A-1")
    asked = scripts_of(server, monkeypatch)

    await hold(tab, "A-2")

    assert "session_name" == asked[0]
    assert_one_holder(cluster.redis, EVENT)


@pytest.mark.parametrize("seat", ["A-2", "A-1"], ids=["another seat", "the same seat"])
async def test_the_event_is_named_anew_where_those_seats_were_given_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, seat: str
) -> None:
    """Elsewhere, which was not heard yet; and so many other events were named that this one was forgotten."""
    await put(cluster)
    server, far = cluster.server(0), cluster.server(1).services
    tab = await come(server)
    await hold(tab, "A-1")
    monkeypatch.setattr(server.services.listener.notices, "on_holding", lambda *_: None)
    await far.seats.release(EVENT, Who("mina"))
    cluster.redis.hdel(SESSION, f"h:{EVENT}", "se")

    assert [seat] == await hold(tab, seat)

    assert cluster.redis.hexists(SESSION, f"h:{EVENT}")
    assert [seat] == await finds(cluster.server(1))
    assert_one_holder(cluster.redis, EVENT)


async def test_a_name_that_a_failover_has_lost_is_written_back(cluster: Cluster) -> None:
    """The store has lost its newest writes, not the connection; held on that is not named again."""
    await put(cluster, capacity=1)
    server = cluster.server(0).services
    tab = await come(cluster.server(0))
    await tab.call("join-queue", eventId=EVENT)
    await hold(tab, "A-1")
    cluster.redis.hdel(SESSION, f"h:{EVENT}", f"w:{EVENT}", "se", "qe")

    assert server.leases.on_incarnation is not None
    await server.leases.on_incarnation()

    await eventually(
        lambda: {f"h:{EVENT}", f"w:{EVENT}", "se", "qe"} <= {*cluster.redis.hkeys(SESSION)}, "it is named"
    )
    assert ["A-1"] == await finds(cluster.server(1))
    assert_one_holder(cluster.redis, EVENT)
