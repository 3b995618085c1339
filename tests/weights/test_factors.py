"""One-sided factors: against scikit-learn, and where the answer is known."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF

from sparsejax import weights

SHAPE = (3, 3, 12, 6)  # the same in most tests: compiling is what takes time
pytestmark = pytest.mark.usefixtures("float64")


def side_by_side(kernel, form):
    """The non-negative matrices, one for every unit, or one for all."""
    channels, units = kernel.shape[-2:]
    flat = kernel.reshape(-1, channels, units)

    def both(w, axis):
        return np.concatenate([np.maximum(w, 0), np.maximum(-w, 0)], axis)

    if form == "unit":
        return [both(flat[..., unit], 1) for unit in range(units)]
    return [both(flat.swapaxes(1, 2).reshape(-1, channels), 0)]


def peer(matrix, n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = NMF(n, max_iter=400).fit(matrix)
    return fitted.reconstruction_err_ / np.linalg.norm(matrix)


def draw(seed, shape, part=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * (rng.random(shape) < part)


@pytest.mark.parametrize("form", ["unit", "group"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.defaults
def test_errors_are_no_larger_than_scikit_learns(form, seed, n=3, shape=SHAPE):
    """Of dense and of pruned kernels."""
    kernel = draw(seed, shape, 0.4 if seed % 2 else 1.0)
    found = weights.factor(kernel, n, form)
    wanted = [peer(matrix, n) for matrix in side_by_side(kernel, form)]
    assert (np.atleast_1d(found.error) <= np.array(wanted) + 1e-6).all()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 3, 16, 10), (5, 5, 24, 6)])
@pytest.mark.parametrize("n", [2, 3])
def test_more_errors_are_no_larger_than_scikit_learns(shape, n):
    for seed in range(8):
        for form in ("unit", "group"):
            test_errors_are_no_larger_than_scikit_learns(form, seed, n, shape)


@pytest.mark.parametrize("form", ["unit", "group"])
def test_the_same_twice_and_what_the_factors_are(form):
    kernel = draw(3, SHAPE)
    found, again = (weights.factor(kernel, 3, form) for _ in range(2))
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, other)
    if form == "unit":
        assert found.maps.shape == (3, 3, 3, 6) and found.channels.shape == (3, 12, 6)
        assert (found.maps >= 0).all() and (found.channels < 0).any()
        norms = np.sqrt(np.square(found.maps).sum((0, 1)))
        assert (np.diff(norms, axis=0) <= 0).all()
    else:
        assert found.maps.shape == (3, 3, 3, 6) and found.channels.shape == (3, 12)
        assert (found.channels >= 0).all() and (found.maps < 0).any()
        np.testing.assert_allclose(np.linalg.norm(found.channels, axis=1), 1)


def test_planted_factors_are_found():
    """Two maps on channels of their own: separable, so the factors are unique."""
    rng = np.random.default_rng(0)
    maps = rng.uniform(size=(5, 5, 2)) * np.array([2.0, 1.0])
    maps[0, 0], maps[0, 1] = (2, 0), (0, 1)  # a place of each alone
    channels = np.zeros((2, 8))
    channels[0, :4], channels[1, 4:] = rng.normal(size=4), rng.normal(size=4)
    kernel = np.einsum("yxn,nc->yxc", maps, channels)[..., None]
    found = weights.factor(kernel, 2)
    back = np.einsum("yxnu,ncu->yxcu", found.maps, found.channels)
    np.testing.assert_allclose(back, kernel, atol=1e-5)
    assert found.error.item() < 1e-6
    size = np.linalg.norm(channels, axis=1)
    order = np.argsort(-np.linalg.norm(maps * size, axis=(0, 1)))
    wanted = (channels / size[:, None])[order]
    np.testing.assert_allclose(found.channels[..., 0], wanted, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["unit", "group"]), st.integers(1, 2), st.integers(0, 99))
def test_as_many_factors_as_channels_are_exact(form, channels, seed):
    """Single channels, and more factors than there are: the weights themselves."""
    kernel = draw(seed, (2, 3, channels, 2), 0.7)
    found = weights.factor(kernel, 6, form)
    sums = "yxnu,ncu->yxcu" if form == "unit" else "yxnu,nc->yxcu"
    back = np.einsum(sums, found.maps, found.channels)
    np.testing.assert_allclose(back, kernel, atol=1e-12)
    np.testing.assert_allclose(found.error, 0, atol=1e-12)


@pytest.mark.parametrize("form", ["unit", "group"])
@pytest.mark.parametrize("n", [3, 20])
def test_what_is_zero_stays_so(form, n):
    kernel = draw(0, SHAPE)
    kernel[..., 1] = 0
    for part in (kernel, np.zeros_like(kernel)):
        found = weights.factor(part, n, form)
        assert not np.asarray(found.maps)[..., 1].any()
        assert all(np.isfinite(array).all() for array in found)
    assert not np.asarray(found.error).any() and not np.asarray(found.channels).any()


@pytest.mark.slow
def test_a_dense_layer_and_float32():
    kernel = draw(1, (12, 54)).astype(np.float32)
    one = weights.factor(kernel, 2)  # one place: the kernel itself
    np.testing.assert_allclose(one.maps[0] * one.channels[0], kernel, rtol=1e-6)
    found = weights.factor(kernel, 3, "group")
    assert found.maps.shape == (3, 54) and found.maps.dtype == np.float32
    wanted = weights.factor(kernel.astype(np.float64), 3, "group")
    np.testing.assert_allclose(found.error, wanted.error, rtol=1e-5)


@pytest.mark.parametrize(
    "kernel, n, form, message",
    [
        (np.ones((3, 3)), 0, "unit", "n of at least 1"),
        (np.ones((3, 3)), 2, "both", "no form 'both'; there are \"unit\" and"),
        (np.ones(3), 2, "unit", r"got float64\(3,\)"),
        (np.ones((3, 3), int), 2, "unit", "in floating point"),
        (np.full((3, 3), np.nan), 2, "unit", "must be finite"),
    ],
)
def test_what_does_not_fit(kernel, n, form, message):
    with pytest.raises(ValueError, match=message):
        weights.factor(kernel, n, form)
