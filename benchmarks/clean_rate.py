"""Records a second of one worker: this, a loop that commits each record, and the floor that no Python can go under.

The floor does none of what streamfea is for: no handler, no ORM, one bad record fails its whole batch.
"""

import json
import statistics
import time

import psycopg
from rich.console import Console
from sqlalchemy.orm import Session

from benchmarks.servers import Servers, fill_list, fill_stream

_ROUNDS = 3


def clean(servers: Servers, console: Console, quick: bool) -> None:
    """Compare the three ways, interleaved; the slow one on a tenth of the records."""
    count = 10_000 if quick else 100_000
    ours, one_by_one, floor = [], [], []
    startup = _startup(servers)
    for _ in range(_ROUNDS):
        one_by_one.append(_one_by_one(servers, count // 10))
        ours.append(_ours(servers, count, startup))
        floor.append(_floor(servers, count))
    console.print(f"\nclean: {count:,} records, handler of handlers_example/events.py, one worker, fsync on")
    base = statistics.median(one_by_one)
    for name, rates in (
        ("pop, process, commit each", one_by_one),
        ("streamfea consume", ours),
        ("XREADGROUP, COPY, XACK", floor),
    ):
        median = statistics.median(rates)
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        console.print(f"  {name:28} {median:>9,.0f} records/s ({spread}), {median / base:.1f} times the first")


def spoiled(servers: Servers, console: Console, quick: bool) -> None:
    """Compare a clean stream with one in which 1 % of the records violate NOT NULL."""
    count = 10_000 if quick else 100_000
    clean_rates, spoiled_rates = [], []
    startup = _startup(servers)
    for _ in range(_ROUNDS):
        clean_rates.append(_ours(servers, count, startup))
        spoiled_rates.append(_ours(servers, count, startup, spoiled_every=100))
    good, bad = statistics.median(clean_rates), statistics.median(spoiled_rates)
    console.print(f"\nspoiled: {count:,} records, 1 % of them violate NOT NULL, max_deliveries = 1")
    console.print(f"  clean {good:,.0f} records/s, spoiled {bad:,.0f} records/s: {bad / good:.2f} of the clean rate")


def _startup(servers: Servers) -> float:
    """Return the seconds that `consume` takes with nothing to do, which are no part of a rate."""
    servers.empty()
    return min(servers.consume() for _ in range(3))


def _ours(servers: Servers, count: int, startup: float, spoiled_every: int = 0) -> float:
    servers.empty()
    with servers.client() as client:
        fill_stream(client, count, spoiled_every=spoiled_every)
    seconds = servers.consume() - startup
    expected = count - (count // spoiled_every if spoiled_every else 0)
    if servers.rows() != expected:
        raise AssertionError(f"{servers.rows()} rows, not {expected}")
    return count / seconds


def _one_by_one(servers: Servers, count: int) -> float:
    """Pop a record from a list, process it, commit it: lost if we die in between."""
    from handlers_example.events import process  # noqa: PLC0415 - declares its table on import, which others need not

    servers.empty()
    engine = servers.engine()
    with servers.client() as client:
        fill_list(client, count)
        started = time.perf_counter()
        while popped := client.brpop(["legacy"], timeout=0.1):
            with Session(engine) as session:
                process(session, popped[1])
                session.commit()
        seconds = time.perf_counter() - started - 0.1
    engine.dispose()
    if servers.rows() != count:
        raise AssertionError(f"{servers.rows()} rows, not {count}")
    return count / seconds


def _floor(servers: Servers, count: int, batch: int = 500) -> float:
    servers.empty()
    url = servers.database_url.replace("postgresql+psycopg", "postgresql")
    with servers.client() as client, psycopg.connect(url) as connection:
        fill_stream(client, count)
        client.xgroup_create("events", "floor", id="0")
        started = time.perf_counter()
        while reply := client.xreadgroup("floor", "me", {"events": ">"}, count=batch):
            entries = reply[0][1]
            with connection.cursor() as cursor, cursor.copy("COPY my_event (name, timestamp) FROM STDIN") as copy:
                for _, fields in entries:
                    event = json.loads(fields[b"record"])
                    copy.write_row((event["name"], event["timestamp"]))
            connection.commit()
            client.xack("events", "floor", *(entry_id for entry_id, _ in entries))
        seconds = time.perf_counter() - started
    if servers.rows() != count:
        raise AssertionError(f"{servers.rows()} rows, not {count}")
    return count / seconds
