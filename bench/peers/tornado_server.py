"""A Tornado server as most are written: a set of handlers, `write_message` to each of them, one subscription
to a channel in the store. Run by the Python of `.venv/peers`. PORT, REDIS_URL, SECRET.
"""

import asyncio
import json
import os

import jwt
import redis.asyncio as redis
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

SECRET = os.environ["SECRET"]
CHANNEL = "room"


class Index(RequestHandler):
    """Are you there?"""

    def get(self) -> None:
        self.write("ok\n")


class Member(WebSocketHandler):
    """One who is in the room, which is the set of all of them."""

    def initialize(self, room: set["Member"], store: "redis.Redis") -> None:
        self.room = room
        self.store = store

    async def open(self, *args: str, **kwargs: str) -> None:
        """Check the token; in the room at once, without asking."""
        try:
            user = jwt.decode(self.get_query_argument("token"), SECRET, algorithms=["HS256"])["sub"]
        except jwt.InvalidTokenError:
            self.close(4001)
            return
        self.room.add(self)
        hello = {"type": "ready", "userId": user}
        await self.write_message(json.dumps(hello, separators=(",", ":")))

    async def on_message(self, message: str | bytes) -> None:
        """Tell all, through the store."""
        await self.store.publish(CHANNEL, message)

    def on_close(self) -> None:
        self.room.discard(self)


async def tell(room: set[Member], store: "redis.Redis") -> None:
    """Hand on to everybody what is published."""
    async with store.pubsub() as channel:
        await channel.subscribe(CHANNEL)
        async for message in channel.listen():
            if message["type"] != "message":
                continue
            for member in list(room):
                try:
                    member.write_message(message["data"])
                except WebSocketClosedError:
                    room.discard(member)


async def main() -> None:
    """Serve until killed."""
    store = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    room: set[Member] = set()
    app = Application(
        [("/", Index), ("/ws", Member, {"room": room, "store": store})],
        log_function=lambda _: None,
        websocket_ping_interval=25,
        websocket_ping_timeout=20,
    )
    HTTPServer(app).listen(int(os.environ["PORT"]), "127.0.0.1", backlog=4096)
    await tell(room, store)


if __name__ == "__main__":
    asyncio.run(main())
