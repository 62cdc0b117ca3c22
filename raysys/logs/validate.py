"""Raw rows -> interactions that can be trusted, and quarantine for the rest. No row is lost.

Ids are opaque: they are kept exactly as they stand, white space around them included (a notice
counts such ids), because a client will ask with the same characters. Times are seconds since 1970,
a fraction kept to the microsecond. Where several things are wrong with a row, the first is
reported, in the order user, item, time, event type, event value, event id, then the other columns
of the schema.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys import tables
from raysys.logs import fields, header, metadata
from raysys.logs.raw import RawBatch, printable
from raysys.logs.reasons import Reason
from raysys.logs.schema import Field, Schema
from raysys.logs.texts import Codes, reason_of

_MAX_SHOWN = 100  # characters of a value in a sentence


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch after validation: len(accepted) + len(quarantine) rows came in.

    Attributes:
        accepted: with the columns of `Schema.shard_schema`, in log order.
        quarantine: `tables.QUARANTINE`, in log order.
        num_surrounded: ids among the accepted rows that begin or end with white space.
    """

    accepted: pa.Table
    quarantine: pa.Table
    num_surrounded: int

    @property
    def num_rows(self) -> int:
        return len(self.accepted) + len(self.quarantine)


def check(batch: RawBatch, source: str, source_file: int, schema: Schema) -> Checked:
    """Check every row of a batch by a schema of interactions.

    Args:
        source: names the file; source_file: its number.
    """
    parsed = {
        field.column: _parse(batch, field)
        for field in schema.in_order
        if field.column in batch.columns
    }
    num_rows = len(batch.rows)
    codes = {column: of_column for column, (_, of_column) in parsed.items()}
    is_good = ~np.logical_or.reduce([of_column != 0 for of_column in codes.values()])
    values = {_STORED_AS.get(column, column): found for column, (found, _) in parsed.items()}
    values["source_file"] = pa.array(np.full(num_rows, source_file, np.int32))
    values["source_row"] = pa.array(batch.rows)
    stored = schema.shard_schema()
    accepted = pa.Table.from_arrays(
        [values.get(name, pa.nulls(num_rows)) for name in stored.names], names=stored.names
    )
    if not is_good.all():
        accepted = accepted.filter(pa.array(is_good))
    accepted = accepted.cast(stored)
    num_surrounded = sum(
        fields.count_surrounded(chunk)
        for name in ("user_id", "item_id")
        for chunk in accepted.column(name).chunks
    )
    users = parsed[header.USER_ID][0]
    return Checked(accepted, _quarantine(batch, source, users, codes, ~is_good), num_surrounded)


_STORED_AS = {header.TIMESTAMP: "occurred_at"}

_PARSERS: dict[str, Callable[[pa.Array, RawBatch], tuple[pa.Array, Codes]]] = {
    header.USER_ID: lambda column, batch: fields.parse_ids(column, is_text=batch.is_text),
    header.ITEM_ID: lambda column, batch: fields.parse_ids(column, is_text=batch.is_text),
    header.TIMESTAMP: lambda column, _: fields.parse_times(column),
    header.EVENT_TYPE: lambda column, _: fields.parse_event_types(column),
    header.EVENT_VALUE: lambda column, _: fields.parse_numbers(column, Reason.BAD_EVENT_VALUE),
    header.EVENT_ID: lambda column, batch: fields.parse_event_ids(column, is_text=batch.is_text),
}


def _parse(batch: RawBatch, field: Field) -> tuple[pa.Array, Codes]:
    column = batch.columns[field.column]
    parser = _PARSERS.get(field.column)
    if parser is None:
        values, codes = metadata.parse_metadata(column, field)
    else:
        values, codes = parser(column, batch)
    if not field.is_nullable:
        metadata.forbid_null(values, codes)
    return values, codes


def _quarantine(
    batch: RawBatch,
    source: str,
    users: pa.Array,
    codes: dict[str, Codes],
    is_bad: NDArray[np.bool_],
) -> pa.Table:
    places = np.flatnonzero(is_bad).tolist()
    rows: list[tuple[int, str | None, Reason, str | None, str, str]] = [
        (row.row, None, row.reason, None, row.detail, row.text) for row in batch.refused
    ]
    texts = batch.text_of(places) if places else []
    for place, text in zip(places, texts, strict=True):
        column = next(name for name, of_column in codes.items() if of_column[place])
        reason = reason_of(int(codes[column][place]))
        detail = _explain(column, batch.columns[column][place], reason)
        user = None if codes[header.USER_ID][place] else users[place].as_py()
        rows.append((int(batch.rows[place]), user, reason, column, detail, text))
    rows.sort(key=lambda row: row[0])
    numbers, of_users, reasons, columns, details, as_read = (
        zip(*rows, strict=True) if rows else [()] * 6
    )
    return pa.table(
        {
            "source": pa.array([source] * len(rows), pa.string()),
            "source_row": pa.array(numbers, pa.int64()),
            "user_id": pa.array(of_users, pa.string()),
            "reason": pa.array([str(reason) for reason in reasons], pa.string()),
            "column": pa.array(columns, pa.string()),
            "detail": pa.array(details, pa.string()),
            "row": pa.array(as_read, pa.string()),
        },
        schema=tables.QUARANTINE,
    )


def _explain(column: str, value: pa.Scalar, reason: Reason) -> str:
    """Return one sentence on one value for a person."""
    found = value.as_py()
    shown = printable(found) if isinstance(found, bytes) else str(found)
    if len(shown) > _MAX_SHOWN:
        shown = f"{shown[:_MAX_SHOWN]}... ({len(shown)} characters)"
    sentence = reason.sentence
    if reason is Reason.TIMESTAMP_OUT_OF_RANGE:
        sentence += _hint(found)
    if found is None:
        return f"{column.upper()}: {sentence}"
    return f"{column.upper()} is '{shown}': {sentence}"


def _hint(found: object) -> str:
    try:
        return fields.unit_hint(float(found))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # an Arrow timestamp: its unit is known
        return ""
