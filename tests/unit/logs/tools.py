"""Reads a whole source through readers and validation, the way an import does."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from raysys import tables
from raysys.logs.formats import INTERACTION_FORMATS, TABLE_FORMATS
from raysys.logs.layout import Layout, undeclared
from raysys.logs.readers import read_source
from raysys.logs.schema import Kind, schema_of
from raysys.logs.source import Source, local_source
from raysys.logs.validate import check

LOG = Layout(schema_of(Kind.INTERACTIONS, ("event_type", "event_value", "event_id")), False)
"""A log without a schema, of which the columns of `tables.INTERACTIONS` are read."""

ITEMS, USERS = undeclared(Kind.ITEMS), undeclared(Kind.USERS)


def log_at(path: Path) -> Source:
    """Return a file of interactions as a source; its name is that of the file."""
    return local_source(path, path.name, INTERACTION_FORMATS)


def table_at(path: Path) -> Source:
    """Return a table of items or users as a source; its name is that of the file."""
    return local_source(path, path.name, TABLE_FORMATS)


def read_and_check(path: Path, layout: Layout = LOG) -> tuple[int, pa.Table, pa.Table]:
    """Return rows in, accepted rows and quarantine of one file, which is source number 0."""
    rows_in = 0
    accepted = [layout.schema.shard_schema().empty_table()]
    quarantine = [tables.QUARANTINE.empty_table()]
    for batch in read_source(log_at(path), layout):
        checked = check(batch, path.name, 0, layout.schema)
        rows_in += len(batch)
        accepted.append(checked.accepted)
        quarantine.append(checked.quarantine)
    return rows_in, pa.concat_tables(accepted), pa.concat_tables(quarantine)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv_line(fields: Sequence[object]) -> str:
    """Return one line of CSV. (The csv module leaves a lone carriage return unquoted.)"""
    texts = [str(field) for field in fields]
    return ",".join(
        '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text for text in texts
    )
