"""The documents for machines as they are served; and the server, asked all that its document lets one ask."""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from contract.openapi import EXAMPLES, NAMES, SEATS
from session.events import EventDraft
from tests.conftest import Connect, Servers
from tests.support import spoken
from tests.support.api import Api
from tests.support.tokens import API_KEY, token

CONFIG = """
[auth.openapi]
apiKey = {{ bearer = "{api_key}" }}
userToken = {{ bearer = "{token}" }}
"""
# What fails on a machine that is merely slow (503, which the document knows), and what no schema can say
# (that a seat is none of this event's), is no failure; a 500 is one, for no call may have it. The server is
# not to be killed: the instance that this takes would be learnt from the overview.
OPTIONS = (
    "--phases=examples,coverage,fuzzing", "--exclude-operation-id=killServer", "--checks=all",
    "--exclude-checks=not_a_server_error,positive_data_acceptance", "--generation-deterministic",
    "--max-examples=3", "--request-timeout=60", "--suppress-health-check=all", "--continue-on-failure",
    "--warnings=off", "--no-color",
)  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.gen_test(timeout=580)
async def test_the_server_keeps_to_its_document(servers: Servers, connect: Connect, tmp_path: Path) -> None:
    """Hundreds of requests made of the document, good and bad ones: each status, type, body and header is
    as it says, what it forbids is refused, and without a key or a token nothing is told."""
    (server,) = servers(demo="true")
    event, user = NAMES["eventId"], NAMES["userId"]
    await Api(server).put(f"/api/events/{event}", {**EXAMPLES[EventDraft], "capacity": None})
    buyer = await connect(server, user=user)
    await buyer.do("hold-seats", eventId=event, seats=SEATS)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(api_key=API_KEY, token=token(user)))

    process = await create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")), f"--config-file={config}", "run",
        f"{server.url}/openapi.json", *OPTIONS, stdout=PIPE, stderr=STDOUT, cwd=tmp_path,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert 0 == process.returncode, output.decode()
    assert "Traceback" not in server.output


@pytest.mark.parametrize("name", ["openapi.json", "asyncapi.json"])
async def test_the_documents_are_served(servers: Servers, name: str) -> None:
    """To everyone, to pages of other sites too; and not again to who has them."""
    (server,) = servers()
    api = Api(server, key=None)
    answer = await api.get(f"/{name}")
    again = await api.get(f"/{name}", If_None_Match=answer.headers["etag"])
    head = await api("HEAD", f"/{name}")

    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    assert spoken.read(name) == json.loads(answer.body)
    assert "*" == answer.headers["access-control-allow-origin"]
    assert "no-cache" == answer.headers["cache-control"]
    assert (304, b"") == (again.status, again.body)
    assert (200, b"") == (head.status, head.body)
