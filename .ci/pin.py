"""Write the versions in uv.lock into pyproject.toml's `[tool.uv] constraint-dependencies`.

    python .ci/pin.py [FOLDER]

The lock file holds the addresses of the registry it was made with, so it is not committed; the versions alone are.
"""

import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import tomlkit


def main(arguments: list[str]) -> int:
    """Rewrite the list; say what could not be pinned."""
    folder = Path(arguments[0]) if arguments else Path()
    versions: dict[str, set[str]] = defaultdict(set)
    for package in tomllib.loads((folder / "uv.lock").read_text(encoding="utf-8"))["package"]:
        if "registry" in package.get("source", {}):
            versions[package["name"]].add(package["version"])
    pins = tomlkit.array().multiline(multiline=True)
    for name, found in sorted(versions.items()):
        if len(found) == 1:
            pins.append(f"{name}=={min(found)}")
        else:
            print(f"{name} is not pinned: its version differs between platforms")
    project = folder / "pyproject.toml"
    document = tomlkit.parse(project.read_text(encoding="utf-8"))
    tool = document.setdefault("tool", tomlkit.table())
    tool.setdefault("uv", tomlkit.table())["constraint-dependencies"] = pins
    project.write_text(tomlkit.dumps(document), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
