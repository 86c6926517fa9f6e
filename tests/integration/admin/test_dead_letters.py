"""Dead letters are found by ids and filters, put back, and thrown away, in steps that say how far they are."""

import pytest
from redis import Redis

from streamfea.admin.dead_letter_search import Search, Selection
from streamfea.admin.dead_letters import DeadLetterListing, PurgeDeadLetters, PurgePlan, ReplayDeadLetters
from streamfea.admin.retry_and_reject import RejectPending
from streamfea.config.sections import Queue
from streamfea.errors import StreamfeaError, UsageError
from streamfea.streams.operating.dead_letters import count_dead_letters
from tests.integration.admin.conftest import Deliver

_ALL = Selection.of([])


@pytest.fixture
def dead(client: Redis, queue: Queue, deliver: Deliver) -> list[str]:
    """Return the ids of 250 entries that were rejected, with the records 0 to 249."""
    ids = deliver(*(str(number) for number in range(250)))
    for _ in RejectPending(client, queue, ids):
        pass
    return ids


def test_a_selection_finds_letters_by_the_ids_of_their_entries_or_by_filters(
    client: Redis, queue: Queue, dead: list[str]
) -> None:
    named = Search(client, queue, Selection.of([dead[0], "7-7"]))
    matching = Search(client, queue, Selection.of([], reason="rejected", match="^24.$"))

    assert ([letter.entry_id for letter in named], named.unknown) == ([dead[0]], ["7-7"])
    assert [letter.fields[b"record"] for letter in matching] == [b"24%d" % digit for digit in range(10)]


def test_a_selection_of_everything_has_to_be_meant() -> None:
    with pytest.raises(UsageError) as caught:
        _ALL.must_be_some(everything=False)

    assert caught.value.remedy.startswith("add ids, or a filter")


def test_a_listing_shows_some_and_counts_all(client: Redis, queue: Queue, dead: list[str]) -> None:
    listing = DeadLetterListing(client, [queue], _ALL, at_most=3)

    assert sum(listing) == listing.total == listing.found == 250
    assert [letter.entry_id for _, letter in listing.shown] == dead[:3]
    assert [kind.count for kind in listing.errors.kinds()] == [250]


def test_letters_go_back_a_hundred_at_a_time_and_what_is_done_when_it_stops_is_known(
    client: Redis, queue: Queue, dead: list[str]
) -> None:
    job = ReplayDeadLetters(client, queue, _ALL)

    for _ in job:
        if job.back >= 100:
            break

    assert count_dead_letters(client, queue.ref) == 250 - job.back
    assert job.so_far() == f"{job.back} dead letters are back on {queue.stream}"
    _, became = job.first_back[0]
    assert client.xrange(queue.stream, became, became) == [(became.encode(), {b"record": b"0"})]

    rest = ReplayDeadLetters(client, queue, _ALL)
    assert sum(rest) == rest.back == 250 - job.back


def test_a_letter_that_is_not_there_is_named_with_the_command_that_lists_them(client: Redis, queue: Queue) -> None:
    job = ReplayDeadLetters(client, queue, Selection.of(["7-7"]))
    list(job)

    with pytest.raises(StreamfeaError) as caught:
        job.fail_if_undone()

    assert caught.value.message == "queue q: there is no dead letter 7-7"
    assert caught.value.remedy == "`streamfea dead list q` shows them"


def test_a_plan_says_what_a_purge_throws_away(client: Redis, queue: Queue, dead: list[str]) -> None:
    plan = PurgePlan(client, queue, Selection.of([], match="^1$"))
    assert sum(plan) == 250
    assert str(plan.kinds) == "1 dead letter (1 rejected RejectedByOperator)"

    job = PurgeDeadLetters(client, queue, plan.ids)
    assert (list(job), job.so_far()) == ([1], "1 dead letter is gone")
    assert count_dead_letters(client, queue.ref) == len(dead) - 1
