"""Keys that a script is given together have to share a slot of a cluster; redis-py's own arithmetic is the judge."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from streamfea.core.hash_tag import in_slot_of

# A key with a `}` and no hash tag is alone in its slot, for no tag can contain a `}`.
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="{}"), min_size=1)
_TAGGED = st.builds("{}{{{}}}{}".format, st.just("") | _NAMES, _NAMES, st.text("ab{}"))


@given(_NAMES | _TAGGED)
@example("a{b")
@example("{a}{b}")
def test_what_hangs_on_a_key_shares_its_slot(key: str) -> None:
    assert key_slot(f"{in_slot_of(key)}:dead:group".encode()) == key_slot(key.encode())


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("orders", "{orders}"),
        ("shop:{orders}", "shop:{orders}"),
        ("{orders}:in:{x}", "{orders}:in:{x}"),
        ("a{b", "{a{b}"),
        ("a{}b", "{a{}b}"),
        ("a}b", "{a}b}"),
        ("a{}b{c}", "{a{}b{c}}"),
    ],
)
def test_a_key_is_braced_unless_it_has_a_tag(key: str, wanted: str) -> None:
    assert in_slot_of(key) == wanted
