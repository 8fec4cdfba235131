"""A subscription connection, over a wire that says what the test wants."""

import asyncio
from collections.abc import Collection, Iterable
from typing import Any

from session.metrics import Metrics
from session.nodes import Node
from session.subscriber import Subscriber
from tests.support.waiting import eventually


class ElsewhereError(Exception):
    """An error reply: another node has the slot."""


class FakeWire:
    """Records the commands; brings what it is told to."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.coming: asyncio.Queue[Any] = asyncio.Queue()

    def pack_commands(self, commands: Iterable[Iterable[str]]) -> list[Any]:
        return [" ".join(command) for command in commands]

    async def send_packed_command(self, command: list[str], check_health: bool = True) -> None:
        self.sent += command

    async def read_response(self) -> Any:
        frame = await self.coming.get()
        if isinstance(frame, Exception):
            raise frame
        return frame

    async def disconnect(self, nowait: bool = False) -> None: ...

    def bring(self, *frames: Any) -> None:
        for frame in frames:
            self.coming.put_nowait(frame)


class Log:
    """What the hearer was told, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def message(self, channel: bytes, payload: bytes) -> None:
        self.told.append(("message", channel, payload))

    def heard(self, channel: str) -> None:
        self.told.append(("heard", channel))

    def cut(self, channels: Collection[str]) -> None:
        self.told.append(("cut", sorted(channels)))

    def taken_away(self, subscriber: Subscriber, channel: str) -> None:
        self.told.append(("taken away", channel))

    def is_elsewhere(self, error: Exception) -> bool:
        return isinstance(error, ElsewhereError)


def ack(channel: str, verb: str = "ssubscribe") -> tuple[bytes, bytes, int]:
    return verb.encode(), channel.encode(), 1


class Rig:
    """A running subscriber, its wires and its log."""

    def __init__(self) -> None:
        self.wires: list[FakeWire] = []
        self.log = Log()
        node = Node("a node", self._open, lambda: None)
        self.subscriber = Subscriber(node, "canary", self.log, Metrics(), is_sharded=True)
        self._task = asyncio.create_task(self.subscriber.run())

    async def _open(self) -> FakeWire:
        self.wires.append(FakeWire())
        return self.wires[-1]

    async def wire(self, number: int = 0) -> FakeWire:
        await eventually(lambda: len(self.wires) > number, f"wire {number} is open")
        return self.wires[number]

    async def sent(self, *commands: str) -> None:
        await eventually(lambda: self.wires[-1].sent == list(commands), f"{commands} were sent")

    async def told(self, *what: Any) -> None:
        await eventually(lambda: self.log.told == list(what), f"{what} was told")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_late_acknowledgement_is_that_of_its_own_order() -> None:
    """Given up and wanted again before the first answer came: only the second one counts."""
    rig = Rig()
    rig.subscriber.subscribe("x")
    wire = await rig.wire()
    await rig.sent("SSUBSCRIBE canary", "SSUBSCRIBE x")
    rig.subscriber.unsubscribe("x")
    rig.subscriber.subscribe("x")
    await rig.sent("SSUBSCRIBE canary", "SSUBSCRIBE x", "SUNSUBSCRIBE x", "SSUBSCRIBE x")
    wire.bring(ack("canary"), ack("x"), ack("x", "sunsubscribe"), (b"smessage", b"x", b"early"))
    await rig.told(("message", b"x", b"early"))
    early = rig.subscriber.hears("x")
    wire.bring(ack("x"))
    await rig.told(("message", b"x", b"early"), ("heard", "x"))

    assert (False, True) == (early, rig.subscriber.hears("x"))
    await rig.stop()


async def test_a_channel_that_was_taken_away_is_told() -> None:
    """The slot has left the node, which says so unasked; the other channels stay."""
    rig = Rig()
    rig.subscriber.subscribe("x")
    rig.subscriber.subscribe("y")
    wire = await rig.wire()
    await rig.sent("SSUBSCRIBE canary", "SSUBSCRIBE x", "SSUBSCRIBE y")
    wire.bring(ack("canary"), ack("x"), ack("y"), ack("x", "sunsubscribe"))
    await rig.told(("heard", "x"), ("heard", "y"), ("taken away", "x"))

    assert (False, True) == (rig.subscriber.wants("x"), rig.subscriber.hears("y"))
    await rig.stop()


async def test_a_subscription_that_belongs_elsewhere_costs_no_connection() -> None:
    """The map was old: only that channel is given back. Any other error is the end of the connection."""
    rig = Rig()
    rig.subscriber.subscribe("x")
    rig.subscriber.subscribe("y")
    wire = await rig.wire()
    await rig.sent("SSUBSCRIBE canary", "SSUBSCRIBE x", "SSUBSCRIBE y")
    wire.bring(ack("canary"), ElsewhereError(), ack("y"))
    await rig.told(("taken away", "x"), ("heard", "y"))
    alone = len(rig.wires) == 1
    wire.bring(ConnectionError("gone"))
    await rig.wire(1)
    await rig.sent("SSUBSCRIBE canary", "SSUBSCRIBE y")

    assert alone
    assert ("cut", ["y"]) == rig.log.told[-1]
    await rig.stop()


async def test_what_is_wanted_while_nobody_is_there_is_asked_for_once() -> None:
    """However often it was given up meanwhile."""
    rig = Rig()
    for _ in range(3):
        rig.subscriber.subscribe("x")
        rig.subscriber.unsubscribe("x")
    rig.subscriber.subscribe("x")
    await rig.wire()

    await rig.sent("SSUBSCRIBE canary", "SSUBSCRIBE x")
    await rig.stop()


async def test_a_new_canary_takes_the_place_of_the_old() -> None:
    """Its slot has gone: the node is heard on another channel."""
    rig = Rig()
    wire = await rig.wire()
    await rig.sent("SSUBSCRIBE canary")
    rig.subscriber.listen_to("another")
    await rig.sent("SSUBSCRIBE canary", "SUNSUBSCRIBE canary", "SSUBSCRIBE another")
    wire.bring(
        ack("canary"), ack("canary", "sunsubscribe"), ack("another"), (b"smessage", b"another", b"tweet")
    )
    await eventually(lambda: rig.subscriber.canary_age() < 60, "it is heard")

    assert [] == rig.log.told
    await rig.stop()
