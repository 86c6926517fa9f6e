"""Puts it all together: starts the world, injects faults, waits for recoveries, lets things settle, and checks."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from streamfea.config.loading import load_settings
from streamfea.config.sections import Queue
from streamfea.streams.connection.keys import errors_key
from streamfea.streams.operating.dead_letters import dead_letters
from tests.machine.checker import Violation, check
from tests.machine.consumers import Fleet, command
from tests.machine.faults import Faults
from tests.machine.history import Effect, Final, History, now_ms
from tests.machine.operators import Operator
from tests.machine.producers import AUDIT, LIST, STREAM, Auditor, OldProducer, Producer
from tests.machine.proxy import Proxy
from tests.machine.servers import Servers
from tests.support.commands import HANDLERS
from tests.support.pgbouncer import pgbouncer

__all__ = ["Guarantee", "Result", "run"]

Guarantee = Literal["at-least-once", "exactly-once"]

_RECOVER_WITHIN_SECONDS = 60.0
_SETTLE_WITHIN_SECONDS = 300.0
_LOOK_EVERY_SECONDS = 0.05

# Longer than a record sleeps that has to have its effect, shorter than one that is to be buried for it.
_IDLE = "3800ms"

_TABLES = ("effect", "new_effect", "old_effect")

_CONFIGURATION = """
[redis]
url = {redis}
[database]
url = {database}
[consumer]
guarantee = "{guarantee}"
block = "1s"
claim_idle = "1500ms"
max_deliveries = 4
backoff = "200ms"
timeout = "15s"
shutdown_timeout = "8s"
[queues.q]
handler = "effects"
stream = "{stream}"
workers = 2
[queues.old]
handler = "effects"
legacy_list = "{list}"
"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of the machine led to."""

    guarantee: Guarantee
    seconds: float
    history: History
    final: Final
    violations: list[Violation] = field(default_factory=list)


def run(
    folder: Path,
    seconds: float,
    seed: int,
    guarantee: Guarantee,
    *,
    faults: Sequence[str] = (),
    kills: bool = True,
    pooled: bool = False,
    sabotage: str = "",
) -> Result:
    """Run the machine in `folder` for about `seconds`, not counting start and end; return what was found.

    Of the `faults`, named as in `Faults`, all if none is given. Without `kills`, no record kills its process.
    `pooled` puts PgBouncer, in transaction mode, between consumers and PostgreSQL.
    `sabotage` is the bug to put in.
    """
    random = Random(seed)
    history = History()
    servers = Servers(folder)
    with servers.running():
        configs = _Configurations(folder, servers, guarantee)
        _prepare(servers, configs.direct)
        with _world(
            folder, servers, configs, history, random, kills=kills, pooled=pooled, sabotage=sabotage
        ) as fleet_faults:
            chosen = {name: fleet_faults.by_name[name] for name in faults or fleet_faults.by_name}
            _wait_for_recovery(servers, history, "the start")
            started = time.monotonic()
            while time.monotonic() - started < seconds:
                name = random.choice(list(chosen))
                time.sleep(random.uniform(0, 0.5))
                chosen[name]()
                history.injected[name] += 1
                _wait_for_recovery(servers, history, name)
        _settle(servers, configs.direct, history, sabotage)
        final = _look(servers, configs.direct)
    violations = check(history, final, exactly_once=guarantee == "exactly-once")
    return Result(guarantee, time.monotonic() - started, history, final, violations)


class _Configurations:
    """The configuration of who goes through the proxies, and of who does not."""

    def __init__(self, folder: Path, servers: Servers, guarantee: Guarantee) -> None:
        self.through, self.direct = folder / "through.toml", folder / "direct.toml"
        self._guarantee = guarantee
        self._write(self.direct, servers.redis_url, servers.database_url)

    def go_through(self, redis: Proxy, database: Proxy) -> None:
        """Write the configuration with the proxies' addresses."""
        self._write(
            self.through,
            f"redis://127.0.0.1:{redis.port}",
            f"postgresql+psycopg://postgres@127.0.0.1:{database.port}/postgres",
        )

    def _write(self, path: Path, redis: str, database: str) -> None:
        path.write_text(
            _CONFIGURATION.format(
                redis=json.dumps(redis),
                database=json.dumps(database),
                guarantee=self._guarantee,
                stream=STREAM,
                list=LIST,
            )
        )


@contextmanager
def _world(
    folder: Path,
    servers: Servers,
    configs: _Configurations,
    history: History,
    random: Random,
    *,
    kills: bool,
    pooled: bool,
    sabotage: str,
) -> Iterator[Faults]:
    """Everything that goes on while faults are injected."""
    redis_url = servers.redis_url
    auditor = Auditor(redis_url, history)
    with ExitStack() as stack:
        redis = stack.enter_context(Proxy(servers.redis_socket).running())
        database_address: Path | int = servers.database_socket
        if pooled:
            url = stack.enter_context(pgbouncer(folder / "pgbouncer", servers.database_url, size=20))
            database_address = url.port or 0
        database = stack.enter_context(Proxy(database_address).running())
        configs.go_through(redis, database)
        fleet = Fleet(configs.through, folder / "consume.log", history, sabotage=sabotage)
        stack.enter_context(fleet.running())
        stack.enter_context(auditor.running())
        stack.enter_context(Operator(configs.through, history, Random(random.random()), sabotage=sabotage).running())
        stack.enter_context(Producer(redis_url, history, Random(random.random()), kills=kills).running())
        stack.enter_context(OldProducer(redis_url, history).running())
        yield Faults(servers, fleet, redis, database, history, random)
    auditor.finish()


def _prepare(servers: Servers, config: Path) -> None:
    _run(config, "initdb")
    with servers.engine.begin() as connection:
        connection.execute(text("INSERT INTO account VALUES ('a', 0), ('b', 0)"))
        connection.execute(text(f"ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '{_IDLE}'"))
    with servers.redis() as client:
        client.xgroup_create(STREAM, AUDIT, id="0", mkstream=True)


def _wait_for_recovery(servers: Servers, history: History, name: str) -> None:
    """Wait until a record that was produced after now has its effect, and note how long that takes."""
    over = time.monotonic()
    at_ms = now_ms()
    probe: int | None = None
    while time.monotonic() - over < _RECOVER_WITHIN_SECONDS:
        probe = probe or _first_good(history, at_ms)
        if probe is not None and _is_done(servers, probe):
            history.recovered.setdefault(name, []).append(time.monotonic() - over)
            return
        time.sleep(_LOOK_EVERY_SECONDS)
    history.trouble.append(("no recovery", f"{name}: record {probe} is not done after {_RECOVER_WITHIN_SECONDS:g} s"))


def _first_good(history: History, at_ms: float) -> int | None:
    for number, confirmed_ms in reversed(history.confirmed.copy().items()):
        if confirmed_ms < at_ms:
            break
        if history.kinds[number].do == "add" and number not in history.pushed:
            return number
    return None


def _is_done(servers: Servers, number: int) -> bool:
    try:
        with servers.engine.connect() as connection:
            query = text("SELECT 1 FROM effect WHERE number = :number")
            return connection.execute(query, {"number": number}).first() is not None
    except SQLAlchemyError:
        return False


def _settle(servers: Servers, config: Path, history: History, sabotage: str) -> None:
    """Let what is left be done, without faults."""
    arguments, environment = command(config, "consume", "--until-empty", sabotage=sabotage)
    try:
        result = subprocess.run(
            arguments, cwd=HANDLERS, env=environment, capture_output=True, timeout=_SETTLE_WITHIN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        history.trouble.append(("no end", f"consume --until-empty runs for {_SETTLE_WITHIN_SECONDS:g} s"))
        return
    if result.returncode:
        history.trouble.append(("consume --until-empty", result.stderr.decode(errors="replace")[-1000:]))


def _look(servers: Servers, config: Path) -> Final:
    """Return what is there."""
    final = Final()
    with servers.engine.connect() as connection:
        for table in _TABLES:
            rows = connection.execute(text(f'SELECT number, "do", stream, entry FROM {table} ORDER BY id'))
            final.effects += [Effect(row.number, row.do, row.stream, row.entry, table) for row in rows]
        final.totals = {row.name: row.total for row in connection.execute(text("SELECT name, total FROM account"))}
    with servers.redis() as client:
        for queue in load_settings(config).queues.values():
            final.dead += dead_letters(client, queue.ref)
            final.pending += client.xpending(queue.stream, queue.group)["pending"]
            final.unread += _unread(client, queue)
            final.errors += client.hlen(errors_key(queue.ref))
        final.listed = client.llen(LIST)
    return final


def _unread(client: Any, queue: Queue) -> int:
    groups = client.xinfo_groups(queue.stream)
    [last] = [one["last-delivered-id"].decode() for one in groups if one["name"].decode() == queue.group]
    return len(client.xrange(queue.stream, f"({last}", "+"))


def _run(config: Path, *arguments: str) -> None:
    line, environment = command(config, *arguments)
    subprocess.run(line, cwd=HANDLERS, env=environment, check=True, capture_output=True)
