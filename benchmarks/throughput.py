"""Records a second and CPU of every contender, interleaved."""

from benchmarks.chart import Point, point_chart
from benchmarks.contenders import ALL, Contender, load
from benchmarks.measure import Measured, Summary, measure, summary
from benchmarks.section import Section
from benchmarks.servers import Servers, events

_ROUNDS = 5
_FIRST, _FLOOR = ALL[0], ALL[-1]


def run(servers: Servers, scale: float) -> Section:
    """Measure all contenders; those that commit each record get a fiftieth of the records."""
    many, few = int(60_000 * scale), int(1_200 * scale)
    contenders = {name: load(name) for name in ALL}
    runs: dict[str, list[Measured]] = {name: [] for name in ALL}
    for _ in range(_ROUNDS):
        for name, contender in contenders.items():
            runs[name].append(measure(servers, contender, events(few if contender.commits_each else many)))
    results = {name: summary(measured) for name, measured in runs.items()}
    return Section(
        "All the ways",
        f"The seed's handler (a JSON record becomes a row), {many:,} records, {few:,} where each is committed; "
        f"one worker process, median of {_ROUNDS} interleaved runs and their range. CPU is µs a record, memory the "
        "peak of the largest process. The last column says what a bad record costs.",
        ("way", "records/s", "range", "× first", "× floor", "client µs", "PostgreSQL µs", "MiB", "a bad record fails"),
        [_row(contenders[name], one, results[_FIRST], results[_FLOOR]) for name, one in results.items()],
        after=_comparison(contenders, results),
        chart=point_chart(
            "Records a second, one worker", [_point(contenders[name], one) for name, one in results.items()]
        ),
    )


def _row(contender: Contender, one: Summary, first: Summary, floor: Summary) -> list[str]:
    return [
        f"**{contender.name}**" if contender.name.startswith("streamfea") else contender.name,
        f"{one.rate:,.0f}",
        f"{one.lowest:,.0f}–{one.highest:,.0f}",
        f"{one.rate / first.rate:.1f}",
        f"{one.rate / floor.rate:.2f}",
        f"{one.client_us:,.1f}",
        f"{one.postgresql_us:,.1f}",
        f"{one.peak_mib:.0f}",
        "itself" if contender.isolates else "its batch",
    ]


def _point(contender: Contender, one: Summary) -> Point:
    return Point(contender.name, one.rate, one.lowest, one.highest, ours=contender.name.startswith("streamfea"))


def _comparison(contenders: dict[str, Contender], results: dict[str, Summary]) -> str:
    """Say how far ahead `process()` is of the best others, with and without isolation."""
    ours = results["streamfea_process"].rate
    others = {
        name: one.rate
        for name, one in results.items()
        if not name.startswith("streamfea") and "by hand" not in contenders[name].name
    }
    best = max(others, key=others.__getitem__)
    isolating = max((name for name in others if contenders[name].isolates), key=others.__getitem__)
    once = results["streamfea_once"].rate / ours
    return (
        f"An unchanged handler is {ours / others[best]:.1f} times as fast as {contenders[best].name}, and "
        f"{ours / others[isolating]:.0f} times as fast as {contenders[isolating].name}, the fastest of those libraries "
        f"that keep a bad record to itself. Exactly-once costs {1 - once:.0%}."
    )
