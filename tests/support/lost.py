"""Answers of the store that are lost, and a ledger that is heard late, of servers' parts in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from session.line import Call, LineLostError
from session.store import Arg, Store
from tests.support.parts import Server, Tab


def lose(
    store: Store,
    name: str,
    times: int,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[], Awaitable[object]] | None = None,
) -> list[str]:
    """Lose the answers of a script, so many times; returns the list of those that were lost. ``meanwhile``
    happens after the script has run, and before it is asked for again."""
    lost: list[str] = []
    send = store._send
    script = store._scripts[store.nodes.is_sharded][name]

    async def pass_on(answer: "asyncio.Future[Any]", to: "asyncio.Future[Any]") -> None:
        (given,) = await asyncio.gather(answer, return_exceptions=True)
        if isinstance(given, Exception):
            to.set_exception(given)
        elif len(lost) < times:
            lost.append(name)
            if meanwhile is not None:
                await meanwhile()
            to.set_exception(LineLostError())
        else:
            to.set_result(given)

    def once(key: Arg, command: tuple[Arg, ...], *more: Any) -> Any:
        attempt = send(key, command, *more)
        if command[1] not in {script.sha, script.text}:
            return attempt
        call = Call(command, asyncio.get_running_loop().create_future(), attempt.call.ends)
        call.sent = True
        tasks.append(asyncio.create_task(pass_on(attempt.call.future, call.future)))
        return attempt._replace(call=call)

    tasks: list[asyncio.Task[None]] = []
    monkeypatch.setattr(store, "_send", once)
    return lost


def kinds(tab: Tab) -> list[str]:
    """What a tab was told of a line; an update is often told again."""
    of_line = [frame["type"] for frame in tab.heard if frame["type"].startswith("queue-")]
    return [kind for kind, before in zip(of_line, ["", *of_line], strict=False) if kind != before]


def hold_back_ledger(server: Server, event_id: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on a server does not hear what the ledger says, until the result is called."""
    crowd = server.services.lobby._crowds[event_id]
    entries: list[tuple[int, bytes]] = []
    took = crowd.took
    monkeypatch.setattr(crowd, "took", lambda *entry: entries.append(entry))

    def hear() -> None:
        assert entries
        for entry in entries:
            took(*entry)

    return hear
