"""Make a release of the version in pyproject.toml: look, build, try, tag, and say what publishing needs.

python .ci/release.py [FOLDER]

Everything is built from the commit that gets the tag, since nothing else may be in the folder.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

_NEXT = """\
{tag} is tagged here, and dist/ holds what was tried:
{files}
To publish it:
1. git push origin {tag}
2. uv publish, with a token of the package index in UV_PUBLISH_TOKEN
3. a release of {tag} on the repository's page, with the text below from CHANGELOG.md

{changes}"""


def main(arguments: list[str]) -> int:
    """Make the release in a folder; return 1, with reasons, when it must not be made."""
    folder = Path(arguments[0] if arguments else ".").resolve()
    version = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    tag, changes = f"v{version}", _changes(folder, version)
    problems = list(_problems(folder, tag, changes))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    shutil.rmtree(folder / "dist", ignore_errors=True)
    subprocess.run(["uv", "build", "--quiet"], cwd=folder, check=True)
    subprocess.run([sys.executable, Path(__file__).with_name("try_distributions.py")], cwd=folder, check=True)
    _git(folder, "tag", "--annotate", tag, "--message", f"streamfea {version}")
    files = "".join(f"  {path.name}\n" for path in sorted((folder / "dist").glob("streamfea*")))
    print(_NEXT.format(tag=tag, files=files, changes=changes))
    return 0


def _problems(folder: Path, tag: str, changes: str) -> Iterator[str]:
    if changed := _git(folder, "status", "--porcelain"):
        yield f"These files are not committed:\n{changed}"
    if _git(folder, "tag", "--list", tag):
        yield f"The tag {tag} is there already: raise `version` in pyproject.toml."
    if not changes:
        yield f"CHANGELOG.md has no `## [{tag[1:]}] - YYYY-MM-DD`: give the section its date."


def _changes(folder: Path, version: str) -> str:
    """Return what the changelog says of a version that has a date; an empty text if it has none."""
    text = (folder / "CHANGELOG.md").read_text()
    found = re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
