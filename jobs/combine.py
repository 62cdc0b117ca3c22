"""Let several releases rank together; takes the arguments of `raysys combine`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["combine", *sys.argv[1:]]))
