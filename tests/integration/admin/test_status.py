"""What is wrong with queues, which come first, and which thresholds they have passed."""

from datetime import timedelta

from redis import Redis

from streamfea.admin.retry_and_reject import RejectPending
from streamfea.admin.status import Thresholds, Unreadable, by_trouble, figures_of, rates_between, total_of, wrong_with
from streamfea.config.sections import Queue
from streamfea.core.advice import Advice
from streamfea.streams.operating.status import QueueStatus, queue_status
from tests.integration.admin.conftest import Deliver


def test_what_is_wrong_comes_with_the_next_command(client: Redis, queue: Queue, deliver: Deliver) -> None:
    list(RejectPending(client, queue, deliver("1")))
    deliver("2", consumer="gone-1-1-abcd")
    client.xgroup_delconsumer(queue.stream, queue.group, "somebody")
    client.xgroup_delconsumer(queue.stream, queue.group, "gone-1-1-abcd")
    client.xadd(queue.stream, {"record": "3"})

    assert list(wrong_with(queue_status(client, queue))) == [
        Advice("1 record waits and no worker runs", "streamfea consume q"),
        Advice("1 dead letter", "streamfea dead list q"),
    ]


def test_a_queue_that_cannot_be_read_hides_no_other_and_comes_first(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    deliver("1")
    broken = queue.model_copy(update={"name": "broken", "stream": f"{queue.stream}:text"})
    client.set(broken.stream, "text")

    worst, other = by_trouble(figures_of(client, [queue, broken]))

    assert isinstance(worst, Unreadable)
    assert worst.error.startswith(f"stream {broken.stream}: ")
    assert isinstance(other, QueueStatus)
    assert other.pending == 1


def test_each_threshold_that_a_queue_has_passed_is_a_sentence(client: Redis, queue: Queue) -> None:
    client.xadd(queue.stream, {"record": "1"}, id="1-1")
    status = queue_status(client, queue)

    passed = list(Thresholds(lag=0, age=timedelta(days=1), dead=0, no_worker=True).passed(status))

    assert passed[0] == "queue q: 1 entries wait, more than 0"
    assert passed[1].startswith("queue q: the oldest entry waits for ")
    assert passed[2:] == ["queue q: no worker runs"]
    assert list(Thresholds(lag=1).passed(status)) == []


def test_what_was_done_between_two_looks_is_a_rate_and_queues_add_up(
    client: Redis, queue: Queue, deliver: Deliver
) -> None:
    ids = deliver("1", "2", "3")
    before = queue_status(client, queue)
    client.xack(queue.stream, queue.group, *ids[:2])
    after = queue_status(client, queue)

    assert rates_between({"q": before}, [after], seconds=2.0) == {"q": 1.0}
    assert rates_between({}, [after], seconds=2.0) == {"q": None}
    assert (total_of([after, after]).pending, total_of([after, after]).length) == (2, 6)
