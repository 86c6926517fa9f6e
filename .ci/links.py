"""Check that the relative links and anchors of all Markdown files lead somewhere.

python .ci/links.py [FILE]...
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
# In the site only, whose builder checks the links to them.
_GENERATED = {Path("docs/reference") / page for page in ("commands.md", "configuration.md")}
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Print each broken link; return 1 if there is any."""
    broken = [one for name in arguments or _tracked() for one in _broken(Path(name))]
    for one in broken:
        print(one)
    return 1 if broken else 0


def _broken(file: Path) -> Iterator[str]:
    for target in _LINK.findall(_CODE.sub("", file.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = file.parent / path if path else file
        if Path(os.path.normpath(there)) in _GENERATED:
            continue
        if not there.exists():
            yield f"{file}: there is no {target}"
        elif anchor and anchor not in _anchors(there):
            yield f"{file}: {path or file.name} has no heading for #{anchor}"


def _anchors(file: Path) -> set[str]:
    """Return the anchors of a file's headings, made the way GitHub makes them."""
    headings = _HEADING.findall(
        re.sub(r"^```.*?^```", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _tracked() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
