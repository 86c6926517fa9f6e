"""The handlers to copy from do what they say, on real records."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import Engine, Table, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from handlers_example.flights import Carrier, Flight, carrier_id, register_commands
from handlers_example.readings import LastReading, Reading
from streamfea import commands
from streamfea.config.loading import load_settings
from streamfea.testing import Trial, Verdict, try_handler
from tests.support.commands import Project
from tests.support.waiting import wait_until

Try = Callable[..., Trial]

_FLIGHTS = Path(__file__).parents[2] / "handlers_example" / "flights.jsonl.gz"


@pytest.fixture
def flights(database_url: str) -> Iterator[Trial]:
    with try_handler("handlers_example.flights", database=database_url) as trial:
        yield trial


@pytest.fixture
def readings(database_url: str) -> Iterator[Trial]:
    with try_handler("handlers_example.readings", database=database_url) as trial:
        yield trial


def test_events_become_rows(database_url: str) -> None:
    with try_handler("handlers_example.events", database=database_url) as trial:
        [outcome] = trial.run({"name": "start", "timestamp": "2026-01-31T12:00:00Z", "unknown": 1})
        assert outcome.verdict is Verdict.DONE
        query = text("SELECT name, timestamp FROM my_event")
        assert [tuple(row) for row in trial.dbsession.execute(query)] == [
            ("start", datetime(2026, 1, 31, 12, tzinfo=UTC))
        ]


def test_every_column_of_a_flight_is_kept_and_each_carrier_is_there_once(flights: Trial) -> None:
    records = some_flights(1000)
    assert {outcome.verdict for outcome in flights.run(*records)} == {Verdict.DONE}
    rows = flights.dbsession.scalars(select(Flight).order_by(Flight.id)).all()
    names = records[0].keys() - {"carrier", "time_hour"}
    assert [{name: getattr(row, name) for name in names} for row in rows] == [
        {name: record[name] for name in names} for record in records
    ]
    assert [row.carrier.code for row in rows] == [record["carrier"] for record in records]
    assert [row.time_hour for row in rows] == [datetime.fromisoformat(record["time_hour"]) for record in records]
    codes = flights.dbsession.scalars(select(Carrier.code)).all()
    assert sorted(codes) == sorted({record["carrier"] for record in records})


def test_a_flight_that_fails_does_not_take_its_carrier_from_those_that_follow(flights: Trial) -> None:
    [flight] = some_flights(1)
    first = {**flight, "carrier": "ZZ"}
    outcomes = flights.run({**first, "distance": "far"}, first, {**first, "dest": first["origin"]}, "{")
    assert [outcome.verdict for outcome in outcomes] == [
        Verdict.FAILED, Verdict.DONE, Verdict.REJECTED, Verdict.REJECTED,
    ]  # fmt: skip
    assert flights.dbsession.scalars(select(Carrier.code)).all() == ["ZZ"]


@pytest.fixture
def tables() -> Sequence[Table]:
    return [Carrier.__table__]  # type: ignore[list-item]  # it is a table


def test_two_who_add_the_same_carrier_get_the_same_row(engine: Engine) -> None:
    with ThreadPoolExecutor() as pool:
        with engine.begin() as other:
            added = other.scalar(insert(Carrier).values(code="ZZ").returning(Carrier.id))
            found = pool.submit(carrier_id, engine, "ZZ")
            wait_until(lambda: waiting(engine), "the second waits for the first's commit")
            assert not found.done()
        assert found.result(10) == added


def test_what_the_first_takes_back_the_second_adds(engine: Engine) -> None:
    with ThreadPoolExecutor() as pool:
        with engine.connect() as other:
            other.execute(insert(Carrier).values(code="ZZ"))
            found = pool.submit(carrier_id, engine, "ZZ")
            wait_until(lambda: waiting(engine), "the second waits for the first")
            other.rollback()
        identity = found.result(10)
    with engine.connect() as connection:
        assert connection.execute(select(Carrier.id, Carrier.code)).all() == [(identity, "ZZ")]


def test_delays_of_a_carrier_are_shown(engine: Engine, tmp_path: Path, redis_url: str, database_url: str) -> None:
    Flight.__table__.create(engine)  # type: ignore[attr-defined]  # as above
    with Session(engine) as session, session.begin():
        for code, delay in ("UA", 1), ("UA", 4), ("AA", None):
            flight = {**some_flights(1)[0], "dep_delay": delay}
            flight.pop("carrier")
            session.add(Flight(**flight, carrier_id=carrier_id(engine, code)))
    settings = load_settings(Project(tmp_path, redis_url, database_url, "s").config)
    app = typer.Typer()
    register_commands(app)
    with commands.at_hand(settings, settings.queues["q"]):
        everything, one = (CliRunner().invoke(app, arguments).output for arguments in ([], ["--carrier", "UA"]))
    assert everything == "AA        1 flights  +0.0 min\nUA        2 flights  +2.5 min\n"
    assert one == "UA        2 flights  +2.5 min\n"


def test_readings_are_kept_and_the_last_of_each_sensor_too(readings: Trial) -> None:
    def reading(sensor: str, value: float, hour: int) -> dict[str, Any]:
        return {"sensor": sensor, "value": value, "at": f"2026-01-31T{hour:02}:00:00Z"}

    readings.run(reading("a", 1, 3), reading("b", 2, 1), reading("a", 3, 1))
    outcomes = readings.run(reading("b", 4, 2), {"sensor": "a", "value": "high"}, reading("a", 5, 2))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.REJECTED, Verdict.DONE, Verdict.DONE]
    assert readings.dbsession.scalar(select(func.count(Reading.id))) == 5
    last = readings.dbsession.execute(select(LastReading.sensor, LastReading.value).order_by(LastReading.sensor))
    assert [tuple(row) for row in last] == [("a", 1.0), ("b", 4.0)]


def some_flights(count: int) -> list[dict[str, Any]]:
    with gzip.open(_FLIGHTS) as file:
        return [json.loads(line) for _, line in zip(range(count), file, strict=False)]


def waiting(engine: Engine) -> bool:
    with engine.connect() as connection:
        query = text(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND pid IN "
            "(SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO carrier%')"
        )
        return connection.execute(query).first() is not None
