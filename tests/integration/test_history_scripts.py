"""A room's history in real stores: what survives a failover, a restart or a lost key, and who is told.

Each row of the table in ``docs/redis.md`` is a test here, on Valkey and on Redis.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from session import keys
from session.config import Config
from session.protocol import Published
from session.recovery import Position
from session.rooms import PAGE_BYTES, PAGE_ENTRIES, Lost, Page, Rooms
from session.store import Store, Unavailable
from tests.conftest import Stores
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

ROOM = "event:1"
KEYS = keys.room(ROOM)
EMPTY = Position("", 0)

OwnStore = Callable[..., StoreProcess]


class Server:
    """What a server of ours does with one room: it publishes, and it reads on from a position."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.store = store
        self.rooms = Rooms(store, Config(**options))

    async def publish(self, data: Any, *, rid: str = "", seen: Position | None = None) -> Position:
        text = json.dumps(data).encode()
        answer: Published = await self.rooms.publish(ROOM, text, request_id=rid, seen=seen)
        return Position(answer.epoch, answer.offset)

    async def publish_many(self, count: int, *, first: int = 1) -> Position:
        """Publish the numbers from ``first`` on; where the last one is."""
        return [await self.publish(n) for n in range(first, first + count)][-1]

    async def position(self) -> Position:
        page = await self.rooms.history(ROOM, None)
        assert isinstance(page, Page)
        return page.head

    async def read(self, since: Position) -> list[Any]:
        """The data of all that follows, page by page, which must be complete; else why it is not."""
        found: list[Any] = []
        while True:
            page = await self.rooms.history(ROOM, since)
            if isinstance(page, Lost):
                return [page.why]
            frames = [json.loads(frame) for _, frame in page.entries]
            offsets = [frame["offset"] for frame in frames]
            assert list(range(since.offset + 1, since.offset + 1 + len(frames))) == offsets
            found += [frame["data"] for frame in frames]
            if not frames:
                return found
            since = Position(page.head.epoch, offsets[-1])


@pytest.fixture
def server(store: Store) -> Server:
    """A server on each of the supported stores."""
    return Server(store)


async def pair(own_store: OwnStore, stores: Stores) -> tuple[StoreProcess, Server, StoreProcess, Server]:
    """A primary with three messages and its replica, with a server at each."""
    primary, replica = own_store(), own_store()
    at_primary, at_replica = Server(await stores(primary.url)), Server(await stores(replica.url))
    # a primary takes another replication id when its first replica comes; the messages are of the one after
    replica.follow(primary)
    await at_primary.publish_many(3)
    replica.follow(primary)
    return primary, at_primary, replica, at_replica


# --- in quiet times ---


async def test_offsets_are_one_two_three(server: Server) -> None:
    """Within one epoch, without gaps, and each message is where its answer says."""
    positions = [await server.publish(n) for n in (1, 2, 3)]

    assert [1, 2, 3] == [p.offset for p in positions]
    assert 1 == len({p.epoch for p in positions})
    assert positions[-1] == await server.position()
    assert [2, 3] == await server.read(positions[0])


async def test_a_room_never_used_has_a_position_and_costs_nothing(
    server: Server, store_process: StoreProcess
) -> None:
    """Joining it writes nothing; the first message follows the position."""
    at = await server.position()
    keys_before = store_process.client.keys()
    await server.publish("first")

    assert 0 == at.offset
    assert "" != at.epoch
    assert [] == keys_before
    assert ["first"] == await server.read(at)


async def test_reading_writes_nothing(server: Server, store_process: StoreProcess) -> None:
    """Neither a recovered position nor a lost one changes a byte."""
    end = await server.publish_many(3)
    before = {key: store_process.client.dump(key) for key in store_process.client.scan_iter()}

    await server.read(Position(end.epoch, 1))
    await server.read(Position("elsewhere", 1))

    assert before == {key: store_process.client.dump(key) for key in store_process.client.scan_iter()}


async def test_a_frame_is_the_message_as_clients_get_it(server: Server, store_process: StoreProcess) -> None:
    """Type, room, offset, the epoch it begins, data as sent, and the store's time."""
    seconds, _ = store_process.client.time()
    at = await server.publish({"a": [1, "ü"]})
    page = await server.rooms.history(ROOM, Position(at.epoch, 0))
    lost = await server.rooms.history(ROOM, Position("elsewhere", 0))
    await server.publish(None)
    second = await server.rooms.history(ROOM, at)

    assert isinstance(lost, Lost)
    assert isinstance(second, Page)
    page = await server.rooms.history(ROOM, Position(at.epoch, 0)) if isinstance(page, Lost) else page
    frame = json.loads(page.entries[0][1])
    assert seconds * 1000 <= frame.pop("sentAt") < seconds * 1000 + 60_000
    assert {
        "type": "message", "room": ROOM, "offset": 1, "epoch": at.epoch, "data": {"a": [1, "ü"]}
    } == frame  # fmt: skip
    assert "epoch" not in json.loads(second.entries[0][1])


async def test_the_bell_rings_with_the_whole_frame(server: Server, store_process: StoreProcess) -> None:
    """Whoever hears it needs nothing from the stream: room, epoch, offset, private part, frame."""
    with store_process.client.pubsub() as bell:
        bell.subscribe(KEYS.channel)
        assert bell.get_message(timeout=5)["type"] == "subscribe"
        at = await server.publish("hello")
        heard = bell.get_message(timeout=5)["data"]
    page = await server.rooms.history(ROOM, Position(at.epoch, 0))

    assert isinstance(page, Page)
    (_, frame), *_ = page.entries
    assert f"0 p {ROOM} {at.epoch} 1 0 {frame.decode()}" == heard


async def test_personal_messages_are_numbered_by_the_bucket(
    store: Store, store_process: StoreProcess
) -> None:
    """The counter of the user's bucket rises with each notice, so that a server can count what it hears."""
    rooms = Rooms(store, Config())
    room = keys.room("user:7")
    with store_process.client.pubsub() as bell:
        bell.subscribe(room.channel)
        bell.get_message(timeout=5)
        for n in range(3):
            await rooms.publish("user:7", b"%d" % n, request_id="")
        numbers = [bell.get_message(timeout=5)["data"].partition(" ")[0] for _ in range(3)]

    assert ["1", "2", "3"] == numbers
    assert "3" == store_process.client.get(room.counter)


async def test_a_long_history_is_read_in_pages(server: Server) -> None:
    """A page has so many entries at most, and the next is asked for with its last offset."""
    start = await server.publish(0)
    count = 2 * PAGE_ENTRIES + 50
    await asyncio.gather(*(server.publish(n) for n in range(1, count + 1)))

    first = await server.rooms.history(ROOM, start)
    everything = await server.read(start)

    assert isinstance(first, Page)
    assert PAGE_ENTRIES == len(first.entries)
    assert list(range(1, count + 1)) == sorted(everything)


async def test_a_page_has_so_many_bytes_and_always_an_entry(server: Server) -> None:
    """Large messages make short pages, and one that is larger than a page still comes."""
    start = await server.publish(0)
    half, huge = "x" * (PAGE_BYTES // 2 - 1000), "y" * (PAGE_BYTES + 1)
    for data in (half, half, half, huge, "end"):
        await server.publish(data)

    first = await server.rooms.history(ROOM, start)
    last = await server.rooms.history(ROOM, start._replace(offset=4))

    assert isinstance(first, Page)
    assert isinstance(last, Page)
    assert 2 == len(first.entries)
    assert 1 == len(last.entries)
    assert [half, half, half, huge, "end"] == await server.read(start)


async def test_offsets_stay_whole_numbers(server: Server, store_process: StoreProcess) -> None:
    """Lua counts in floats and would write 1e+15; the largest that a browser can count is right."""
    end = await server.publish(0)
    store_process.client.delete(KEYS.stream)
    store_process.client.hset(KEYS.meta, "h", 2**53 - 3)

    at = await server.publish("large")

    assert Position(end.epoch, 2**53 - 2) == at
    assert at == await server.position()
    assert ["large"] == await server.read(at._replace(offset=at.offset - 1))
    assert [] == await server.read(at)


# --- request ids ---


async def test_the_same_request_id_brings_the_first_answer(server: Server) -> None:
    """However often it is asked again; the message is there once."""
    first = await server.publish("once", rid="r1")
    await server.publish("other", rid="r2")
    again = [await server.publish("once", rid="r1") for _ in range(3)]

    assert [first] * 3 == again
    assert ["once", "other"] == await server.read(Position(first.epoch, 0))


async def test_without_a_request_id_the_same_again_is_another(server: Server) -> None:
    """An empty id is none."""
    await server.publish("twice")

    assert 2 == (await server.publish("twice")).offset


async def test_the_newest_ten_thousand_request_ids_are_kept(
    server: Server, store_process: StoreProcess
) -> None:
    """For a day; older ones go, so that a room costs no more than its share."""
    await server.publish("first", rid="first")
    store_process.client.zadd(KEYS.ids, {f"filler-{n}": 1.5 + n / 20_000 for n in range(9_999)})
    await server.publish("second", rid="second")

    assert 10_000 == store_process.client.zcard(KEYS.ids)
    assert store_process.client.zscore(KEYS.ids, "first") is None
    assert 2 == store_process.client.zscore(KEYS.ids, "second")
    assert 86_000 < store_process.client.ttl(KEYS.ids) <= 86_400


async def test_an_id_found_after_a_turn_has_the_epoch_of_then(
    server: Server, store_process: StoreProcess
) -> None:
    """The answer to a retry names the position that the message has, not today's epoch."""
    first, second = await server.publish("a", rid="a"), await server.publish("b", rid="b")
    turn(store_process)
    third = await server.publish("c", rid="c")
    turn(store_process)

    again = [await server.publish("again", rid=rid) for rid in "abc"]

    assert first.epoch != third.epoch
    assert [first, second, third] == again


# --- what is kept ---


async def test_trims_by_count(store: Store) -> None:
    """The newest are kept; whoever needs an older one is told that it is gone."""
    server = Server(store, history_size=5)
    end = await server.publish_many(8)

    assert [4, 5, 6, 7, 8] == await server.read(end._replace(offset=3))
    assert ["trimmed"] == await server.read(end._replace(offset=2))


async def test_trims_by_age(store: Store) -> None:
    """Messages older than the history's life go with the next publication; offsets go on."""
    server = Server(store, history_ttl=2)
    old = await server.publish_many(40)
    page = await server.rooms.history(ROOM, old._replace(offset=39))
    assert isinstance(page, Page)
    over = json.loads(page.entries[0][1])["sentAt"] + 2001
    await eventually(lambda: store.clock.now_ms() > over, "the messages are too old")

    await server.publish("young")
    afterwards = await server.publish("younger")

    assert Position(old.epoch, 42) == afterwards
    assert ["young", "younger"] == await server.read(old)
    assert ["trimmed"] == await server.read(old._replace(offset=0))


async def test_a_clock_that_went_back_trims_nothing(server: Server, store_process: StoreProcess) -> None:
    """An entry from the future is young."""
    at = await server.publish("from tomorrow")
    (_, fields), *_ = store_process.client.xrange(KEYS.stream)
    store_process.client.delete(KEYS.stream)
    fields["t"] = str(int(fields["t"]) + 86_400_000)
    store_process.client.xadd(KEYS.stream, fields, id="1-0")

    await server.publish("from today")

    assert ["from tomorrow", "from today"] == await server.read(at._replace(offset=0))


async def test_keys_live_as_long_as_they_say(store: Store, store_process: StoreProcess) -> None:
    """The stream a minute longer than its messages, the meta much longer: it keeps the offsets."""
    await Server(store, history_ttl=100).publish("x")

    assert 155 <= store_process.client.ttl(KEYS.stream) <= 160
    assert 29 * 86_400 < store_process.client.ttl(KEYS.meta) <= 30 * 86_400


# --- keys lost ---


async def test_stream_lost(server: Server, store_process: StoreProcess) -> None:
    """Offsets go on; who was at the head has missed nothing, any other is told."""
    end = await server.publish_many(3)
    store_process.client.delete(KEYS.stream)

    at_head, behind = await server.read(end), await server.read(end._replace(offset=2))
    following = await server.publish(4)

    assert [] == at_head
    assert ["trimmed"] == behind
    assert end._replace(offset=4) == following
    assert [4] == await server.read(end)


async def test_meta_lost(server: Server, store_process: StoreProcess) -> None:
    """The room is born anew: another epoch, the old stream and request ids are nobody's."""
    old = await server.publish("old", rid="r")
    await server.publish("old too")
    store_process.client.delete(KEYS.meta)

    before = await server.read(old)
    first = await server.publish("new")
    retried = await server.publish("retried", rid="r")

    assert ["epoch"] == before
    assert ["epoch"] == await server.read(old)
    assert 1 == first.offset
    assert old.epoch != first.epoch
    assert first._replace(offset=2) == retried
    assert ["new", "retried"] == await server.read(first._replace(offset=0))


async def test_a_retry_in_a_lost_room_is_a_message(server: Server, store_process: StoreProcess) -> None:
    """The first publication of a room's new life asks nothing of its former one."""
    await server.publish("x", rid="other")
    old = await server.publish("x", rid="r")
    store_process.client.delete(KEYS.meta)

    at = await server.publish("x", rid="r")

    assert 1 == at.offset
    assert old.epoch != at.epoch


async def test_ids_lost(server: Server, store_process: StoreProcess) -> None:
    """A retry is then another message: the one thing that an evicting store can break."""
    first = await server.publish("x", rid="r")
    store_process.client.delete(KEYS.ids)

    assert first._replace(offset=2) == await server.publish("x", rid="r")


async def test_a_hole_in_the_stream_is_no_success(server: Server, store_process: StoreProcess) -> None:
    """Completeness is counted: an entry missing in the middle, or at the end, is told."""
    end = await server.publish_many(5)
    store_process.client.xdel(KEYS.stream, "3-0")
    middle = await server.read(end._replace(offset=1))
    after = await server.read(end._replace(offset=3))
    store_process.client.xdel(KEYS.stream, "5-0")

    at_the_end = await server.rooms.history(ROOM, end._replace(offset=3))

    assert ["trimmed"] == middle
    assert [4, 5] == after
    assert isinstance(at_the_end, Lost)


async def test_a_tail_lost_without_another_word_is_seen(server: Server, store_process: StoreProcess) -> None:
    """A position beyond the head of its epoch is told, though nothing was written since."""
    end = await server.publish_many(3)
    forget_last(store_process)

    assert ["rolled-back"] == await server.read(end)
    assert [] == await server.read(end._replace(offset=2))


# --- a publisher that has seen more than there is ---


async def test_a_publisher_that_saw_more_turns_the_epoch(server: Server, store_process: StoreProcess) -> None:
    """A second check, where the incarnation says nothing: the offset that was seen is not used twice."""
    end = await server.publish_many(3)
    forget_last(store_process)

    at = await server.publish("other three", seen=end)

    assert 3 == at.offset
    assert end.epoch != at.epoch
    assert ["rolled-back"] == await server.read(end)
    assert ["other three"] == await server.read(end._replace(offset=2))


@pytest.mark.parametrize("seen", [Position("elsewhere", 99), EMPTY], ids=["another epoch", "nothing"])
async def test_what_was_seen_in_another_epoch_says_nothing(server: Server, seen: Position) -> None:
    """Offsets of two epochs are not compared."""
    end = await server.publish_many(3)

    assert end._replace(offset=4) == await server.publish(4, seen=seen)


# --- turns ---


def turn(process: StoreProcess) -> None:
    """Another incarnation, with nothing lost: as after a planned failover."""
    process.client.execute_command("DEBUG", "CHANGE-REPL-ID")


def forget_last(process: StoreProcess) -> None:
    """Take the last message back, under the same incarnation."""
    process.client.hincrby(KEYS.meta, "h", -1)
    *kept, _ = process.client.xrange(KEYS.stream)
    process.client.delete(KEYS.stream)
    for entry, fields in kept:
        process.client.xadd(KEYS.stream, fields, id=entry)


async def test_a_turn_without_loss_resets_nobody(server: Server, store_process: StoreProcess) -> None:
    """Offsets go on, and the entry that begins the epoch says so in its frame."""
    old = await server.publish_many(3)
    turn(store_process)
    at = await server.publish(4)
    page = await server.rooms.history(ROOM, old)

    assert isinstance(page, Page)
    frame = json.loads(page.entries[0][1])
    assert (4, at.epoch) == (frame["offset"], frame["epoch"])
    assert old.epoch != at.epoch
    assert {old.epoch: 3}.items() <= page.chain.items()
    assert [2, 3, 4] == await server.read(old._replace(offset=1))


async def test_the_chain_is_sixteen_turns_long(server: Server, store_process: StoreProcess) -> None:
    """A position sixteen turns old is good, one of seventeen is not; the chain does not grow."""
    ends = [await server.publish(0)]
    for n in range(1, 18):
        turn(store_process)
        ends.append(await server.publish(n))
    page = await server.rooms.history(ROOM, None)

    assert isinstance(page, Page)
    assert 16 == len(page.chain)
    assert 18 == len({end.epoch for end in ends})
    assert ["epoch"] == await server.read(ends[0])
    assert list(range(2, 18)) == await server.read(ends[1])


async def test_a_restart_with_data_is_a_turn(own_store: OwnStore, stores: Stores) -> None:
    """The store comes back with all that it had: every position is good."""
    process = own_store(appendonly="yes", appendfsync="always")
    server = Server(await stores(process.url))
    end = await server.publish_many(3)

    process.kill()
    process.start()
    at = await server.publish(4)

    assert 4 == at.offset
    assert end.epoch != at.epoch
    assert [1, 2, 3, 4] == await server.read(end._replace(offset=0))


async def test_a_restart_without_data_is_another_life(own_store: OwnStore, stores: Stores) -> None:
    """An empty disk: all positions are of an epoch that does not exist, before and after a publication."""
    process = own_store()
    server = Server(await stores(process.url))
    end = await server.publish_many(3)

    process.kill()
    process.start()
    before = await server.read(end)
    at = await server.publish("new")

    assert ["epoch"] == before
    assert 1 == at.offset
    assert ["epoch"] == await server.read(end)


async def test_who_has_seen_nothing_misses_nothing_in_a_restart(own_store: OwnStore, stores: Stores) -> None:
    """The position of an unused room is good in any incarnation, unless the room's history was ended; not in
    a room of seats, whose readers have a state beside the history."""
    process = own_store()
    server = Server(await stores(process.url))
    joined, seats = await server.position(), (await history(server, "seats:1", None)).head
    process.kill()
    process.start()

    quiet = await server.read(joined)
    other = await history(server, "seats:1", seats)
    await server.publish("first")
    heard = await server.read(joined)
    process.client.hset(KEYS.meta, "c", "")

    assert ([], ["first"]) == (quiet, heard)
    assert isinstance(other, Lost)
    assert ["epoch"] == await server.read(joined)


async def history(server: Server, room: str, since: Position | None) -> Page | Lost:
    return await server.rooms.history(room, since)


# --- failover ---


@pytest.mark.parametrize("first", ["the one who saw all", "the one who saw less", "one who saw nothing"])
async def test_two_servers_publish_after_a_failover(own_store: OwnStore, stores: Stores, first: str) -> None:
    """Whoever comes first, whatever they saw: the first turns the epoch, the second goes on in it."""
    _, at_primary, replica, at_replica = await pair(own_store, stores)
    replica.follow(None)
    lost = await at_primary.publish_many(2, first=4)
    saw = {
        "the one who saw all": lost,
        "the one who saw less": lost._replace(offset=3),
        "one who saw nothing": EMPTY,
    }

    turned = await at_replica.publish("first", seen=saw.pop(first))
    others = [await at_replica.publish(who, seen=seen) for who, seen in saw.items()]

    assert 4 == turned.offset
    assert lost.epoch != turned.epoch
    assert [turned._replace(offset=5), turned._replace(offset=6)] == others
    assert ["rolled-back"] == await at_replica.read(lost)
    assert ["first", *saw] == await at_replica.read(lost._replace(offset=3))


async def test_a_new_history_that_has_caught_up_is_still_another(own_store: OwnStore, stores: Stores) -> None:
    """Heads are equal, contents are not: the client of the lost tail is told, the other is not."""
    _, at_primary, replica, at_replica = await pair(own_store, stores)
    replica.follow(None)
    lost = await at_primary.publish_many(2, first=4)
    survived = await at_replica.publish_many(2, first=14)

    assert lost.offset == survived.offset
    assert ["rolled-back"] == await at_replica.read(lost)
    assert [14, 15] == await at_replica.read(lost._replace(offset=3))


async def test_a_split_brain_mints_no_position_twice(own_store: OwnStore, stores: Stores) -> None:
    """Both primaries take writes for a while; no two messages have one epoch and offset."""
    _, at_primary, replica, at_replica = await pair(own_store, stores)
    replica.follow(None)

    here = [await at_primary.publish(n) for n in range(5)]
    there = [await at_replica.publish(n) for n in range(5)]

    assert [p.offset for p in here] == [p.offset for p in there]
    assert set() == set(here) & set(there)
    assert ["rolled-back"] == await at_replica.read(here[-1])
    assert ["epoch"] == await at_primary.read(there[0])


async def test_the_first_node_taken_back_is_another_incarnation(own_store: OwnStore, stores: Stores) -> None:
    """It copied its successor and leads again: its run id is the old one, its data went back."""
    primary, at_primary, replica, _ = await pair(own_store, stores)
    replica.follow(None)
    lost = await at_primary.publish_many(2, first=4)
    primary.follow(replica)
    primary.follow(None)

    before = await at_primary.read(lost)
    at = await at_primary.publish("after")

    assert ["rolled-back"] == before
    assert 4 == at.offset
    assert lost.epoch != at.epoch
    assert ["rolled-back"] == await at_primary.read(lost)
    assert ["after"] == await at_primary.read(lost._replace(offset=3))


async def test_who_joined_an_empty_room_misses_nothing_in_a_failover(
    own_store: OwnStore, stores: Stores
) -> None:
    """The position of the unused room is good at the new primary, whose first message follows it."""
    primary, replica = own_store(), own_store()
    at_primary, at_replica = Server(await stores(primary.url)), Server(await stores(replica.url))
    replica.follow(primary)
    joined = await at_primary.position()
    primary.kill()
    replica.follow(None)

    quiet = await at_replica.read(joined)
    await at_replica.publish("first")

    assert [] == quiet
    assert ["first"] == await at_replica.read(joined)


async def test_a_kept_publication_is_found_by_its_retry(own_store: OwnStore, stores: Stores) -> None:
    """The answer was lost, the message was not: the new primary knows the id."""
    primary, at_primary, replica, at_replica = await pair(own_store, stores)
    first = await at_primary.publish("x", rid="r")
    replica.follow(primary)
    replica.follow(None)

    assert first == await at_replica.publish("x", rid="r")
    assert ["x"] == await at_replica.read(first._replace(offset=3))


async def test_a_lost_publication_is_made_anew_by_its_retry(own_store: OwnStore, stores: Stores) -> None:
    """It lies under the new primary's word; who saw the first copy is reset before it sees the second."""
    _, at_primary, replica, at_replica = await pair(own_store, stores)
    replica.follow(None)
    first = await at_primary.publish("x", rid="r")

    second = await at_replica.publish("x", rid="r")

    assert first.offset == second.offset
    assert first.epoch != second.epoch
    assert ["rolled-back"] == await at_replica.read(first)


# --- late, and refused ---


async def test_a_script_past_its_deadline_changes_nothing(
    server: Server, store_process: StoreProcess
) -> None:
    """A server that was frozen past its lease cannot write; asked, it renews the lease and writes once."""
    end = await server.publish_many(1)
    now = server.store.clock.now_ms()
    server.store.clock.set(now, now - 1)
    with pytest.raises(Unavailable) as refused:
        await server.publish("late")
    unchanged = await server.position()

    async def renew() -> None:
        server.store.clock.set(server.store.clock.now_ms(), server.store.clock.now_ms() + 10_000)

    server.store.renew = renew
    after = await server.publish("in time")

    assert "none" == refused.value.outcome
    assert end == unchanged
    assert end._replace(offset=2) == after


async def test_a_publication_given_up_on_is_never_made_twice(own_store: OwnStore, stores: Stores) -> None:
    """The store froze in the middle and woke after the caller had given up: each message at most once."""
    process = own_store()
    server = Server(await stores(process.url))
    start = await server.publish("before")
    process.freeze()
    results = await asyncio.gather(
        *(server.publish(n, rid=f"r{n}") for n in range(5)), return_exceptions=True
    )
    deadline = server.store.clock.now_ms() + 3000
    await eventually(lambda: server.store.clock.now_ms() > deadline, "every deadline is over")
    process.thaw()
    made = await server.read(start)
    retried = [await server.publish(n, rid=f"r{n}") for n in range(5)]

    assert ["unknown"] * 5 == [getattr(result, "outcome", result) for result in results]
    assert [] == made
    assert 5 == len(set(retried))
    assert [0, 1, 2, 3, 4] == await server.read(start)


async def test_the_answer_of_a_thawed_store_counts_once(own_store: OwnStore, stores: Stores) -> None:
    """It woke within the budget: the attempts made one message, and the caller gets its place."""
    process = own_store()
    server = Server(await stores(process.url))
    start = await server.publish("before")
    process.freeze()
    waiting = asyncio.create_task(server.publish("x", rid="r"))
    # two attempts of 500 ms have been given up on by then
    woken = server.store.clock.now_ms() + 1200
    await eventually(lambda: server.store.clock.now_ms() > woken, "two attempts were given up on")
    process.thaw()

    assert start._replace(offset=2) == await waiting
    assert ["x"] == await server.read(start)


async def test_a_full_store_changes_nothing(own_store: OwnStore, stores: Stores) -> None:
    """Out of memory is told as unavailable with nothing changed, and passes."""
    process = own_store(maxmemory_policy="noeviction")
    server = Server(await stores(process.url))
    end = await server.publish("before", rid="r0")
    process.client.config_set("maxmemory", 1)
    with pytest.raises(Unavailable) as refused:
        await server.publish("x", rid="r")
    again = await server.publish("before", rid="r0")
    process.client.config_set("maxmemory", 0)
    after = await server.publish("x", rid="r")

    assert "none" == refused.value.outcome
    assert end == again
    assert end._replace(offset=2) == after


async def test_a_store_that_lacks_its_replicas_changes_nothing(own_store: OwnStore, stores: Stores) -> None:
    """``min-replicas-to-write`` is told as unavailable with nothing changed, and passes."""
    process = own_store()
    server = Server(await stores(process.url))
    end = await server.publish("before")
    process.client.config_set("min-replicas-to-write", 1)
    with pytest.raises(Unavailable) as refused:
        await server.publish("x")
    process.client.config_set("min-replicas-to-write", 0)

    assert "none" == refused.value.outcome
    assert end == await server.position()


async def test_a_replica_changes_nothing(own_store: OwnStore, stores: Stores) -> None:
    """A demoted primary refuses; as soon as it leads again, over a new connection, it goes on."""
    _, _, replica, at_replica = await pair(own_store, stores)
    with pytest.raises(Unavailable) as refused:
        await at_replica.publish("x")
    waiting = asyncio.create_task(at_replica.publish("y", rid="y"))
    replica.follow(None)

    assert "none" == refused.value.outcome
    assert 4 == (await waiting).offset
