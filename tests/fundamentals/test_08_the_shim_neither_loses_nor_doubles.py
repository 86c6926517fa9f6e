"""The shim neither loses nor doubles: what old producers push to a list is on the stream once, in the list's order."""

import json

import pytest

from tests.support.shops import Shop
from tests.support.waiting import wait_until


@pytest.fixture
def old_list(shop: Shop, name: str) -> str:
    """The key of a list that producers of old push orders to, at its left end."""
    shop.stream = shop.project.stream = f"{{{name}}}:stream"
    shop.open(legacy_list=name)
    return name


def push(shop: Shop, key: str, *numbers: int) -> None:
    shop.client.lpush(key, *(json.dumps({"number": number}) for number in numbers))


def test_a_list(shop: Shop, old_list: str) -> None:
    push(shop, old_list, *range(1000))
    shop.consume()
    assert shop.rows() == list(range(1000))
    assert not shop.client.exists(old_list)


def test_a_kill_while_elements_are_moved(shop: Shop, old_list: str) -> None:
    for start in (0, 20_000, 40_000):
        push(shop, old_list, *range(start, start + 20_000))
        moved = shop.on_stream()
        with shop.consuming(command="shim") as shim:
            wait_until(lambda moved=moved: shop.on_stream() > moved, "elements are moved")  # type: ignore[misc]  # bound at once
            shim.end()  # kill -9
    shop.run("shim", "--until-empty")
    entries = shop.client.xrange(shop.stream)
    assert [json.loads(fields[b"record"])["number"] for _, fields in entries] == list(range(60_000))
