"""``/auth`` on real servers: cookies, bodies, other sites, and connections that end with a sign-in."""

import asyncio
import time
from collections.abc import Callable
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from session.config import Config
from session.tokens import Issuer, RefreshToken
from tests.conftest import Connect, Servers
from tests.support.api import Answer, Api
from tests.support.keys import HS256, forged
from tests.support.servers import ServerProcess
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET, token

DAY = 86_400


@pytest.fixture
def demo(servers: Servers) -> ServerProcess:
    """A server that signs everyone in."""
    (server,) = servers(1, demo="true")
    return server


def browser(server: ServerProcess) -> Api:
    """Calls without the back end's key."""
    return Api(server, key=None)


def cookie(answer: Answer) -> Morsel[str]:
    """The one cookie that an answer sets."""
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return morsel


def sent(answer: Answer) -> str:
    """That cookie as a browser sends it back."""
    return f"{cookie(answer).key}={cookie(answer).value}"


def refresh_token(**claims: Any) -> str:
    """A refresh token of no sign-in that the store knows."""
    return forged(
        HS256, {"purpose": "refresh", "sub": "1", "sid": "s", "n": 1, "exp": time.time() + 60} | claims
    )


def error(answer: Answer) -> tuple[int, str]:
    """Status and code of an error, which is JSON whatever went wrong."""
    assert set(answer.json) == {"error"}
    assert answer.json["error"]["message"]
    return answer.status, answer.json["error"]["code"]


# --- login ---


async def test_a_login_signs_in(demo: ServerProcess, connect: Connect) -> None:
    """The access token is for the page; the refresh token is out of its reach, and of other sites'."""
    answer = await browser(demo).post("/auth/login", {"name": " mina "})
    client = await connect(demo, token=answer.json["token"])
    morsel = cookie(answer)

    assert 200 == answer.status
    assert {"token", "expiresAt", "userId"} == set(answer.json)
    assert ("mina", "mina") == (answer.json["userId"], client.connected["userId"])
    assert answer.json["expiresAt"] == client.connected["tokenExpiresAt"]
    assert 890_000 < answer.json["expiresAt"] - time.time() * 1000 <= 900_000
    assert ("/auth", "Strict", True, "") == (
        morsel["path"],
        morsel["samesite"],
        morsel["httponly"],
        morsel["secure"],
    )
    assert 14 * DAY - 10 <= int(morsel["max-age"]) <= 14 * DAY
    assert "" == morsel["domain"]
    assert "no-store" == answer.headers["cache-control"]


async def test_a_login_opens_the_chat(demo: ServerProcess, connect: Connect) -> None:
    """Whoever is signed in by name may chat on the demo page, and in no other free room."""
    answer = await browser(demo).post("/auth/login", {"name": "mina"})
    client = await connect(demo, token=answer.json["token"])
    joined = await client.do("join-room", room="chat:lobby")
    published = await client.do("publish", room="chat:lobby", data="hello")
    refused = await client.call("join-room", room="vip:lobby")

    assert ("room-joined", "published") == (joined["type"], published["type"])
    assert "forbidden" == refused["code"]


async def test_over_https_the_cookie_is_secure(demo: ServerProcess) -> None:
    """Behind a balancer that ends TLS the cookie goes over https only."""
    answer = await browser(demo).post("/auth/login", {"name": "mina"}, X_Forwarded_Proto="https")

    assert cookie(answer)["secure"] is True


BAD_LOGINS: dict[str, tuple[Any, tuple[int, str]]] = {
    "nothing": (b"", (422, "bad_message")),
    "no JSON": (b"name=mina", (400, "bad_json")),
    "not UTF-8": (b'{"name":"\xff"}', (400, "bad_json")),
    "half a character": (b'{"name":"\\ud800"}', (400, "bad_json")),
    "no object": (["mina"], (422, "bad_message")),
    "no name": ({}, (422, "bad_message")),
    "a number": ({"name": 7}, (422, "bad_message")),
    "an empty name": ({"name": ""}, (422, "bad_message")),
    "only spaces": ({"name": " \t\n"}, (422, "bad_message")),
    "too large a body": ({"name": "mina", "x": "x" * 140_000}, (413, "too_large")),
}


async def test_a_name_is_needed(demo: ServerProcess) -> None:
    """Whatever else is sent is refused with a JSON error, and signs nobody in."""
    call = browser(demo)
    answers = {name: await call.post("/auth/login", body) for name, (body, _) in BAD_LOGINS.items()}

    assert {name: expected for name, (_, expected) in BAD_LOGINS.items()} == {
        name: error(answer) for name, answer in answers.items()
    }
    assert not [name for name, answer in answers.items() if "set-cookie" in answer.headers]


async def test_names_become_user_ids(demo: ServerProcess, connect: Connect) -> None:
    """A name that is no user id gets one, always the same, and signs in with it."""
    call = browser(demo)
    names = ("민아", "민아 ", "jun kim", "x" * 128, "x" * 129)
    answers = [await call.post("/auth/login", {"name": name}) for name in names]
    client = await connect(demo, token=answers[0].json["token"])
    ids = [answer.json["userId"] for answer in answers]

    assert ids[0] == ids[1] == client.connected["userId"]
    assert 4 == len(set(ids))
    assert "x" * 128 == ids[3]
    assert ids[2].startswith("u-")
    assert ids[4].startswith("u-")


async def test_no_login_outside_of_the_demo(servers: Servers) -> None:
    """A server of a real sale takes nobody's word for who they are; the rest of ``/auth`` is there."""
    (server,) = servers()
    call = browser(server)
    login = await call.post("/auth/login", {"name": "mina"})
    refresh = await call.post("/auth/refresh")
    logout = await call.post("/auth/logout", None, Authorization=f"Bearer {token()}")

    assert (404, "not_found") == error(login)
    assert (401, "token_required") == error(refresh)
    assert 204 == logout.status


async def test_only_posts(demo: ServerProcess) -> None:
    """A link or an image cannot sign anybody in or out."""
    call = browser(demo)
    answers = [await call.get(f"/auth/{name}") for name in ("login", "refresh", "logout")]

    assert [(405, "method_not_allowed")] * 3 == [error(answer) for answer in answers]


# --- refresh ---


async def test_a_browser_refreshes_by_cookie(demo: ServerProcess) -> None:
    """The new refresh token comes as a cookie only; the cookie ends when the sign-in does."""
    call = browser(demo)
    login = await call.post("/auth/login", {"name": "mina"})
    answers = [await call.post("/auth/refresh", body, Cookie=sent(login)) for body in (None, b"", {})]
    following = await call.post("/auth/refresh", None, Cookie=f"other=1; {sent(answers[0])}")

    assert [200, 200, 200, 200] == [answer.status for answer in (*answers, following)]
    assert {"token", "expiresAt", "userId"} == set(answers[0].json)
    assert "mina" == answers[0].json["userId"]
    assert 4 == len({answer.json["token"] for answer in (login, *answers)})
    assert 1 == len({sent(answer) for answer in answers})
    assert 3 == len({sent(answer) for answer in (login, answers[0], following)})
    assert cookie(answers[0])["httponly"] is True
    assert "no-store" == answers[0].headers["cache-control"]


async def test_another_client_refreshes_by_body(demo: ServerProcess) -> None:
    """Who sends the refresh token in the body gets the next one there, and no cookie."""
    call = browser(demo)
    login = await call.post("/auth/login", {"name": "mina"})
    first = await call.post("/auth/refresh", {"refreshToken": cookie(login).value})
    second = await call.post("/auth/refresh", {"refreshToken": first.json["refreshToken"]})

    assert [200, 200] == [first.status, second.status]
    assert {"token", "expiresAt", "userId", "refreshToken"} == set(first.json)
    assert first.json["refreshToken"] != second.json["refreshToken"]
    assert not [answer for answer in (first, second) if "set-cookie" in answer.headers]


async def test_the_body_goes_before_the_cookie(demo: ServerProcess) -> None:
    """What is said outright counts, not what the browser adds."""
    call = browser(demo)
    mina, jun = [await call.post("/auth/login", {"name": name}) for name in ("mina", "jun")]
    answer = await call.post("/auth/refresh", {"refreshToken": cookie(mina).value}, Cookie=sent(jun))

    assert "mina" == answer.json["userId"]


BAD_REFRESH: dict[str, tuple[Callable[[], str], str]] = {
    "nonsense": (lambda: "nonsense", "token_invalid"),
    "empty": (lambda: "", "token_invalid"),
    "an access token": (token, "token_invalid"),
    "another secret": (
        lambda: Issuer(Config(), "x" * 32).refresh(RefreshToken("1", "s", 1, int(time.time()) + 60)),
        "token_invalid",
    ),
    "expired": (lambda: refresh_token(exp=time.time() - 60), "token_expired"),
    "of no sign-in that is known": (refresh_token, "token_revoked"),
}


async def test_a_bad_refresh_token_is_refused(demo: ServerProcess) -> None:
    """By cookie and by body alike, with 401 and the reason, and without a word of the token."""
    call = browser(demo)
    name = cookie(await call.post("/auth/login", {"name": "mina"})).key
    wanted, got = {}, {}
    for case, (make, code) in BAD_REFRESH.items():
        text = make()
        by_body = await call.post("/auth/refresh", {"refreshToken": text})
        by_cookie = await call.post("/auth/refresh", None, Cookie=f"{name}={text}")
        wanted[case] = [(401, code)] * 2
        got[case] = [error(by_body), error(by_cookie)]
        assert not [
            answer for answer in (by_body, by_cookie) if len(text) > 9 and text in answer.body.decode()
        ]
    missing = [await call.post("/auth/refresh", body) for body in (None, {}, {"refreshToken": None})]

    assert wanted == got
    assert [(401, "token_required")] * 3 == [error(answer) for answer in missing]


async def test_a_refresh_body_that_is_none(demo: ServerProcess) -> None:
    """A body that cannot be read is an error of its own, also beside a good cookie."""
    call = browser(demo)
    login = await call.post("/auth/login", {"name": "mina"})
    bodies = (b"refreshToken=x", [1], {"refreshToken": 1})
    answers = [await call.post("/auth/refresh", body, Cookie=sent(login)) for body in bodies]

    assert [(400, "bad_json"), (422, "bad_message"), (422, "bad_message")] == [
        error(answer) for answer in answers
    ]


async def test_two_tabs_on_two_servers(servers: Servers) -> None:
    """Tabs that refresh at the same moment, on different servers, go on with the same sign-in."""
    a, b = [browser(server) for server in servers(2, demo="true")]
    login = await a.post("/auth/login", {"name": "mina"})
    answers = await asyncio.gather(
        *(call.post("/auth/refresh", None, Cookie=sent(login)) for call in (a, b) * 4)
    )
    after = await b.post("/auth/refresh", None, Cookie=sent(answers[0]))

    assert {200} == {answer.status for answer in (*answers, after)}
    assert 1 == len({sent(answer) for answer in answers})


# --- logout ---


@pytest.mark.parametrize("way", ["cookie", "bearer", "both"])
async def test_a_logout_ends_the_sign_in_everywhere(servers: Servers, connect: Connect, way: str) -> None:
    """Every connection of the sign-in closes on every server; other sign-ins of the user stay."""
    a, b = servers(2, demo="true")
    call = browser(a)
    mine, other = [await call.post("/auth/login", {"name": "mina"}) for _ in range(2)]
    refreshed = await call.post("/auth/refresh", None, Cookie=sent(mine))
    tokens = [mine.json["token"], refreshed.json["token"]]
    clients = [await connect(server, token=text) for server in (a, b) for text in tokens]
    staying = await connect(b, token=other.json["token"])
    shown = {
        "cookie": {"Cookie": sent(refreshed)},
        "bearer": {"Authorization": f"bearer {tokens[0]}"},
        "both": {"Cookie": sent(refreshed), "Authorization": f"Bearer {tokens[1]}"},
    }
    answer = await call.post("/auth/logout", None, **shown[way])
    closed = [await client.closed() for client in clients]
    late = [await connect(server, token=text, wait=False) for server in (a, b) for text in tokens]
    refused = [await client.closed() for client in late]
    dead = await browser(b).post("/auth/refresh", None, Cookie=sent(refreshed))
    await staying.do("ping")

    assert (204, b"") == (answer.status, answer.body)
    assert ("", "/auth") == (cookie(answer).value, cookie(answer)["path"])
    assert [(3000, "token_revoked")] * 4 == closed == refused
    assert (401, "token_revoked") == error(dead)


async def test_without_a_sign_in_a_logout_ends_the_token(servers: Servers, connect: Connect) -> None:
    """A shop's token without ``sid`` is ended alone, on every server; the user's other tokens go on."""
    a, b = servers(2)
    mine, other = token("7", n=1), token("7", n=2)
    clients = [await connect(server, token=mine) for server in (a, b)]
    staying = [await connect(server, token=other) for server in (a, b)]
    answers = [await browser(a).post("/auth/logout", None, Authorization=f"Bearer {mine}") for _ in range(2)]
    closed = [await client.closed() for client in clients]
    late = await connect(b, token=mine, wait=False)
    refused = await late.closed()
    for client in staying:
        await client.do("ping")

    assert [204, 204] == [answer.status for answer in answers]
    assert [(3000, "token_revoked")] * 2 == closed
    assert (3000, "token_revoked") == refused


async def test_an_open_connection_does_not_renew_a_revoked_sign_in(
    demo: ServerProcess, connect: Connect
) -> None:
    """A token that was signed out does not come in by the door for new tokens either."""
    call = browser(demo)
    mine, other = [await call.post("/auth/login", {"name": "mina"}) for _ in range(2)]
    client = await connect(demo, token=other.json["token"])
    await call.post("/auth/logout", None, Cookie=sent(mine))
    await client.send("auth", token=mine.json["token"])

    assert (3000, "token_revoked") == await client.closed()


async def test_a_logout_needs_a_token(demo: ServerProcess) -> None:
    """Nothing, or nothing that is good, signs nobody out; a cookie that is no good is forgotten."""
    call = browser(demo)
    name = cookie(await call.post("/auth/login", {"name": "mina"})).key
    expired = token(lifetime=-60)
    answers = [
        await call.post("/auth/logout"),
        await call.post("/auth/logout", None, Authorization="Basic bWluYTp4"),
        await call.post("/auth/logout", None, Authorization="Bearer nonsense"),
        await call.post("/auth/logout", None, Authorization=f"Bearer {expired}"),
        await call.post("/auth/logout", None, Cookie=f"{name}=nonsense"),
        await call.post("/auth/logout", None, Cookie=f"{name}={refresh_token(exp=time.time() - 60)}"),
    ]

    assert [
        (401, "token_required"), (401, "token_required"), (401, "token_invalid"), (401, "token_expired"),
        (401, "token_invalid"), (401, "token_expired"),
    ] == [error(answer) for answer in answers]  # fmt: skip
    assert ["", ""] == [cookie(answer).value for answer in answers[4:]]


# --- other sites, other troubles ---


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "null"},
    ],
    ids=str,
)
async def test_another_site_signs_nobody_in_or_out(demo: ServerProcess, headers: dict[str, str]) -> None:
    """What a foreign page makes a browser send is refused, and changes nothing."""
    call = browser(demo)
    login = await call.post("/auth/login", {"name": "mina"})
    answers = [
        await call.post("/auth/login", {"name": "mallory"}, **headers),
        await call.post("/auth/refresh", None, Cookie=sent(login), **headers),
        await call.post("/auth/logout", None, Cookie=sent(login), **headers),
    ]
    after = await call.post(
        "/auth/refresh", None, Cookie=sent(login), Origin=demo.url, Sec_Fetch_Site="same-origin"
    )

    assert [(403, "forbidden")] * 3 == [error(answer) for answer in answers]
    assert not [answer for answer in answers if "set-cookie" in answer.headers]
    assert 200 == after.status


async def test_while_the_store_is_away(
    servers: Servers, own_store: Callable[..., StoreProcess], connect: Connect
) -> None:
    """Nothing is signed in, renewed or ended on one's own: 503, and the cookie stays for another try."""
    store = own_store()
    (server,) = servers(1, demo="true", redis_url=store.url)
    call = browser(server)
    login = await call.post("/auth/login", {"name": "mina"})
    store.kill()
    answers = await asyncio.gather(
        call.post("/auth/login", {"name": "jun"}),
        call.post("/auth/refresh", None, Cookie=sent(login)),
        call.post("/auth/logout", None, Cookie=sent(login)),
    )

    assert [(503, "unavailable")] * 3 == [error(answer) for answer in answers]
    assert not [answer for answer in answers if "set-cookie" in answer.headers]
    assert ["1"] * 3 == [answer.headers["retry-after"] for answer in answers]


async def test_no_token_is_logged(demo: ServerProcess) -> None:
    """Neither good tokens nor bad ones stand in what the server says."""
    call = browser(demo)
    login = await call.post("/auth/login", {"name": "mina"})
    refreshed = await call.post("/auth/refresh", None, Cookie=sent(login))
    await call.post("/auth/refresh", {"refreshToken": cookie(refreshed).value + "x"})
    await call.post("/auth/logout", None, Authorization=f"Bearer {login.json['token']}")
    texts = [
        cookie(login).value,
        cookie(refreshed).value,
        login.json["token"],
        refreshed.json["token"],
        SECRET,
    ]

    assert not [text for text in texts if text.rpartition(".")[2] in demo.output]
