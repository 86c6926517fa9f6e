"""The pages of the reference that are written by hand leave nothing out."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamfea.admin.queue_metrics import GAUGES
from streamfea.config.sections import Queue
from streamfea.core.group_ref import GroupRef
from streamfea.database.exactly_once.ledger import LEDGER_TABLES
from streamfea.observe.figures import COUNTERS, HISTOGRAMS, Counter
from streamfea.streams.connection import keys
from streamfea.streams.consuming.last_error import LastError
from streamfea.streams.operating.dead_letters import provenance

_ROOT = Path(__file__).parents[2]
_LEVELS = {"info", "warning", "error"}


def page(name: str) -> str:
    return (_ROOT / "docs" / "reference" / f"{name}.md").read_text()


def logged() -> Iterator[tuple[str, str]]:
    """Yield the level and the event of every line that streamfea logs, as far as they stand in its code."""
    for file in sorted((_ROOT / "streamfea").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[event, *_]):
                    if level in _LEVELS:
                        yield from ((level, text) for text in _texts(event))


def _texts(event: ast.expr) -> list[str]:
    return [node.value for node in ast.walk(event) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_every_log_event_is_on_its_page_with_its_level() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (\w+) \|", page("log-events"), re.MULTILINE)
    told = {(level, event) for events, level in rows for event in re.findall(r"`(.*?)`", events)}
    servers = {"PostgreSQL", "Redis"}
    found = {(level, event.replace("%s", server)) for level, event in logged() for server in servers}
    assert len(found) > 20
    assert found <= told, "add them to docs/reference/log-events.md"


@pytest.mark.parametrize("function", [name for name in vars(keys) if name.endswith("_key")])
def test_every_key_is_on_its_page(function: str) -> None:
    key = getattr(keys, function)
    parameters = inspect.signature(key).parameters
    assert f"`{key(*[GroupRef('STREAM', 'GROUP'), 'NAME'][: len(parameters)])}`" in page("redis-keys")


def test_every_metric_is_on_its_page_and_no_page_names_another() -> None:
    counters = {f"streamfea_{counter.name}_total" for counter in COUNTERS}
    histograms = {f"streamfea_{histogram.name}" for histogram in HISTOGRAMS}
    gauges = {"streamfea_workers", "streamfea_workers_ready", "streamfea_build_info"}
    queues = {f"streamfea_queue_{name}" for name in (*GAUGES, "up", "figures_age_seconds", "dead_entries")}
    queues.add("streamfea_exporter_redis_commands_total")
    described = set(re.findall(r"^\| `(streamfea_\w+)` \|", page("metrics"), re.MULTILINE))
    assert described == counters | histograms | gauges | queues
    for named in (_ROOT / "docs" / "how-to").glob("*.md"):
        found = set(re.findall(r"\bstreamfea_(?:queue_\w+|\w+(?=[\[{]))", named.read_text()))
        assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in found} <= described


@pytest.mark.parametrize("counter", [counter for counter in COUNTERS if counter.label])
def test_every_value_of_a_label_is_on_the_page(counter: Counter) -> None:
    [row] = [line for line in page("metrics").splitlines() if line.startswith(f"| `streamfea_{counter.name}_total`")]
    assert re.findall(r"`(\S+?)`", row.split("|")[2]) == [counter.label, *map(str.lower, counter.values)]


def test_every_field_of_a_dead_letter_is_on_its_page() -> None:
    queue = Queue(name="q", stream="q", handler="h")
    error = LastError("ValueError", "no")
    fields = provenance(queue.ref, "1-0", consumer="c", deliveries=1, reason="failed", last_error=error, failed_at_ms=0)
    for name in fields:
        assert f"`streamfea-{name}`" in page("redis-keys")


def test_every_column_of_the_ledger_is_on_its_page() -> None:
    for table in LEDGER_TABLES:
        described = page("postgresql-tables").partition(f"## `{table.name}`\n")[2].partition("\n## ")[0]
        for column in table.columns:
            assert f"`{column.name}`" in described
