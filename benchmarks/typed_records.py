"""What each form of a record costs, beside `json.loads` by hand; in one process, without servers.

The record is a real flight of 19 fields. By hand, nothing is checked; what streamfea decodes is.
"""

import gzip
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pydantic
from rich.console import Console

from benchmarks.servers import Servers
from streamfea.records import decoder_of

_ROUNDS = 7
_DATA = Path(__file__).parents[1] / "handlers_example" / "flights.jsonl.gz"


class FlightStruct(msgspec.Struct):
    """A flight; the other forms are made from its annotations."""

    year: int
    month: int
    day: int
    dep_time: int | None
    sched_dep_time: int
    dep_delay: int | None
    arr_time: int | None
    sched_arr_time: int
    arr_delay: int | None
    carrier: str
    flight: int
    tailnum: str | None
    origin: str
    dest: str
    air_time: int | None
    distance: int
    hour: int
    minute: int
    time_hour: datetime


_FIELDS = dict(FlightStruct.__annotations__)
FlightDataclass: Any = dataclass(type("FlightDataclass", (), {"__annotations__": _FIELDS, "__module__": __name__}))
FlightDict = TypedDict("FlightDict", _FIELDS)  # type: ignore[misc]  # made of what is written once above
FlightModel = pydantic.create_model("FlightModel", **{name: (kind, ...) for name, kind in _FIELDS.items()})  # type: ignore[call-overload]  # as above


def run(_servers: Servers, console: Console, quick: bool) -> None:
    """Time every form on the same record, interleaved."""
    record = _record()
    count = 2_000 if quick else 20_000
    seconds: dict[str, list[float]] = {name: [] for name in _FORMS}
    for _ in range(_ROUNDS):
        for name, decode in _FORMS.items():
            seconds[name].append(_timed(decode, record, count))
    base = statistics.median(seconds[_BASE])
    console.print(
        f"\ntyped-records: CPU to decode a flight of {len(record)} bytes, median of {_ROUNDS} rounds of {count:,}\n"
    )
    console.print("| what the handler takes | µs/record | of `json.loads` |\n|---|---|---|")
    for name, rounds in seconds.items():
        median = statistics.median(rounds)
        console.print(f"| {name} | {median * 1e6:.1f} | {median / base:.2f} |", soft_wrap=True)


def _record() -> bytes:
    with gzip.open(_DATA) as file:
        return file.readline().rstrip()


def _timed(decode: Callable[[bytes], Any], record: bytes, count: int) -> float:
    started = time.process_time()
    for _ in range(count):
        decode(record)
    return (time.process_time() - started) / count


def _by_hand(record: bytes) -> Any:
    fields = json.loads(record)
    fields["time_hour"] = datetime.fromisoformat(fields["time_hour"])
    return FlightDataclass(**fields)


def _decoder(annotation: Any) -> Callable[[bytes], Any]:
    return decoder_of(annotation) or (lambda record: record)


_BASE = "`record: bytes`, and `json.loads(record)` by hand"
_FORMS: dict[str, Callable[[bytes], Any]] = {
    _BASE: json.loads,
    "`record: bytes`, and a dataclass of `json.loads(record)` by hand, nothing checked": _by_hand,
    "`record: bytes` alone (an empty function; streamfea calls none)": _decoder(bytes),
    "`record: str`": _decoder(str),
    "`record: dict`": _decoder(dict),
    "`record:` a TypedDict": _decoder(FlightDict),
    "`record:` a dataclass": _decoder(FlightDataclass),
    "`record:` a msgspec Struct": _decoder(FlightStruct),
    "`record:` a pydantic model": _decoder(FlightModel),
}
