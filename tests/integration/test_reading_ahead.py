"""A worker asks for the next entries while it runs these, and gives back what it has not begun."""

from collections.abc import Callable
from typing import Any

from redis import Redis

from tests.support.commands import Project
from tests.support.streams import add, nothing_is_left
from tests.support.waiting import wait_until

Rows = Callable[[], list[int]]


def test_a_quick_worker_reads_ahead_and_hands_over_what_it_has_read(
    project: Project, client: Redis, rows: Rows
) -> None:
    project.configure(claim_idle="1h", batch_size=100)
    add_with_a_slow_one(client, project, seconds=2)
    with project.consuming() as consumer:
        wait_until(lambda: len(rows()) >= 2_500, "it is at full speed")
        wait_until(lambda: held(client, project) > 100, "it holds more than the batch that is slow")
        assert consumer.terminate() == 0
    assert "handed over" in consumer.log()
    project.run("consume", "--until-empty")
    assert sorted(rows()) == list(range(-300, 3_000))
    assert nothing_is_left(client, project)


def test_what_was_read_ahead_and_taken_over_meanwhile_is_not_done_twice(
    project: Project, client: Redis, rows: Rows
) -> None:
    project.configure(claim_idle="1s", batch_size=100)
    add_with_a_slow_one(client, project, seconds=4)
    with project.consuming() as slow:
        wait_until(lambda: held(client, project) > 100 and len(rows()) >= 2_900, "it holds more than the slow batch")
        with project.consuming() as other:
            wait_until(lambda: "consuming" in other.log(), "the other works")
            wait_until(lambda: nothing_is_left(client, project), "all is acknowledged")
            assert other.terminate() == 0
        assert slow.terminate() == 0
    assert sorted(rows()) == list(range(-300, 3_000))


def test_a_worker_whose_records_take_long_does_not_read_ahead(project: Project, client: Redis, rows: Rows) -> None:
    project.configure(claim_idle="1h", batch_size=4, commit_interval="1s")
    add(client, project, *({"n": number, "do": "slow", "seconds": 0.1} for number in range(30)))
    most = 0
    with project.consuming() as consumer:

        def are_done() -> bool:
            nonlocal most
            most = max(most, held(client, project))
            return len(rows()) == 30

        wait_until(are_done, "all are done")
        assert consumer.terminate() == 0
    assert most <= 8  # a batch that commits, and one that runs


def test_cut_connections_and_stops_have_nothing_done_twice(project: Project, client: Redis, rows: Rows) -> None:
    everything: Any = client  # redis-py leaves the types of replies open
    project.configure(claim_idle="1h", batch_size=50)
    add(client, project, *({"n": number} for number in range(12_000)))
    for _ in range(3):
        before = len(rows())
        with project.consuming() as consumer:
            wait_until(lambda: len(rows()) > before + 500, "it is at full speed")  # noqa: B023 - called at once
            everything.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert consumer.terminate() == 0
        left: Any = client.xpending_range(project.stream, "streamfea", "-", "+", 1000)
        assert all(one["time_since_delivered"] >= 3_600_000 for one in left), "some are not for others to take at once"
    project.run("consume", "--until-empty")
    assert sorted(rows()) == list(range(12_000))


def add_with_a_slow_one(client: Redis, project: Project, *, seconds: float) -> None:
    """Add enough for a worker to come to its full speed, a record that takes long, and what may be read ahead of it."""
    quick = [{"n": number} for number in range(3_000)]
    slow = {"n": -1, "do": "slow", "seconds": seconds}
    add(client, project, *quick, slow, *({"n": number} for number in range(-300, -1)))


def held(client: Redis, project: Project) -> int:
    """How many entries are pending."""
    groups: Any = client.xinfo_groups(project.stream)
    return sum(int(group["pending"]) for group in groups)
