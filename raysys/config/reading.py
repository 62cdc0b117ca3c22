"""From a YAML file, or the values of one, to settings; errors name the nearest known key."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from raysys.errors import ConfigError

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def load_config(path: Path, config_class: type[ConfigT]) -> ConfigT:
    """Read a YAML file into `config_class`; an empty file means every default.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not fit the class. An unknown key
            is named together with the nearest known one.
    """
    return parse_config(load_yaml(path), config_class, source=str(path))


def load_yaml(path: Path) -> Any:
    """Return the value of a YAML file, an empty mapping for an empty one (ConfigError)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Config file {path} cannot be read: {error}") from error
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"Config file {path} is not valid YAML: {error}") from error
    return {} if value is None else value


def parse_config(value: Any, config_class: type[ConfigT], *, source: str) -> ConfigT:
    """Return `value` as a `config_class` (ConfigError).

    Args:
        source: names the origin in errors, as in "can be made of the arguments of raysys serve".
    """
    try:
        return config_class.model_validate(value)
    except ValidationError as error:
        lines = [_explain(entry, config_class) for entry in error.errors()]
        raise ConfigError(
            "\n  ".join([f"No valid {config_class.__name__} can be made of {source}:", *lines])
        ) from error


def _explain(entry: Any, config_class: type[BaseModel]) -> str:
    location = ".".join(str(part) for part in entry["loc"]) or "(the whole file)"
    *parents, name = (str(part) for part in entry["loc"] or ("",))
    if entry["type"] != "extra_forbidden":
        fields = [
            model.model_fields[name]
            for model in _models_at(config_class, parents)
            if name in model.model_fields
        ]
        bounds = "".join(_bounds(field) for field in fields[:1])
        return f"{location}: {entry['msg']}, but got {entry['input']!r}{bounds}"
    known = [key for model in _models_at(config_class, parents) for key in model.model_fields]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"{location}: unknown key{hint}"


def _bounds(field: FieldInfo) -> str:
    """Return the range of a number and the default, as far as a setting has them."""
    low, high = "(-inf", "inf)"
    for bound in field.metadata:
        if isinstance(bound, Ge | Gt):
            low = f"[{bound.ge}" if isinstance(bound, Ge) else f"({bound.gt}"
        elif isinstance(bound, Le | Lt):
            high = f"{bound.le}]" if isinstance(bound, Le) else f"{bound.lt})"
    parts = [] if (low, high) == ("(-inf", "inf)") else [f"range {low}, {high}"]
    if isinstance(field.default, bool | int | float | str | None):
        parts.append(f"default {'null' if field.default is None else field.default}")
    return f" ({', '.join(parts)})" if parts else ""


def _models_at(config_class: type[BaseModel], location: list[str]) -> list[type[BaseModel]]:
    """Return the models that an error's location may lead to; it names fields and union tags."""
    models = [config_class]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        elif not part.isdigit():  # no place in a list: the tag of a union, such as "gru"
            models = [
                model
                for model in models
                if "kind" in model.model_fields and model.model_fields["kind"].default == part
            ]
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
