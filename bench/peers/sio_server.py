"""A python-socketio server set up as its own documentation advises, behind uvicorn, WebSocket only; its users
sign in with the same tokens as ours. Run by the Python of `.venv/peers`. PORT, REDIS_URL, SECRET.
"""

import os
from typing import Any

import jwt
import socketio
import uvicorn
from socketio.exceptions import ConnectionRefusedError as Refused

SECRET = os.environ["SECRET"]
sio = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"]),
)


async def connect(sid: str, environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Check the token; in the room at once, without asking."""
    try:
        user = jwt.decode(auth["token"], SECRET, algorithms=["HS256"])["sub"]
    except (KeyError, TypeError, jwt.InvalidTokenError):
        raise Refused("token_invalid") from None
    await sio.save_session(sid, {"user_id": user})
    await sio.enter_room(sid, "room")


async def publish(sid: str, data: Any) -> None:
    """Tell all, through the store."""
    await sio.emit("message", data, room="room")


async def index(scope: Any, receive: Any, send: Any) -> None:
    """Anything but Socket.IO: are you there?"""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok\n"})


if __name__ == "__main__":
    sio.on("connect", connect)
    sio.on("publish", publish)
    uvicorn.run(
        socketio.ASGIApp(sio, index),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        backlog=4096,
        log_level="warning",
        access_log=False,
    )
