"""Take users out of a dataset; takes the arguments of `raysys forget`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["forget", *sys.argv[1:]]))
