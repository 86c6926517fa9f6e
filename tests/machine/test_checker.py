"""The machine's checker sees what is wrong with a history, and nothing in one where all is well."""

from dataclasses import replace

import pytest

from streamfea.streams.operating.dead_letters import DeadLetter
from tests.machine.checker import check
from tests.machine.history import Effect, Final, History
from tests.machine.records import KINDS

_PUSHED = 100


def all_is_well() -> tuple[History, Final]:
    """One good record, one that crosses, one that fails, and two by the list."""
    history = History(
        kinds={1: KINDS["add"], 2: KINDS["cross"], 3: KINDS["fail"], _PUSHED: KINDS["add"], _PUSHED + 1: KINDS["add"]},
        pushed={_PUSHED, _PUSHED + 1},
        audited={1, 2, 3},
    )
    history.confirmed = dict.fromkeys(history.kinds, 1000.0)
    final = Final(
        effects=[
            Effect(1, "add", "load", "1000-0"),
            Effect(2, "cross", "load", "1000-1"),
            Effect(_PUSHED, "add", "old", "1000-0", "old_effect"),
            Effect(_PUSHED + 1, "add", "old", "1000-1", "old_effect"),
        ],
        totals={"a": 1, "b": 1},
        dead=[letter(3, "failed")],
    )
    return history, final


def letter(number: int, reason: str, entry_id: str = "1000-2", letter_id: str = "2000-0") -> DeadLetter:
    return DeadLetter(letter_id, entry_id, reason, "", "", "", 1, "", "", "", {b"number": str(number).encode()})


def sorts(history: History, final: Final, *, exactly_once: bool = True) -> list[str]:
    return [violation.sort for violation in check(history, final, exactly_once=exactly_once)]


def test_nothing_is_found_where_all_is_well() -> None:
    assert sorts(*all_is_well()) == []


def test_a_record_that_is_neither_done_nor_buried_is_lost() -> None:
    history, final = all_is_well()
    del final.effects[0]
    assert sorts(history, final) == ["lost"]


def test_a_record_that_another_group_never_got_is_lost() -> None:
    history, final = all_is_well()
    history.audited.remove(1)
    assert sorts(history, final) == ["lost"]


def test_what_the_server_has_forgotten_is_not_streamfeas_loss() -> None:
    history, final = all_is_well()
    del final.effects[0]
    history.audited.remove(1)
    history.forgotten.append((900.0, 1100.0))
    assert sorts(history, final) == []


def test_a_record_that_is_done_twice_is_doubled_if_that_was_promised() -> None:
    history, final = all_is_well()
    final.effects.append(final.effects[0])
    assert sorts(history, final) == ["doubled"]
    assert sorts(history, final, exactly_once=False) == []


def test_an_element_whose_move_was_forgotten_may_be_moved_again() -> None:
    history, final = all_is_well()
    final.effects.append(Effect(_PUSHED, "add", "old", "1200-0", "old_effect"))
    history.forgotten.append((900.0, 1100.0))
    assert sorts(history, final) == []


def test_half_of_a_transaction_is_seen() -> None:
    history, final = all_is_well()
    final.totals["b"] = 2
    assert sorts(history, final) == ["half done"]


def test_a_row_of_a_record_that_failed_is_seen() -> None:
    history, final = all_is_well()
    final.effects.append(Effect(3, "fail", "load", "1000-2"))
    assert sorts(history, final) == ["half done"]


@pytest.mark.parametrize(("number", "reason"), [(1, "failed"), (2, "crashed"), (3, "rejected")])
def test_a_dead_letter_without_cause_is_seen(number: int, reason: str) -> None:
    history, final = all_is_well()
    final.dead = [letter(3, "failed"), letter(number, reason, entry_id="1000-9")]
    assert sorts(history, final) == ["wrongly buried"]


def test_poison_that_was_done_without_a_trace_is_seen() -> None:
    history, final = all_is_well()
    final.dead.clear()
    assert sorts(history, final) == ["lost", "not buried"]


def test_an_entry_is_buried_once_unless_its_group_was_created_again() -> None:
    history, final = all_is_well()
    final.dead.append(letter(3, "failed", letter_id="3000-0"))
    assert sorts(history, final) == ["doubled"]
    history.restarted.append(2500.0)
    assert sorts(history, final) == []


def test_what_is_left_is_seen() -> None:
    history, final = all_is_well()
    final.pending = final.listed = 2
    assert sorts(history, final) == ["left over", "left over"]


def test_elements_of_a_list_in_another_order_are_seen() -> None:
    history, final = all_is_well()
    final.effects[2:] = [
        Effect(_PUSHED, "add", "old", "1000-1", "old_effect"),
        Effect(_PUSHED + 1, "add", "old", "1000-0", "old_effect"),
    ]
    assert sorts(history, final) == ["out of order"]


def test_a_row_in_another_queues_table_is_seen() -> None:
    history, final = all_is_well()
    final.effects[2] = replace(final.effects[2], table="effect")
    final.effects[0] = replace(final.effects[0], table="old_effect")
    assert sorts(history, final) == ["in the wrong table", "in the wrong table"]


def test_trouble_is_a_violation() -> None:
    history, final = all_is_well()
    history.trouble.append(("a worker crashed", "KeyError"))
    assert sorts(history, final) == ["trouble"]
