"""A part of the report: a heading, how it was measured, a table, and what else there is to say."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Section:
    """What one benchmark has found out; `chart` is a picture of it, in SVG."""

    title: str
    text: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    after: str = ""
    chart: str = ""

    def print(self, console: Console) -> None:
        """Print it."""
        table = Table(*self.headers, box=box.SIMPLE)
        for row in self.rows:
            table.add_row(*row)
        console.print(f"\n[bold]{self.title}[/bold]\n{self.text}")
        console.print(table)
        if self.after:
            console.print(self.after)

    def markdown(self, picture: str) -> str:
        """Return it as Markdown; `picture` is the address of the chart, if there is one."""
        lines = [
            f"## {self.title}",
            "",
            self.text,
            "",
            *([f"![{self.title}]({picture})", ""] if self.chart else []),
            _line(self.headers),
            "|---" * len(self.headers) + "|",
            *map(_line, self.rows),
            *(["", self.after] if self.after else []),
        ]
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
