"""Follow an event from Python: it comes back by itself, to whichever server, and misses nothing.

Needs `pip install websockets`; then: `TOKEN=... python client.py ws://127.0.0.1:8000/ws 123`
"""

import asyncio
import json
import os
import random
import sys
import time
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

FINAL = {1003, 1007, 1009, 3003, 4000}  # a bug, removed, replaced: do not come back by yourself


async def follow(url, get_token, event_id):
    """Yield all frames, messages once each and in order; ``get_token(True)`` is to give a fresh token."""
    positions, failures, refresh, hello = {}, 0, False, None
    while True:
        socket, stable_at = None, float("inf")
        with suppress(OSError, InvalidStatus, ConnectionClosed):
            async with connect(url, ping_interval=5, ping_timeout=4) as socket:  # finds a dead line in 10 s
                resume = {"resume": positions, "replaces": hello["socketId"]} if hello else {}
                await socket.send(json.dumps({"type": "auth", "token": await get_token(refresh)} | resume))
                async for frame in (json.loads(text) async for text in socket):
                    if frame["type"] == "connected":
                        hello, refresh, stable_at = frame, False, time.monotonic() + 10
                        positions.setdefault(frame["userRoom"]["room"], frame["userRoom"])
                        if f"event:{event_id}" not in positions:
                            await socket.send(json.dumps({"type": "join-event", "eventId": event_id}))
                    elif frame["type"] == "token-expiring":
                        await socket.send(json.dumps({"type": "auth", "token": await get_token(True)}))
                    for told in frame.get("rooms", [frame]):  # session-restored tells of all rooms
                        if "epoch" in told:
                            offset = told["offset"] - told.get("missed", 0)  # those are still to come
                            positions[told["room"]] = {"epoch": told["epoch"], "offset": offset}
                        elif told.get("room") in positions and "offset" in told:
                            positions[told["room"]]["offset"] = told["offset"]
                    yield frame
        code, reason = (socket.close_code, socket.close_reason) if socket else (1006, "")
        if code in FINAL or (code == 3000 and (refresh or reason != "token_expired")):
            raise ConnectionError(f"{code} {reason}")
        refresh, failures = code == 3000, 0 if time.monotonic() > stable_at else failures + 1
        await asyncio.sleep(60 if code == 1008 else random.uniform(0, min(30, 2**failures)))  # full jitter


async def main(url, event_id):
    async def get_token(refresh):
        return os.environ["TOKEN"]  # ask your back end for a fresh one here

    async for frame in follow(url, get_token, event_id):
        print(json.dumps(frame), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
