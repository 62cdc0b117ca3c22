"""Make a release from another one, or from a search; takes the arguments of `raysys release`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["release", *sys.argv[1:]]))
