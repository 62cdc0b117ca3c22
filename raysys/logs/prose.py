"""Texts about items, made fit to be read by a model: no markup, no extra spaces, not too long."""

import html

import pyarrow as pa
import pyarrow.compute as pc

from raysys.logs.texts import holds

MAX_CHARACTERS = 20_000
"""What lies behind is cut off, as Personalize does."""

MAX_CHARACTERS_CJ = 7_000
"""The same of texts in Chinese or Japanese, which say more with as many characters."""

_CHINESE_OR_JAPANESE = r"[\p{Han}\p{Hiragana}\p{Katakana}]"

_NOT_TEXT = r"(?is)<!--.*?-->|<(script|style)\b.*?</(script|style)\s*>"
_TAG = r"(?s)</?[A-Za-z][^<>]*>|<![A-Za-z][^<>]*>"


def cleaned(texts: pa.StringArray) -> pa.StringArray:
    """Return texts without HTML tags, comments and scripts, with entities as the characters.

    White space of any kind and length is one space, and none at the ends; a text that has nothing
    else is null. A lone `<`, as in "a < b", is no tag. A text is Chinese or Japanese if more than
    half of its letters are.
    """
    if holds(texts, ord("<")):
        texts = pc.replace_substring_regex(texts, _NOT_TEXT, " ")
        texts = pc.replace_substring_regex(texts, _TAG, " ")
    if holds(texts, ord("&")):
        unescaped = [None if one is None else html.unescape(one) for one in texts.to_pylist()]
        texts = pa.array(unescaped, pa.string())
    texts = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"[\s\p{Z}]+", " "))
    texts = pc.utf8_slice_codeunits(texts, 0, MAX_CHARACTERS)
    if (pc.max(pc.binary_length(texts)).as_py() or 0) > MAX_CHARACTERS_CJ:
        shorter = pc.utf8_slice_codeunits(texts, 0, MAX_CHARACTERS_CJ)
        texts = pc.if_else(_is_chinese_or_japanese(texts), shorter, texts)
    texts = pc.utf8_rtrim_whitespace(texts)
    return pc.if_else(pc.equal(pc.binary_length(texts), 0), pa.scalar(None, pa.string()), texts)


def _is_chinese_or_japanese(texts: pa.StringArray) -> pa.BooleanArray:
    """Say of which texts more than half of the letters are; null where there is no text."""
    letters = pc.count_substring_regex(texts, r"\p{L}")
    theirs = pc.count_substring_regex(texts, _CHINESE_OR_JAPANESE)
    return pc.greater(pc.multiply(theirs, 2), letters)
