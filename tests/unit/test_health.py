"""Who is ill: a worker that could work and does not."""

import time

from streamfea.observe.figures import Figures, Row
from streamfea.observe.health import illnesses, waits


def place(*, ready: bool = True, still: float = 0.0) -> tuple[Figures, Row]:
    figures = Figures([("q", 10.0)])
    [row] = figures.rows
    row.starts(17)
    if ready:
        row.reads()
    row._set("moved_at", time.monotonic() - still)
    return figures, row


def test_a_worker_that_moves_is_well() -> None:
    figures, _ = place()
    assert (illnesses(figures, [0.0]), waits(figures)) == ([], [])


def test_a_worker_that_does_not_move_is_ill() -> None:
    figures, _ = place(still=61)
    assert illnesses(figures, [0.0]) == ["queue q: a worker has not moved for 61 s; `streamfea status q` says why"]


def test_a_record_may_take_its_timeout_and_no_longer() -> None:
    figures, _ = place(still=1000)
    assert illnesses(figures, [69.0]) == []
    assert illnesses(figures, [71.0]) == ["queue q: a record has been running for 71 s, longer than timeout"]


def test_an_outage_is_no_illness_but_nobody_is_ready() -> None:
    figures, row = place()
    row.waits_for("PostgreSQL")
    row._set("moved_at", 1.0)
    assert illnesses(figures, [0.0]) == []
    assert waits(figures) == ["queue q: waiting for PostgreSQL"]


def test_a_worker_that_dies_again_and_again_is_ill() -> None:
    figures, row = place(still=61)
    row.ends(crashed=True, wanted=True)
    assert illnesses(figures, [0.0]) == ["queue q: a worker dies whenever it starts, for 61 s; its log says why"]
    assert waits(figures) == ["queue q: 0 of 1 workers are ready; the log says why"]


def test_a_place_that_nobody_is_to_take_is_well() -> None:
    figures, row = place(still=1000)
    row.ends(crashed=False, wanted=False)
    assert illnesses(figures, [0.0]) == []


def test_a_worker_that_has_not_joined_is_not_ready() -> None:
    figures, _ = place(ready=False)
    assert waits(figures) == ["queue q: 0 of 1 workers are ready; the log says why"]
