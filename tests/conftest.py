"""Strict settings for every test: dtypes never promote silently, keys never repeat."""

import itertools as it
import os

import jax
import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "agg")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def getkey():
    """A function that returns a fresh key at every call."""
    counter = it.count()
    return lambda: jax.random.key(next(counter))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
