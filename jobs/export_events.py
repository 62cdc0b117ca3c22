"""Write events and what was shown as Parquet; takes the arguments of `raysys export-events`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["export-events", *sys.argv[1:]]))
