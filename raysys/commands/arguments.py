"""What each command takes. Declared apart from what it does, so that `--help` loads no Ray."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import raysys
from raysys.commands.declarations import data, database, models, serving


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


COMMANDS = {
    "simulate": Command(
        "raysys.commands.simulate",
        "write the log of a world whose truth is known, of any size",
        data.declare_simulate,
        outputs=("to",),
    ),
    "import": Command(
        "raysys.commands.import_log",
        "read logs into a checked, sharded dataset",
        data.declare_import,
        outputs=("to",),
    ),
    "check": Command(
        "raysys.commands.check",
        "say whether a dataset is fit to be trained on, with a hint for what is not",
        data.declare_check,
        outputs=("html",),
    ),
    "forget": Command(
        "raysys.commands.forget",
        "take users out of a dataset and of a database that is served with, for good",
        data.declare_forget,
    ),
    "train": Command(
        "raysys.commands.train",
        "train on a dataset, evaluate, publish a release",
        models.declare_train,
        outputs=("releases", "checkpoints", "tensorboard"),
    ),
    "tune": Command(
        "raysys.commands.tune",
        "search hyperparameters on a dataset, publish the best trial",
        models.declare_tune,
        outputs=("releases", "search"),
    ),
    "release": Command(
        "raysys.commands.release",
        "make a release without training: another index, or a search's best trial",
        models.declare_release,
        outputs=("releases",),
    ),
    "combine": Command(
        "raysys.commands.combine",
        "let several releases rank together, publish them as one",
        models.declare_combine,
        outputs=("releases",),
    ),
    "update": Command(
        "raysys.commands.update",
        "let a release learn what is new in its dataset, publish another one",
        models.declare_update,
        outputs=("releases",),
    ),
    "evaluate": Command(
        "raysys.commands.evaluate",
        "measure a release against the baselines",
        models.declare_evaluate,
    ),
    "deploy": Command(
        "raysys.commands.deploy",
        "deploy a release to the running cluster, and return when it answers",
        serving.declare_serve,
    ),
    "serve": Command(
        "raysys.commands.serve",
        "answer over HTTP from a release, on a Ray of its own",
        serving.declare_serve,
    ),
    "rollback": Command(
        "raysys.commands.rollback",
        "let a campaign answer from what it answered from before",
        serving.declare_rollback,
    ),
    "campaign": Command(
        "raysys.commands.campaign",
        "say what campaigns answer from, and what became of each deployment",
        database.declare_campaign,
    ),
    "learn": Command(
        "raysys.commands.learn",
        "learn what people did since the release that is served, and serve that",
        database.declare_learn,
    ),
    "filter": Command(
        "raysys.commands.filter",
        "create, list and delete the filters that requests may name",
        database.declare_filter,
    ),
    "items": Command(
        "raysys.commands.items",
        "hide items from everybody, show them again, and say which are hidden",
        database.declare_items,
    ),
    "keys": Command(
        "raysys.commands.keys",
        "create, list and revoke the keys with which clients ask",
        database.declare_keys,
        outputs=("database",),
    ),
    "export-events": Command(
        "raysys.commands.export_events",
        "write events, and what was shown, as Parquet files",
        database.declare_export_events,
        outputs=("database", "to"),
    ),
    "off-policy": Command(
        "raysys.commands.off_policy",
        "say what another exploration weight would have earned on the logged traffic",
        database.declare_off_policy,
    ),
    "schema": Command(
        "raysys.commands.schema",
        "write schemas of logs and tables, to be edited",
        data.declare_schema,
        outputs=("to",),
    ),
    "recommend": Command(
        "raysys.commands.recommend",
        "rank for users without a server",
        serving.declare_recommend,
    ),
    "demo": Command(
        "raysys.commands.demo",
        "from MovieLens to a served answer, in one go",
        serving.declare_demo,
    ),
}
