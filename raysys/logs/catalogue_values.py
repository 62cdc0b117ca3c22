"""The values of a table of items or users, batch by batch: as a schema declares, or as they are."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.logs.fields import parse_ids, parse_times
from raysys.logs.layout import Layout
from raysys.logs.metadata import forbid_null, parse_metadata
from raysys.logs.prose import cleaned
from raysys.logs.raw import RawBatch
from raysys.logs.reasons import Reason
from raysys.logs.schema import CREATION_TIMESTAMP, Field
from raysys.logs.texts import Codes, code_of, reason_of, to_text

_SECOND = 1_000_000


@dataclass(slots=True)
class Faults:
    """What could not be used, and how that is told: once a column, with a count."""

    name: str
    rows_refused: int = 0
    is_text_replaced: bool = False
    columns_left_out: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Counter[str]] = field(default_factory=dict)
    values: dict[str, Counter[str]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    def count(self, column: str, codes: Codes, rows: NDArray[np.int64], *, costs_row: bool) -> None:
        """Take the faults of a column; where there is one, the row goes, or the value alone."""
        faulty = np.flatnonzero(codes)
        if len(faulty):
            told = self.rows if costs_row else self.values
            reasons = told.setdefault(column, Counter())
            reasons.update(str(reason_of(int(code))) for code in codes[faulty])
            self.first.setdefault(column, int(rows[faulty[0]]))

    @property
    def num_unusable(self) -> int:
        """How many rows went."""
        return self.rows_refused + sum(reasons.total() for reasons in self.rows.values())

    def notices(self) -> list[str]:
        """Return a sentence for each kind of fault."""
        told = []
        if self.rows_refused:
            told.append(f"{self.rows_refused:,} rows were left out, since they are no whole rows.")
        if self.is_text_replaced:
            told.append("some text is not UTF-8; its bad bytes were replaced.")
        told += [
            f"column {column!r} was left out, since its type is {kind}."
            for column, kind in self.columns_left_out.items()
        ]
        told += [
            f"{reasons.total():,} rows were left out, since their {column.upper()} cannot be used "
            f"({', '.join(sorted(reasons))}), the first of them row {self.first[column]:,}."
            for column, reasons in self.rows.items()
        ]
        told += [
            f"{reasons.total():,} values of {column.upper()} were left empty, since they cannot be "
            f"used ({', '.join(sorted(reasons))}), the first of them in row {self.first[column]:,}."
            for column, reasons in self.values.items()
        ]
        return [f"{self.name}: {one}" for one in told]


def values_of(batch: RawBatch, layout: Layout, id_column: str, faults: Faults) -> pa.Table:
    """Return the usable rows of a batch.

    A row without a usable id is left out, and so is one that lacks a value which the schema
    demands. A value that is not of its type is left empty where the schema allows that.
    """
    faults.rows_refused += len(batch.refused)
    ids, codes = parse_ids(batch.columns[id_column], is_text=batch.is_text)
    faults.count(id_column, codes, batch.rows, costs_row=True)
    is_good = codes == 0
    columns = {id_column: ids}
    for column, values in batch.columns.items():
        declared = layout.schema.field(column)
        if column == id_column:
            continue
        if declared is not None:
            columns[column], bad = declared_values(values, declared)
            bad[~is_good] = 0  # the row is gone already
            faults.count(column, bad, batch.rows, costs_row=not declared.is_nullable)
            if not declared.is_nullable:
                is_good &= bad == 0
        elif (found := _as_found(values, faults)) is not None:
            columns[column] = found
        else:
            faults.columns_left_out[column] = str(values.type)
    table = pa.table(columns)
    return table if is_good.all() else table.filter(pa.array(is_good))


def declared_values(column: pa.Array, declared: Field) -> tuple[pa.Array, Codes]:
    """Return a column of the declared type, null where a value cannot be used, and why."""
    if declared.column == CREATION_TIMESTAMP:
        micros, codes = parse_times(column)
        is_absent = codes == code_of(Reason.NULL_TIMESTAMP)
        codes[is_absent] = 0
        values = pa.array(micros.to_numpy() // _SECOND, mask=is_absent)
    else:
        values, codes = parse_metadata(column, declared)
    if declared.is_textual:
        values = cleaned(values)
    if codes.any():
        values = pc.if_else(pa.array(codes == 0), values, pa.scalar(None, values.type))
    if not declared.is_nullable:
        forbid_null(values, codes)
    return values, codes


def _as_found(column: pa.Array, faults: Faults) -> pa.Array | None:
    """Return a column as texts or numbers, None where its type is neither."""
    types = pa.types
    kind = column.type
    if types.is_integer(kind) or types.is_floating(kind):
        return column
    if types.is_decimal(kind):
        return column.cast(pa.float64())
    if not types.is_binary(kind) and not types.is_large_binary(kind):
        try:
            return column.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            return None
    texts, is_bad = to_text(column)
    if not is_bad.any():
        return texts
    faults.is_text_replaced = True
    decoded = [
        None if one is None else one.decode("utf-8", "replace") for one in column.to_pylist()
    ]
    return pa.array(decoded, pa.string())
