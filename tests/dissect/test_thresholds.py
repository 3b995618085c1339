"""Thresholds against a sort of everything."""

import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import dissect


def by_sorting(values, quantile):
    passing = math.floor(Fraction(str(quantile)) * len(values))
    return np.sort(values, axis=0)[::-1][passing]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(10, 300),
    st.integers(1, 40),
    st.sampled_from([0.1, 0.29, 0.5, 0.9]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_any_chunks_give_what_sorting_gives(total, size, quantile, ties, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(total, 3)).astype(np.float32)
    values = np.round(values) if ties else values
    chunks = (values[i : i + size] for i in range(0, total, size))
    found = dissect.thresholds(chunks, quantile, total=total)
    wanted = by_sorting(values, quantile)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(dissect.thresholds(values, quantile), wanted)
    above = (values > found).sum(0)
    most = math.floor(Fraction(str(quantile)) * total)
    assert (above <= most).all() and (ties or (above == most).all())


def test_counts_are_not_those_of_rounded_products():
    assert 0.29 * 100 < 29
    assert dissect.thresholds(np.arange(100.0)[:, None], 0.29) == 70


def test_places_are_values(rng):
    maps = rng.normal(size=(6, 5, 4, 3))
    wanted = by_sorting(maps.reshape(-1, 3), 0.05)
    np.testing.assert_array_equal(dissect.thresholds(maps, 0.05), wanted)
    chunks = [maps[:2], maps[2:]]
    np.testing.assert_array_equal(dissect.thresholds(chunks, 0.05, total=120), wanted)
    single = dissect.thresholds(jnp.asarray(maps, "float32"), 0.05)
    np.testing.assert_array_equal(single, wanted.astype(np.float32))


def test_a_unit_that_is_nearly_always_zero_has_threshold_zero():
    values = np.zeros((1000, 1))
    values[:4] = 1
    assert dissect.thresholds(values, 0.005) == 0


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 1.5, float("nan")])
def test_quantiles_out_of_range(quantile):
    with pytest.raises(ValueError, match="quantile must be between 0 and 1"):
        dissect.thresholds(np.zeros((9, 2)), quantile)


def test_bad_values():
    values = np.zeros((10, 3))
    with pytest.raises(ValueError, match="0.05 of 10 values .* at least 20"):
        dissect.thresholds(values, 0.05)
    with pytest.raises(ValueError, match="0.05 of 0 values"):
        dissect.thresholds(values[:0], 0.05)
    with pytest.raises(ValueError, match="total is missing"):
        dissect.thresholds([values], 0.5)
    with pytest.raises(ValueError, match="have 10 values of a unit, but total is 11"):
        dissect.thresholds([values], 0.5, total=11)
    values[4, 1] = np.nan
    with pytest.raises(ValueError, match="of 1 units are not finite, unit 1 first"):
        dissect.thresholds(values, 0.5)
