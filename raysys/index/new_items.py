"""Vectors for items that came after the model: by its own tower where it reads features, else fit.

A model that has learnt from what is known of items says itself where a new one lies; its tower is
written into the release in a form that needs no torch. For models of ids alone `cold_start` finds
out where items of a kind lie.

Letters for shapes:
    N  items    D  width of an embedding
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from raysys.dataset.features import FeatureEncoder, Properties
from raysys.errors import DamagedReleaseError
from raysys.index.cold_start import ColdStart
from raysys.release import COLD_START_ENCODER, COLD_START_TOWER, Release

VectorsOf = Callable[[Sequence[Properties]], NDArray[np.float32]]
"""From what is known of N items to their vectors, (N, D)."""


def vectors_of_new_items(release: Release) -> VectorsOf:
    """Return what gives new items of a release their vectors.

    Raises:
        DamagedReleaseError: its files cannot be read, or are not those that were published.
    """
    if COLD_START_TOWER in release.manifest.files:
        return ItemTower.open(release).vectors
    return ColdStart.open(release).vectors


class ItemTower:
    """A trained tower of features without ids, see `raysys.models.features`.

    Args:
        layers: W_0, b_0, W_1, b_1 and so on, each W (inputs, outputs). The last one has the width
            of the index, padded.
    """

    def __init__(self, encoder: FeatureEncoder, layers: Sequence[NDArray[np.float32]]) -> None:
        self._encoder = encoder
        self._layers = [each.astype(np.float64) for each in layers]

    def vectors(self, properties: Sequence[Properties]) -> NDArray[np.float32]:
        """Return one vector per item, (N, D), which depends on its own properties alone."""
        bags = self._encoder.encode_properties(properties)
        return bags.projected(self._layers).astype(np.float32)

    def save(self, release: Path) -> None:
        """Write the files of a release draft that `open` reads."""
        (release / COLD_START_TOWER).parent.mkdir(exist_ok=True)
        self._encoder.save(release / COLD_START_ENCODER)
        layers = {f"{place:03}": each.astype(np.float32) for place, each in enumerate(self._layers)}
        save_file(layers, release / COLD_START_TOWER)

    @classmethod
    def open(cls, release: Release) -> "ItemTower":
        """Read what `save` wrote, after checking its hashes.

        Raises:
            DamagedReleaseError: a file is missing, altered or unreadable.
            ConfigError: texts cannot be read here as they were in training.
        """
        release.verify(COLD_START_ENCODER, COLD_START_TOWER)
        try:
            encoder = FeatureEncoder.open(release.file(COLD_START_ENCODER))
            layers = load_file(release.file(COLD_START_TOWER))
        except (OSError, ValueError, ValidationError, SafetensorError) as error:
            raise DamagedReleaseError(
                f"Release {release.name} is damaged: what gives new items their vectors cannot be "
                f"read ({error}). Build the release again."
            ) from error
        encoder.check_models()
        found = [layers[name] for name in sorted(layers)]
        expected = (encoder.num_features, release.manifest.embedding_dim)
        if (len(found[0]), found[-1].shape[-1]) != expected:
            raise DamagedReleaseError(
                f"Release {release.name} cannot place new items: {COLD_START_TOWER} reads "
                f"{len(found[0])} features and gives vectors of width {found[-1].shape[-1]}, but "
                f"it has {expected[0]} features and its index is {expected[1]} wide. Build the "
                f"release again."
            )
        return cls(encoder, found)
