"""Read logs into a dataset; takes the arguments of `raysys import`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["import", *sys.argv[1:]]))
