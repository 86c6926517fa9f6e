"""`python -m streamfea.embedded stop DIR`: stops servers without a configuration."""

import sys
from pathlib import Path

from streamfea.embedded import stop


def _main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0] != "stop":  # noqa: PLR2004 - the word and at least one folder
        print("usage: python -m streamfea.embedded stop DIR...", file=sys.stderr)
        return 2
    for name in arguments[1:]:
        print(f"stopped the server in {name}" if stop(Path(name)) else f"no server runs in {name}")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
