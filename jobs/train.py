"""Train, evaluate and publish a release; takes the arguments of `raysys train`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
