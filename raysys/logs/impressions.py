"""What a log says was shown: lists of item ids, `|` between them, beside the interactions."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from raysys.logs.schema import IMPRESSION


class Impressions(BaseModel):
    """How much a log tells of what was shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(default=0, ge=0)
    """Interactions that say which items were shown."""
    items: int = Field(default=0, ge=0)
    """Items that were shown, in all of them."""


def total(of: Iterable[Impressions]) -> Impressions:
    """Return all together."""
    every = list(of)
    return Impressions(rows=sum(one.rows for one in every), items=sum(one.items for one in every))


def impressions_in(interactions: pa.Table) -> Impressions:
    """Count the impressions of a table of interactions; empty ids do not count."""
    if IMPRESSION not in interactions.column_names:
        return Impressions()
    column = interactions.column(IMPRESSION)
    shown = pc.sum(pc.count_substring_regex(column, r"[^|]+")).as_py() or 0
    return Impressions(rows=len(column) - column.null_count, items=int(shown))
