"""The names of our keys, which dashboards and access rules rely on."""

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import dead_letters_key, errors_key, janitor_key, name_lock_key

_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="{}"), min_size=1)


def keys(stream: str, group: str, consumer: str) -> list[str]:
    return [
        dead_letters_key(GroupRef(stream, group)),
        errors_key(GroupRef(stream, group)),
        janitor_key(GroupRef(stream, group)),
        name_lock_key(GroupRef(stream, group), consumer),
    ]


def test_keys_are_named_as_the_contract_says() -> None:
    assert keys("orders", "billing", "host-1") == [
        "{orders}:dead:billing",
        "{orders}:errors:billing",
        "{orders}:janitor:billing",
        "{orders}:consumer:billing:host-1",
    ]
    assert keys("shop:{orders}", "billing", "host-1")[:2] == [
        "shop:{orders}:dead:billing",
        "shop:{orders}:errors:billing",
    ]


@given(_NAMES, _NAMES, _NAMES)
def test_all_keys_of_a_stream_are_in_its_slot_and_no_two_are_the_same(stream: str, group: str, consumer: str) -> None:
    named = keys(stream, group, consumer)
    assert {key_slot(key.encode()) for key in named} == {key_slot(stream.encode())}
    assert len({stream, *named}) == 5
