"""Which entries a worker holds, for the threads of its process."""

import threading
from collections.abc import Collection

from streamfea.streams.consuming.group import Claimed
from streamfea.worker.held import Held
from tests.support.entries import entries, entry


def test_entries_are_held_until_they_are_dropped_in_the_order_in_which_they_came() -> None:
    held = Held()
    held.add(entries(2, 1))
    held.add([Claimed("3-0", 4, None)])
    assert ("1-0" in held, "4-0" in held, len(held)) == (True, False, 3)
    assert [one.id for one in held.entries] == ["2-0", "1-0", "3-0"]
    held.drop(["1-0", "4-0"])
    assert [one.id for one in held.entries] == ["2-0", "3-0"]
    held.drop_all()
    assert (held.entries, len(held)) == ([], 0)


def test_entries_that_others_have_claimed_are_renewed_no_more_and_told_until_they_are_dropped() -> None:
    held, asked = Held(), list[list[str]]()

    def renew(entry_ids: Collection[str]) -> set[str]:
        asked.append(sorted(entry_ids))
        return {"2-0"} & set(entry_ids)

    held.add(entries(1, 2))
    assert held.renew(renew) == {"2-0"}
    assert held.renew(renew) == {"2-0"}
    assert asked == [["1-0", "2-0"], ["1-0"]]
    held.drop(["2-0"])
    assert held.renew(renew) == set()


def test_nothing_is_asked_when_nothing_is_held() -> None:
    asked: list[Collection[str]] = []

    def renew(entry_ids: Collection[str]) -> set[str]:
        asked.append(entry_ids)
        return set()

    assert (Held().renew(renew), asked) == (set(), [])


def test_no_entry_is_dropped_while_a_renewal_asks_for_it() -> None:
    held, has_asked, may_answer = Held(), threading.Event(), threading.Event()
    held.add([entry(1)])

    def renew(_: Collection[str]) -> set[str]:
        has_asked.set()
        assert may_answer.wait(10)
        return set()

    renewing = threading.Thread(target=held.renew, args=[renew])
    dropping = threading.Thread(target=held.drop, args=[["1-0"]])
    renewing.start()
    assert has_asked.wait(10)
    dropping.start()
    assert "1-0" in held
    may_answer.set()
    renewing.join()
    dropping.join()
    assert "1-0" not in held
