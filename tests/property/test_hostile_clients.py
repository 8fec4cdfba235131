"""Commands that are bent at random: each is one or a bad one, and who reads it knows its id."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from session.protocol import BadCommand, Code, decode
from tests.support.fuzz import bent, good, id_of


@given(st.integers(min_value=0, max_value=2**32))
@settings(max_examples=300)
def test_a_bent_command_is_one_or_a_bad_one(seed: int) -> None:
    """Nothing but `BadCommand` comes out of reading it, and that knows the id."""
    rng = random.Random(seed)
    text = bent(rng, good(rng, rng.choice([7, "seven"])))
    try:
        found = decode(text).id
    except BadCommand as bad:
        if bad.code is Code.BAD_JSON:
            return
        found = None if bad.command_id is UNSET else bad.command_id

    assert id_of(text) == found
