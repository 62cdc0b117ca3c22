"""Judge other exploration weights by the log; takes the arguments of `raysys off-policy`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["off-policy", *sys.argv[1:]]))
