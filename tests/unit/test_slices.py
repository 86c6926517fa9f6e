"""How a batch is cut so that those who may be to blame run alone, and nobody's turn changes."""

from hypothesis import given
from hypothesis import strategies as st

from streamfea.core.entry import Entry
from streamfea.worker.slices import Mode, Slice, SliceResult, split_at


def entries(*ids: str) -> list[Entry]:
    return [Entry("orders", "orders", entry_id, {b"record": b"x"}) for entry_id in ids]


def shape(slices: list[Slice]) -> list[tuple[list[str], Mode]]:
    return [([entry.id for entry in slice_.entries], slice_.mode) for slice_ in slices if slice_.entries]


def test_those_who_are_named_are_alone_and_the_others_together() -> None:
    assert shape(split_at(entries("1-0", "2-0", "3-0", "4-0", "5-0"), {"3-0", "4-0"})) == [
        (["1-0", "2-0"], Mode.TOGETHER),
        (["3-0"], Mode.ALONE),
        (["4-0"], Mode.ALONE),
        (["5-0"], Mode.TOGETHER),
    ]


def test_ids_of_others_change_nothing() -> None:
    assert shape(split_at(entries("1-0", "2-0"), ["9-9"])) == [(["1-0", "2-0"], Mode.TOGETHER)]


@given(st.lists(st.booleans()))
def test_every_entry_runs_once_in_its_turn(named: list[bool]) -> None:
    batch = entries(*(f"{number}-0" for number in range(len(named))))
    ids = {entry.id for entry, is_named in zip(batch, named, strict=True) if is_named}
    slices = split_at(batch, ids)
    assert [entry for slice_ in slices for entry in slice_.entries] == batch
    assert {entry.id for slice_ in slices if slice_.mode is Mode.ALONE for entry in slice_.entries} == ids
    assert all(len(slice_.entries) == 1 for slice_ in slices if slice_.mode is Mode.ALONE)


def test_nothing_is_known_and_nothing_has_happened_unless_it_is_said() -> None:
    assert Slice(entries("1-0")) == Slice(entries("1-0"), Mode.TOGETHER, ledger_first=False)
    assert (SliceResult().outcomes, SliceResult().remaining) == ([], [])
