"""Sign-ins in a real store: rotation, its grace, theft, logout, and how long anything is remembered."""

import asyncio
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from session import keys
from session.claims import USER_ID
from session.config import Config
from session.protocol import Code, Refused
from session.sign_ins import SignedIn, SignIns, user_id_of
from session.store import Store, Unavailable
from session.tokens import Issuer, RefreshToken, Verifier
from tests.conftest import Connect, Servers
from tests.support.api import Api
from tests.support.ports import free_port
from tests.support.stores import StoreProcess
from tests.support.tokens import SECRET, token
from tests.support.waiting import eventually

GRACE_MS = 15_000
DAY = 86_400


def make(store: Store, secret: str = SECRET, **options: Any) -> SignIns:
    config = Config(jwt_secret=secret, **options)
    return SignIns(store, Verifier(config, secret), Issuer(config, secret), config)


@pytest.fixture
def sign_ins(store: Store) -> SignIns:
    return make(store)


def read(signed_in: SignedIn) -> RefreshToken:
    """What the refresh token says."""
    return Issuer(Config(), SECRET).verify_refresh(signed_in.refresh_token)


def claims(signed_in: SignedIn) -> dict[str, Any]:
    """What the access token says."""
    read: dict[str, Any] = jwt.decode(signed_in.token, SECRET, ["HS256"])
    return read


def family(signed_in: SignedIn) -> str:
    return keys.family(signed_in.user_id, read(signed_in).sign_in)


def age(process: StoreProcess, signed_in: SignedIn, ms: int) -> None:
    """Make the use of a refresh token so much longer ago."""
    field = str(read(signed_in).generation)
    at, _, request = str(process.client.hget(family(signed_in), field)).partition(":")
    process.client.hset(family(signed_in), field, f"{int(at) - ms}:{request}")


def marks(process: StoreProcess, user_id: str) -> dict[str, int]:
    """The revoked marks of a user, and until when (Unix ms)."""
    found: Any = process.client.zrange(keys.user(user_id).revoked, 0, -1, withscores=True)
    return {mark: int(until) for mark, until in found}


async def refusal(work: Any) -> Code:
    """The code that something is refused with."""
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


# --- tokens ---


async def test_a_login_brings_a_pair_of_tokens(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """The access token lives for 15 minutes and opens the chat; the refresh token is the sign-in's first."""
    now = int(time.time())
    got = await sign_ins.login("mina")
    access, refresh = claims(got), read(got)

    assert ("mina", "mina", "user") == (got.user_id, access["sub"], access["role"])
    assert (["chat:*"], ["chat:*"]) == (access["rooms"], access["publish"])
    assert access["exp"] * 1000 == got.expires_at
    assert now + 900 <= access["exp"] <= now + 905
    assert RefreshToken("mina", access["sid"], 1, got.ends_at) == refresh
    assert now + 14 * DAY <= got.ends_at <= now + 14 * DAY + 5
    assert 14 * DAY < store_process.client.ttl(family(got)) <= 14 * DAY + 60


async def test_a_refresh_continues_the_sign_in(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """A refresh brings new tokens of the same sign-in, which ends when it would have ended."""
    first = await sign_ins.login("mina")
    second = await sign_ins.refresh(first.refresh_token)
    third = await sign_ins.refresh(second.refresh_token)

    assert [1, 2, 3] == [read(pair).generation for pair in (first, second, third)]
    assert {claims(first)["sid"]} == {claims(pair)["sid"] for pair in (second, third)}
    assert first.ends_at == third.ends_at
    assert 3 == len({claims(pair)["jti"] for pair in (first, second, third)})
    assert 14 * DAY < store_process.client.ttl(family(first)) <= 14 * DAY + 60


async def test_two_sign_ins_of_a_user_are_two(sign_ins: SignIns) -> None:
    """Who signs in on a second device has a sign-in of its own, which survives the end of the first."""
    phone, laptop = await sign_ins.login("mina"), await sign_ins.login("mina")
    await sign_ins.logout(refresh_token=phone.refresh_token)
    refreshed = await sign_ins.refresh(laptop.refresh_token)

    assert claims(phone)["sid"] != claims(laptop)["sid"]
    assert 2 == read(refreshed).generation
    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(phone.refresh_token))


# --- the grace ---


async def test_two_tabs_at_once_get_the_same_successor(sign_ins: SignIns) -> None:
    """A refresh token that is used by several at once brings all of them the same refresh token."""
    first = await sign_ins.login("mina")
    pairs = await asyncio.gather(*(sign_ins.refresh(first.refresh_token) for _ in range(5)))

    assert 1 == len({pair.refresh_token for pair in pairs})
    assert 2 == read(pairs[0]).generation


async def test_the_grace_ends(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """A used refresh token works shortly before 15 s have passed, and ends the sign-in after them."""
    first = await sign_ins.login("mina")
    second = await sign_ins.refresh(first.refresh_token)
    age(store_process, first, GRACE_MS - 5000)
    again = await sign_ins.refresh(first.refresh_token)
    age(store_process, first, 5000)

    assert second.refresh_token == again.refresh_token
    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(first.refresh_token))
    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(second.refresh_token))


async def test_a_slow_tab_gets_the_newest(sign_ins: SignIns) -> None:
    """Where the successor has been used too, the token that is brought is the newest, not a used one."""
    first = await sign_ins.login("mina")
    third = await sign_ins.refresh((await sign_ins.refresh(first.refresh_token)).refresh_token)
    slow = await sign_ins.refresh(first.refresh_token)

    assert third.refresh_token == slow.refresh_token


async def test_without_grace_a_second_use_is_a_theft(store: Store) -> None:
    """`refresh_grace` 0: the second use of a refresh token ends the sign-in at once."""
    sign_ins = make(store, refresh_grace=0.0)
    first = await sign_ins.login("mina")
    await sign_ins.refresh(first.refresh_token)

    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(first.refresh_token))


async def test_a_repeated_request_is_no_second_use(store: Store) -> None:
    """When the store is asked again because its answer was lost, even without any grace nobody is robbed."""
    first = await make(store).login("mina")
    k = keys.user("mina")
    names = [family(first), k.revoked, k.counter, k.cut]
    until = int(time.time() * 1000) + 60_000
    args = [k.channel, "mina", f"s:{read(first).sign_in}", 1, "request", 0, until]
    answers = [await store.script("sign_in_refresh", names, args) for _ in range(3)]

    assert [[b"ok", b"2"]] * 3 == answers


async def test_what_is_remembered_of_uses_is_bounded(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """A chain of refreshes within the grace leaves a small hash; what it forgot counts as stolen."""
    first = pair = await sign_ins.login("mina")
    for _ in range(30):
        pair = await sign_ins.refresh(pair.refresh_token)

    assert 31 == read(pair).generation
    assert 10 == store_process.client.hlen(family(first))
    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(first.refresh_token))


# --- the end ---


async def test_a_theft_is_told_to_all_servers(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """A late second use marks the sign-in for longer than any of its tokens lives, and rings once."""
    first = await sign_ins.login("mina")
    await sign_ins.refresh(first.refresh_token)
    age(store_process, first, GRACE_MS)
    mark, k = f"s:{read(first).sign_in}", keys.user("mina")
    with store_process.client.pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe(k.channel)
        bell.get_message(timeout=5)
        codes = [await refusal(sign_ins.refresh(first.refresh_token)) for _ in range(2)]
        heard, more = bell.get_message(timeout=5), bell.get_message()

    assert [Code.TOKEN_REVOKED] * 2 == codes
    assert {mark: (first.ends_at + 900 + 65) * 1000} == marks(store_process, "mina")
    assert heard is not None
    assert f"1 k mina {mark}" == heard["data"]
    assert more is None
    assert 14 * DAY < store_process.client.ttl(k.revoked) <= 14 * DAY + 965


async def test_a_sign_in_that_the_store_does_not_know_is_over(
    sign_ins: SignIns, store_process: StoreProcess
) -> None:
    """Where nothing is known of a sign-in, nobody can say that its token is unused: sign in again."""
    first = await sign_ins.login("mina")
    store_process.client.delete(family(first))

    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(first.refresh_token))
    assert 0 == store_process.client.exists(family(first))


async def test_a_store_that_lost_a_rotation_signs_nobody_out(
    sign_ins: SignIns, store_process: StoreProcess
) -> None:
    """A replica that took over may be behind; a token newer than it knows was issued by us, and works."""
    first = await sign_ins.login("mina")
    before = store_process.client.hgetall(family(first))
    second = await sign_ins.refresh(first.refresh_token)
    third = await sign_ins.refresh(second.refresh_token)
    store_process.client.delete(family(first))
    store_process.client.hset(family(first), mapping=before)  # type: ignore[arg-type]
    fourth = await sign_ins.refresh(third.refresh_token)

    assert 4 == read(fourth).generation
    assert fourth.refresh_token == (await sign_ins.refresh(third.refresh_token)).refresh_token


@pytest.mark.parametrize("way", ["refresh_token", "token"])
async def test_a_logout_ends_the_sign_in(sign_ins: SignIns, store_process: StoreProcess, way: str) -> None:
    """Signing out by either token revokes the mark of the sign-in, and its refresh tokens."""
    got = await sign_ins.login("mina")
    given = got.refresh_token if way == "refresh_token" else got.token
    await sign_ins.logout(**{way: given})

    assert [f"s:{read(got).sign_in}"] == list(marks(store_process, "mina"))
    assert marks(store_process, "mina")[f"s:{read(got).sign_in}"] > (got.ends_at + 900) * 1000
    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(got.refresh_token))


async def test_a_logout_without_sign_in_ends_the_token(
    sign_ins: SignIns, store_process: StoreProcess
) -> None:
    """A token that names no sign-in is revoked alone, until it would have expired, and a little more."""
    mine = token("7", lifetime=600)
    identity = await Verifier(Config(), SECRET).verify(mine)
    await sign_ins.logout(token=mine)
    got = marks(store_process, "7")

    assert [identity.marks[-1]] == list(got)
    assert (identity.expires_at + 60) * 1000 <= got[identity.mark] <= (identity.expires_at + 1000) * 1000


async def test_a_logout_by_both_ends_both(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """A cookie and a bearer token of two sign-ins: both end; one that is no good does not save the other."""
    mina, jun = await sign_ins.login("mina"), await sign_ins.login("jun")
    await sign_ins.logout(refresh_token=mina.refresh_token, token=jun.token)
    other = await sign_ins.login("mina")
    await sign_ins.logout(refresh_token=other.refresh_token, token="nonsense")

    assert {f"s:{read(pair).sign_in}" for pair in (mina, other)} == set(marks(store_process, "mina"))
    assert [f"s:{read(jun).sign_in}"] == list(marks(store_process, "jun"))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, Code.TOKEN_REQUIRED),
        ({"token": "nonsense"}, Code.TOKEN_INVALID),
        ({"refresh_token": "nonsense"}, Code.TOKEN_INVALID),
        ({"refresh_token": token()}, Code.TOKEN_INVALID),
        ({"token": token(lifetime=-60)}, Code.TOKEN_EXPIRED),
    ],
    ids=["nothing", "no access token", "no refresh token", "access for refresh", "expired"],
)
async def test_a_logout_that_ends_nothing_says_so(
    sign_ins: SignIns, store_process: StoreProcess, given: dict[str, str], code: Code
) -> None:
    """A logout without a valid token is refused with the reason, and writes nothing."""
    got = await refusal(sign_ins.logout(**given))

    assert code == got
    assert 0 == store_process.client.dbsize()


async def test_all_that_a_user_has_is_revoked(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """Sign-ins begun before it end, ones begun after it live; who repeats it with a sooner end shortens
    nothing, and it is forgotten when the last token has ended."""
    k, client = keys.user("mina"), store_process.client
    before, jun = await sign_ins.login("mina"), await sign_ins.login("jun")
    done = await sign_ins.revoke_for_back_end("mina")
    sooner = int(time.time() * 1000) + 60_000
    await sign_ins.revoke_for_back_end("mina", expires_at_ms=sooner)
    cut, left = int(str(client.get(k.cut))), client.pttl(k.cut)

    def is_over() -> bool:
        seconds, micros = client.time()
        return bool(seconds * 1000 + micros // 1000 > cut)

    # what begins in the same millisecond is taken for what was there before
    await eventually(is_over, "the millisecond is over")
    after = await sign_ins.login("mina")

    assert Code.TOKEN_REVOKED == await refusal(sign_ins.refresh(before.refresh_token))
    assert [2, 2] == [read(await sign_ins.refresh(pair.refresh_token)).generation for pair in (after, jun)]
    assert (14 * DAY) * 1000 < left <= done.kept_until - cut + 1000
    assert done.replicated is None
    assert Code.BAD_MESSAGE == await refusal(sign_ins.revoke_for_back_end("mina", expires_at_ms=cut // 1000))


async def test_a_logout_is_told_to_all_servers(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """Each revoked mark is rung in the user's bucket, and counted there."""
    got, channel = await sign_ins.login("mina"), keys.user("mina").channel
    with store_process.client.pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe(channel)
        bell.get_message(timeout=5)
        await sign_ins.logout(refresh_token=got.refresh_token, token=token("mina", jti="a"))
        heard = [bell.get_message(timeout=5) for _ in range(2)]
    told = [notice["data"].split(" ") for notice in heard if notice is not None]

    assert [["1", "k", "mina"], ["2", "k", "mina"]] == [words[:3] for words in told]
    assert {words[3] for words in told} == set(marks(store_process, "mina"))


async def test_a_logout_that_cannot_be_done_whole_is_tried_again(
    store: Store, store_process: StoreProcess
) -> None:
    """Where the bearer token cannot be checked because its keys are away, the cookie's sign-in stays too."""
    sign_ins = make(store, jwt_jwks_url=f"http://127.0.0.1:{free_port()}/keys")
    got = await sign_ins.login("mina")
    key = Ed25519PrivateKey.generate()
    other = jwt.encode({"sub": "7", "exp": int(time.time()) + 60}, key, "EdDSA")

    assert Code.UNAVAILABLE == await refusal(sign_ins.logout(refresh_token=got.refresh_token, token=other))
    assert {} == marks(store_process, "mina")


async def test_a_refresh_token_is_no_access_token(sign_ins: SignIns) -> None:
    """A logout does not take a refresh token for an access token, nor a refresh the other way round."""
    got = await sign_ins.login("mina")

    assert Code.TOKEN_INVALID == await refusal(sign_ins.logout(token=got.refresh_token))
    assert Code.TOKEN_INVALID == await refusal(sign_ins.refresh(got.token))
    assert 2 == read(await sign_ins.refresh(got.refresh_token)).generation


async def test_a_sign_in_ends_by_itself(store: Store) -> None:
    """After `refresh_token_ttl` a refresh token has expired, whatever the store still knows."""
    sign_ins = make(store, refresh_token_ttl=1.0)
    got = await sign_ins.login("mina")
    over = RefreshToken("mina", read(got).sign_in, 1, int(time.time()) - 10)

    assert Code.TOKEN_EXPIRED == await refusal(sign_ins.refresh(Issuer(Config(), SECRET).refresh(over)))


async def test_revocations_neither_shorten_nor_stay(sign_ins: SignIns, store_process: StoreProcess) -> None:
    """A mark keeps its latest end; marks that are over go with the next one; the key ends with the last."""
    now = int(time.time() * 1000)
    revoked = keys.user("mina").revoked
    await sign_ins.revoke("mina", "j:a", now + 100_000)
    await sign_ins.revoke("mina", "j:a", now + 50_000)
    store_process.client.zadd(revoked, {"j:old": now - 1})
    await sign_ins.revoke("mina", "j:b", now + 60_000)
    await sign_ins.revoke("mina", "j:over", now - 60_000)

    assert {"j:a": now + 100_000, "j:b": now + 60_000} == marks(store_process, "mina")
    assert 90_000 < store_process.client.pttl(revoked) <= 100_000


async def test_a_server_whose_lease_is_over_changes_nothing(
    sign_ins: SignIns, store: Store, store_process: StoreProcess
) -> None:
    """A script that comes after its deadline writes nothing, and the caller is told that it did not."""
    got = await sign_ins.login("mina")
    before = store_process.client.hgetall(family(got))
    store.clock.set(int(time.time() * 1000), 1)
    outcomes = []
    for work in (
        sign_ins.login("jun"),
        sign_ins.refresh(got.refresh_token),
        sign_ins.logout(refresh_token=got.refresh_token),
    ):
        with pytest.raises(Unavailable) as unavailable:
            await work
        outcomes.append(unavailable.value.outcome)

    assert ["none"] * 3 == outcomes
    assert [family(got)] == store_process.client.keys()
    assert before == store_process.client.hgetall(family(got))


async def test_a_server_without_a_secret_signs_out_too(store: Store, store_process: StoreProcess) -> None:
    """Where the shop signs the tokens, a bearer token's sign-in can be ended, and no refresh token counts."""
    key = Ed25519PrivateKey.generate()
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    config = Config(jwt_public_key=pem)
    sign_ins = SignIns(store, Verifier(config, ""), Issuer(config, ""), config)
    mine = jwt.encode({"sub": "7", "sid": "shop-1", "exp": int(time.time()) + 60}, key, "EdDSA")
    await sign_ins.logout(token=mine)
    foreign = RefreshToken("7", "shop-1", 1, int(time.time()) + 60)

    assert ["s:shop-1"] == list(marks(store_process, "7"))
    assert marks(store_process, "7")["s:shop-1"] > (time.time() + 14 * DAY) * 1000
    assert Code.TOKEN_INVALID == await refusal(sign_ins.refresh(Issuer(Config(), SECRET).refresh(foreign)))
    assert 0 == store_process.client.exists(keys.family("7", "shop-1"))


# --- names ---


@pytest.mark.parametrize(
    ("name", "user_id"),
    [
        ("mina", "mina"),
        ("  mina\n", "mina"),
        ("Mina@shop.example", "Mina@shop.example"),
        ("x" * 128, "x" * 128),
        ("민아", "u-5b52da56872881fb9b4a14b2b0d08d4d"),
        ("mina kim", "u-8f8705d5f57c83aa0401bad53b197b92"),
    ],
)
def test_a_name_is_a_user_id_where_it_can_be_one(name: str, user_id: str) -> None:
    """A name that is a valid id is the user id; of another one it is derived, always the same."""
    assert user_id == user_id_of(name)


def test_a_name_is_the_same_however_it_is_composed() -> None:
    """Korean typed on a Mac comes decomposed: it is the same name, and of the same length."""
    assert user_id_of("\uac00") == user_id_of("\u1100\u1161")
    assert user_id_of("\uac00" * 128) == user_id_of("\u1100\u1161" * 128)


@pytest.mark.parametrize("name", ["", "  \t"])
def test_a_name_is_needed(name: str) -> None:
    """One without characters is refused."""
    with pytest.raises(Refused) as refused:
        user_id_of(name)

    assert Code.BAD_MESSAGE == refused.value.code


@pytest.mark.parametrize("name", ["x" * 129, "민" * 129, "x" * 100_000])
def test_a_long_name_gets_an_id(name: str) -> None:
    """Which is always the same, another one's than that of a name it begins with, and a user id."""
    user_id = user_id_of(name)

    assert user_id_of(name) == user_id != user_id_of(name[:128])
    assert USER_ID.fullmatch(user_id)


# --- whole servers ---


async def test_a_theft_closes_the_connections_everywhere(servers: Servers, connect: Connect) -> None:
    """When a used refresh token comes back, the sign-in's connections close on every server, others stay,
    and its access token lets nobody in any more."""
    a, b = servers(2, demo="true", refresh_grace=0)
    login = await Api(a, key=None).post("/auth/login", {"name": "mina"})
    used = login.headers["set-cookie"].partition("=")[2].partition(";")[0]
    here, there = [await connect(server, token=login.json["token"]) for server in (a, b)]
    other = await connect(b, user="mina", sid="another")
    answers = [await Api(b, key=None).post("/auth/refresh", {"refreshToken": used}) for _ in range(2)]
    late = await connect(a, token=answers[0].json["token"], wait=False)
    closed = [await client.closed() for client in (here, there, late)]
    await other.do("ping")

    assert (200, 401) == (answers[0].status, answers[1].status)
    assert "token_revoked" == answers[1].json["error"]["code"]
    assert [(3000, "token_revoked")] * 3 == closed
