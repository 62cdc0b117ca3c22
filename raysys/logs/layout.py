"""Which columns an import looks for in its sources, under which names, and what they hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from raysys.errors import ConfigError
from raysys.logs.header import Header, find_columns
from raysys.logs.schema import RESERVED, Field, Kind, Schema, schema_of

NAMING_OPTIONS = {
    Kind.INTERACTIONS: "--column",
    Kind.ITEMS: "--item-column",
    Kind.USERS: "--user-column",
}
"""What tells, on the command line, what the columns of a table are called."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of all sources of one table. `declared` and `undeclared` make one.

    Attributes:
        schema: what is read. Where the user declared none, of interactions the reserved columns,
            of items and users whatever there is.
        is_declared: whether the user wrote the schema. Then a source must have every column of it.
        called: what a column is called in the sources, where that is not its own name.
        takes_all: whether every column of a source that has a name is read, whatever the schema
            says.
    """

    schema: Schema
    is_declared: bool
    called: Mapping[str, str] = field(default_factory=dict)
    takes_all: bool = False

    @property
    def kind(self) -> Kind:
        """Which table it is."""
        return self.schema.kind

    def find(
        self,
        names: Sequence[str],
        source: str,
        *,
        aliases: Mapping[str, str] | None = None,
        is_open: bool = False,
    ) -> Header:
        """Find the columns of one source by their names.

        Args:
            aliases: further names of columns of interactions, in the format of the source.
            is_open: whether rows may have columns that `names` does not show. Then those that may
                be null are not demanded.

        Raises:
            SchemaError: the source lacks a column, or has one twice.
        """
        required = [one.column for one in self.schema.fields if self._is_needed(one, is_open)]
        optional = [one.column for one in self.schema.fields if one.column not in required]
        if self.takes_all:
            lowered = [name.strip().lower() for name in names if name.strip()]
            optional = [
                name for name in dict.fromkeys([*self.called, *lowered]) if name not in required
            ]
        return find_columns(
            names,
            source,
            required=required,
            optional=optional,
            aliases=aliases if self.kind is Kind.INTERACTIONS else None,
            called=self._names_told(),
            is_open=is_open,
            option=NAMING_OPTIONS[self.kind],
        )

    def narrowed(self, headers: Iterable[Header]) -> "Layout":
        """Return the layout without the columns that none of the sources has."""
        found = {column for one in headers for column in (*one.positions, *one.later)}
        fields = tuple(one for one in self.schema.fields if one.column in found)
        return replace(self, schema=Schema(self.kind, fields))

    def _is_needed(self, field: Field, is_open: bool) -> bool:
        if self.is_declared and not (is_open and field.is_nullable):
            return True
        demand = RESERVED[self.kind].get(field.column)
        return demand is not None and demand.is_required

    def _names_told(self) -> dict[str, str]:
        """Return what columns are called: as the user says, else as their fields are."""
        own = {one.column: one.name for one in self.schema.fields if one.column != one.name.lower()}
        return {**own, **self.called}


def undeclared(kind: Kind, called: Mapping[str, str] | None = None) -> Layout:
    """Return the layout of a table for which there is no schema."""
    if kind is Kind.INTERACTIONS:
        _check_known(called or {}, RESERVED[kind], kind)
    takes_all = kind is not Kind.INTERACTIONS
    return Layout(schema_of(kind, RESERVED[kind]), False, called or {}, takes_all)


def declared(schema: Schema, called: Mapping[str, str] | None = None) -> Layout:
    """Return the layout of a table whose schema the user wrote."""
    columns = {one.name.lower(): one.column for one in schema.fields}
    _check_known(called or {}, columns, schema.kind)
    return Layout(schema, True, {columns[name]: told for name, told in (called or {}).items()})


def parse_called(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Return what columns are called in the sources, from texts such as `USER_ID=viewer`.

    Args:
        option: the command's option that they come from, for messages.

    Raises:
        ConfigError: a text is no such pair, or a column or name comes twice.
    """
    called: dict[str, str] = {}
    for pair in pairs:
        column, sign, name = pair.partition("=")
        column = column.strip().lower()
        if not sign or not column or not name.strip():
            raise ConfigError(
                f"{option} {pair}: write COLUMN=NAME, such as {option} ITEM_ID=sku: the column, "
                f"and what it is called in the files."
            )
        if column in called or name in called.values():
            raise ConfigError(f"{option} {pair}: the column or the name was given before.")
        called[column] = name
    return called


def _check_known(called: Mapping[str, str], columns: Iterable[str], kind: Kind) -> None:
    known = list(columns)
    unknown = [column for column in called if column not in known]
    if unknown:
        raise ConfigError(
            f"{unknown[0].upper()} was to be read from {called[unknown[0]]!r}, but is no column "
            f"that is read of {kind}; these are: {', '.join(known).upper()}. Declare it in a "
            f"schema if it is a column of yours."
        )
