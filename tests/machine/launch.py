"""`streamfea`, with a bug put in when $MACHINE_SABOTAGE names one: what the machine has to find."""

import os

from streamfea.cli.app import main
from tests.machine import sabotage

if __name__ == "__main__":
    sabotage.put_in(os.environ.get("MACHINE_SABOTAGE", ""))
    main()
