"""Measure a release against the baselines; takes the arguments of `raysys evaluate`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
