"""Follow an event from Python: it comes back by itself, to whichever server, and misses nothing.

Needs `pip install websockets`; then: `TOKEN=... python client.py ws://127.0.0.1:8000/ws 123`
"""

import asyncio
import json
import os
import random
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

FINAL = {1003, 1007, 1009, 3003, 4000}  # a bug, removed, replaced: do not come back by yourself


async def follow(url, get_token, event_id):
    """Yield all frames, messages once each and in order; ``get_token(True)`` is to give a fresh token.

    Raises ConnectionError when the server wants no return: its text is the close code and reason.
    """
    positions, replaces, failures, refresh = {}, None, 0, False
    while True:
        code, reason, stable_at = 1006, "", float("inf")
        try:
            # the library's own pings find a dead line within 10 s
            async with connect(url, ping_interval=5, ping_timeout=4) as socket:
                resume = {"resume": positions, "replaces": replaces} if positions else {}
                await socket.send(json.dumps({"type": "auth", "token": await get_token(refresh)} | resume))
                async for text in socket:
                    frame = json.loads(text)
                    if frame["type"] == "connected":
                        replaces, refresh, stable_at = frame["socketId"], False, time.monotonic() + 10
                        if frame["userRoom"]["room"] not in positions:
                            note(frame["userRoom"], positions)
                        if f"event:{event_id}" not in positions:
                            await socket.send(json.dumps({"type": "join-event", "eventId": event_id}))
                    elif frame["type"] == "token-expiring":
                        await socket.send(json.dumps({"type": "auth", "token": await get_token(True)}))
                    for told in frame.get("rooms", [frame]):  # session-restored tells of all rooms
                        note(told, positions)
                    yield frame
                code, reason = socket.close_code, socket.close_reason
        except ConnectionClosed as closed:
            code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
        except (OSError, InvalidStatus):
            pass  # no server there, or one that is going away
        if code in FINAL or (code == 3000 and (refresh or reason != "token_expired")):
            raise ConnectionError(f"{code} {reason}")
        refresh = code == 3000
        failures = 0 if time.monotonic() > stable_at else failures + 1
        pause = 60 if code == 1008 else random.uniform(0, min(30, 2**failures))  # full jitter: no waves
        await asyncio.sleep(pause)


def note(told, positions):
    """Remember where we are in a room, when the ``missed`` messages are still to come."""
    room, offset = told.get("room"), told.get("offset")
    if "epoch" in told:
        positions[room] = {"epoch": told["epoch"], "offset": offset - told.get("missed", 0)}
    elif "error" in told:
        positions.pop(room, None)
    elif offset is not None and room in positions:
        positions[room]["offset"] = offset


async def main(url, event_id):
    async def get_token(refresh):
        return os.environ["TOKEN"]  # ask your back end for a fresh one here

    async for frame in follow(url, get_token, event_id):
        print(json.dumps(frame), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
