"""One entry is found in whichever queue has it, and shown to programs whole."""

import pytest
from redis import Redis

from streamfea.admin.entries import find_in_queues, next_step, record_of, view_as_json
from streamfea.admin.retry_and_reject import RejectPending
from streamfea.config.sections import Queue
from streamfea.errors import StreamfeaError
from tests.integration.admin.conftest import Deliver


def test_an_entry_is_found_in_the_queue_that_has_it(client: Redis, queue: Queue, deliver: Deliver) -> None:
    [entry_id] = deliver("1")
    other = queue.model_copy(update={"name": "other", "stream": f"{queue.stream}:other"})

    [(where, view)] = find_in_queues(client, [other, queue], entry_id)

    assert (where, view.state, record_of(queue, view)) == (queue, "in-flight", b"1")
    assert view_as_json(queue, view)["fields"] == {"record": "1"}
    assert next_step(queue, view) == "A worker has it, and may be running it right now."


def test_a_dead_letter_comes_with_the_command_that_puts_it_back(client: Redis, queue: Queue, deliver: Deliver) -> None:
    [entry_id] = deliver("1")
    list(RejectPending(client, queue, [entry_id]))

    [(_, view)] = find_in_queues(client, [queue], entry_id)

    letter = view_as_json(queue, view)["dead_letter"]
    assert next_step(queue, view) == f"streamfea dead replay q {letter} puts it back on the stream."


def test_an_entry_that_is_nowhere_and_one_without_a_record_are_errors(client: Redis, queue: Queue) -> None:
    client.xadd(queue.stream, {"other": b"\xff"}, id="1-1")
    [(_, view)] = find_in_queues(client, [queue], "1-1")

    assert view_as_json(queue, view)["fields"] == {"other": {"base64": "/w=="}}
    with pytest.raises(StreamfeaError, match="entry 1-1 holds no record"):
        record_of(queue, view)
    with pytest.raises(StreamfeaError, match=f"queue q: there is no entry 7-7 in {queue.stream}"):
        find_in_queues(client, [queue], "7-7")
