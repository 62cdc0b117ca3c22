"""The arguments of commands that answer from releases."""

import argparse
from pathlib import Path
from typing import get_args

from raysys.commands.declarations.options import A_RELEASE, CACHE
from raysys.config import DEFAULT_CAMPAIGN, ExplorationPolicy


def declare_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--release",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"{A_RELEASE}; of several, each has a share of the users",
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        metavar="SHARE",
        help="of the releases, in their order: 9 1 gives nine of ten users to the first "
        "(default: all alike)",
    )
    parser.add_argument(
        "--campaign",
        default=DEFAULT_CAMPAIGN,
        metavar="NAME",
        help="that is to answer from them (default: %(default)s)",
    )
    parser.add_argument("--database", help="a SQLAlchemy URL (default: sqlite:///raysys.db)")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings of serving")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="default: %(default)s; any other takes keys, see `raysys keys`",
    )
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    parser.add_argument("--shards", type=int, metavar="N", help="index shards (default: 2)")
    parser.add_argument(
        "--exploration-weight",
        type=float,
        metavar="W",
        help="chance of each place of a list to explore a fresh item, 0 to 1 (default: 0.3)",
    )
    parser.add_argument(
        "--exploration-policy",
        choices=get_args(ExplorationPolicy),
        help="what a place that explores draws (default: slot-mixture)",
    )
    parser.add_argument(
        "--exploration-item-age-cut-off",
        type=float,
        metavar="DAYS",
        help="items of that age or older are not explored (default: 30)",
    )
    parser.add_argument(
        "--dataset-group", metavar="NAME", help="that of the release (default: default)"
    )
    learns = parser.add_mutually_exclusive_group()
    learns.add_argument(
        "--learn",
        type=Path,
        metavar="DATASET",
        help="let the campaign learn by itself what people do: it is added to this dataset, that "
        "of the release, and what is learnt is served if it is good enough",
    )
    learns.add_argument(
        "--no-learn", action="store_true", help="learn no more, where that is deployed"
    )
    parser.add_argument(
        "--learn-releases",
        type=Path,
        metavar="DIR",
        help="where to publish what is learnt (default: beside the release)",
    )
    parser.add_argument(
        "--learn-every",
        type=float,
        metavar="MINUTES",
        help="from the beginning of a round to that of the next (default: 120)",
    )


def declare_rollback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--campaign", default=DEFAULT_CAMPAIGN, metavar="NAME", help="default: %(default)s"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where Serve listens: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")


def declare_recommend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=A_RELEASE)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--user", nargs="+", metavar="ID", help="whom to rank for")
    asked.add_argument(
        "--item",
        nargs="+",
        metavar="ID",
        help="what to rank for: somebody who had this item and nothing else",
    )
    parser.add_argument("--num", type=int, default=10, help="items a list (default: %(default)s)")


def declare_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exit", action="store_true", help="end once the answers were shown")
    parser.add_argument(
        "--port", type=int, default=8000, help="of the HTTP API, on 127.0.0.1 (%(default)s)"
    )
    parser.add_argument(
        "--workdir", type=Path, default=Path("runs/demo"), help="default: %(default)s"
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help=CACHE)
