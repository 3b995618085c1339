"""Words of error messages: right values, one row each."""

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax._patterns import matches
from sparsejax._words import cut, described, first_line, graphemes, listed


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        ("x", "the str 'x'"),
        (True, "the bool True"),
        ({}, "a dict of nothing"),
        ({"a": 1, "b": 2}, "a dict of 'a', 'b'"),
        ([1, 2], "a list of 2"),
        (np.float32(1), "float32 of shape ()"),
        (jnp.ones((2, 3), jnp.int32), "int32 of shape (2, 3)"),
    ],
)
def test_described(value, words):
    assert described(value) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a\nb"), "a"),
        (ValueError("\n a"), "a"),
        (KeyError(), "KeyError"),
        (ValueError("wrong. (https://flax.example/errors.html#Wrong)"), "wrong."),
    ],
)
def test_first_line(error, words):
    assert first_line(error) == words


def test_listed():
    assert listed([]) == "none"
    assert listed("ab") == "'a', 'b'"
    assert listed("abc", most=2) == "'a', 'b' and 1 more"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("abc", 3),
        ("e\u0301a", 2),
        ("\U0001f1eb\U0001f1f7\U0001f1e9\U0001f1ea", 2),  # two flags
        ("\U0001f469\u200d\U0001f52c", 1),  # a woman, joined to a microscope
        ("\U0001f44d\U0001f3fd", 1),  # a thumb, and its colour
    ],
)
def test_graphemes(text, count):
    assert len(graphemes(text)) == count and "".join(graphemes(text)) == text
    assert cut(text, count) == text
    assert count < 2 or cut(text, count - 1).endswith("…")


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a/b:post", "*:post", True),
        ("a/b:post", "b:post", False),
        ("K[3]:in", "K[3]:*", True),
        ("K3:in", "K[3]:*", False),
        ("K[3]", "K[?]", True),
        ("A", "a", False),
        ("a]b", "a]?", True),
    ],
)
def test_matches(name, pattern, expected):
    assert matches(name, pattern) == expected
