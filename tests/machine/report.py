"""What a run found, as a table for people."""

from collections import Counter
from collections.abc import Iterator
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.machine.machine import Result

__all__ = ["print_report"]

_SHOWN = 20


def print_report(result: Result, seed: int) -> None:
    """Print faults by kind with the times to recover, what became of the records, and the violations."""
    console = Console(highlight=False, width=120)
    console.print(f"\n[bold]{result.guarantee}[/], seed {seed}, {result.seconds:.0f} s", markup=True)
    console.print(_faults(result))
    for line in _records(result):
        console.print(line, markup=False)
    sorts = Counter(violation.sort for violation in result.violations)
    counted = ", ".join(f"{sort} {number}" for sort, number in sorts.items()) or "none"
    console.print(f"violations: {counted}", style="bold red" if sorts else "bold green")
    for violation in result.violations[:_SHOWN]:
        console.print(f"  {violation.sort}: {violation.what}", markup=False)


def _faults(result: Result) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("fault")
    for column in ("times", "recovery, median s", "worst s"):
        table.add_column(column, justify="right")
    for name, times in sorted((result.history.injected | {"the start": 1}).items()):
        took = result.history.recovered.get(name)
        table.add_row(name, str(times), f"{median(took):.2f}" if took else "-", f"{max(took):.2f}" if took else "-")
    return table


def _records(result: Result) -> Iterator[str]:
    history, final = result.history, result.final
    good = sum(history.kinds[number].good for number in history.confirmed)
    reasons = Counter(letter.reason for letter in final.dead)
    yield f"faults: {sum(history.injected.values()):,}"
    yield f"records confirmed: {len(history.confirmed):,}, of these good {good:,}, by the list {len(history.pushed):,}"
    yield f"rows: {len(final.effects):,}, of these distinct {len({one.number for one in final.effects}):,}"
    yield f"dead letters: {', '.join(f'{reason} {number:,}' for reason, number in sorted(reasons.items())) or 'none'}"
