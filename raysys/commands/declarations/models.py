"""The arguments of commands that make releases and measure them."""

import argparse
from pathlib import Path

from raysys.commands.declarations.options import (
    A_RELEASE,
    must_be_of_group,
    path_or_url,
    reads_dataset,
)
from raysys.config import GateConfig
from raysys.recipes import RECIPES, USER_PERSONALIZATION


def declare_train(parser: argparse.ArgumentParser) -> None:
    reads_dataset(parser)
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
        type=path_or_url,
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
    must_be_of_group(parser)


def declare_tune(parser: argparse.ArgumentParser) -> None:
    reads_dataset(parser)
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
    must_be_of_group(parser)


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
    must_be_of_group(parser)


def declare_update(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=Path, help="the release's interactions and newer ones, imported together"
    )
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=A_RELEASE)
    _publishes(parser)
    parser.add_argument(
        "--epochs",
        type=int,
        default=2,
        metavar="N",
        help="of an UPDATE, at most (default: %(default)s)",
    )
    parser.add_argument(
        "--training-mode",
        choices=("UPDATE", "FULL"),
        default="UPDATE",
        help="FULL trains from nothing, with the release's settings, on old and new (default: "
        "%(default)s, which goes on from its weights)",
    )
    default = GateConfig()
    parser.add_argument(
        "--margin",
        type=float,
        default=default.margin,
        metavar="SHARE",
        help="of the release's metric, that an update may lack at worst (default: %(default)s)",
    )
    parser.add_argument(
        "--window",
        type=float,
        default=default.window,
        metavar="SHARE",
        help="of the new interactions, the newest, on which it is judged (default: %(default)s)",
    )
    parser.add_argument(
        "--no-gate", dest="gate", action="store_false", help="publish whatever was learnt"
    )
    must_be_of_group(parser)


def declare_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=Path, help="the dataset that the release was trained on")
    parser.add_argument("--release", type=Path, required=True, metavar="PATH", help=A_RELEASE)
    must_be_of_group(parser)


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
