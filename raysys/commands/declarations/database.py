"""The arguments of commands about what the database of a server holds."""

import argparse
from pathlib import Path

from raysys.config import DEFAULT_APPLICATION, DEFAULT_DATASET_GROUP, LearningConfig

_A_DATABASE = "the SQLAlchemy URL that is served with (default: %(default)s)"


def declare_campaign(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action_on_database(
        actions, "list", "say what each campaign answers from, and did before", "their own"
    )
    _names_application(listing)


def declare_learn(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    summary = "do one round on the running cluster, and serve what was learnt"
    now = actions.add_parser("now", help=summary, description=summary)
    now.add_argument(
        "--dataset", metavar="DIR", help="that events are added to (default: as deployed)"
    )
    now.add_argument(
        "--releases", metavar="DIR", help="where to publish what is learnt (default: as deployed)"
    )
    now.add_argument("--campaign", metavar="NAME", help="that learns (default: as deployed)")
    now.add_argument(
        "--niceness",
        type=int,
        default=LearningConfig.model_fields["niceness"].default,
        metavar="N",
        help="of all processes of the round; 0 is as urgent as serving (default: %(default)s)",
    )
    _says_json(now)
    listing = _action_on_database(
        actions, "list", "say what became of each round, and why", "whose rounds they are"
    )
    _names_application(listing)


def _names_application(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
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
    summary = "let lists have the items of a dataset's item table with which nobody interacted"
    put = _action_on_database(actions, "put", summary, "whose items they are")
    put.add_argument("dataset", type=Path, metavar="DATASET", help="a directory of an import")
    put.add_argument(
        "--replace",
        action="store_true",
        help="also items that were put before: the dataset knows more of them by now",
    )


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
    _says_json(action)
    return action


def _says_json(action: argparse.ArgumentParser) -> None:
    # Its own default would overwrite what was said before the action.
    action.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print one JSON object as the last line",
    )


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
        help="a new directory, for interactions.parquet, impressions.parquet, and items.jsonl and "
        "users.jsonl where some were put",
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
        "--policy",
        choices=["epsilon-greedy"],
        help="by which places might have drawn (default: each answer's own)",
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
