"""Search hyperparameters and publish the best trial; takes the arguments of `raysys tune`."""

import sys

from raysys.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
