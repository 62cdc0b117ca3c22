"""Say whether a dataset is fit to be trained on; takes the arguments of `raysys check`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["check", *sys.argv[1:]]))
