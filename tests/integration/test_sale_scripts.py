"""The scripts of a sale on each of the supported stores: atomic, idempotent, nothing when they are late."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from session import keys
from session.config import Config
from session.events import EventDraft, Events
from session.protocol import Code, Refused
from session.sale import Replaced, Who
from session.seats import NOTHING, Holding, Seats
from session.store import Store, Unavailable
from session.waiting_room import ADMITTED, WAITING, Place, WaitingRooms
from tests.conftest import Stores
from tests.support.sale import assert_one_holder, holds
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

CONFIG = Config(queue_grace=60, entry_grace=60)
EVENT = "42"
K = keys.sale(EVENT)
MINA, NOAH = Who("mina"), Who("noah")


@dataclass
class Server:
    """One server of several, as the store knows it."""

    instance: str


class Sale:
    """The services of a sale on one store."""

    def __init__(self, store: Store, process: StoreProcess, config: Config = CONFIG) -> None:
        self.client = process.client
        self.events = Events(store, config)
        self.seats = Seats(store, config)
        self.line = WaitingRooms(store, config, Server("i-a"))
        self.other = WaitingRooms(store, config, Server("i-b"))

    async def put(self, **settings: Any) -> None:
        settings = {"seats": [f"A-{n}" for n in range(1, 21)], **settings}
        await self.events.put(EVENT, EventDraft(title="A concert", **settings))

    async def join(self, user: str) -> Place:
        return await self.line.join(EVENT, Who(user))


@pytest.fixture
def sale(store: Store, store_process: StoreProcess) -> Sale:
    return Sale(store, store_process)


async def refusal(work: Awaitable[Any]) -> Code:
    """Why something is refused."""
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


# --- seats ---


async def test_of_fifty_who_want_a_seat_one_gets_it(sale: Sale) -> None:
    """At the same moment, each with another one that nobody else wants: all or nothing."""
    await sale.put(seats=["A-1", *(f"B-{n}" for n in range(50))])
    works = (sale.seats.hold(EVENT, Who(f"user-{n}"), [f"B-{n}", "A-1"]) for n in range(50))

    outcomes = await asyncio.gather(*works, return_exceptions=True)

    assert {Holding: 1, Refused: 49} == Counter(map(type, outcomes))
    assert 1 == len(holds(sale.client, EVENT))
    assert b"h" * 2 == bytes(sale.client.get(K.map).encode()).replace(b"a", b"")
    assert_one_holder(sale.client, EVENT)


async def test_each_operation_may_be_repeated(sale: Sale) -> None:
    """An answer that was lost is asked for again: nothing happens twice."""
    await sale.put()
    first = [await sale.seats.hold(EVENT, MINA, ["A-1", "A-2"]) for _ in range(2)]
    await sale.seats.hold(EVENT, NOAH, ["A-3"])
    booked = [await sale.seats.book(EVENT, "mina", ["A-1"], "order") for _ in range(2)]
    released = [await sale.seats.release(EVENT, MINA) for _ in range(2)]
    for _ in range(2):
        await sale.seats.refund(EVENT, ["A-1"])

    assert first[0].until == first[1].until
    assert booked[0] == booked[1]
    assert [True, False] == [held for held, _ in released]
    assert {"noah": {2: "A-3"}} == holds(sale.client, EVENT)
    assert_one_holder(sale.client, EVENT)


async def test_a_hold_that_is_over_is_anothers(sale: Sale) -> None:
    """In the very script that asks for the seat, whether or not a sweep has been by; and it is told."""
    await sale.put(hold_seconds=1)
    await sale.seats.hold(EVENT, MINA, ["A-1"])

    async def taken() -> bool:
        try:
            return bool(await sale.seats.hold(EVENT, NOAH, ["A-1"]))
        except Refused:
            return False

    await eventually(taken, "the hold is over")

    assert NOTHING.seats == (await sale.seats.mine(EVENT, MINA)).seats
    assert Code.SEAT_UNAVAILABLE == await refusal(sale.seats.book(EVENT, "mina", ["A-1"], ""))
    await eventually(lambda: sale.seats.flush(EVENT), "it is published")
    told = [fields["p"] for _, fields in sale.client.xrange(K.seats_stream)]
    assert 1 == sum(re.search(r"^x mina \d+ A-1$", private, re.MULTILINE) is not None for private in told)
    assert_one_holder(sale.client, EVENT)


async def test_a_replaced_connection_changes_nothing(sale: Sale) -> None:
    """From the moment that its successor has been in the event, for as long as it may still speak."""
    await sale.put(capacity=5)
    old, new = Who("mina", "old-socket"), Who("mina", "new-socket", replaces="old-socket")
    await sale.line.join(EVENT, old)
    held = await sale.seats.hold(EVENT, old, ["A-1"])
    await sale.line.arrive(EVENT, new)

    for work in (
        sale.line.leave(EVENT, old),
        sale.seats.release(EVENT, old),
        sale.seats.hold(EVENT, old, ["A-2"]),
        sale.seats.extend(EVENT, old),
        sale.line.join(EVENT, old),
    ):
        with pytest.raises(Replaced):
            await work  # type: ignore[misc]

    place = await sale.line.arrive(EVENT, Who("mina", "new-socket"))
    assert place is not None
    assert place.status == ADMITTED
    assert held.seats == (await sale.seats.mine(EVENT, Who("mina", "new-socket"))).seats


async def test_a_changing_list_of_seats_is_loaded_again(sale: Sale) -> None:
    """A server that knows an older one finds the seats where they are now."""
    await sale.put()
    elsewhere = Sale.__new__(Sale)
    elsewhere.__dict__ |= sale.__dict__
    await sale.seats.hold(EVENT, MINA, ["A-20"])
    await elsewhere.events.put(EVENT, EventDraft(title="B", seats=[f"A-{n}" for n in (20, 5, 77)]))

    held = await sale.seats.hold(EVENT, MINA, ["A-77"])
    unknown = await refusal(sale.seats.hold(EVENT, MINA, ["A-1"]))

    assert (["A-20", "A-77"], Code.UNKNOWN_SEAT) == (held.seats, unknown)
    assert (await sale.line.figures(EVENT)).available == 1


# --- the line ---


async def test_joins_at_once_are_in_order_and_within_the_capacity(sale: Sale) -> None:
    """A hundred at the same moment: seven are in, the others have a number each, and no number twice."""
    await sale.put(capacity=7)

    places = await asyncio.gather(*(sale.join(f"user-{n}") for n in range(100)))

    assert {ADMITTED: 7, WAITING: 93} == Counter(place.status for place in places)
    assert list(range(1, 94)) == [place.position for place in places if place.status == WAITING]
    assert 93 == len({place.seq for place in places if place.status == WAITING})
    assert 7 == sale.client.zcard(K.admitted)


async def test_no_more_are_let_in_than_the_rate_allows(sale: Sale) -> None:
    """What was saved up is a second's worth; a rate below one a second lets one in, then waits its time."""
    await sale.put(capacity=1000, admit_per_second=5)
    began = sale.client.time()[0]
    places = await asyncio.gather(*(sale.join(f"user-{n}") for n in range(50)))
    at_once = [place.status for place in places].count(ADMITTED)
    seconds = sale.client.time()[0] - began + 1
    await sale.events.delete(EVENT)
    await sale.put(capacity=1000, admit_per_second=0.05)
    slow = [(await sale.join(f"user-{n}")).status for n in range(3)]

    assert 5 <= at_once <= 5 + 5 * seconds
    assert [ADMITTED, WAITING, WAITING] == slow


async def test_any_ten_seconds_hold_ten_times_the_rate(sale: Sale) -> None:
    """What was saved up in the last second does not lengthen them: fifty in nine seconds, and nobody more."""
    await sale.put(capacity=1000, admit_per_second=5)
    seconds, micros = sale.client.time()
    now = seconds * 10 + micros // 100_000
    sale.client.rpush(K.rate, *(f"{now - n} 10" for n in (20, 40, 60, 80, 90)))

    full = await sale.join("full")
    sale.client.lset(K.rate, 4, f"{now - 110} 10")
    free = await sale.join("next")

    assert (WAITING, ADMITTED) == (full.status, free.status)
    assert {"full", "next"} == set(sale.client.zrange(K.admitted, 0, -1))


async def test_nobody_is_let_in_while_a_failover_settles(sale: Sale) -> None:
    """Who was let in by writes that were lost comes first; after a moment the line goes on."""
    await sale.put(capacity=2)
    await sale.join("in")
    sale.client.hset(K.state, "ainc", "0" * 10)

    early = await sale.join("early")
    settle = int(sale.client.hget(K.state, "settle"))
    seconds, micros = sale.client.time()
    sale.client.hset(K.state, "settle", 1)
    await sale.line.tick(EVENT)

    assert WAITING == early.status
    assert 1000 < settle - (seconds * 1000 + micros // 1000) <= 3000
    assert {"in", "early"} == set(sale.client.zrange(K.admitted, 0, -1))


async def test_an_admission_is_kept_by_coming_back_and_never_past_its_end(sale: Sale) -> None:
    """Away it ends with the grace, or sooner; back, it stands; reported twice it is no longer."""
    await sale.put(capacity=5, admission_seconds=20)
    place = await sale.join("mina")
    await sale.line.depart(EVENT, ["mina"])
    capped = sale.client.zscore(K.admitted, "mina")
    await sale.events.put(EVENT, EventDraft(title="A", capacity=5, seats=["A-1"]))
    await sale.join("noah")
    await sale.line.depart(EVENT, ["noah"])
    away = sale.client.zscore(K.admitted, "noah")
    await sale.line.depart(EVENT, ["noah"])
    twice = sale.client.zscore(K.admitted, "noah")
    await sale.line.arrive(EVENT, NOAH)

    assert place.until == capped
    assert away == twice < 9e15
    assert 9e15 < sale.client.zscore(K.admitted, "noah")


async def test_the_rate_is_measured_not_assumed(sale: Sale) -> None:
    """Six came in the ten seconds after the first ones, whatever the settings would allow."""
    await sale.put(capacity=1, admit_per_second=50)
    await sale.join("in")
    waiting = await sale.join("waiting")
    now = sale.client.time()[0]
    sale.client.hset(K.state, "m", f"{now - 1} 2 {now - 6} 4 {now - 11} 9 {now - 70} 500")
    await sale.line.tick(EVENT)

    place = await sale.join("waiting")

    assert waiting.figures.eta_seconds(1) is None
    assert 6 == place.figures.moved
    assert 9_000 <= place.figures.span_ms <= 12_000
    assert 14 <= (place.figures.eta_seconds(9) or 0) <= 19
    absent = place.figures._replace(total=4, present=2)
    assert 7 <= (absent.eta_seconds(9) or 0) <= 10


async def test_changes_of_seats_wait_a_tenth_of_a_second_at_most(sale: Sale) -> None:
    """By the store's clock: what came too soon after a frame is in the next one, as soon as it may go."""
    await sale.put(max_seats=20)
    # once the store knows both scripts, what follows the first frame leaves in one write: no time goes by
    await sale.seats.release(EVENT, MINA, ["A-1"])
    await sale.seats.hold(EVENT, MINA, ["A-1"])
    await asyncio.gather(
        sale.seats.hold(EVENT, MINA, ["A-2", "A-3"]), sale.seats.release(EVENT, MINA, ["A-3"])
    )
    await eventually(lambda: sale.seats.flush(EVENT), "it is published")

    entries = [fields for _, fields in sale.client.xrange(K.seats_stream)]
    assert 2 == len(entries)
    assert '"seats":{"A-2":"held"}' in entries[1]["f"]
    assert 100 <= int(entries[1]["t"]) - int(entries[0]["t"]) < 800


async def test_who_is_connected_elsewhere_is_not_absent(sale: Sale) -> None:
    """A server knows of another one only when it is told; then it asks again, and the user stays."""
    await sale.put(capacity=1)
    await sale.join("first")
    for line in (sale.line, sale.other):
        await line.join(EVENT, MINA)

    await sale.line.depart(EVENT, ["mina", "first"])
    still = sale.client.zrange(K.present, 0, -1)
    await sale.other.depart(EVENT, ["mina"])

    assert (["mina"], ["mina"]) == (still, sale.client.zrange(K.absent, 0, -1))
    assert sale.client.zscore(K.admitted, "first") < 9e15


async def test_a_place_is_put_back_only_where_it_was_lost(sale: Sale) -> None:
    """Within the numbers that a rollback has lost, in the same event; what is there stands."""
    await sale.put(capacity=1)
    await sale.join("in")
    mina, lost = await sale.join("mina"), await sale.join("lost")
    left = await sale.join("left")
    await sale.line.leave(EVENT, Who("left"))
    # the store goes back to before `lost` came, and is another incarnation
    sale.client.zrem(K.present, "lost")
    sale.client.hset(K.state, mapping={"inc": "0" * 10, "seq": mina.seq})

    known = [("mina", mina.seq, None), ("lost", lost.seq, None), ("older", mina.seq - 1, None)]
    await sale.line.put_back(EVENT, "another event", known)
    nothing = sale.client.zscore(K.present, "lost")
    await sale.line.put_back(EVENT, mina.made, known)
    late = await sale.join("late")
    await sale.line.put_back(EVENT, mina.made, known)

    assert nothing is None
    line = sale.client.zrange(K.present, 0, -1, withscores=True)
    assert [("mina", mina.seq), ("lost", lost.seq), ("late", late.seq)] == line
    assert late.seq > left.seq + 900_000


async def test_an_admission_is_put_back_with_its_end(sale: Sale) -> None:
    """Servers hear of that end too, and not of one that is as far off as that of whoever is let in now."""
    await sale.put(capacity=2, admission_seconds=100)
    mina = await sale.join("mina")
    sale.client.delete(K.admitted, K.cap)
    sale.client.hset(K.state, mapping={"inc": "0" * 10, "ainc": "0" * 10})
    until = (mina.until or 0) - 60_000

    await sale.line.put_back(EVENT, mina.made, [("mina", 1, until), ("vip", 2, 0)])

    told = [fields["p"] for _, fields in sale.client.xrange(K.ledger_stream)]
    assert [f"A {until} 0 mina\nA 0 0 vip"] == told[-1:]
    assert {"mina": until, "vip": 2**53 - 1} == dict(sale.client.zrange(K.admitted, 0, -1, withscores=True))
    assert {"mina": str(until)} == sale.client.hgetall(K.cap)


# --- all of them ---


@pytest.mark.parametrize(
    "work",
    [
        lambda sale: sale.seats.hold(EVENT, MINA, ["A-5"]),
        lambda sale: sale.seats.hold_best(EVENT, MINA, 2, None),
        lambda sale: sale.seats.extend(EVENT, MINA),
        lambda sale: sale.seats.release(EVENT, MINA),
        lambda sale: sale.seats.book(EVENT, "mina", ["A-1"], "key"),
        lambda sale: sale.seats.refund(EVENT, ["A-2"]),
        lambda sale: sale.seats.mine(EVENT, MINA),
        lambda sale: sale.seats.flush(EVENT),
        lambda sale: sale.join("late"),
        lambda sale: sale.line.arrive(EVENT, MINA),
        lambda sale: sale.line.leave(EVENT, MINA),
        lambda sale: sale.line.depart(EVENT, ["mina"]),
        lambda sale: sale.line.put_back(EVENT, "made", [("mina", 1, None)]),
        lambda sale: sale.line.pause(EVENT, True),
        lambda sale: sale.line.admit(EVENT, "noah"),
        lambda sale: sale.line.tick(EVENT),
        lambda sale: sale.line.retire([EVENT]),
    ],
)
async def test_nothing_is_changed_by_who_comes_late(
    work: Callable[[Sale], Awaitable[Any]], sale: Sale, store: Store
) -> None:
    """A server whose lease is over and cannot be renewed changes nothing, and knows that."""
    await sale.put(capacity=1)
    for user in ("mina", "noah"):
        await sale.join(user)
    await sale.seats.hold(EVENT, MINA, ["A-1", "A-2"])
    await sale.seats.book(EVENT, "mina", ["A-2"], "")
    before = {key: sale.client.dump(key) for key in sorted(sale.client.keys("*"))}
    store.clock.lease_end_ms = 1

    with pytest.raises(Unavailable) as caught:
        await work(sale)

    assert "none" == caught.value.outcome
    assert before == {key: sale.client.dump(key) for key in sorted(sale.client.keys("*"))}


async def test_nothing_is_changed_by_who_spoke_before_a_gap(sale: Sale, store: Store) -> None:
    """A lease that was over and is renewed gives no power to a connection of before: it may have been
    replaced meanwhile. In its own term it may."""
    await sale.put(capacity=1)
    before_gap = Who("mina", "socket", term=store.clock.term)
    await sale.line.join(EVENT, before_gap)
    await sale.seats.hold(EVENT, before_gap, ["A-1", "A-2"])
    before = {key: sale.client.dump(key) for key in sorted(sale.client.keys("*"))}
    now, end = store.clock.now_ms(), store.clock.lease_end_ms
    store.clock.lease_end_ms = now - 1
    store.clock.set(now, end)
    outcomes = []
    for work in (
        sale.line.leave(EVENT, before_gap),
        sale.line.join(EVENT, before_gap),
        sale.seats.release(EVENT, before_gap, ["A-1"]),
        sale.seats.extend(EVENT, before_gap),
        sale.seats.hold(EVENT, before_gap, ["A-3"]),
    ):
        with pytest.raises(Unavailable) as caught:
            await work
        outcomes.append(caught.value.outcome)

    assert ["none"] * 5 == outcomes
    assert before == {key: sale.client.dump(key) for key in sorted(sale.client.keys("*"))}
    assert (await sale.line.leave(EVENT, Who("mina", "socket", term=store.clock.term))).had


async def test_a_booking_says_whether_the_replicas_have_it(
    own_store: Callable[..., StoreProcess], stores: Stores
) -> None:
    """True while they follow, False where one is silent; either way it is sold."""
    primary, replica = own_store(), own_store()
    replica.follow(primary)
    await eventually(
        lambda: primary.info("replication")["slave0"]["state"] == "online",
        "the primary counts on its replica",
    )
    sale = Sale(await stores(primary.url), primary)
    await sale.put()
    await sale.seats.hold(EVENT, MINA, ["A-1", "A-2"])

    async def is_kept(seat: str, order: str) -> bool:
        return (await sale.seats.book(EVENT, "mina", [seat], order)).replicated is True

    # a replica that has just come may answer a second later than one that has long been there
    await eventually(lambda: is_kept("A-1", "one"), "the replica has it", 30)
    replica.freeze()
    unsure = await sale.seats.book(EVENT, "mina", ["A-2"], "two")
    replica.thaw()

    assert unsure.replicated is False
    await eventually(lambda: is_kept("A-2", "two"), "the replica has it too", 30)
    assert unsure == (await sale.seats.book(EVENT, "mina", ["A-2"], "two"))._replace(replicated=False)


async def test_a_silent_replica_holds_up_one_booking_and_not_all(
    own_store: Callable[..., StoreProcess], stores: Stores
) -> None:
    """Who comes behind the one that waits in vain is told at once that it is not known."""
    primary, replica = own_store(), own_store()
    replica.follow(primary)
    sale = Sale(await stores(primary.url), primary)
    await sale.put(max_seats=20)
    await sale.seats.hold(EVENT, MINA, [f"A-{n}" for n in range(1, 21)])
    replica.freeze()
    works = (sale.seats.book(EVENT, "mina", [f"A-{n}"], "") for n in range(1, 21))

    booked = await asyncio.gather(*works)
    replica.thaw()

    assert [False] * 20 == [booking.replicated for booking in booked]
    assert 20 == (await sale.line.figures(EVENT)).sold
