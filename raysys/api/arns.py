"""The ARNs that requests name things by. Region and account are not looked at."""

import re
from typing import Literal

from raysys.api.violations import refusal
from raysys.errors import ResourceNotFoundError

_ARN = re.compile(r"arn:[a-z\d-]+:personalize:[^:]*:[^:]*:(.+)")


def check_dataset(arn: str, dataset_group: str, kind: Literal["ITEMS", "USERS"]) -> None:
    """Return if `arn` names the items, or the users, of `dataset_group`.

    Raises:
        InvalidInputError: it is no ARN.
        ResourceNotFoundError: it names something else.
    """
    match = _ARN.fullmatch(arn)
    if match is None:
        constraint = f"be an ARN arn:aws:personalize:REGION:ACCOUNT:dataset/GROUP/{kind}"
        raise refusal(arn, "datasetArn", constraint)
    if match.group(1) != f"dataset/{dataset_group}/{kind}":
        raise ResourceNotFoundError(
            f"There is no {match.group(1)!r} to put {kind.lower()} into; this server has "
            f"'dataset/{dataset_group}/{kind}'."
        )


def campaign_name(campaign: str) -> str:
    """Return the name in a campaign's ARN; what is no ARN is a name already.

    Raises:
        InvalidInputError: an ARN of something else.
    """
    return _name_in(campaign, "campaign")


def filter_name(filter_arn: str) -> str:
    """Return the name in a filter's ARN, as `campaign_name` does."""
    return _name_in(filter_arn, "filter")


def _name_in(given: str, kind: str) -> str:
    if not given.startswith("arn:"):
        return given
    match = _ARN.fullmatch(given)
    found, _, name = match.group(1).partition("/") if match else ("", "", "")
    if found != kind or not name or set(name) & set(":/"):
        constraint = (
            f"be a {kind}'s name, or its ARN arn:aws:personalize:REGION:ACCOUNT:{kind}/NAME"
        )
        raise refusal(given, f"{kind}Arn", constraint)
    return name
