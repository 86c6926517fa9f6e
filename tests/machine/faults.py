"""The faults, each from its beginning to its end; who waits for the recovery is `machine`."""

import time
from collections.abc import Callable
from random import Random

from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text

from streamfea.config.sections import ConsumerSettings
from streamfea.core.group_ref import GroupRef
from streamfea.streams.connection.keys import name_lock_key
from tests.machine.consumers import Fleet
from tests.machine.history import History, now_ms
from tests.machine.producers import STREAM
from tests.machine.proxy import Cut, Proxy
from tests.machine.servers import Servers

__all__ = ["Faults"]

_GROUP = ConsumerSettings.model_fields["group"].default
_LONGEST_AWAY_SECONDS = 3.0
_LONGEST_DARK_SECONDS = 6.0
_CUT_WITHIN_SECONDS = 5.0
_LONGEST_MESSAGE_BYTES = 300
_HOUR_MS = 3_600_000
_AGE_ALL_PENDING = """
for _, one in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], one[2], 0, one[1], 'IDLE', ARGV[2], 'JUSTID')
end
"""


class Faults:
    """Everything that can be done to the servers, the connections and the processes, by name."""

    def __init__(
        self,
        servers: Servers,
        fleet: Fleet,
        redis_proxy: Proxy,
        database_proxy: Proxy,
        history: History,
        random: Random,
    ) -> None:
        self._servers = servers
        self._fleet = fleet
        self._redis = redis_proxy
        self._database = database_proxy
        self._history = history
        self._random = random
        kill, cut = self._on_processes(), self._on_connections()
        self.by_name: dict[str, Callable[[], object]] = {**kill, **cut, **self._on_redis(), **self._on_postgresql()}

    def _on_processes(self) -> dict[str, Callable[[], object]]:
        fleet, random = self._fleet, self._random
        return {
            "worker: SIGKILL": lambda: fleet.kill_a_worker(random),
            "supervisor: SIGKILL": lambda: fleet.kill_a_supervisor(random),
            "supervisor and workers: SIGKILL": lambda: fleet.kill_all_of_one(random),
            "process: SIGSTOP, SIGCONT": lambda: fleet.stop_for_a_while(random, random.uniform(0.2, 4)),
            "consumers: rolling restart": fleet.restart_in_turn,
        }

    def _on_connections(self) -> dict[str, Callable[[], object]]:
        redis, database = self._redis, self._database
        return {
            "redis: all connections cut": redis.cut_all,
            "redis: answer to a read lost": lambda: self._cut(redis, b"XREADGROUP", "reply", 0),
            "redis: answer to XACK lost": lambda: self._cut(redis, b"XACK", "reply", 0),
            "redis: answer to a script lost": lambda: self._cut(redis, b"EVALSHA", "reply", 0),
            "redis: cut in a request": lambda: self._cut_anywhere(redis, "request"),
            "redis: cut in a reply": lambda: self._cut_anywhere(redis, "reply"),
            "redis: network dark": lambda: redis.go_dark(self._random.uniform(1, _LONGEST_DARK_SECONDS)),
            "postgresql: network dark": lambda: database.go_dark(self._random.uniform(1, _LONGEST_DARK_SECONDS)),
            "postgresql: all connections cut": database.cut_all,
            "postgresql: COMMIT never arrives": lambda: self._cut(database, b"COMMIT", "request", 0),
            "postgresql: answer to COMMIT lost": lambda: self._cut(database, b"COMMIT", "reply", 0),
            "postgresql: cut in a request": lambda: self._cut_anywhere(database, "request"),
            "postgresql: cut in a reply": lambda: self._cut_anywhere(database, "reply"),
        }

    def _on_redis(self) -> dict[str, Callable[[], object]]:
        servers = self._servers
        return {
            "redis: restart": lambda: servers.restart_valkey(self._away()),
            "redis: SIGKILL": lambda: self._forget(servers.kill_valkey(self._away())),
            "redis: loses the last second": lambda: self._forget(servers.lose_the_last_second()),
            "redis: stalls": lambda: servers.stall_valkey(self._away()),
            "redis: READONLY": self._make_replica,
            "redis: OOM": self._fill_memory,
            "redis: CLIENT KILL": self._kill_clients,
            "redis: scripts forgotten": self._flush_scripts,
            "redis: group destroyed": self._destroy_group,
            "redis: clock steps forward": self._step_clock,
        }

    def _on_postgresql(self) -> dict[str, Callable[[], object]]:
        servers = self._servers
        return {
            "postgresql: restart": lambda: servers.restart_postgresql(self._away(), at_once=False),
            "postgresql: crash": lambda: servers.restart_postgresql(self._away(), at_once=True),
            "postgresql: stalls": lambda: servers.stall_postgresql(self._away()),
            "postgresql: backends terminated": self._terminate_backends,
            "postgresql: read-only": self._make_read_only,
            "postgresql: table locked": self._lock_table,
        }

    def _away(self) -> float:
        return self._random.uniform(0.1, _LONGEST_AWAY_SECONDS)

    def _cut(self, proxy: Proxy, pattern: bytes, direction: str, after_bytes: int) -> None:
        proxy.cut_next(Cut(pattern, "reply" if direction == "reply" else "request", after_bytes), _CUT_WITHIN_SECONDS)

    def _cut_anywhere(self, proxy: Proxy, direction: str) -> None:
        self._cut(proxy, b"", direction, self._random.randrange(_LONGEST_MESSAGE_BYTES))

    def _forget(self, span: tuple[float, float]) -> None:
        """Note what Redis may have lost: no record of that time is streamfea's to keep."""
        self._history.forgotten.append(span)
        self._history.restarted.append(now_ms())

    def _make_replica(self) -> None:
        """Refuse writes, and soon reads, as a primary does that has lost a failover."""
        with self._servers.redis() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            try:
                time.sleep(self._away())
            finally:
                client.execute_command("REPLICAOF", "NO", "ONE")

    def _fill_memory(self) -> None:
        with self._servers.redis() as client:
            client.config_set("maxmemory", 1)
            try:
                time.sleep(self._away())
            finally:
                client.config_set("maxmemory", 0)

    def _kill_clients(self) -> None:
        with self._servers.redis() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _flush_scripts(self) -> None:
        with self._servers.redis() as client:
            client.script_flush()

    def _destroy_group(self) -> None:
        with self._servers.redis() as client:
            try:
                client.xgroup_destroy(STREAM, _GROUP)
            except RedisError:
                return
            self._history.restarted.append(now_ms())

    def _step_clock(self) -> None:
        """Leave all that is pending idle, and all presences expired, as an hour skipped by the server's clock does."""
        with self._servers.redis() as client:
            try:
                client.eval(_AGE_ALL_PENDING, 1, STREAM, _GROUP, _HOUR_MS)
            except ResponseError:  # the group is gone
                return
            for key in client.scan_iter(name_lock_key(GroupRef(STREAM, _GROUP), "*")):
                client.delete(key)

    def _terminate_backends(self) -> None:
        with self._servers.engine.connect() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'streamfea%'")
            )

    def _make_read_only(self) -> None:
        """Refuse writes, as a primary does that has become a standby."""
        with self._servers.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ALTER SYSTEM SET default_transaction_read_only = on"))
            connection.execute(text("SELECT pg_reload_conf()"))
            try:
                time.sleep(self._away())
            finally:
                connection.execute(text("ALTER SYSTEM RESET default_transaction_read_only"))
                connection.execute(text("SELECT pg_reload_conf()"))

    def _lock_table(self) -> None:
        """Lock the table, as a migration does."""
        with self._servers.engine.begin() as connection:
            connection.execute(text("LOCK TABLE effect IN ACCESS EXCLUSIVE MODE"))
            time.sleep(self._away())
