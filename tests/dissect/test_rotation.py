"""Rotations: orthogonal, on a path, evenly drawn."""

import jax
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import dissect


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 1000), st.floats(-1, 1), st.floats(-1, 1))
def test_a_path_of_rotations(units, seed, a, b):
    def key():
        return jax.random.key(seed)

    path = dissect.rotation(key(), units, [a, b, a + b, 0, 0.5, 1])
    for q in path:
        np.testing.assert_allclose(q @ q.T, np.eye(units), atol=1e-12)
        assert np.linalg.det(q) == pytest.approx(1)

    def close(x, y):
        return np.testing.assert_allclose(x, y, atol=1e-10)

    close(path[0] @ path[1], path[2])
    close(path[3], np.eye(units))
    close(path[4] @ path[4], path[5])
    close(dissect.rotation(key(), units), path[5])
    close(dissect.rotation(key(), units, 0.5), path[4])


def test_fractions_against_matrix_logarithms(getkey):
    end, quarter, most = dissect.rotation(getkey(), 6, np.array([1, 0.25, 0.9]))
    log = scipy.linalg.logm(end)
    for power, found in ((0.25, quarter), (0.9, most)):
        wanted = scipy.linalg.expm(power * log).real
        np.testing.assert_allclose(found, wanted, atol=1e-10)


def test_axes_go_anywhere():
    keys = jax.random.split(jax.random.key(0), 250)
    drawn = np.stack([dissect.rotation(key, 3) for key in keys])
    assert np.abs(drawn.mean(0)).max() < 5 / np.sqrt(3 * 250)
    np.testing.assert_allclose((drawn**2).mean(0), np.full((3, 3), 1 / 3), atol=0.08)
    # Over rotations of three axes the mean of the squared trace is one.
    assert np.trace(drawn, axis1=1, axis2=2).var() == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(("units", "power"), [(0, 1), (3, np.inf), (3, np.nan)])
def test_no_rotation(units, power, getkey):
    with pytest.raises(ValueError, match=f"no rotation of {units} units"):
        dissect.rotation(getkey(), units, power)


@pytest.mark.parametrize("kind", [tuple, list, iter, np.array])
def test_powers_may_come_from_anywhere(kind):
    def turn(power):
        return dissect.rotation(jax.random.key(0), 3, power)

    powers = 0.0, 0.5, 1.0
    for one, power in zip(turn(kind(powers)), powers, strict=True):
        np.testing.assert_allclose(one, turn(power), atol=1e-12)
