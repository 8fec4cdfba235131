"""What befalls a server that lives on: it runs out of what the machine gives, or its own parts fail."""

import asyncio
import contextlib
import os
import resource
import time
from pathlib import Path

from tests.conftest import Connect, Servers
from tests.support.client import Client
from tests.support.servers import ServerProcess
from tests.support.waiting import eventually

# --- file descriptors ---

FILES = 160
"""Of these 64 are kept back, and some fifteen are the server's own."""
NOT_ACCEPTED = "keepseat_connections_not_accepted_total"


async def fill(connect: Connect, server: ServerProcess) -> tuple[list[Client], tuple[int, str]]:
    """Connect until one is turned away: those who stay, and how the last one was closed."""
    stay: list[Client] = []
    while True:
        client = await connect(server, user=f"user-{len(stay)}", via="query", wait=False)
        first = await client.next()
        if first["type"] == "error":
            return stay, await client.closed()
        stay.append(client)


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def silent(server: ServerProcess) -> asyncio.StreamWriter:
    """A stranger that connects and says nothing."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    return writer


async def test_out_of_file_descriptors_it_keeps_whom_it_has(servers: Servers, connect: Connect) -> None:
    """Too few for --max-connections is said at start. When they are used up new clients are turned away, and
    strangers cut off; those who are there stay, it does not spin, and health checks are answered again as
    soon as the strangers' time is over. Who leaves makes room."""
    (server,) = servers(files=FILES)
    stay, turned_away = await fill(connect, server)
    assert 200 == server.ready_status()
    began, used = time.monotonic(), cpu_seconds(server.pid)
    strangers = await asyncio.gather(*(silent(server) for _ in range(100)))
    pongs = [await client.do("ping") for client in stay]
    asked = 0

    def is_ready() -> bool:
        nonlocal asked
        asked += 1
        return server.ready_status() == 200

    await eventually(is_ready, "the strangers have had their time", 30)
    load = (cpu_seconds(server.pid) - used) / (time.monotonic() - began)
    refused = server.metric(NOT_ACCEPTED)
    for stranger in strangers:
        stranger.close()
    await stay.pop().drop()

    async def has_room() -> bool:
        client: Client = await connect(server, user="late", via="query", wait=False)
        kind: str = (await client.next())["type"]
        return kind == "connected"

    await eventually(has_room, "there is room again")

    assert "may open 160 files only: there is room for 64 connections" in server.output
    assert 1 == server.output.count("may open")
    assert (1013, "unavailable") == turned_away
    assert len(stay) > 40
    assert len(pongs) == len(stay) + 1
    assert 0 < refused < len(strangers) + asked
    assert "not taken in: no file descriptor is left" in server.output
    assert "Traceback" not in server.output
    assert load < 0.7


def test_each_line_has_a_descriptor_beside_those_of_the_sockets(servers: Servers) -> None:
    """Where the hard limit allows it: 900 WebSockets, and a third as many lines that are none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        (server,) = servers(max_connections=900)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    raised, _ = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)

    assert raised >= min(hard, 900 + 300 + 64)


async def test_who_comes_when_there_is_no_descriptor_at_all_waits(servers: Servers) -> None:
    """The kernel refuses even the process itself one: the connection waits in the queue, and is answered when
    there are some again."""
    (server,) = servers()
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, hard))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    await eventually(lambda: "not taken in: Too many open files" in server.output, "it is said")
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (soft, hard))
    async with asyncio.timeout(20):
        status = await reader.readline()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

    assert b"HTTP/1.1 200 OK\r\n" == status
    # four times a second, where spinning would come to thousands
    assert 1 <= server.metric(NOT_ACCEPTED) < 200
    assert "Traceback" not in server.output
