"""On which nodes of a cluster a process has its computing done."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_labels: dict[str, str] = {}


@contextmanager
def only_on_nodes(labels: Mapping[str, str]) -> Iterator[None]:
    """Have what the block starts, trainings and imports, run only on nodes with these labels.

    Args:
        labels: as Ray's label selectors: `{"raysys-nodes": "learning"}`. Empty: anywhere.
    """
    before = {**_labels}
    _set(labels)
    try:
        yield
    finally:
        _set(before)


def wanted_labels() -> dict[str, str] | None:
    """Return what a node must have, as Ray takes it; None: nothing."""
    return {**_labels} or None


def _set(labels: Mapping[str, str]) -> None:
    _labels.clear()
    _labels.update(labels)
