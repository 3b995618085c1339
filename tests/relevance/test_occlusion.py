"""Occlusion against a loop over windows."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax.relevance import occlusion

pytestmark = pytest.mark.usefixtures("float64")


def starts(length, side, stride):
    found = list(range(0, length - side + 1, stride))
    return found if found[-1] + side == length else [*found, length - side]


def by_loop(f, x, window, stride, value):
    total, times = np.zeros(x.shape), np.zeros(x.shape)
    axes = zip(x.shape, window, stride, strict=True)
    for corner in it.product(*(starts(*axis) for axis in axes)):
        place = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        hidden = x.copy()
        hidden[place] = np.broadcast_to(value, x.shape)[place]
        total[place] += f(x) - f(hidden)
        times[place] += 1
    assert times.min() >= 1
    return total / times


def network(params, x):
    return jnp.tanh(x.ravel() @ params) ** 2


def run(kernel, x, **options):
    """Occlusion in one compiled call."""

    def one(kernel, x):
        return occlusion(network, kernel, x, target=1, **options)

    return jax.jit(one)(kernel, x)


def setting(rng, shape):
    x, kernel = rng.normal(size=shape), rng.normal(size=(int(np.prod(shape)), 2))
    return x, kernel, lambda x: np.tanh(x.ravel() @ kernel)[1] ** 2


@pytest.mark.parametrize(
    "shape, window, stride, sides, steps",
    [
        ((7,), 3, None, (3,), (3,)),
        ((7,), 3, 2, (3,), (2,)),
        ((5, 6), 2, 1, (2, 2), (1, 1)),
        ((5, 6), (2, 4), (1, 3), (2, 4), (1, 3)),
        ((5, 4), (2,), None, (2, 4), (2, 4)),
        ((5, 4, 3), 2, None, (2, 2, 3), (2, 2, 3)),
        ((5, 4, 3), (2, 2, 1), None, (2, 2, 1), (2, 2, 1)),
        ((), 1, None, (), ()),
    ],
)
@pytest.mark.defaults
def test_by_a_loop_over_windows(shape, window, stride, sides, steps, rng):
    x, kernel, f = setting(rng, shape)
    wanted = by_loop(f, np.asarray(x), sides, steps, 0.3)
    for batch_size in (None, 2):
        found = run(
            kernel, x, window=window, stride=stride, baseline=0.3, batch_size=batch_size
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_any_windows(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=2)))
    window = tuple(data.draw(st.integers(1, side)) for side in shape)
    stride = tuple(data.draw(st.integers(1, side)) for side in window)
    x, kernel, f = setting(np.random.default_rng(len(shape)), shape)
    with jax.enable_x64(True):
        found = run(kernel, x, window=window, stride=stride)
    wanted = by_loop(f, x, window, stride, 0.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_what_hides_can_be_an_array(rng):
    x, kernel, f = setting(rng, (4, 3, 2))
    for value in (rng.normal(size=2), rng.normal(size=(4, 3, 2))):
        found = run(kernel, x, window=2, baseline=value)
        wanted = by_loop(f, x, (2, 2, 2), (2, 2, 2), value)
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


BAD = {
    "wide": ({"window": 5}, r"window is \(5, 5\), but x has shape \(4, 6\)"),
    "empty": ({"window": 0}, r"window is \(0, 0\), but"),
    "axes": ({"window": (1, 1, 1)}, r"window is \(1, 1, 1\), but x has shape"),
    "gaps": ({"window": 2, "stride": 3}, r"stride is \(3, 3\), but the window is \(2,"),
    "baseline": (
        {"window": 2, "baseline": np.ones(4)},
        r"baseline has shape \(4,\); .*\(4, 6\)",
    ),
    "more": (
        {"window": 2, "baseline": np.ones((2, 4, 6))},
        r"baseline has shape \(2, 4, 6",
    ),
    "NaN": ({"window": 2, "baseline": np.nan}, "not finite in 'input'"),
    "batches": ({"window": 2, "batch_size": 0}, "batch_size must be at least 1, got 0"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_refused(bad, rng):
    x, kernel, _ = setting(rng, (4, 6))
    options, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        occlusion(network, kernel, x, target=1, **options)
