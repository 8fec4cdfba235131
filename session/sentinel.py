"""A store that Sentinel watches: who is the primary is asked at each connect, and again once a second.

A primary that has been replaced may go on answering, cut off from the others. So connections to any other
process than the one that Sentinel names are ended, and made anew to that one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from redis.exceptions import AuthenticationError, ResponseError

from session.endpoint import Address, Endpoint
from session.line import Wire

log = logging.getLogger(__name__)

ASK_SECONDS = 0.3
"""For one Sentinel; then the next one is asked."""
POLL_SECONDS = 1.0


class NoPrimaryError(Exception):
    """No Sentinel names a primary that is one."""


class Sentinels:
    """Those who know the primary. `run` it as a task."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sentinels = list(endpoint.addresses)
        self._open: WeakKeyDictionary[Wire, Address] = WeakKeyDictionary()

    async def open_wire(self) -> Wire:
        """A connection to the primary.

        Raises:
            NoPrimaryError: nobody names one, or who is named is none (yet).
            Exception: it cannot be reached.
        """
        primary = await self.primary()
        wire = await self._endpoint.open(primary)
        if b"role:slave" in await _replication(wire):
            await wire.disconnect(nowait=True)
            raise NoPrimaryError(f"{primary}, which Sentinel names, is a replica")
        self._open[wire] = primary
        return wire

    async def primary(self) -> Address:
        """Where the primary is, by the first Sentinel that knows.

        Raises:
            NoPrimaryError: none knows, or none answers.
        """
        why: list[str] = []
        for sentinel in list(self._sentinels):
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    primary = await self._ask(sentinel)
            except Exception as error:
                why.append(f"{sentinel}: {error or 'no answer'}")
                # whoever answers is asked first the next time
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)
            else:
                return primary
        raise NoPrimaryError("; ".join(why))

    async def _ask(self, sentinel: Address) -> Address:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._endpoint.service)
        try:
            answer = await self._ask_once(sentinel, question, sign_in=False)
        except AuthenticationError:
            # most have no password, and an unwanted one is an error: it is given only where it is asked for
            answer = await self._ask_once(sentinel, question, sign_in=True)
        if answer is None:
            raise NoPrimaryError(f"it knows no service of the name {self._endpoint.service!r}")
        host, port = answer
        return Address(host.decode(), int(port))

    async def _ask_once(self, sentinel: Address, question: Sequence[str], *, sign_in: bool) -> Any:
        wire = await self._endpoint.open_sentinel(sentinel, sign_in=sign_in)
        try:
            return await _call(wire, *question)
        finally:
            await wire.disconnect(nowait=True)

    async def run(self) -> None:
        """Leave whoever is no primary any more, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            # the Sentinels being away harms nobody while the primary is there
            with contextlib.suppress(NoPrimaryError):
                await self._leave_others(await self.primary())

    async def _leave_others(self, primary: Address) -> None:
        for wire, address in list(self._open.items()):
            if address != primary:
                log.warning("Sentinel names %s, not %s: leaving that one", primary, address)
                del self._open[wire]
                await wire.disconnect(nowait=True)


async def _replication(wire: Wire) -> Any:
    try:
        return await _call(wire, "INFO", "replication")
    except ResponseError:
        return b""  # no right to ask


async def _call(wire: Wire, *command: str) -> Any:
    await wire.send_packed_command(wire.pack_commands([command]), check_health=False)
    return await wire.read_response()
