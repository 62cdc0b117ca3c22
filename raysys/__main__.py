"""`python -m raysys` is the `raysys` command."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main())
