"""Histories that come some users at a time, kept in files and mapped: no memory for them all."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raysys.arrow_file import NumbersOnDisk
from raysys.dataset.histories import Histories


class Spool:
    """Users in the order in which they were appended. In memory are their ids and lengths alone.

    Args:
        work: a directory for the files; it may be removed once `histories` was called, they stay
            mapped.
        vocabulary_hash: of the vocabulary that gives the item numbers.
    """

    def __init__(self, work: Path, vocabulary_hash: str) -> None:
        self._directory = work / uuid.uuid4().hex
        self._directory.mkdir()
        self._vocabulary_hash = vocabulary_hash
        self._user_ids: list[pa.StringArray] = [pa.array([], pa.string())]
        self._offsets = [np.zeros(1, np.int64)]
        self._num_interactions = 0
        self._columns: dict[str, NumbersOnDisk] = {}

    def append(self, block: Histories) -> None:
        """Write some users behind those before.

        Raises:
            ValueError: some blocks have weights, labels, types or contexts and some have none.
        """
        values = block.columns_at(slice(None))
        if not self._columns:
            self._columns = {
                name: NumbersOnDisk(self._directory / name, pa.from_numpy_dtype(each.dtype))
                for name, each in values.items()
            }
        if values.keys() != self._columns.keys():
            raise ValueError("Histories with different columns cannot be joined.")
        for name, column in self._columns.items():
            column.append(values[name])
        self._user_ids.append(block.user_ids)
        self._offsets.append(block.offsets[1:] + self._num_interactions)
        self._num_interactions += block.num_interactions

    def histories(self) -> Histories:
        """Return all users, mapped; nothing may be appended any more."""
        columns: dict[str, Any] = {
            "item_nums": np.zeros(0, np.int32),
            "occurred_at_us": np.zeros(0, np.int64),
        }
        columns |= {name: each.column().to_numpy() for name, each in self._columns.items()}
        return Histories(
            pa.concat_arrays(self._user_ids),
            np.concatenate(self._offsets),
            **columns,
            vocabulary_hash=self._vocabulary_hash,
        )
