"""`raysys schema`: write schemas of logs and tables, to be edited and followed by an import."""

import argparse
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

from raysys.commands.console import Console
from raysys.commands.layouts import SCHEMA_OPTIONS, names_told
from raysys.commands.origins import origins_told
from raysys.errors import ConfigError
from raysys.logs.avro import to_avro
from raysys.logs.first_rows import first_rows
from raysys.logs.inference import Inferred, infer_schema
from raysys.logs.layout import NAMING_OPTIONS
from raysys.logs.sampling import SAMPLED_ROWS
from raysys.logs.schema import Kind
from raysys.logs.sources import find_sources, find_table


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Look at the first rows, write what they hold, and say how to import with it."""
    named = origins_told(arguments, console)
    origins = {Kind.INTERACTIONS: find_sources(named.interactions)}
    origins |= {kind: [find_table(table)] for kind, table in named.tables.items()}
    paths = {kind: arguments.to / f"{kind}.avsc" for kind in origins}
    _refuse_to_replace(list(paths.values()))
    called = {kind: names_told(arguments, kind) for kind in origins}
    with tempfile.TemporaryDirectory(prefix="raysys-schema-") as work:
        found = {
            kind: infer_schema(
                first_rows(of_kind, SAMPLED_ROWS, Path(work) / kind), kind, called[kind]
            )
            for kind, of_kind in origins.items()
        }
    options = []
    for kind, inferred in found.items():
        _write(paths[kind], inferred)
        _show(paths[kind], inferred, console)
        options += [SCHEMA_OPTIONS[kind], str(paths[kind])]
        for name, told in inferred.called.items():
            options += [NAMING_OPTIONS[kind], f"{name}={told}"]
    console.say("  Edit what is not so, then import with:")
    console.verbatim(f"    {shlex.join(options)}")
    return {
        "schemas": {kind: str(path) for kind, path in paths.items()},
        "import_options": options,
        "notices": [notice for inferred in found.values() for notice in inferred.notices],
    }


def _refuse_to_replace(paths: list[Path]) -> None:
    there = [path for path in paths if path.exists()]
    if there:
        raise ConfigError(
            f"{there[0]} is there already, and may have been edited. Name another directory with "
            f"--to, or remove it."
        )


def _write(path: Path, inferred: Inferred) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(to_avro(inferred.schema), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}") from error


def _show(path: Path, inferred: Inferred, console: Console) -> None:
    metadata = [field.name for field in inferred.schema.metadata]
    shown = ", ".join(metadata) or "none"
    console.say(f"  {path}: {len(inferred.schema.fields)} columns; metadata: {shown}")
    for notice in inferred.notices:
        console.say(f"  note: {notice}", style="yellow")
