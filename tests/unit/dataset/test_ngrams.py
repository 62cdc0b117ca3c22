"""Words and threes of characters, checked against a plain loop over the text."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset.ngrams import ngrams

texts = st.lists(st.text("aAbz 9-é中文|", max_size=12), max_size=5)


def plain_ngrams(text: str) -> set[str]:
    """Return what the n-grams are, word by word; a word has a mark that tells it from three."""
    found = set()
    for word in re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower()):
        padded = f" {word} "
        found |= {f"word:{word}"} | {padded[i - 1 : i + 2] for i in range(1, len(padded) - 1)}
    return found


@given(texts)
def test_a_text_has_the_ngrams_that_a_plain_loop_finds(given_texts):
    rows, hashes = ngrams(pa.array(given_texts, pa.string()))
    names = [plain_ngrams(text) for text in given_texts]
    assert np.bincount(rows, minlength=len(names)).tolist() == [len(each) for each in names]
    # Equal names have equal hashes and different ones different ones: sets overlap alike.
    found = [set(hashes[rows == row].tolist()) for row in range(len(names))]
    for one, its_names in zip(found, names, strict=True):
        for other, other_names in zip(found, names, strict=True):
            assert len(one & other) == len(its_names & other_names)


def test_a_words_hash_does_not_depend_on_what_stands_around_it():
    _, alone = ngrams(pa.array(["toys"]))
    rows, among = ngrams(pa.array(["of Toys, and men", "x", "Toys"]))
    assert set(alone) <= set(among[rows == 0])
    assert set(alone) == set(among[rows == 2])


def test_the_hashes_are_the_same_for_ever():
    # Releases hold what these hashes were found in: with others their features would be wrong.
    found = ngrams(pa.array(["it"]))[1].tolist()
    assert found == [2851845893700353236, 11789943824624698033, 13890065009225203350]


def test_null_and_signs_alone_have_no_ngrams():
    rows, hashes = ngrams(pa.array([None, "", "--- !", "a"], pa.string()))
    assert rows.tolist() == [3, 3]  # the word, and " a "
    assert len(set(hashes.tolist())) == 2
