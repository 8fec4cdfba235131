"""The store's client against real stores: one line, a time budget, and an honest outcome."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import RedisError

from session import embedded, keys
from session.line import EARLY, PATIENCE_SECONDS, Call
from session.protocol import Code
from session.store import BUDGET_SECONDS, Clock, Store, Then, Unavailable
from tests.conftest import Stores
from tests.support.proxy import Proxy
from tests.support.stores import StoreProcess
from tests.support.waiting import eventually

OwnStore = Callable[..., StoreProcess]
Network = Callable[[StoreProcess], Proxy]


@pytest.fixture
def network() -> Iterator[Network]:
    """Puts a network between a test and a store."""
    made: list[Proxy] = []

    def between(process: StoreProcess) -> Proxy:
        made.append(Proxy(process.port))
        return made[-1]

    yield between
    for proxy in made:
        proxy.stop()


def url(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


async def publish(store: Store, request_id: str = "r") -> tuple[str, int]:
    """Publish something; whether it was new, and where it is."""
    k = keys.room("event:1")
    args = [k.channel, "event:1", request_id, '{"type":"message",', ',"sentAt":', 1000, 3_600_000, "", 0]
    verdict, _, offset = await store.script("publish", [k.meta, k.stream, k.ids], args)
    return verdict.decode(), int(offset)


async def connection_id(store: Store) -> int:
    return int(await store.command("CLIENT", "ID"))


# --- in quiet times ---


async def test_commands_and_scripts_answer(store: Store) -> None:
    """Plain commands, scripts that the store does not know yet, and the same again."""
    answers = [await store.command("PING"), await store.command("INCRBY", "n", 5)]
    first, second = await publish(store, "a"), await publish(store, "b")

    assert [b"PONG", 5] == answers
    assert [("ok", 1), ("ok", 2)] == [first, second]


async def test_scripts_are_sent_once_and_named_afterwards(store: Store, store_process: StoreProcess) -> None:
    """A store that was restarted has forgotten them: they are sent anew, without a word to the caller."""
    await publish(store, "a")
    store_process.client.config_resetstat()
    await publish(store, "b")
    named = store_process.info("commandstats")
    store_process.client.script_flush()

    after = await publish(store, "c")

    assert {"cmdstat_evalsha"} == {name for name in named if name.startswith("cmdstat_eval")}
    assert ("ok", 3) == after


async def test_what_is_asked_together_costs_one_wait(store: Store, store_process: StoreProcess) -> None:
    """A hundred commands of one turn of the loop come in few reads: none waits for another's answer."""
    await store.command("PING")
    before = int(store_process.info("stats")["total_reads_processed"])
    await asyncio.gather(*(store.command("PING") for _ in range(100)))
    # one of them is the INFO itself
    reads = int(store_process.info("stats")["total_reads_processed"]) - before - 1

    assert reads <= 100 // EARLY + 3


async def test_a_hundred_at_once_get_each_its_own_answer(store: Store) -> None:
    """However many share the line."""
    answers = await asyncio.gather(*(store.command("ECHO", f"{n}") for n in range(1000)))

    assert [b"%d" % n for n in range(1000)] == answers


async def test_a_mistake_of_ours_is_raised_at_once(store: Store) -> None:
    """A wrong command is not tried for two seconds, and harms nobody else's."""
    started = time.monotonic()
    wrong = asyncio.create_task(store.command("NOSUCHCOMMAND"))
    right = asyncio.create_task(store.command("PING"))

    with pytest.raises(RedisError, match=r"(?i)unknown command"):
        await wrong
    assert b"PONG" == await right
    assert time.monotonic() - started < PATIENCE_SECONDS


async def test_a_second_attempt_does_not_stand_behind_the_first_ones_wait(
    store: Store, store_process: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`WAIT` blocks its connection; what is asked again behind it would lose its time there."""
    store_process.client.script_flush()
    node = store.nodes.of("")
    assert node is not None
    await eventually(lambda: node.apart.is_up, "the line for those who wait is there")
    send, before_it = store._send, []

    def spy(*call: Any) -> Any:
        before_it.append(len(node.apart._in_flight) + len(node.apart._waiting))
        return send(*call)

    monkeypatch.setattr(store, "_send", spy)
    then = Then(("WAIT", 1, 100))
    await store._run("replicas", ["k"], [], None, then)

    assert [0, 0] == before_it
    assert 0 == then.answer


async def test_each_attempt_of_a_script_has_another_nonce(store: Store, store_process: StoreProcess) -> None:
    """Epochs are made of it: two rooms born by one server in one incarnation have different words."""
    for event in ("1", "2"):
        k = keys.room(f"event:{event}")
        args = [k.channel, f"event:{event}", "", "{", ',"sentAt":', 1000, 3_600_000, "", 0]
        await store.script("publish", [k.meta, k.stream, k.ids], args)
    one, two = (store_process.client.hget(keys.room(f"event:{e}").meta, "e") for e in ("1", "2"))

    assert one[:10] == two[:10]
    assert one[10:] != two[10:]
    assert 16 == len(one)


async def test_works_over_a_unix_socket(stores: Stores, tmp_path: Path) -> None:
    """The embedded Valkey has no other way."""
    valkey = await asyncio.to_thread(embedded.start, tmp_path / "a b")
    try:
        store = await stores(valkey.url)

        assert b"PONG" == await store.command("PING")
    finally:
        await asyncio.to_thread(valkey.stop)


async def test_signs_in_with_user_and_password(own_store: OwnStore, stores: Stores) -> None:
    """As a managed store wants it; a database other than 0 is chosen."""
    process = own_store()
    process.client.acl_setuser("seat", enabled=True, passwords=["+p@ss/word"], keys=["*"], commands=["+@all"])
    process.client.execute_command("ACL", "SETUSER", "default", "resetpass", ">closed")

    store = await stores(f"redis://seat:p%40ss%2Fword@127.0.0.1:{process.port}/3")

    assert b"seat" == await store.command("ACL", "WHOAMI")
    assert b"db=3" in (await store.command("CLIENT", "INFO")).split()


# --- bad times ---


async def test_while_nobody_is_there_nothing_has_happened(own_store: OwnStore, stores: Stores) -> None:
    """Refused connections: after the budget, and not much later, ``none``; then it works again by itself."""
    process = own_store()
    store = await stores(process.url)
    process.kill()
    await eventually(lambda: not store.is_up, "the line is down")
    started = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        await publish(store)
    took = time.monotonic() - started
    process.start()

    assert "none" == refused.value.outcome
    assert Code.UNAVAILABLE is refused.value.code
    assert refused.value.event().retryable
    assert BUDGET_SECONDS - 0.5 < took < BUDGET_SECONDS + PATIENCE_SECONDS + 0.3
    assert ("ok", 1) == await publish(store)


async def test_what_a_frozen_store_was_sent_may_have_happened(own_store: OwnStore, stores: Stores) -> None:
    """``unknown``, and in time; the next call after it thawed is answered."""
    process = own_store()
    store = await stores(process.url)
    process.freeze()
    started = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        await store.command("PING")
    took = time.monotonic() - started
    process.thaw()

    assert "unknown" == refused.value.outcome
    assert took < BUDGET_SECONDS + PATIENCE_SECONDS + 0.3
    assert b"PONG" == await store.command("PING")


async def test_an_answer_that_has_come_is_not_late(store: Store) -> None:
    """This process stood still for longer than it waits for an answer: what waits for it is read first."""
    before = await connection_id(store)
    waiting = asyncio.create_task(connection_id(store))
    node = store.nodes.of("")
    assert node is not None
    while not node.line._in_flight:
        await asyncio.sleep(0)
    time.sleep(BUDGET_SECONDS)  # noqa: ASYNC251 - the loop is what stands still

    assert before == await waiting


async def test_a_lost_answer_is_asked_for_again(
    own_store: OwnStore, stores: Stores, network: Network
) -> None:
    """The line broke after the script had run: the same request id brings the first answer."""
    process = own_store()
    proxy = network(process)
    store, twin = await stores(url(proxy)), await stores(process.url)
    await publish(store, "before")
    proxy.stall()
    waiting = asyncio.create_task(publish(store))
    # the proxy holds the command back; another client does what the store would have done with it
    ran = await publish(twin)
    proxy.blink()
    proxy.mend()

    assert ("ok", 2) == ran
    assert ("again", 2) == await waiting


async def test_a_line_that_breaks_is_replaced(own_store: OwnStore, stores: Stores, network: Network) -> None:
    """Each time, at once, and the caller need not know."""
    process = own_store()
    proxy = network(process)
    store = await stores(url(proxy))
    seen = set()
    for _ in range(5):
        seen.add(await connection_id(store))
        proxy.blink()

    assert 5 == len(seen)


async def test_a_line_that_says_nothing_is_dropped(
    own_store: OwnStore, stores: Stores, network: Network
) -> None:
    """A network that swallows: the first attempt is lost, the next goes over another connection."""
    process = own_store()
    proxy = network(process)
    store = await stores(url(proxy))
    before = await connection_id(store)
    proxy.stall()
    waiting = asyncio.create_task(connection_id(store))
    await eventually(lambda: proxy.accepted > 2, "there is a third connection")
    proxy.mend()

    assert before != await waiting


async def test_a_store_that_reads_its_data_has_done_nothing(own_store: OwnStore, stores: Stores) -> None:
    """LOADING is an answer: nothing has happened, the line stands, and it passes."""
    process = own_store()
    store = await stores(process.url)
    with process.client.pipeline(transaction=False) as pipe:
        for n in range(2000):
            pipe.set(f"filler-{n}", os.urandom(2000))
        pipe.execute()
    process.client.save()
    process.kill()
    # twenty seconds of loading, in which it answers after each key
    process.start("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024", wait=False)
    await eventually(lambda: says(process, b"-LOADING"), "it is loading")

    with pytest.raises(Unavailable) as refused:
        await store.command("PING")

    assert "none" == refused.value.outcome
    assert store.is_up


async def test_a_script_that_hangs_passes(own_store: OwnStore, stores: Stores) -> None:
    """BUSY is an answer too: nothing has happened, and the line stands."""
    process = own_store(lua_time_limit="50")
    store = await stores(process.url)
    before = await connection_id(store)
    hanging = asyncio.create_task(asyncio.to_thread(process.client.eval, "while true do end", 0))
    await eventually(lambda: says(process, b"-BUSY"), "the store is busy")

    with pytest.raises(Unavailable) as refused:
        await store.command("PING")
    redis.Redis(port=process.port).script_kill()
    with pytest.raises(RedisError, match=r"(?i)killed"):
        await hanging

    assert "none" == refused.value.outcome
    assert before == await connection_id(store)


def says(process: StoreProcess, answer: bytes) -> bool:
    """Whether this is how it answers a PING."""
    try:
        with socket.create_connection(("127.0.0.1", process.port), 0.5) as line:
            line.sendall(b"PING\r\n")
            return line.recv(64).startswith(answer)
    except OSError:
        return False


async def test_a_primary_that_was_demoted_is_left(
    own_store: OwnStore, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READONLY, also as old stores wrap it, ends the connection: another may find the new primary."""
    process = own_store()
    store = await stores(process.url)
    ids = [await connection_id(store)]
    for reply in (
        "READONLY You can't write",
        "ERR Error running script: @user_script: 7: -READONLY You can't",
    ):
        with pytest.raises(Unavailable):
            await store.command("EVAL", f"return redis.error_reply({json.dumps(reply)})", 0)
        ids.append(await connection_id(store))

    assert 3 == len(set(ids))


async def test_a_call_given_up_before_it_was_sent_is_never_sent(own_store: OwnStore, stores: Stores) -> None:
    """What could not be sent within the budget does not come later, when nobody waits for it."""
    process = own_store(appendonly="yes", appendfsync="always")
    store = await stores(process.url)
    process.kill()
    with pytest.raises(Unavailable):
        await store.command("INCR", "n")
    process.start()

    assert b"PONG" == await store.command("PING")
    assert process.client.get("n") is None


async def test_a_late_answer_after_a_lost_one_is_unknown(
    own_store: OwnStore, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry was too late to change something; the attempt that got no answer may have."""
    process = own_store()
    store = await stores(process.url)
    await publish(store, "before")
    store.clock.set(store.clock.now_ms(), store.clock.now_ms() + 300)
    process.freeze()
    waiting = asyncio.create_task(publish(store))
    woken = store.clock.now_ms() + 700
    await eventually(lambda: store.clock.now_ms() > woken, "the lease is over and an attempt was lost")
    process.thaw()

    with pytest.raises(Unavailable) as refused:
        await waiting

    assert "unknown" == refused.value.outcome


async def test_what_is_cancelled_harms_nobody(store: Store) -> None:
    """Its answer comes, and is nobody's; the next one is right."""
    calls = [asyncio.create_task(store.command("ECHO", str(n))) for n in range(10)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [b"1", b"3", b"5", b"7", b"9"] == answers[1::2]


# --- the lease script ---


async def lease(
    store: Store, instance: str, length: int = 10_000, known: str = "", after: int = 2_000
) -> Any:
    answer = await store.script("lease", [keys.LEASES], [instance, length, after, known])
    now, end, incarnation, over, _ = answer
    return now, end, incarnation.decode(), [name.decode() for name in over]


async def test_a_lease_tells_time_end_and_incarnation(store: Store, store_process: StoreProcess) -> None:
    """All that deadlines are made of, by the store's clock."""
    seconds, _ = store_process.client.time()
    now, end, incarnation, over = await lease(store, "a")

    assert seconds * 1000 <= now < (seconds + 10) * 1000
    assert now + 10_000 == end
    assert store_process.info("replication")["master_replid"][:10] == incarnation
    assert [] == over


async def test_a_lease_has_no_deadline(store: Store) -> None:
    """It is asked for when all deadlines are over."""
    store.clock.set(0, 0)
    now, end, *_ = await lease(store, "a")

    assert now + 10_000 == end


async def test_a_lease_that_is_over_is_told_to_the_others(store: Store) -> None:
    """Only after it has been over for so long, and until it is renewed."""
    await lease(store, "dead", length=1)
    now, *_ = await lease(store, "a")
    await eventually(lambda: store.clock.now_ms() > now + 20, "it is over")
    recent = (await lease(store, "a", after=60_000))[3]
    over = (await lease(store, "a", after=10))[3]
    await lease(store, "dead")

    assert [] == recent
    assert ["dead"] == over
    assert [] == (await lease(store, "a", after=10))[3]


async def test_a_buried_server_is_told(store: Store, store_process: StoreProcess) -> None:
    """Its lease is not there any more, in the incarnation that it had it in: it must start over."""
    _, _, incarnation, _ = await lease(store, "a")
    await lease(store, "b")
    store_process.client.zrem(keys.LEASES, "a")

    _, end, _, _ = await lease(store, "a", known=incarnation)

    assert 0 == end
    assert ["b"] == store_process.client.zrange(keys.LEASES, 0, -1)


@pytest.mark.parametrize("why", ["another incarnation", "an empty store"])
async def test_a_lease_that_the_store_lost_is_renewed(
    store: Store, store_process: StoreProcess, why: str
) -> None:
    """Nobody buried it: it goes on under its name."""
    _, _, incarnation, _ = await lease(store, "a")
    if why == "another incarnation":
        await lease(store, "b")
        store_process.client.zrem(keys.LEASES, "a")
        store_process.client.execute_command("DEBUG", "CHANGE-REPL-ID")
    else:
        store_process.client.flushall()

    now, end, *_ = await lease(store, "a", known=incarnation)

    assert now + 10_000 == end
    assert store_process.client.zscore(keys.LEASES, "a") == end


async def test_a_lease_is_given_up(store: Store, store_process: StoreProcess) -> None:
    """A server that leaves well is never dead."""
    await lease(store, "a")
    await lease(store, "a", length=0)

    assert 0 == store_process.client.exists(keys.LEASES)


# --- the clock ---


def test_a_deadline_never_reaches_past_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds from now, or the lease's end; the store's time, not ours."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    clock = Clock()
    clock.set(1_000_000, 1_010_000)
    early = clock.deadline_ms()
    monkeypatch.setattr(time, "monotonic", lambda: 108.5)

    assert 1_003_000 == early
    assert 1_008_500 == clock.now_ms()
    assert 1_010_000 == clock.deadline_ms()


def test_a_clock_never_set_leaves_no_time() -> None:
    """Before the first lease every script is late."""
    assert Clock().deadline_ms() <= 0


def test_a_call_is_small() -> None:
    """Twenty thousand may wait: no dictionary each."""
    assert not hasattr(Call((), None, 0), "__dict__")  # type: ignore[arg-type]
