"""What is done is trimmed, and who is gone is forgotten."""

from datetime import timedelta

from redis import Redis

from streamfea.admin.consumers import prune
from streamfea.admin.trim import Trim
from streamfea.config.sections import Queue
from streamfea.streams.operating.members import members
from tests.integration.admin.conftest import Deliver


def test_what_every_group_has_acknowledged_is_counted_then_removed(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    done = deliver("1", "2")
    deliver("3")
    client.xack(queue.stream, queue.group, *done)

    plan, job = Trim(client, queue, dry_run=True), Trim(client, queue)

    assert (sum(plan), plan.number, plan.left, plan.so_far()) == (2, 2, 1, "0 entries removed")
    assert (sum(job), job.number, job.left, job.so_far()) == (2, 2, 1, "2 entries removed")


def test_a_stream_that_no_group_reads_keeps_all(client: Redis, queue: Queue) -> None:
    client.xadd(queue.stream, {"record": "1"})
    job = Trim(client, queue)

    assert (list(job), job.is_read, client.xlen(queue.stream)) == ([], False, 1)


def test_members_are_forgotten_unless_something_is_pending_for_them(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    deliver("1", consumer="busy")
    client.xgroup_createconsumer(queue.stream, queue.group, "idle")

    pruned = {member.name: member.why_kept for member in prune(client, queue, timedelta(0))}

    assert pruned == {"busy": "1 entry pending; others take them over after claim_idle", "idle": None}
    assert [member.name for member in members(client, queue.ref)] == ["busy"]
