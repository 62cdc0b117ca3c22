"""Put a release on the running cluster; takes the arguments of `raysys deploy`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["deploy", *sys.argv[1:]]))
