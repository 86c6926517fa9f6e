"""Take pictures of commands at work, on embedded servers: docs/pictures/*.svg, for `just pictures`.

Each command runs in a terminal of its own. What stands on its screen at the end becomes an SVG that loads nothing from
elsewhere.
"""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

_PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
_COLUMNS, _LINES = 96, 60
_PATH = re.compile(rf"{re.escape(str(_PICTURES.parents[1]))}/|/tmp/readings\w+/")  # of this machine
_HANDLER = """\
import json
import time
from datetime import UTC, datetime

from sqlalchemy import DateTime
from sqlalchemy.orm import Mapped, Session, mapped_column

from streamfea import Reject
from streamfea.model import Base


class Reading(Base):
    __tablename__ = "reading"

    id: Mapped[int] = mapped_column(primary_key=True)
    sensor: Mapped[str]
    celsius: Mapped[float]
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def process(dbsession: Session, record: bytes) -> None:
    reading = json.loads(record)
    if reading["sensor"] == "b-7":
        raise Reject("no such sensor: b-7")
    celsius = reading["value"]["celsius"]
    time.sleep(reading.get("takes", 0))
    dbsession.add(Reading(sensor=reading["sensor"], celsius=celsius, at=datetime.now(UTC)))
"""
_CONFIGURATION = """\
[redis]
url = "embedded:var/valkey"
[database]
url = "embedded:var/postgresql"
[log]
level = "error"
[consumer]
workers = 2
backoff = "10m"
[queues.readings]
handler = "readings"
"""
_GOOD = {"sensor": "a-11", "value": {"celsius": 21.5}}
_BAD = {"sensor": "a-12", "value": {"fahrenheit": 70.1}}
_UNKNOWN = {"sensor": "b-7", "value": {"celsius": 20.0}}
_SLOW = {**_GOOD, "takes": 60}
# Rich's own format loads a font from elsewhere.
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def main() -> int:
    """Take all pictures."""
    _PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="readings") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _save("demo", "streamfea demo", _screen(folder, "demo"))
        (folder / "readings.py").write_text(_HANDLER)
        (folder / "streamfea.toml").write_text(_CONFIGURATION)
        _run(folder, "initdb")
        try:
            _take(folder)
        finally:
            _run(folder, "embedded", "stop")
    return 0


def _take(folder: Path) -> None:
    with _in_background(folder, "consume"):
        _produce(folder, "bad", [_GOOD] * 50 + [_BAD, _UNKNOWN, _BAD])
        with _in_background(folder, "produce", "readings", _file(folder, "good", [_GOOD] * 50_000), "--rate", "1200"):
            _save("status", "streamfea status --watch", _screen(folder, "status", "--watch", seconds=9))
        _produce(folder, "slow", [_SLOW, _GOOD, _GOOD])
        time.sleep(4)  # the worker writes down every few seconds which record runs
        _save("pending", "streamfea pending", _screen(folder, "pending"))
        [failed] = [one["id"] for one in json.loads(_run(folder, "pending", "--json")) if one["state"] == "retrying"][
            :1
        ]
        _save("show", f"streamfea show readings {failed}", _screen(folder, "show", "readings", failed))


def _produce(folder: Path, name: str, records: Sequence[Mapping[str, object]]) -> None:
    _run(folder, "produce", "readings", _file(folder, name, records))
    time.sleep(2)


def _file(folder: Path, name: str, records: Sequence[Mapping[str, object]]) -> str:
    file = folder / f"{name}.jsonl"
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return str(file)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streamfea", *arguments]


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAMFEA_")}
    quiet = {"STREAMFEA_LOG__LEVEL": "warning"}
    return {**inherited, **quiet, "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "LINES": str(_LINES)}


def _run(folder: Path, *arguments: str) -> str:
    command = _command(*arguments)
    return subprocess.run(command, cwd=folder, env=_environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def _in_background(folder: Path, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen(
        _command(*arguments), cwd=folder, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(3)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:  # a slow record
            process.send_signal(signal.SIGINT)
            process.wait()


def _screen(folder: Path, *arguments: str, seconds: float = 600) -> pyte.Screen:
    """Run a command in a terminal until it ends, or for so long; return its screen."""
    screen = pyte.Screen(_COLUMNS, _LINES)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, _command(*arguments), _environment())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([terminal], [], [], left)[0]:
            continue
        try:
            stream.feed(os.read(terminal, 1 << 16))
        except OSError:  # it has ended
            break
    else:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    return screen


def _save(name: str, title: str, screen: pyte.Screen) -> None:
    lines = [_line(screen, number) for number in range(_LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("\n").join(lines), soft_wrap=True)
    svg = console.export_svg(title=title, code_format=_SVG, unique_id=name)
    (_PICTURES / f"{name}.svg").write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))


def _line(screen: pyte.Screen, number: int) -> Text:
    """Return a line of a terminal with its colours."""
    cells = [screen.buffer[number][column] for column in range(_COLUMNS)]
    line = Text()
    for (colour, bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        line.append("".join(cell.data for cell in run), Style(color=_colour(colour), bold=bold))
    line.rstrip()
    plain = _PATH.sub("", line.plain)
    return line if plain == line.plain else Text(plain)


def _colour(name: str) -> str | None:
    if name == "default":
        return None
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    return name.replace("brown", "yellow").replace("bright", "bright_")


if __name__ == "__main__":
    sys.exit(main())
