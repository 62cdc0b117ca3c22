"""What becomes of a dataset's schemas when an import adds to it: columns may come, none may change.

An import for which no schema is told follows the one that was declared for the dataset.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from raysys.errors import SchemaError
from raysys.logs.avro import from_avro, to_avro
from raysys.logs.layout import Layout, declared, undeclared
from raysys.logs.manifest import DatasetManifest
from raysys.logs.schema import MAX_METADATA, Field, Kind, Schema


def schema_in(base: DatasetManifest | None, kind: Kind) -> Schema | None:
    """Return the schema that a dataset's table follows; None where it has no such table."""
    written = None if base is None else base.schemas.get(kind)
    return None if written is None else from_avro(written, kind)


def layout_for(kind: Kind, told: Sequence[Layout], base: DatasetManifest | None) -> Layout:
    """Return the layout of an import: what was told, with the schema of the base if need be."""
    layout = next((one for one in told if one.kind is kind), undeclared(kind))
    schema = schema_in(base, kind)
    is_followed = base is not None and kind in base.declared_schemas
    if layout.is_declared or schema is None or not is_followed:
        return layout
    return declared(schema, layout.called)


def widened(schema: Schema, base: DatasetManifest | None) -> Schema:
    """Return a table's schema after an import, whose own schema is given, into a dataset.

    The columns of the dataset come first. What is in one of the two only is null in the other's
    rows; of a column in both, the import says what it means.

    Raises:
        SchemaError: a column has another type in the dataset, or there would be too many.
    """
    known = schema_in(base, schema.kind)
    if known is None:
        return schema
    fields = [_common(one, schema.field(one.column), schema.kind) for one in known.fields]
    added = [one for one in schema.fields if known.field(one.column) is None]
    after = Schema(schema.kind, (*fields, *(replace(one, is_nullable=True) for one in added)))
    if len(after.metadata) > MAX_METADATA[schema.kind]:
        raise SchemaError(
            f"With {', '.join(one.name for one in added)} the dataset would have "
            f"{len(after.metadata)} columns of metadata of {schema.kind}, but it can have "
            f"{MAX_METADATA[schema.kind]}. Leave some out of the schema, or import everything "
            f"again with --mode full."
        )
    return after


def _common(known: Field, new: Field | None, kind: Kind) -> Field:
    if new is None:
        return replace(known, is_nullable=True)
    if kind is Kind.INTERACTIONS and new.type.arrow != known.type.arrow:
        raise SchemaError(
            f"{new.name} is declared as {new.type}, but the dataset holds it as {known.type}, so "
            f"its rows could not stand together. Declare it as {known.type}, or import everything "
            f"again with --mode full."
        )
    return replace(new, name=known.name, is_nullable=known.is_nullable or new.is_nullable)


def told_in_manifest(
    schemas: Iterable[tuple[Schema, bool]], base: DatasetManifest | None
) -> dict[str, Any]:
    """Return the fields of a manifest that tell of schemas.

    Args:
        schemas: of the tables that an import brought, each after it, and whether a user wrote it.
    """
    known = {} if base is None else dict(base.schemas)
    written = set() if base is None else set(base.declared_schemas)
    for schema, is_declared in schemas:
        known[schema.kind] = to_avro(schema)
        if is_declared:
            written.add(schema.kind)
    return {"schemas": known, "declared_schemas": sorted(written)}
