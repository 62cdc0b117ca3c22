"""What each command takes. Declared apart from what it does, so that `--help` loads no Ray."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import raysys
from raysys.recipes import RECIPES, USER_PERSONALIZATION

_A_RELEASE = "a release, or a directory of releases: then the newest in it"


class Command(NamedTuple):
    """One word of `raysys`: the module that does it, a summary, and its arguments."""

    module: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the `raysys` command."""
    parser = argparse.ArgumentParser(
        prog="raysys", description="The recommender that a team owns itself, on Ray."
    )
    parser.add_argument("--version", action="version", version=f"raysys {raysys.__version__}")
    words = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = words.add_parser(name, help=command.summary, description=command.summary)
        subparser.add_argument(
            "--json", action="store_true", help="print one JSON object as the last line"
        )
        command.declare(subparser)
    return parser


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interactions",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="CSV, Parquet or RecBole .inter files, globs, or directories of them",
    )
    parser.add_argument("--items", type=Path, metavar="FILE", help="a table of items")
    parser.add_argument("--users", type=Path, metavar="FILE", help="a table of users")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="the dataset directory to write"
    )
    parser.add_argument(
        "--shards", type=int, default=8, metavar="N", help="files to write (default: %(default)s)"
    )


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="a directory that `raysys import` wrote")
    parser.add_argument(
        "--releases", type=Path, required=True, metavar="DIR", help="where to publish the release"
    )
    parser.add_argument(
        "--recipe",
        default=USER_PERSONALIZATION.name,
        help=f"one of {', '.join(RECIPES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter of the recipe; may be repeated",
    )
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="every setting, instead of a recipe"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="training workers (default: the settings')"
    )


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the dataset that the release was trained on")
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", type=Path, metavar="PATH", help=_A_RELEASE)
    parser.add_argument("--database", help="a SQLAlchemy URL (default: sqlite:///raysys.db)")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings of serving")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")


def _recommend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)
    parser.add_argument("--user", nargs="+", required=True, metavar="ID", help="whom to rank for")
    parser.add_argument("--num", type=int, default=10, help="items a user (default: %(default)s)")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exit", action="store_true", help="end once the answers were shown")
    parser.add_argument(
        "--port", type=int, default=8000, help="of the HTTP API, on 127.0.0.1 (%(default)s)"
    )
    parser.add_argument(
        "--workdir", type=Path, default=Path("runs/demo"), help="default: %(default)s"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache"), help="of downloads (%(default)s)"
    )


COMMANDS = {
    "import": Command(
        "raysys.commands.import_log", "read logs into a checked, sharded dataset", _import
    ),
    "train": Command(
        "raysys.commands.train", "train on a dataset, evaluate, publish a release", _train
    ),
    "evaluate": Command(
        "raysys.commands.evaluate", "measure a release against the baselines", _evaluate
    ),
    "serve": Command("raysys.commands.serve", "answer over HTTP from a release", _serve),
    "recommend": Command(
        "raysys.commands.recommend", "rank for users without a server", _recommend
    ),
    "demo": Command("raysys.commands.demo", "from MovieLens to a served answer, in one go", _demo),
}
