"""Events in a real store: created, replaced, listed, removed with the histories of their rooms."""

import asyncio
from typing import Any

import msgspec
import pytest

from session import keys
from session.config import Config
from session.events import MAX_EVENTS, EventDraft, Events, Section
from session.protocol import Refused
from session.recovery import Position
from session.rooms import Lost, Page, Rooms
from session.sale import SaleScripts
from session.store import Store, Unavailable
from tests.support.stores import StoreProcess

CONFIG = Config(hold_seconds=300.0, max_hold_seconds=700.0, max_seats=4)
ROOMS = ("event:42", "queue:42", "seats:42")


@pytest.fixture
def events(store: Store) -> Events:
    return Events(store, CONFIG)


@pytest.fixture
def rooms(store: Store) -> Rooms:
    return Rooms(store, CONFIG)


def plain(value: Any) -> Any:
    """A struct as its JSON says it."""
    return msgspec.json.decode(msgspec.json.encode(value))


async def test_an_event_is_created_and_reads_back(events: Events) -> None:
    """The first put creates it; absent settings read as their defaults."""
    put = await events.put("42", EventDraft(title="A concert", seats=["A-1", "A-2"]))
    read = await events.get("42", with_seats=True)

    assert put.created
    assert {
        "id": "42",
        "title": "A concert",
        "venue": None,
        "startsAt": None,
        "capacity": None,
        "admitPerSecond": None,
        "admissionSeconds": None,
        "holdSeconds": 300,
        "maxHoldSeconds": 700,
        "maxSeats": 4,
        "seatCount": 2,
        "seats": ["A-1", "A-2"],
    } == plain(read)


async def test_everyone_sees_only_what_there_is_to_see(events: Events) -> None:
    """The public view tells of the waiting room, not how large or fast it is."""
    put = await events.put(
        "42",
        EventDraft(
            title="A concert",
            venue="Hall",
            starts_at=5,
            capacity=9,
            admit_per_second=2,
            sections=[Section(name="VIP", rows=2, seats_per_row=3, price=165_000)],
        ),
    )

    assert {
        "id": "42",
        "title": "A concert",
        "venue": "Hall",
        "startsAt": 5,
        "maxSeats": 4,
        "waitingRoom": True,
        "seatCount": 6,
        "sections": [{"name": "VIP", "rows": 2, "seatsPerRow": 3, "price": 165_000}],
    } == plain(put.event.public())


async def test_capacity_alone_makes_a_waiting_room(events: Events) -> None:
    """Without it there is none, whatever rate was set."""
    rate = await events.put("42", EventDraft(title="A", admit_per_second=2))
    capacity = await events.put("42", EventDraft(title="A", capacity=9))

    assert [False, True] == [put.event.public().waiting_room for put in (rate, capacity)]


async def test_a_put_replaces_all_settings_and_keeps_the_seats(events: Events) -> None:
    """An absent setting goes back to its default; absent seats stay."""
    await events.put("42", EventDraft(title="Old", venue="Hall", capacity=5, max_seats=2, seats=["A-1"]))

    put = await events.put("42", EventDraft(title="New"))
    read = await events.get("42", with_seats=True)

    assert not put.created
    assert read is not None
    assert ("New", None, None, 4, 1) == (
        read.title, read.venue, read.capacity, read.max_seats, read.seat_count,
    )  # fmt: skip
    assert ["A-1"] == plain(read.seats)


async def test_a_list_of_seats_is_the_new_list(events: Events, store: Store) -> None:
    """New ones are added, those it lacks are gone; another server's reader sees it at once."""
    reader = Events(store, CONFIG)
    await events.put("42", EventDraft(title="A", seats=["A-1", "A-2"]))
    before = await reader.get("42", with_seats=True)

    await events.put("42", EventDraft(title="A", seats=["A-2", "A-3"]))
    after = await reader.get("42", with_seats=True)

    assert before is not None
    assert after is not None
    assert (["A-1", "A-2"], ["A-2", "A-3"]) == (plain(before.seats), plain(after.seats))


async def test_sections_and_seats_take_each_others_place(events: Events, store: Store) -> None:
    """Whatever the seats were made from, there is one list of their ids, and an empty list empties it."""
    field = keys.event("42"), "seats"
    await events.put("42", EventDraft(title="A", sections=[Section(name="B", rows=1, seats_per_row=2)]))
    made = await events.get("42", with_seats=True)
    made_ids = await store.command("HGET", *field)
    await events.put("42", EventDraft(title="A", seats=["C-1"]))
    listed = await events.get("42", with_seats=True)
    await events.put("42", EventDraft(title="A", seats=[]))
    none = await events.get("42", with_seats=True)

    assert [{"name": "B", "rows": 1, "seatsPerRow": 2}] == plain(made)["sections"]
    assert "seats" not in plain(made)
    assert ["B-1-1", "B-1-2"] == msgspec.json.decode(made_ids)
    assert ["C-1"] == plain(listed)["seats"]
    assert "sections" not in plain(listed)
    assert 0 == plain(none)["seatCount"]
    assert {"seats", "sections"}.isdisjoint(plain(none))


async def test_the_time_of_a_hold_doubles_by_default(events: Events) -> None:
    """With a hold time of its own and no longest one, an event's holds may be extended to twice it."""
    put = await events.put("42", EventDraft(title="A", hold_seconds=900))

    assert (900, 1800) == (put.event.hold_seconds, put.event.max_hold_seconds)


async def test_hold_times_that_do_not_fit_are_refused(events: Events) -> None:
    """The longest time must not be less than the time; the default counts too. Nothing is written."""
    with pytest.raises(Refused, match="maxHoldSeconds"):
        await events.put("42", EventDraft(title="A", max_hold_seconds=299))

    assert await events.get("42") is None
    assert [] == await events.all()


async def test_a_repeated_put_says_again_that_it_created(store: Store) -> None:
    """Asked again because the answer was lost, the script gives the same answer; another put does not."""
    scripts = SaleScripts(store, CONFIG)
    unset = [""] * 7
    seats = ["seats", "", '["A-1"]', 1, 1]
    first = await scripts.run("event_put", "42", ["request-1", '{"title":"A"}', *unset, *seats])
    again = await scripts.run("event_put", "42", ["request-1", '{"title":"A"}', *unset, *seats])
    other = await scripts.run("event_put", "42", ["request-2", '{"title":"B"}', *unset, "keep"])

    assert [b"created", b'{"title":"A"}', b"", b"1", b"request-1"] == first == again
    assert [b"replaced", b'{"title":"B"}', b"", b"1", b"request-1"] == other


async def test_a_put_that_comes_late_changes_nothing(
    events: Events, store: Store, store_process: StoreProcess
) -> None:
    """A server without a lease can neither create nor remove an event."""
    await events.put("42", EventDraft(title="A"))
    store.clock.lease_end_ms = 1

    with pytest.raises(Unavailable, match="in time") as put:
        await events.put("43", EventDraft(title="B"))
    with pytest.raises(Unavailable) as deleted:
        await events.delete("42")

    assert ("none", "none") == (put.value.outcome, deleted.value.outcome)
    assert ["42"] == [event.id for event in await events.all()]
    assert ["42"] == store_process.client.zrange(keys.EVENTS, 0, -1)


@pytest.mark.parametrize(
    ("script", "names", "args"),
    [
        ("event_put", [keys.event("42")], ["request", '{"title":"B"}', 0, "", ""]),
        ("event_index", [keys.EVENTS], ["43", MAX_EVENTS]),
        ("event_forget", [keys.EVENTS], [-1, "42"]),
        ("event_delete", [keys.event("42")], ["{e:42}"]),
    ],
)
async def test_no_script_changes_anything_when_it_is_late(
    events: Events, store: Store, store_process: StoreProcess, script: str, names: list[str], args: list[Any]
) -> None:
    """Each looks at its deadline before its first write."""
    await events.put("42", EventDraft(title="A"))
    before = {key: store_process.client.dump(key) for key in sorted(store_process.client.keys("*"))}
    store.clock.lease_end_ms = 1

    with pytest.raises(Unavailable):
        await store.script(script, names, args)
    after = {key: store_process.client.dump(key) for key in sorted(store_process.client.keys("*"))}

    assert before == after


# --- the list of all ---


async def test_all_events_come_by_start_and_title_without_their_seats(events: Events) -> None:
    """What starts sooner comes first; what is open from the beginning comes before it."""
    await events.put("late", EventDraft(title="A", starts_at=2000, seats=["A-1"]))
    await events.put("soon", EventDraft(title="B", starts_at=1000))
    await events.put("now-2", EventDraft(title="D"))
    await events.put("now-1", EventDraft(title="C"))

    found = await events.all()

    assert ["now-1", "now-2", "soon", "late"] == [event.id for event in found]
    assert msgspec.UNSET is found[-1].seats


async def test_the_list_shows_what_this_server_has_just_changed(events: Events) -> None:
    """Also where the list was read a moment before."""
    seen = [[event.id for event in await events.public()]]
    await events.put("42", EventDraft(title="A"))
    seen.append([event.id for event in await events.public()])
    await events.delete("42")
    seen.append([event.id for event in await events.public()])

    assert [[], ["42"], []] == seen


async def test_many_who_ask_for_the_list_at_once_cost_one_reading(
    events: Events, store_process: StoreProcess
) -> None:
    """The list is public: a thousand readers are one reader for the store."""
    await events.put("42", EventDraft(title="A"))
    store_process.client.config_resetstat()

    lists = await asyncio.gather(*(events.public() for _ in range(1000)))

    assert {"42"} == {event.id for found in lists for event in found}
    assert 1 == store_process.info("commandstats")["cmdstat_zrange"]["calls"]


async def test_a_long_list_is_kept_for_a_moment(events: Events, store_process: StoreProcess) -> None:
    """A second reading while the first is still fresh asks the store for nothing."""
    pipeline = store_process.client.pipeline()
    for n in range(3000):
        pipeline.zadd(keys.EVENTS, {f"e{n}": 1})
        pipeline.hset(keys.event(f"e{n}"), mapping={"settings": '{"title":"A"}'})
    pipeline.execute()
    store_process.client.config_resetstat()

    counts = [len(await events.public()) for _ in range(3)]

    assert [3000, 3000, 3000] == counts
    assert 1 == store_process.info("commandstats")["cmdstat_zrange"]["calls"]


async def test_a_list_that_could_not_be_read_is_read_again(
    events: Events, store_process: StoreProcess
) -> None:
    """A failure is not kept."""
    await events.put("42", EventDraft(title="A"))
    store_process.freeze()
    try:
        with pytest.raises(Unavailable):
            await events.public()
    finally:
        store_process.thaw()

    assert ["42"] == [event.id for event in await events.public()]


async def test_names_that_lead_to_nothing_are_skipped_and_forgotten(
    events: Events, store: Store, store_process: StoreProcess
) -> None:
    """An old one goes; a young one stays, for its event may just be on its way."""
    await store.script("event_index", [keys.EVENTS], ["young", MAX_EVENTS])
    store_process.client.zadd(keys.EVENTS, {"old": store.clock.now_ms() - 61_000})

    found = await events.all()

    assert [] == found
    assert ["young"] == store_process.client.zrange(keys.EVENTS, 0, -1)


async def test_there_is_a_most_of_events(events: Events, store: Store, store_process: StoreProcess) -> None:
    """Beyond it a new one is refused; an existing one can still be changed."""
    await events.put("42", EventDraft(title="A"))
    store_process.client.zadd(keys.EVENTS, {f"e{n}": store.clock.now_ms() for n in range(MAX_EVENTS - 1)})

    with pytest.raises(Refused, match="10000 events"):
        await events.put("one-more", EventDraft(title="B"))
    replaced = await events.put("42", EventDraft(title="C"))

    assert not replaced.created
    assert await events.get("one-more") is None


async def test_names_that_lead_to_nothing_take_no_place_for_long(
    events: Events, store_process: StoreProcess
) -> None:
    """A list that is full of them is cleared before anybody is refused."""
    store_process.client.zadd(keys.EVENTS, {f"e{n}": 1 for n in range(MAX_EVENTS)})

    put = await events.put("42", EventDraft(title="A"))

    assert put.created
    assert ["42"] == store_process.client.zrange(keys.EVENTS, 0, -1)


# --- removing ---


async def test_a_removed_event_is_gone(events: Events, store_process: StoreProcess) -> None:
    """Nothing of it is left but what its rooms need; removing it again finds nothing."""
    await events.put("42", EventDraft(title="A", seats=["A-1"]))

    outcomes = [await events.delete("42"), await events.delete("42")]

    assert [True, False] == outcomes
    assert await events.get("42") is None
    assert [keys.EVENTS, keys.room("seats:42").meta] == sorted(store_process.client.keys("*"), reverse=True)


async def test_a_removed_event_can_be_created_anew(events: Events) -> None:
    """Under the same id, with nothing of the old one."""
    await events.put("42", EventDraft(title="A", venue="Hall", seats=["A-1"]))
    await events.delete("42")

    put = await events.put("42", EventDraft(title="B"))

    assert (True, None, 0) == (put.created, put.event.venue, put.event.seat_count)
    assert ["42"] == [event.id for event in await events.all()]


async def test_removing_ends_the_histories_of_the_rooms(events: Events, rooms: Rooms) -> None:
    """No position of before is part of what follows; offsets go on; others' rooms are not touched."""
    await events.put("42", EventDraft(title="A"))
    before = {room: await rooms.publish(room, b"1", request_id="k") for room in (*ROOMS, "event:43")}
    await events.delete("42")

    for room in ROOMS:
        old = before[room]
        lost = await rooms.history(room, Position(old.epoch, 0))
        again = await rooms.publish(room, b"2", request_id="k")
        page = await rooms.history(room, lost.head)

        assert isinstance(lost, Lost)
        assert "epoch" == lost.why
        assert {} == lost.chain
        assert old.offset == lost.head.offset
        assert old.epoch != lost.head.epoch
        assert (lost.head.epoch, old.offset + 1) == (again.epoch, again.offset)
        assert isinstance(page, Page)
        assert [f'{{"type":"message","room":"{room}","offset":2,"data":2'.encode()] == [
            frame.partition(b',"sentAt"')[0] for _, frame in page.entries
        ]
    other = await rooms.history("event:43", Position(before["event:43"].epoch, 0))
    assert isinstance(other, Page)
    assert 1 == len(other.entries)


async def test_a_message_of_a_removed_event_cannot_be_asked_for(events: Events, rooms: Rooms) -> None:
    """Not even by who makes up a position in the new epoch."""
    await events.put("42", EventDraft(title="A"))
    await rooms.publish("event:42", b'"secret"', request_id="k")
    await events.delete("42")
    head = (await rooms.history("event:42", None)).head

    forged = await rooms.history("event:42", Position(head.epoch, 0))

    assert isinstance(forged, Lost)
    assert "trimmed" == forged.why


async def test_removing_rings_for_the_rooms_that_were_used(
    events: Events, rooms: Rooms, store_process: StoreProcess
) -> None:
    """Who reads them is told to look; of a room never used nobody has seen anything."""
    await events.put("42", EventDraft(title="A"))
    await rooms.publish("event:42", b"1", request_id="k")
    await rooms.publish("seats:42", b"1", request_id="k")
    ear = store_process.client.pubsub()
    ear.subscribe(keys.room("event:42").channel)
    assert ear.get_message(timeout=5) is not None

    await events.delete("42")
    heard = [ear.get_message(timeout=5) for _ in range(2)]
    ear.close()

    assert ["0 g event:42", "0 g seats:42"] == [message["data"] for message in heard if message]
    assert not store_process.client.exists(keys.room("queue:42").meta)


async def test_a_repeated_removal_turns_no_epoch_twice(events: Events, rooms: Rooms, store: Store) -> None:
    """The script of a removal whose answer was lost finds no event and leaves what came since alone."""
    await events.put("42", EventDraft(title="A"))
    await rooms.publish("event:42", b"1", request_id="a")
    await events.delete("42")
    since = await rooms.publish("event:42", b"2", request_id="b")
    k = keys.room("event:42")

    answer = await store.script(
        "event_delete", [keys.event("42"), k.meta, k.stream, k.ids], [k.channel, "event:42"]
    )
    page = await rooms.history("event:42", Position(since.epoch, since.offset - 1))

    assert [b"absent"] == answer
    assert isinstance(page, Page)
    assert 1 == len(page.entries)


# --- the demo ---


async def test_the_demo_has_three_events(events: Events) -> None:
    """One to buy at once, one behind a waiting room, one with many seats."""
    await events.create_demo_events()
    found = await events.all()

    assert {300, 1500, 5000} == {event.seat_count for event in found}
    assert [False] == [event.public().waiting_room for event in found if event.seat_count == 300]
    assert [True] == [event.public().waiting_room for event in found if event.seat_count == 1500]


async def test_the_demo_leaves_events_alone_that_are_there(events: Events) -> None:
    """A second start changes nothing of what was made of them; what is missing comes back."""
    await events.create_demo_events()
    await events.put("demo-arena", EventDraft(title="Renamed"))
    await events.delete("demo-quartet")

    await events.create_demo_events()

    assert {"Renamed", "Seorin Quartet: Letters from the Winter Garden"} < {
        event.title for event in await events.all()
    }
