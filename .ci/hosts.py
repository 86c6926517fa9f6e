"""Find what must not be committed: host names of package registries, and paths of this machine.

    python .ci/hosts.py [FILE]...

Without files, looks at everything that git knows or would add. The registries are those that this machine is set up
with, and a few that everyone knows, which stand here as digests so that this file can be looked at, too.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

_KNOWN_DIGESTS = {
    "a4aa2ac280bb8d1a",
    "c899567ee9068517",
    "0dc11026ac75c015",
    "e680c440a2e92079",
    "1ba4e37997a2e986",
    "70bb4000cd2fab03",
    "9495278a74715c7e",
}
_SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/pip.conf", "~/.config/pip/pip.conf", "~/.npmrc")
_HOST = re.compile(r"(?<![\w.@-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w-])", re.IGNORECASE)
_URL_HOST = re.compile(r"https?://(?:[^/@\s]*@)?([^/:\s'\"]+)")
_LARGEST = 1 << 20


def main(arguments: list[str]) -> int:
    """Print each find as FILE:LINE; return 1 if there is any."""
    configured = set(_configured_hosts())
    paths = set(_machine_paths())
    finds = [find for name in arguments or _tracked() for find in _finds(Path(name), configured, paths)]
    for find in finds:
        print(find)
    return 1 if finds else 0


def _finds(file: Path, configured: set[str], paths: set[str]) -> Iterator[str]:
    if not file.is_file() or file.stat().st_size > _LARGEST:
        return
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.splitlines(), 1):
        if any(path in line for path in paths):
            yield f"{file}:{number}: a path of this machine"
        for host in _HOST.findall(line):
            if host.lower() in configured or sha256(host.lower().encode()).hexdigest()[:16] in _KNOWN_DIGESTS:
                yield f"{file}:{number}: a package registry's host name"


def _tracked() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def _configured_hosts() -> Iterator[str]:
    for text in _settings():
        for host in _URL_HOST.findall(text):
            if "." in host:
                yield host.lower()


def _settings() -> Iterable[str]:
    yield from (value for name, value in os.environ.items() if re.search(r"INDEX|REGISTRY|FIND_LINKS", name))
    for command in (["pip", "config", "list"], ["npm", "config", "get", "registry"]):
        try:
            yield subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
    for name in _SOURCES:
        source = Path(name).expanduser()
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        yield from (file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())


def _machine_paths() -> Iterator[str]:
    # Short ones, such as "/app" or "/root", say nothing on their own: they must go on to be a path of this machine.
    for path in (Path.cwd(), Path.home()):
        if len(path.parts) > 1:
            yield f"{path}/"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
