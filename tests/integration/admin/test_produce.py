"""Records come onto a stream, or into a list, from any lines."""

from typing import Any

import pytest
from redis import Redis

from streamfea.admin.produce import Produce
from streamfea.config.sections import Queue
from streamfea.errors import ConfigurationError, StreamfeaError


def test_each_line_that_is_not_blank_becomes_an_entry(client: Redis, queue: Queue) -> None:
    job = Produce(client, queue, [b"1\n", b"\n", b"2\r\n", b"3"])

    assert list(job) == [3]
    assert job.so_far() == "3 records are on the stream"
    entries: Any = client.xrange(queue.stream)
    assert [fields for _, fields in entries] == [
        {b"record": b"1"}, {b"record": b"2"}, {b"record": b"3"},
    ]  # fmt: skip


def test_a_thousand_records_go_in_a_step_and_what_was_sent_stays(client: Redis, queue: Queue) -> None:
    job = Produce(client, queue, (b"%d" % number for number in range(2500)))

    assert next(iter(job)) == 1000
    assert (job.sent, client.xlen(queue.stream)) == (1000, 1000)


def test_lines_go_into_the_old_list_in_their_order(client: Redis, queue: Queue) -> None:
    assert list(Produce(client, queue, [b"1", b"2"], to_list=True)) == [2]
    assert client.lrange(str(queue.legacy_list), 0, -1) == [b"2", b"1"]


def test_a_queue_without_a_list_is_told_how_to_get_one(client: Redis, queue: Queue) -> None:
    without = queue.model_copy(update={"legacy_list": None})

    with pytest.raises(ConfigurationError) as caught:
        Produce(client, without, [], to_list=True)

    assert caught.value.message == "queue q has no list"
    assert caught.value.remedy == "set queues.q.legacy_list, or leave out --list"


def test_a_line_that_is_no_object_is_named_with_what_is_there_already(client: Redis, queue: Queue) -> None:
    whole = queue.model_copy(update={"field": "*"})

    with pytest.raises(StreamfeaError, match=r"line 2 is not JSON .*; 0 records before it are on the stream"):
        list(Produce(client, whole, [b'{"a": 1}', b"nonsense"]))
