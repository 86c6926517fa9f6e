"""`python -m streamfea` is `streamfea`."""

from streamfea.cli.app import main

if __name__ == "__main__":
    main()
