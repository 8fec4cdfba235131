"""Sessions and sockets in a real store: who is attached, what outlives a connection, who was removed."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from msgspec import Raw
from tornado.ioloop import IOLoop

from session import janitor as janitor_module
from session import keys
from session import leases as leases_module
from session.config import Config
from session.hub import Hub
from session.janitor import Janitor
from session.leases import Leases
from session.manager import (
    CONNECTED_EXTRA_SECONDS,
    Fence,
    Forgotten,
    Gone,
    SessionManager,
    Socket,
    new_socket_id,
)
from session.metrics import Metrics
from session.protocol import MAX_SESSION_DATA_BYTES, Code, Refused
from session.recovery import Position
from session.store import Store
from session.survey import Survey
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

USER = "a|user:1@shop"
KEYS = keys.user(USER)
CONFIG = Config(session_ttl=100.0, max_connections_per_user=3, max_rooms=3)
HOUR_MS = 100_000
CONNECTED_MS = HOUR_MS + CONNECTED_EXTRA_SECONDS * 1000


class Membership:
    """What a server believes of itself and the others."""

    def __init__(self, instance: str, all_: set[str], dead: set[str]) -> None:
        self.instance = instance
        self._all = all_
        self._dead = dead

    @property
    def dead(self) -> frozenset[str]:
        return frozenset(self._dead)

    async def living(self) -> frozenset[str]:
        return frozenset(self._all - self._dead | {self.instance})


class Servers:
    """Managers of several servers on one store: ``servers["a"]``; those in ``dead`` are so for all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[str] = set()
        self.dead: set[str] = set()

    def __getitem__(self, instance: str) -> SessionManager:
        return self.with_config(instance, CONFIG)

    def with_config(self, instance: str, config: Config) -> SessionManager:
        self._known.add(instance)
        return SessionManager(self._store, config, Membership(instance, self._known, self.dead))


@pytest.fixture
def servers(store: Store) -> Servers:
    return Servers(store)


@pytest.fixture
def manager(servers: Servers) -> SessionManager:
    return servers["a"]


def now_ms(process: StoreProcess) -> int:
    """The store's time."""
    seconds, micros = process.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def raw(**data: Any) -> dict[str, Raw]:
    return {name: Raw(json.dumps(value).encode()) for name, value in data.items()}


def plain(data: Any) -> dict[str, Any]:
    return {name: json.loads(bytes(value)) for name, value in data.items()}


async def attach(manager: SessionManager, user: str = USER, **how: Any) -> Fence:
    """A new connection of the user; what it shows to change the session."""
    socket = new_socket_id(user)
    return Fence(socket, (await manager.attach(user, socket, **how)).order)


async def names(manager: SessionManager, user: str = USER) -> list[str]:
    """The user's sockets, oldest first."""
    return [socket.socket_id for socket in await manager.sockets(user)]


@contextlib.contextmanager
def heard(process: StoreProcess, channel: str = KEYS.channel) -> Iterator[Callable[[], list[str]]]:
    """What is rung on a channel meanwhile."""
    listener = process.client.pubsub()
    listener.subscribe(channel)
    assert listener.get_message(timeout=5)

    def read() -> list[str]:
        # the store keeps the order: before the marker comes all that was rung before it
        process.client.publish(channel, "the end")
        messages: list[str] = []
        while not messages or messages[-1] != "the end":
            message = listener.get_message(timeout=5)
            assert message is not None
            messages.append(message["data"])
        return messages[:-1]

    try:
        yield read
    finally:
        listener.close()


# --- sockets ---


async def test_attaching_maps_a_socket_to_its_user(servers: Servers) -> None:
    """Both ways, on every server, with the instance and the time."""
    a, b = servers["a"], servers["b"]
    first, second = await attach(a), await attach(b)
    sockets = await a.sockets(USER)

    assert [
        Socket(first.socket_id, "a", first.order), Socket(second.socket_id, "b", second.order)
    ] == sockets  # fmt: skip
    assert [USER, USER] == [await m.find_user(f.socket_id) for m, f in ((a, second), (b, first))]
    assert {first.socket_id: USER} == await a.indexed(keys.bucket(USER), "a")


async def test_an_order_is_the_time_and_never_repeats(manager: SessionManager, store: Store) -> None:
    """By the store's clock; of two in one millisecond the later one is greater."""
    now = store.clock.now_ms()
    orders = [(await attach(manager)).order for _ in range(3)]

    assert sorted(set(orders)) == orders
    assert abs(orders[0] - now) < 1000


async def test_attaching_tells_what_was_there(manager: SessionManager) -> None:
    """The user's room and the session before, in the same moment."""
    await manager.save(USER, {"event_id": "7"}, raw(theme="dark"))
    await manager.update(USER, {}, join=["chat:a"])
    attached = await manager.attach(USER, new_socket_id(USER))

    assert 0 == attached.user_room.offset
    assert ("7", ["chat:a"]) == (attached.session.event_id, attached.session.rooms)
    assert {"theme": "dark"} == plain(attached.session.data)
    assert ["event:7", "chat:a"] == attached.session.rooms_to_rejoin


async def test_the_room_of_a_user_who_never_had_one_has_a_position(manager: SessionManager) -> None:
    """The same as a check reads; nothing was written for it."""
    attached = await manager.attach(USER, new_socket_id(USER))
    checked = await manager.check(USER)

    assert Position(attached.user_room.epoch, 0) == attached.user_room == checked.user_room
    assert attached.user_room.epoch


async def test_attaching_again_changes_nothing(manager: SessionManager, store_process: StoreProcess) -> None:
    """As after an answer that was lost: the same order, one socket."""
    socket = new_socket_id(USER)
    first = await manager.attach(USER, socket)
    before = store_process.client.hgetall(KEYS.session)
    again = [await manager.attach(USER, socket), await manager.attach(USER, socket, order=first.order)]

    assert [first.order] * 2 == [a.order for a in again]
    assert before == store_process.client.hgetall(KEYS.session)
    assert [socket] == await names(manager)


async def test_detaching_unmaps(manager: SessionManager, store_process: StoreProcess) -> None:
    """Of a user who only came and went nothing is left; twice is once."""
    fence = await attach(manager)
    for _ in range(2):
        await manager.detach(USER, fence.socket_id)

    assert [] == store_process.client.keys("*")
    assert await manager.find_user(fence.socket_id) is None
    assert await manager.user(USER) is None


@pytest.mark.parametrize("socket_id", ["", "x", "zz-no-bucket", "00-not-there"])
async def test_an_unknown_socket_is_nobodys(manager: SessionManager, socket_id: str) -> None:
    """Whatever its name."""
    assert await manager.find_user(socket_id) is None


async def test_the_hour_begins_with_the_last_connection(
    manager: SessionManager, store_process: StoreProcess
) -> None:
    """While connected the keys live longer; a crash so never shortens it, and the last to go sets it."""
    one, two = await attach(manager), await attach(manager)
    await manager.update(USER, {"event_id": "1"}, join=["chat:a"], by=one)
    await manager.update_data(USER, raw(a=1), by=one)
    owned = (KEYS.session, KEYS.data, KEYS.rooms)

    connected = [store_process.client.pttl(key) for key in owned]
    await manager.detach(USER, one.socket_id)
    one_left = [store_process.client.pttl(key) for key in owned]
    await manager.detach(USER, two.socket_id)
    gone = [store_process.client.pttl(key) for key in owned]

    assert [True] * 6 == [CONNECTED_MS - 5000 < ttl <= CONNECTED_MS for ttl in connected + one_left]
    assert [True] * 3 == [HOUR_MS - 5000 < ttl <= HOUR_MS for ttl in gone]


async def test_detaching_again_does_not_begin_the_hour_anew(
    manager: SessionManager, store_process: StoreProcess
) -> None:
    """As after an answer that was lost, or when the sweep comes late."""
    fence = await attach(manager)
    await manager.update(USER, {"event_id": "1"}, by=fence)
    await manager.detach(USER, fence.socket_id)
    store_process.client.pexpire(KEYS.session, 5000)
    await manager.detach(USER, fence.socket_id)

    assert store_process.client.pttl(KEYS.session) <= 5000


async def test_coming_back_lengthens_it_again(manager: SessionManager, store_process: StoreProcess) -> None:
    """Within the hour, all of the session's keys."""
    await manager.save(USER, {"event_id": "1"}, raw(a=1))
    await manager.update(USER, {}, join=["chat:a"])
    await attach(manager)

    ttls = [store_process.client.pttl(key) for key in (KEYS.session, KEYS.data, KEYS.rooms)]
    assert [True] * 3 == [CONNECTED_MS - 5000 < ttl <= CONNECTED_MS for ttl in ttls]


async def test_a_session_ends(servers: Servers) -> None:
    """After its hour, here three seconds, nothing is known of the user any more."""
    manager = servers.with_config("a", Config(session_ttl=3.0))
    fence = await attach(manager)
    await manager.update(USER, {"event_id": "1"}, by=fence)
    await manager.update_data(USER, raw(a=1), by=fence)
    await manager.detach(USER, fence.socket_id)

    before = await manager.get(USER)

    async def is_over() -> bool:
        return await manager.user(USER) is None

    await eventually(is_over, "the session is over")

    assert before is not None
    assert {} == dict((await manager.check(USER)).session.data)


async def test_a_write_of_the_back_end_does_not_shorten_a_connected_session(
    manager: SessionManager, store_process: StoreProcess
) -> None:
    """It knows of no connection, and gives the session its hour at least."""
    fence = await attach(manager)
    await manager.update(USER, {"event_id": "1"}, by=fence)
    await manager.save(USER, {"event_id": "2"})

    assert store_process.client.pttl(KEYS.session) > HOUR_MS


async def test_renewing_lengthens_what_there_is(manager: SessionManager, store_process: StoreProcess) -> None:
    """And tells of an activity only where there is a session."""
    fence = await attach(manager)
    await manager.renew(USER, active=True, by=fence)
    without = await manager.get(USER)
    await manager.update(USER, {"event_id": "1"}, by=fence)
    store_process.client.hset(KEYS.session, "la", 5)
    store_process.client.pexpire(KEYS.session, 1000)
    await manager.renew(USER, active=False, by=fence)
    idle = await manager.get(USER)
    await manager.renew(USER, active=True, by=fence)
    active = await manager.get(USER)

    assert without is None
    assert idle is not None
    assert active is not None
    assert 5 == idle.last_activity
    assert (active.last_activity or 0) > 5
    assert store_process.client.pttl(KEYS.session) > HOUR_MS


async def test_a_user_is_small(manager: SessionManager, store_process: StoreProcess) -> None:
    """Hashes stay in their compact form, which 5,000 users count on."""
    fences = [await attach(manager) for _ in range(3)]
    await manager.update(USER, dict.fromkeys(("event_id", "queue_event_id", "seat_event_id"), "e" * 60))
    await manager.update_data(USER, raw(theme="dark"), by=fences[0])
    owned = (KEYS.session, KEYS.data, keys.index(keys.bucket(USER), "a"))

    assert {"listpack"} == {store_process.client.object("encoding", key) for key in owned}


# --- sessions ---


async def test_a_session_is_saved_and_read(manager: SessionManager, store: Store) -> None:
    """Its fields, the client's own state and when it was last active."""
    await manager.save(USER, {"event_id": "1", "queue_event_id": "2"}, raw(a=[1, {"b": None}]))
    session = await manager.get(USER)

    assert session is not None
    assert session.exists
    assert ("1", "2", None) == (session.event_id, session.queue_event_id, session.seat_event_id)
    assert {"a": [1, {"b": None}]} == plain(session.data)
    assert abs((session.last_activity or 0) - store.clock.now_ms()) < 5000


async def test_an_update_changes_what_it_names(manager: SessionManager) -> None:
    """Others stay; None clears."""
    await manager.save(USER, {"event_id": "1", "queue_event_id": "2", "seat_event_id": "3"})
    await manager.update(USER, {"event_id": "9", "seat_event_id": None})
    session = await manager.get(USER)

    assert session is not None
    assert ("9", "2", None) == (session.event_id, session.queue_event_id, session.seat_event_id)


async def test_clearing_spares_another_value(manager: SessionManager) -> None:
    """Leaving one event does not undo a join of another that came meanwhile."""
    await manager.save(USER, {"event_id": "new", "seat_event_id": "x"})
    await manager.clear(USER, "event_id", "old")
    await manager.clear(USER, "seat_event_id", "x")
    session = await manager.get(USER)

    assert session is not None
    assert ("new", None) == (session.event_id, session.seat_event_id)


async def test_there_is_none_before_it_is_written(manager: SessionManager) -> None:
    """A connection alone is no session."""
    fence = await attach(manager)
    user = await manager.user(USER)

    assert await manager.get(USER) is None
    assert user is not None
    assert (None, [fence.socket_id]) == (user.session, [c.socket_id for c in user.connections])


async def test_rooms_are_joined_and_left(manager: SessionManager) -> None:
    """Among several tabs the set is one; the last writer wins."""
    await manager.update(USER, {}, join=["chat:a", "chat:b"])
    await manager.update(USER, {}, join=["chat:c"], leave=["chat:a", "chat:never"])
    session = await manager.get(USER)

    assert session is not None
    assert ["chat:b", "chat:c"] == session.rooms_to_rejoin


async def test_too_many_rooms_are_refused(manager: SessionManager) -> None:
    """Nothing else of the update is done either; a room that is in does not count again."""
    await manager.update(USER, {}, join=["chat:a", "chat:b", "chat:c"])
    await manager.update(USER, {"event_id": "1"}, join=["chat:a"])
    with pytest.raises(Refused, match="at most 3 rooms") as caught:
        await manager.update(USER, {"event_id": "2"}, join=["chat:d"])
    session = await manager.get(USER)

    assert Code.TOO_MANY_ROOMS == caught.value.code
    assert session is not None
    assert ["event:1", "chat:a", "chat:b", "chat:c"] == session.rooms_to_rejoin


async def test_deleting_leaves_the_connections(manager: SessionManager) -> None:
    """The session, its data and rooms are gone; who is connected stays so, and may write a new one."""
    fence = await attach(manager)
    await manager.update(USER, {"event_id": "1"}, join=["chat:a"], by=fence)
    await manager.update_data(USER, raw(a=1), by=fence)
    deleted, again = await manager.delete(USER), await manager.delete(USER)
    gone = await manager.check(USER)
    await manager.update(USER, {"event_id": "2"}, by=fence)
    session = await manager.get(USER)

    assert (True, False) == (deleted, again)
    assert (False, {}, []) == (gone.session.exists, dict(gone.session.data), gone.session.rooms)
    assert [fence.socket_id] == [s.socket_id for s in gone.session.sockets]
    assert session is not None
    assert "2" == session.event_id


# --- the client's own state ---


async def test_data_is_merged(manager: SessionManager) -> None:
    """A field a key: null removes, the answer is the whole."""
    await manager.update_data(USER, raw(a=1, b={"c": [None]}))
    whole = await manager.update_data(USER, raw(b=None, d="뮤지컬", e=None))

    assert {"a": 1, "d": "뮤지컬"} == plain(whole)


async def test_data_comes_back_as_it_was(manager: SessionManager) -> None:
    """Byte for byte, whatever the names."""
    odd = {'quo"te': Raw(b'{"n": 1.50}'), "": Raw(b'""'), "줄\n": Raw(b"12345678901234567890")}
    whole = await manager.update_data(USER, odd)

    assert {name: bytes(value) for name, value in odd.items()} == {n: bytes(v) for n, v in whole.items()}


async def test_data_has_a_limit_of_the_whole(manager: SessionManager) -> None:
    """Exactly 8 KiB as JSON are accepted, one byte more changes nothing."""
    room_left = MAX_SESSION_DATA_BYTES - len('{"a":"","b":""}')
    await manager.update_data(USER, raw(a="x" * 4000))
    with pytest.raises(Refused, match="8192 bytes in all") as caught:
        await manager.update_data(USER, raw(b="y" * (room_left - 3999)))
    kept = plain((await manager.check(USER)).session.data)
    whole = await manager.update_data(USER, raw(b="y" * (room_left - 4000)))

    assert Code.BAD_MESSAGE == caught.value.code
    assert {"a": "x" * 4000} == kept
    assert MAX_SESSION_DATA_BYTES == len(json.dumps(plain(whole), separators=(",", ":")))


async def test_what_is_full_can_be_emptied(manager: SessionManager) -> None:
    """What a merge removes makes room for what it adds."""
    await manager.update_data(USER, raw(a="x" * 8000))
    whole = await manager.update_data(USER, raw(a=None, b="y" * 8000))

    assert ["b"] == list(whole)


async def test_many_at_once_lose_nothing(servers: Servers) -> None:
    """Tabs on two servers, each writing a key of its own."""
    a, b = servers["a"], servers["b"]
    await asyncio.gather(*((a, b)[n % 2].update_data(USER, raw(**{f"k{n}": n})) for n in range(100)))
    session = await a.get(USER)

    assert session is not None
    assert {f"k{n}": n for n in range(100)} == plain(session.data)


# --- removed ---


async def test_replacing_closes_the_old_one(servers: Servers, store_process: StoreProcess) -> None:
    """On whatever server it stands; everyone is told, and it may change nothing more."""
    a, b = servers["a"], servers["b"]
    old = await attach(a)
    await a.update(USER, {"event_id": "1"}, by=old)
    with heard(store_process) as notices:
        new = await attach(b, replaces=old.socket_id)
        rung = notices()
    with pytest.raises(Gone) as caught:
        await a.update(USER, {"event_id": "2"}, by=old)
    with pytest.raises(Gone):
        await a.update_data(USER, raw(a=1), by=old)
    session = await a.get(USER)

    assert [f"1 x {USER} {old.socket_id}"] == rung
    assert 0 == caught.value.kicked_at
    assert session is not None
    assert ("1", [new.socket_id]) == (session.event_id, [s.socket_id for s in session.sockets])


async def test_replacing_what_is_not_there_is_nothing(
    manager: SessionManager, store_process: StoreProcess
) -> None:
    """A name that leads nowhere, or to another user's socket, closes nobody."""
    other = await attach(manager, user="another")
    with heard(store_process) as notices, heard(store_process, keys.user("another").channel) as theirs:
        new = await attach(manager, replaces=other.socket_id)
        await attach(manager, replaces="no-such-socket")
        rung = notices() + theirs()

    assert [] == rung
    assert [other.socket_id] == await names(manager, "another")
    assert new.socket_id in await names(manager)


async def test_a_replaced_one_cannot_come_back(manager: SessionManager) -> None:
    """Attaching again under its old name is refused: it was removed, not forgotten."""
    old = await attach(manager)
    await attach(manager, replaces=old.socket_id)

    with pytest.raises(Gone) as caught:
        await manager.attach(USER, old.socket_id, order=old.order)

    assert 0 == caught.value.kicked_at


async def test_of_too_many_the_oldest_goes(servers: Servers, store_process: StoreProcess) -> None:
    """Over all servers, by the order in which the store saw them."""
    fences = [await attach(servers["ab"[n % 2]]) for n in range(3)]
    with heard(store_process) as notices:
        fences += [await attach(servers["a"]), await attach(servers["b"])]
        rung = notices()

    assert [f.socket_id for f in fences[2:]] == await names(servers["a"])
    assert [f"1 x {USER} {fences[0].socket_id}", f"2 x {USER} {fences[1].socket_id}"] == rung


async def test_attaching_again_costs_nobody_a_place(servers: Servers, store_process: StoreProcess) -> None:
    """A socket that is in already is not one more."""
    fences = [await attach(servers["a"]) for _ in range(3)]
    with heard(store_process) as notices:
        for fence in fences:
            await servers["a"].attach(USER, fence.socket_id, order=fence.order)
        rung = notices()

    assert [] == rung
    assert [f.socket_id for f in fences] == await names(servers["a"])


async def test_fifty_at_once_leave_two(servers: Servers) -> None:
    """However many servers they come to: the limit holds, and the two that stay are the newest."""
    managers = [servers.with_config(name, Config(max_connections_per_user=2)) for name in "abc"]

    fences = await asyncio.gather(*(attach(managers[n % 3]) for n in range(50)))

    newest = sorted(fences, key=lambda f: f.order)[-2:]
    assert [f.socket_id for f in newest] == await names(managers[0])


async def test_a_replaced_one_makes_room(servers: Servers) -> None:
    """Coming back costs no other tab its place."""
    manager = servers["a"]
    fences = [await attach(manager) for _ in range(3)]
    back = await attach(manager, replaces=fences[2].socket_id)

    assert [f.socket_id for f in (*fences[:2], back)] == await names(manager)


async def test_an_administrator_removes_all(servers: Servers, store_process: StoreProcess) -> None:
    """Those there are; the session stays, and who comes later is let in."""
    a, b = servers["a"], servers["b"]
    old = [await attach(a), await attach(b)]
    await a.update(USER, {"event_id": "1"}, by=old[0])
    with heard(store_process) as notices:
        count = await b.disconnect(USER)
        rung = notices()
    for manager, fence in zip((a, b), old, strict=True):
        with pytest.raises(Gone) as caught:
            await manager.renew(USER, active=True, by=fence)
        assert caught.value.kicked_at >= fence.order
        with pytest.raises(Gone) as caught:
            await manager.attach(USER, fence.socket_id, order=fence.order)
        assert caught.value.kicked_at >= fence.order
    session = (await a.check(USER)).session
    new = await attach(a)
    await a.update(USER, {"event_id": "2"}, by=new)

    assert 2 == count
    assert [f"1 d {USER} {session.kicked_at}"] == rung
    assert (True, "1", ()) == (session.exists, session.event_id, tuple(session.sockets))
    assert new.order > session.kicked_at
    assert [new.socket_id] == await names(b)


async def test_removing_who_is_not_there(manager: SessionManager) -> None:
    """Nobody; the mark stays, so that one who was on the way in before it is removed all the same."""
    count = await manager.disconnect(USER)
    new = await attach(manager)

    assert 0 == count
    assert new.order > (await manager.check(USER)).session.kicked_at > 0


async def test_removing_who_was_forgotten(manager: SessionManager, store_process: StoreProcess) -> None:
    """The store came back empty, and the administrator was faster than the server."""
    fence = await attach(manager)
    store_process.client.flushall()
    await manager.disconnect(USER)
    with pytest.raises(Gone) as caught:
        await manager.attach(USER, fence.socket_id, order=fence.order)

    assert caught.value.kicked_at >= fence.order
    assert [] == await names(manager)


async def test_a_removed_one_that_detaches_spares_the_others(manager: SessionManager) -> None:
    """Its socket closes late, when another of the same user is there."""
    old = await attach(manager)
    new = await attach(manager, replaces=old.socket_id)
    await manager.detach(USER, old.socket_id)

    assert [new.socket_id] == await names(manager)
    assert {new.socket_id: USER} == await manager.indexed(keys.bucket(USER), "a")


async def test_a_revoked_sign_in_is_refused(manager: SessionManager, store_process: StoreProcess) -> None:
    """While its mark is in force; nothing is left of the attempt, but that the user can be told of it."""
    now = now_ms(store_process)
    store_process.client.zadd(KEYS.revoked, {"sid:1": now + 60_000, "sid:0": now - 1})
    with pytest.raises(Refused) as caught:
        await attach(manager, marks=["jti:x", "sid:1"])
    left = store_process.client.keys("*")
    fence = await attach(manager, marks=["sid:0", "sid:2"])

    assert Code.TOKEN_REVOKED == caught.value.code
    assert {KEYS.revoked, KEYS.recorder} == set(left)
    assert [fence.socket_id] == await names(manager)
    assert frozenset({"sid:1"}) == (await manager.check(USER)).revoked


# --- a store that forgot ---


async def test_a_forgotten_connection_attaches_again(
    manager: SessionManager, store_process: StoreProcess
) -> None:
    """The store came back empty: forgotten, not removed; attached again it may go on."""
    fence = await attach(manager)
    await manager.update(USER, {"event_id": "1"}, by=fence)
    store_process.client.flushall()
    with pytest.raises(Forgotten):
        await manager.update(USER, {"event_id": "2"}, by=fence)
    with pytest.raises(Forgotten):
        await manager.update_data(USER, raw(a=1), by=fence)
    again = await manager.attach(USER, fence.socket_id, order=fence.order)
    await manager.update(USER, {"event_id": "2"}, by=Fence(fence.socket_id, again.order))
    session = await manager.get(USER)

    assert not again.session.exists
    assert again.order >= fence.order
    assert session is not None
    assert "2" == session.event_id


async def test_forgotten_stays_forgotten_when_another_came_first(
    servers: Servers, store_process: StoreProcess
) -> None:
    """A hash that is younger than the connection proves nothing against it."""
    fence = await attach(servers["a"])
    store_process.client.flushall()
    await eventually(lambda: now_ms(store_process) > fence.order, "a millisecond has passed")
    other = await attach(servers["b"])
    with pytest.raises(Forgotten):
        await servers["a"].renew(USER, active=True, by=fence)
    await servers["a"].attach(USER, fence.socket_id, order=fence.order)

    assert {fence.socket_id, other.socket_id} == set(await names(servers["a"]))


@pytest.mark.parametrize("another_came_first", [False, True])
async def test_a_connection_of_a_lost_tail_attaches_again(
    manager: SessionManager, store_process: StoreProcess, another_came_first: bool
) -> None:
    """The store lost its last writes: it never heard of the connection, so nobody removed it."""
    first = await attach(manager)
    await manager.update(USER, {"event_id": "1"}, by=first)
    binary = redis.Redis(port=store_process.port)
    before = binary.dump(KEYS.session)
    second = await attach(manager)
    binary.restore(KEYS.session, CONNECTED_MS, before, replace=True)
    others = [first] + ([await attach(manager)] if another_came_first else [])
    for change in (manager.renew(USER, active=True, by=second), manager.update_data(USER, {}, by=second)):
        with pytest.raises(Forgotten):
            await change
    again = await manager.attach(USER, second.socket_id, order=second.order)

    assert again.order >= second.order
    assert {fence.socket_id for fence in (*others, second)} == set(await names(manager))


# --- the dead ---


async def test_sockets_of_a_dead_server_are_hidden(servers: Servers) -> None:
    """From all who ask, as soon as it is known to be dead."""
    dead, living = await attach(servers["a"]), await attach(servers["b"])
    servers.dead.add("a")
    user = await servers["b"].user(USER)

    assert user is not None
    assert [living.socket_id] == [c.socket_id for c in user.connections]
    assert [living.socket_id] == await names(servers["b"])
    assert await servers["b"].find_user(dead.socket_id) is None


async def test_sockets_of_a_dead_server_take_no_place(servers: Servers, store_process: StoreProcess) -> None:
    """Whoever attaches drops them, and nobody need be told."""
    for _ in range(3):
        await attach(servers["a"])
    servers.dead.add("a")
    with heard(store_process) as notices:
        fences = [await attach(servers["b"]) for _ in range(3)]
        rung = notices()

    assert [] == rung
    assert [f.socket_id for f in fences] == await names(servers["b"])


class Server:
    """The janitor of a server with a real lease."""

    def __init__(self, store: Store) -> None:
        self.leases = Leases(store, Survey(store))
        self.manager = SessionManager(store, CONFIG, self.leases)
        self.janitor = Janitor(self.manager, Hub(CONFIG, Metrics()), self.leases)


@pytest.fixture
def server(io_loop: IOLoop, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that may judge at once, and sweeps without a pause."""
    monkeypatch.setattr(leases_module, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(janitor_module, "ROUND_SECONDS", 0.01)
    made = Server(store)
    tasks: list[asyncio.Task[None]] = []

    async def begin() -> None:
        await made.leases.renew()
        tasks.append(asyncio.create_task(made.janitor.run()))

    async def end() -> None:
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    io_loop.run_sync(begin)
    yield made
    io_loop.run_sync(end)


def lapse(process: StoreProcess, instance: str, ms: int) -> None:
    """Let the lease of a server have been over for so long."""
    process.client.zadd(keys.LEASES, {instance: now_ms(process) - ms})


async def test_a_dead_server_is_swept(server: Server, servers: Servers, store_process: StoreProcess) -> None:
    """Its sockets, in whatever bucket, are unmapped, their sessions' hour begins, its lease is gone."""
    users = [f"user-{n}" for n in range(300)]
    await asyncio.gather(*(attach(servers["i-dead"], user) for user in users))
    await asyncio.gather(*(servers["i-dead"].update(user, {"event_id": "1"}) for user in users))
    living = await attach(servers["i-living"], users[0])
    lapse(store_process, "i-dead", 3000)
    lapse(store_process, "i-living", -9000)

    await server.leases.renew()
    await eventually(lambda: store_process.client.zscore(keys.LEASES, "i-dead") is None, "it is swept")
    left = [await names(server.manager, user) for user in users]
    ttls = [store_process.client.pttl(keys.user(user).session) for user in users]

    assert [[living.socket_id]] + [[]] * 299 == left
    assert [] == store_process.client.keys("{u:*}i:i-dead")
    assert ttls[0] > HOUR_MS
    assert [] == [ttl for ttl in ttls[1:] if not HOUR_MS - 20_000 < ttl <= HOUR_MS]


async def test_a_server_that_is_only_late_is_not_swept(
    server: Server, servers: Servers, store_process: StoreProcess
) -> None:
    """For 2 s a lease may be over; and who renewed at the last moment is not condemned."""
    fence = await attach(servers["i-late"])
    lapse(store_process, "i-late", 500)
    await server.leases.renew()
    late = server.leases.dead
    condemned = await server.leases.condemn("i-late")

    assert frozenset() == late
    assert not condemned
    assert [fence.socket_id] == await names(server.manager)


async def test_a_server_that_came_back_in_time_is_spared(
    server: Server, servers: Servers, store_process: StoreProcess
) -> None:
    """It was taken for dead, and renewed before anybody swept it."""
    fence = await attach(servers["i-back"])
    lapse(store_process, "i-back", 3000)
    await server.leases.renew()
    lapse(store_process, "i-back", -9000)
    judged = server.leases.dead
    await server.janitor._sweep_instance("i-back")

    assert frozenset({"i-back"}) == judged
    assert USER == (await server.manager.indexed(keys.bucket(USER), "i-back"))[fence.socket_id]
    assert store_process.client.zscore(keys.LEASES, "i-back") is not None


async def test_detaching_later_is_done_soon(server: Server, store_process: StoreProcess) -> None:
    """Also for many at once, and `settled` says when."""
    users = [f"user-{n}" for n in range(250)]
    fences = await asyncio.gather(*(attach(server.manager, user) for user in users))
    for user, fence in zip(users, fences, strict=True):
        server.janitor.detach_later(user, fence.socket_id)
    async with asyncio.timeout(10):
        await server.janitor.settled()

    assert [] == store_process.client.keys("{u:*")


async def test_who_has_gone_makes_way_for_who_comes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While others wait to sign in there is a pause after each batch of those to be unmapped, and no other
    end to it than that all are."""
    monkeypatch.setattr(janitor_module, "RUSH_SECONDS", 0.03)
    server.janitor.is_rush = lambda: True
    asked_at: list[float] = []

    async def detach(user_id: str, socket_id: str, **_: str) -> None:
        asked_at.append(time.monotonic())

    monkeypatch.setattr(server.manager, "detach", detach)
    for n in range(2 * janitor_module.BATCH + 1):
        server.janitor.detach_later(f"user-{n}", f"socket-{n}")
    await asyncio.wait_for(server.janitor.settled(), 10)

    assert 2 * janitor_module.BATCH + 1 == len(asked_at)
    pauses = [after - before for before, after in itertools.pairwise(asked_at)]
    assert 2 == sum(pause >= 0.029 for pause in pauses[janitor_module.BATCH - 1 :: janitor_module.BATCH])


async def test_detaching_waits_for_a_store_that_is_away(server: Server, store_process: StoreProcess) -> None:
    """A frozen store delays it; nothing is forgotten."""
    fence = await attach(server.manager)
    store_process.freeze()
    try:
        server.janitor.detach_later(USER, fence.socket_id)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await server.janitor.settled()
    finally:
        store_process.thaw()
    async with asyncio.timeout(10):
        await server.janitor.settled()

    assert [] == await names(server.manager)
