"""Keys: what a script touches together lies in one slot of a cluster, and no two things share a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from session import keys

USERS = st.text("abcXYZ019_.@:|-", min_size=1, max_size=128)
EVENTS = st.text("abcXYZ019_-", min_size=1, max_size=64)


def slots(*names: str) -> set[int]:
    return {key_slot(name.encode()) for name in names if name}


@given(user=USERS, instance=st.from_regex(r"\Ai-[0-9a-f]{10}\Z"), sign_in=USERS)
def test_all_of_a_user_lies_in_one_slot(user: str, instance: str, sign_in: str) -> None:
    """Session, data, rooms, revocations, index, counter, channel, sign-ins and the user's own room."""
    bucket = keys.bucket(user)
    room = keys.room(f"user:{user}")

    assert 1 == len(
        slots(
            *keys.user(user), *room, keys.index(bucket, instance), keys.bucket_counter(bucket),
            keys.bucket_channel(bucket), keys.family(user, sign_in),
        )
    )  # fmt: skip
    assert room.counter == keys.user(user).counter == keys.bucket_counter(bucket)
    assert room.channel == keys.user(user).channel == keys.bucket_channel(bucket)


@given(event=EVENTS)
def test_all_of_an_event_lies_in_one_slot(event: str) -> None:
    """Its settings, counts, and its three rooms."""
    rooms = [keys.room(f"{namespace}:{event}") for namespace in ("event", "queue", "seats")]

    assert 1 == len(slots(keys.event(event), keys.counts(event), *(key for room in rooms for key in room)))
    assert {""} == {room.counter for room in rooms}


@given(namespace=st.text("abc019_-", min_size=1, max_size=32), ident=USERS)
def test_a_room_lies_in_one_slot(namespace: str, ident: str) -> None:
    """Whatever its name, its script may touch all its keys."""
    assert 1 == len(slots(*keys.room(f"{namespace}:{ident}")))


@given(names=st.lists(st.tuples(st.sampled_from(["event", "user", "chat", "seats"]), USERS), unique=True))
def test_no_two_rooms_share_a_key(names: list[tuple[str, str]]) -> None:
    """Only channels and counters are shared."""
    owned = [key for name in names for key in keys.room(":".join(name))[:3]]

    assert len(owned) == len(set(owned))


@given(user=USERS)
def test_a_bucket_is_one_of_256(user: str) -> None:
    """The same each time, on every server."""
    assert keys.bucket(user) in keys.BUCKETS
    assert keys.bucket(user) == keys.bucket(user)
    assert 256 == len(set(keys.BUCKETS))


def test_buckets_do_not_change() -> None:
    """Sessions are found under them by every version: these must stay as they are."""
    assert ("e4", "55", "f4") == tuple(keys.bucket(user) for user in ("1", "mina", "user-123"))


@pytest.mark.parametrize("user", ["a", "a:b", "|", "x" * 128])
def test_the_keys_of_a_user_are_apart(user: str) -> None:
    """Eight names for eight things."""
    assert 8 == len(set(keys.user(user)))
