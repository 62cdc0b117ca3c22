"""Let a release learn what is new, publish another one; takes the arguments of `raysys update`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["update", *sys.argv[1:]]))
