"""Pending entries are made due, or rejected, in steps that say how far they are."""

import pytest
from redis import Redis

from streamfea.admin.pending import PendingListing
from streamfea.admin.retry_and_reject import RejectPending, RetryPending
from streamfea.config.sections import Queue
from streamfea.errors import StreamfeaError
from streamfea.streams.operating.dead_letters import dead_letters
from streamfea.streams.operating.pending import PendingFilter
from tests.integration.admin.conftest import Deliver


def test_all_that_is_pending_is_made_due_step_by_step(client: Redis, queue: Queue, deliver: Deliver) -> None:
    deliver(*(str(number) for number in range(450)))

    job = RetryPending(client, queue, None)

    assert list(job) == [200, 200, 50]
    assert (job.total, job.due, job.so_far(), job.lacks_worker) == (450, 450, "450 entries are due now", True)


def test_a_job_that_is_left_between_two_steps_keeps_what_it_has_done(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    deliver(*(str(number) for number in range(450)))
    job = RetryPending(client, queue, None)

    next(iter(job))

    assert job.so_far() == "200 entries are due now"


def test_what_a_worker_may_be_running_is_left_to_it_with_a_remedy(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    [entry_id] = deliver("1", consumer="elsewhere-1-1-abcd")
    job = RetryPending(client, queue, [entry_id])
    list(job)

    with pytest.raises(StreamfeaError) as caught:
        job.fail_if_undone()

    assert job.due == 0
    assert f"{entry_id} (elsewhere-1-1-abcd" in caught.value.message
    assert caught.value.remedy.endswith("or at once with --force")


def test_rejected_entries_are_dead_letters_and_what_is_not_pending_is_named(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    [entry_id] = deliver("1")
    job = RejectPending(client, queue, [entry_id, "7-7"])

    assert list(job) == [1, 1]
    assert (job.rejected, job.not_pending) == (1, ["7-7"])
    assert [(letter.entry_id, letter.reason) for letter in dead_letters(client, queue.ref)] == [(entry_id, "rejected")]
    with pytest.raises(StreamfeaError) as caught:
        job.fail_if_undone()
    assert caught.value.message == "queue q: 7-7 is not pending"
    assert caught.value.remedy == "`streamfea show q 7-7` tells more"


def test_a_listing_keeps_the_oldest_entries_and_counts_all(client: Redis, queue: Queue, deliver: Deliver) -> None:
    ids = deliver(*(str(number) for number in range(1500)))
    listing = PendingListing(client, [queue], PendingFilter(), limit=2)

    assert sum(listing) == listing.found == 1500
    assert [entry.id for entry in listing.oldest] == ids[:2]
