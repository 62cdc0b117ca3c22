"""Learn what people did, and serve it; takes the arguments of `raysys learn`, such as `now`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["learn", *sys.argv[1:]]))
