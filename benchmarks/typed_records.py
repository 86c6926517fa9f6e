"""What each form of a record costs, beside `json.loads` by hand; in one process, without servers.

The record is a real flight of 19 fields. By hand, nothing is checked; what streamfea decodes is.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import msgspec
import pydantic

from benchmarks.section import Section
from benchmarks.servers import Servers, flights
from streamfea.handlers.decoding import decoder_of

_ROUNDS = 7


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


def run(_servers: Servers, scale: float) -> Section:
    """Time every form on the same record, interleaved."""
    [record] = flights(1)
    count = int(5_000 * scale)
    seconds: dict[str, list[float]] = {name: [] for name in _FORMS}
    for _ in range(_ROUNDS):
        for name, decode in _FORMS.items():
            seconds[name].append(_timed(decode, record, count))
    base = statistics.median(seconds[_BASE])
    medians = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    return Section(
        "What a form of a record costs",
        f"A flight of {len(record)} bytes, decoded in one process without servers; medians of {_ROUNDS} rounds of "
        f"{count:,}. By hand nothing is checked; what streamfea decodes is.",
        ("form", "µs", "× `json.loads`"),
        [[name, f"{median * 1e6:.2f}", f"{median / base:.2f}"] for name, median in medians.items()],
    )


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
