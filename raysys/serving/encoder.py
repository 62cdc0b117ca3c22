"""The query encoder's work: the model of one release, and histories turned into queries."""

import logging

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.bags import Bags
from raysys.dataset.features import Properties
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.models.device import usable_gpu
from raysys.models.encode import HistoryEncoder
from raysys.models.weights import load_model
from raysys.release import MODEL_DIRECTORY, USER_VOCABULARY, Release
from raysys.serving.exchange import EncodeRequest

_LOG = logging.getLogger("raysys.serving")


class ReleaseEncoder:
    """Encodes exactly as evaluation does, so that both rank alike. One thread at a time."""

    def __init__(self, users: Vocabulary, encoder: HistoryEncoder) -> None:
        self._users = users
        self._encoder = encoder

    @classmethod
    def load(cls, release: Release, wants_gpu: bool = False) -> "ReleaseEncoder":
        """Check the hashes of the model's files and load it.

        Args:
            wants_gpu: encode on the GPU that Ray gave to this process; without one that torch can
                use, on the CPU all the same, and say so in the log.

        Raises:
            DamagedReleaseError, ReleaseMismatchError: the release cannot be used.
        """
        files = [name for name in release.manifest.files if name.startswith(f"{MODEL_DIRECTORY}/")]
        release.verify(USER_VOCABULARY, *files)
        users = Vocabulary.open(release.file(USER_VOCABULARY))
        model = load_model(release.path / MODEL_DIRECTORY, vocabulary=release.manifest.vocabulary)
        return cls(users, HistoryEncoder(model, usable_gpu() if wants_gpu else None))

    def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        """Return (B, D); zeros for a user of whom the model knows nothing."""
        histories = Histories(
            pa.array(request.user_ids, type=pa.string()),
            request.offsets,
            request.item_nums,
            request.occurred_at_us,
            event_types=request.event_types,
            asked_in=request.contexts,
        )
        num_buckets = self._encoder.num_user_buckets
        user_nums = self._users.numbers(request.user_ids, num_buckets=num_buckets)
        said = {row: self._features(text) for row, text in request.properties.items()}
        known = {row: features for row, features in said.items() if features is not None}
        about = {row: self._features_of_item(said) for row, said in request.items_said.items()}
        return self._encoder.encode(
            histories,
            user_nums=user_nums,
            said=known,
            about={row: features for row, features in about.items() if features is not None},
        )

    def _features(self, properties: str) -> Bags | None:
        """Return what the model reads of a user; None where it reads nothing."""
        try:
            return self._encoder.features_of_user(msgspec.json.decode(properties))
        except Exception:  # what one client put must not keep all others from their lists
            _LOG.exception("What was put of a user cannot be read, and counts as never put.")
            return None

    def _features_of_item(self, properties: Properties) -> Bags | None:
        """Return what the model reads of an item that is asked about; None: it reads nothing."""
        try:
            return self._encoder.features_of_item(properties)
        except Exception:
            _LOG.exception("What was put of an item cannot be read, and counts as never put.")
            return None
