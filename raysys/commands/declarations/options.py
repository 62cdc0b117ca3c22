"""Arguments that commands of several kinds take."""

import argparse
from pathlib import Path

CACHE = "of downloads (default: %(default)s)"
A_RELEASE = "a release, or a directory of releases: then the newest in it"


def path_or_url(text: str) -> str | Path:
    """Return a URL as it was typed, and anything else as a path."""
    return text if "://" in text else Path(text)


def reads_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="a directory that `raysys import` wrote")


def must_be_of_group(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset-group", metavar="NAME", help="refuse a dataset or release of another group"
    )
