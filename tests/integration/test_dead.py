"""Dead letters: found by every filter, put back whole, thrown away only when that was meant."""

import json
import re
import time
from collections.abc import Sequence
from itertools import count, islice
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from streamfea.streams.connection.keys import dead_letters_key
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.dead_letters import (
    NO_FIELDS,
    DeadLetter,
    Reason,
    dead_letter_pages,
    dead_letters,
    provenance,
    replay,
)
from tests.support.commands import Project
from tests.support.forked import run
from tests.support.queues import ref_of

_WIDTH = 80
_HOUR_MS = 3_600_000
_MANY_FIELDS = [part for number in range(5_000) for part in (b"name %d" % number, b"value")]
_numbers = count()


def bury(
    client: Redis,
    stream: str,
    fields: Sequence[bytes],
    *,
    reason: Reason = "failed",
    error: tuple[str, str] = ("ValueError", "no luck"),
    hours_ago: int = 0,
) -> str:
    """Make a dead letter of an entry with these fields, as the script does; return its id."""
    last_error = LastError(*error, "Traceback\n  frame")
    failed_at_ms = int(time.time() * 1000) - hours_ago * _HOUR_MS
    origin = provenance(
        ref_of(stream),
        f"{failed_at_ms}-{next(_numbers)}",
        consumer="host-1-1-ab",
        deliveries=5,
        reason=reason,
        last_error=last_error,
        failed_at_ms=failed_at_ms,
    )
    parts = [part for name, value in origin.items() for part in (f"streamfea-{name}", value)]
    raw: Any = client
    letter_id: bytes = raw.execute_command("XADD", dead_letters_key(ref_of(stream)), "*", *fields, *parts)
    return letter_id.decode()


def bury_many(client: Redis, stream: str, letters: int) -> None:
    for number in range(letters):
        bury(client, stream, [b"record", str(number).encode()])


def letters(client: Redis, stream: str) -> list[DeadLetter]:
    return list(dead_letters(client, ref_of(stream)))


def on_stream(client: Redis, stream: str) -> list[Any]:
    replies: Any = client
    return list(replies.xrange(stream))


def listed(lone: Project, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(lone, "dead", "list", "q", "--json", *arguments))
    return found


def test_a_listing_says_what_died_when_and_why(lone: Project, client: Redis) -> None:
    assert listed(lone) == []
    assert "No dead letters" in run(lone, "dead", "list", "q")
    letter_id = bury(client, lone.stream, [b"record", b"x"], error=("KeyError", "'name'\nsecond line"))
    [letter] = listed(lone)
    assert set(letter) == {
        "queue",
        "id",
        "entry_id",
        "reason",
        "error_type",
        "error",
        "deliveries",
        "failed_at",
        "consumer",
        "cause",
    }
    assert (letter["id"], letter["reason"], letter["error_type"]) == (letter_id, "failed", "KeyError")
    assert (letter["deliveries"], letter["consumer"]) == (5, "host-1-1-ab")
    assert "KeyError: 'name'" in run(lone, "dead", "list", "q")


def test_the_filters_combine(lone: Project, client: Redis) -> None:
    old = bury(client, lone.stream, [b"record", b'{"sensor": "a-12"}'], hours_ago=3)
    rejected = bury(
        client, lone.stream, [b"record", b"\xff a-13"], reason="rejected", error=("Reject", "no such sensor")
    )
    key = bury(client, lone.stream, [b"record", b"b"], error=("KeyError", "a-12"))

    def found(*arguments: str) -> list[str]:
        return [one["id"] for one in listed(lone, *arguments)]

    assert found() == [old, rejected, key]
    assert found("--reason", "failed") == [old, key]
    assert found("--error-type", "KeyError") == [key]
    assert found("--since", "2h") == [rejected, key]
    assert found("--match", r"a-1\d") == [old, rejected, key]
    assert found("--match", "^Reject: no such") == [rejected]
    assert found("--match", "a-12", "--reason", "failed", "--since", "1h") == [key]
    assert found(old, key, "--since", "1h") == [key]
    assert found("--limit", "2") == [old, rejected]


def test_a_long_listing_fits_a_terminal_and_says_what_it_leaves_out(lone: Project, client: Redis) -> None:
    bury_many(client, lone.stream, 120)
    shown = run(lone, "dead", "list", "q", columns=_WIDTH)
    assert max(map(len, shown.splitlines())) <= _WIDTH
    assert "100 of 120 shown" in shown
    letter_id = bury(client, lone.stream, [b"record", b"x"], error=("AnErrorWithQuiteALongName", "x"))
    last = run(lone, "dead", "list", "q", letter_id, columns=_WIDTH).splitlines()[1]
    assert re.fullmatch(rf"{letter_id}  \d+-\d+ +failed .*…", last.rstrip())
    assert len(listed(lone)) == 121
    assert "of 121 shown" not in run(lone, "dead", "list", "q", "--all")


def test_a_replayed_letter_is_an_entry_with_the_fields_that_it_had(lone: Project, client: Redis) -> None:
    fields = [b"z", b"\0\xff", b"record", b"x" * 10, b"a", b"", b"z", b"again"]
    first, other = bury(client, lone.stream, fields), bury(client, lone.stream, [b"record", b"other"])
    told = run(lone, "dead", "replay", "q", first)
    [(entry_id, _)] = on_stream(client, lone.stream)
    assert f"{first} is back as {entry_id.decode()}" in told
    raw: Any = client
    assert raw.eval("return redis.call('XRANGE', KEYS[1], '-', '+')[1][2]", 1, lone.stream) == fields
    assert [letter.id for letter in letters(client, lone.stream)] == [other]


@pytest.mark.parametrize("many", [[], _MANY_FIELDS], ids=["few fields", "many fields"])
def test_a_producers_own_fields_that_are_called_like_ours_are_kept(
    lone: Project, client: Redis, many: list[bytes]
) -> None:
    names = (b"streamfea-trace", b"streamfea-entry-id", b"streamfea-error")
    fields = [*many, b"record", b"x", *(part for name in names for part in (name, b"a producer's"))]
    letter_id = bury(client, lone.stream, fields)
    [letter] = letters(client, lone.stream)
    assert letter.fields[b"streamfea-trace"] == b"a producer's"
    assert letter.error == "no luck"
    run(lone, "dead", "replay", "q", letter_id)
    raw: Any = client
    assert raw.eval("return redis.call('XRANGE', KEYS[1], '-', '+')[1][2]", 1, lone.stream) == fields
    assert letters(client, lone.stream) == []


def test_a_letter_is_found_by_the_id_of_its_entry_as_well(lone: Project, client: Redis) -> None:
    bury_many(client, lone.stream, 3)
    letter = letters(client, lone.stream)[1]
    assert f"dead letter {letter.id}" in run(lone, "dead", "show", "q", letter.entry_id)
    told = run(lone, "dead", "replay", "q", letter.entry_id, "7-7", expect=1)
    assert f"{letter.id} is back as" in told
    assert "there is no dead letter 7-7" in told
    assert len(letters(client, lone.stream)) == 2


def test_a_dry_run_shows_just_what_happens_then(lone: Project, client: Redis) -> None:
    bury_many(client, lone.stream, 5)
    rejected = [bury(client, lone.stream, [b"record", b"r"], reason="rejected") for _ in range(3)]
    empty = bury(client, lone.stream, [], reason="rejected")
    for command, would in (("replay", "put back"), ("purge", "throw away")):
        told = run(
            lone, "dead", command, "q", "--reason", "rejected", "--dry-run", expect=1 if command == "replay" else 0
        )
        lines = [line.split()[3].rstrip(":") for line in told.splitlines() if line.startswith(f"would {would} ")]
        assert lines == (rejected if command == "replay" else [*rejected, empty])
        assert len(letters(client, lone.stream)) == 9
        assert not client.exists(lone.stream)
    told = run(lone, "dead", "replay", "q", "--reason", "rejected", expect=1)
    assert f"{empty} cannot be replayed" in told
    assert len(on_stream(client, lone.stream)) == 3
    assert len(letters(client, lone.stream)) == 6


def test_purging_asks_first_and_takes_only_what_was_meant(lone: Project, client: Redis) -> None:
    bury_many(client, lone.stream, 1200)
    kept = bury(client, lone.stream, [b"record", b"r"], reason="crashed")
    asked = run(lone, "dead", "purge", "q", "--reason", "failed", stdin="n\n", expect=1)
    assert "Throw away 1,200 dead letters (1,200 failed ValueError) of q for good?" in asked
    assert len(letters(client, lone.stream)) == 1201
    assert "1,200 dead letters are gone" in run(lone, "dead", "purge", "q", "--reason", "failed", stdin="y\n")
    assert [letter.id for letter in letters(client, lone.stream)] == [kept]
    run(lone, "dead", "purge", "q", kept, "--yes")
    assert letters(client, lone.stream) == []
    assert not client.exists(lone.stream)


@pytest.mark.parametrize("command", ["replay", "purge", "show"])
def test_all_is_meant_only_when_it_is_said(lone: Project, client: Redis, command: str) -> None:
    bury_many(client, lone.stream, 1)
    told = run(lone, "dead", command, "q", expect=2)
    assert "add ids, or a filter" in told
    assert "ids and --all are given" in run(lone, "dead", command, "q", "1-1", "--all", expect=2)
    assert len(letters(client, lone.stream)) == 1


def test_an_expression_that_would_take_for_ever_ends_with_a_sentence(lone: Project, client: Redis) -> None:
    letter_id = bury(client, lone.stream, [b"record", b"a" * 1000 + b"xx" * 20_000 + b"b"])
    told = run(lone, "dead", "list", "q", "--match", "(x+x+)+y", expect=1)
    assert f"--match takes too long on dead letter {letter_id}" in told
    assert [one["id"] for one in listed(lone, "--match", "(a+)+x")] == [letter_id]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--match", "("], "'(' is not a regular expression"),
        (["--since", "yesterday"], "'yesterday' is not a duration"),
        (["x"], "'x' is not the id of an entry"),
        (["--reason", "faild"], "failed"),
    ],
)
def test_what_means_nothing_is_refused_with_a_sentence(lone: Project, arguments: list[str], told: str) -> None:
    assert told in run(lone, "dead", "list", "q", *arguments, expect=2)
    assert "there is no dead letter 7-7" in run(lone, "dead", "purge", "q", "7-7", "--yes", expect=1)


def test_what_dies_again_meanwhile_is_left_for_the_next_time(client: Redis, name: str) -> None:
    bury_many(client, name, 1500)
    seen = 0
    for letter in islice(dead_letters(client, ref_of(name)), 10_000):
        replay(client, ref_of(name), [letter.id])
        bury(client, name, [b"record", b"again"])
        seen += 1
    assert seen == 1500


def test_a_step_is_bounded_in_bytes_and_says_what_it_did(client: Redis, name: str) -> None:
    ids = [bury(client, name, [b"record", b"x" * 600_000]) for _ in range(5)]
    became = replay(client, ref_of(name), ["7-7", *ids])
    assert len(became) == 3
    assert became[0] == ""
    assert len(on_stream(client, name)) == 2
    assert replay(client, ref_of(name), [bury(client, name, [])]) == [NO_FIELDS]


def test_letters_of_any_size_are_read_in_small_pages(client: Redis, name: str) -> None:
    bury_many(client, name, 30)
    for _ in range(4):
        bury(client, name, [b"record", b"x" * 2_000_000])
    bury_many(client, name, 1500)
    pages = [len(page) for page in dead_letter_pages(client, ref_of(name))]
    assert (sum(pages), max(pages)) == (1534, 1000)


def test_a_letter_with_more_fields_than_a_script_can_pass_on_is_put_back(client: Redis, name: str) -> None:
    ids = [bury(client, name, fields) for fields in ([b"record", b"x"], _MANY_FIELDS, [b"record", b"y"])]
    assert all(became for one in range(3) for became in replay(client, ref_of(name), ids[one:])[:1])
    many = dict(zip(_MANY_FIELDS[::2], _MANY_FIELDS[1::2], strict=True))
    assert [fields for _, fields in on_stream(client, name)] == [{b"record": b"x"}, many, {b"record": b"y"}]
    assert letters(client, name) == []
    assert replay(client, ref_of(name), ids) == ["", "", ""]


@pytest.mark.parametrize("fields", [[b"record", b"x"], _MANY_FIELDS], ids=["few fields", "many fields"])
@pytest.mark.parametrize("broken", ["type", "permission"])
def test_what_cannot_be_put_back_stays_dead(
    client: Redis, redis_url: str, name: str, broken: str, fields: list[bytes]
) -> None:
    ids = [bury(client, name, fields) for _ in range(3)]
    raw: Any = client
    raw.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", "-xdel")
    try:
        with Redis.from_url(redis_url, protocol=2, username=name, password="pw") as restricted:
            if broken == "type":
                client.set(name, "text")
            with pytest.raises(ResponseError):
                replay(client if broken == "type" else restricted, ref_of(name), ids)
    finally:
        raw.execute_command("ACL", "DELUSER", name)
    assert [letter.id for letter in letters(client, name)] == ids
    assert client.type(name) == (b"string" if broken == "type" else b"none")
