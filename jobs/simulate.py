"""Write the log of a simulated world; takes the arguments of `raysys simulate`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["simulate", *sys.argv[1:]]))
