"""Statistics of readability, strongest connections, directions and bands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsejax import weights

pytestmark = pytest.mark.usefixtures("float64")


def slow(w, share):
    """Of one unit, weights (*places, channels)."""
    squares = w.reshape(-1, w.shape[-1]) ** 2
    held, inputs = np.sort(squares.sum(0))[::-1], 0
    while held[:inputs].sum() < share * held.sum():
        inputs += 1
    norm = np.sqrt(squares.sum())
    participation = squares.sum() ** 2 / (squares**2).sum() if norm else 0.0
    return norm, inputs, participation, np.count_nonzero(w), 0.0


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([1, 5]), st.integers(0, 99), st.sampled_from([0.3, 0.9]))
@pytest.mark.defaults
def test_statistics_unit_by_unit(channels, seed, share):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(2, 3, channels, 4)) * (rng.random((2, 3, 1, 4)) < 0.5)
    kernel[..., 0] = 0
    found = weights.statistics(kernel, share=share)
    wanted = np.array([slow(kernel[..., unit], share) for unit in range(4)]).T
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_equal_weights_take_part_equally(size):
    kernel = np.zeros((8, 2), np.float32)
    kernel[:5, 0] = size
    found = weights.statistics(kernel)
    assert found.participation.tolist() == [5.0, 0.0]
    assert found.inputs.tolist() == [5, 0] and found.live.tolist() == [5.0, 0.0]


def test_what_paths_cancel():
    """Two paths of 6 and -2, two of 1 and -1, none."""
    params = jnp.array([[1.0, 1.0]]), jnp.array([[6.0, 1.0, 0.0], [-2.0, -1.0, 0.0]])

    def fn(params, x):
        return jax.nn.relu(x @ params[0]) @ params[1]

    found = weights.expand(fn, params, None, None, size=(1,), split=True)
    readable = weights.statistics(found)
    assert readable.cancellation.tolist() == [0.5, 1.0, 0.0]
    assert readable.live.tolist() == [2.0, 2.0, 0.0]
    assert readable.norm.tolist() == [4.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="pass split=True"):
        weights.statistics(weights.expand(fn, params, None, None, size=(1,)))


def test_masked_networks_by_layer(rng):
    def layer(*shape):
        return {
            "kernel": rng.normal(size=shape),
            "bias": np.ones(shape[-1]),
        }

    params = {"dense_0": layer(5, 4), "dense_1": layer(4, 3)}
    stacked = {
        name: {
            "kernel": rng.integers(0, 2, (6, *params[name]["kernel"].shape)) * 1.0,
            "bias": np.ones(6),
        }
        for name in params
    }
    mask = jax.tree.map(lambda leaf: leaf[0], stacked)
    run = jax.jit(jax.vmap(lambda mask: weights.by_layer(params, mask)))
    found = run(stacked)
    assert set(found) == {"dense_0/kernel", "dense_1/kernel"}
    for i in (0, 5):
        kernel = params["dense_0"]["kernel"] * stacked["dense_0"]["kernel"][i]
        wanted = weights.statistics(kernel)
        for part, one in zip(found["dense_0/kernel"], wanted, strict=True):
            np.testing.assert_allclose(part[i], one, rtol=1e-12)
    with pytest.raises(ValueError, match="has no kernels"):
        weights.by_layer(params, jax.tree.map(lambda leaf: np.ones(()), mask))
    with pytest.raises(ValueError, match="missing: 'dense_1/bias'"):
        weights.by_layer(params, {"dense_0": mask["dense_0"]})


@pytest.mark.parametrize("share", [0, 1.1, -1, np.nan, "0.9", True, None])
def test_shares(share):
    with pytest.raises(ValueError, match="share must be in"):
        weights.statistics(np.ones((2, 2)), share=share)


@pytest.mark.parametrize(
    "kernel, message",
    [
        (np.ones((2, 2), int), "kernel must be of real numbers, got int64"),
        (np.ones((2, 2)) * 1j, "kernel must be of real numbers, got complex128"),
        ([[1.0]], "kernel must be one array, got a list of 1"),
        (np.ones(2), r"\(\.\.\., channels, units\), got \(2,\)"),
    ],
)
def test_kernels_that_are_none(kernel, message):
    with pytest.raises(ValueError, match=message):
        weights.statistics(kernel)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_live_weights_are_all_that_are_not_zero(dtype):
    """Numbers below the normal range too, as in `flowgraph.kernels`; inside `jit`."""
    least = jnp.finfo(dtype).smallest_subnormal
    kernel = np.array([[least, -least, 0.0], [-0.0, 1.0, -0.0]]).astype(dtype)
    for run in (weights.statistics, jax.jit(weights.statistics)):
        assert run(jnp.asarray(kernel)).live.tolist() == [1.0, 2.0, 0.0]


def test_counts_of_many_weights_in_16_bits():
    found = weights.statistics(jnp.ones((300, 2), jnp.bfloat16))
    assert found.live.tolist() == [300.0, 300.0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_a_mask_removes_does_not_matter(value):
    kernel, mask = jnp.array([[3.0, value], [value, 4.0]]), jnp.eye(2)
    params, mask = {"k": kernel, "b": jnp.ones(2)}, {"k": mask, "b": jnp.ones(())}
    for run in (weights.by_layer, jax.jit(weights.by_layer)):
        found = run(params, mask)["k"]
        assert found.norm.tolist() == [3.0, 4.0] and found.live.tolist() == [1.0, 1.0]


def test_a_share_of_all_is_all_that_are_not_zero():
    kernel = np.array([[3.0], [0.0], [0.1], [0.0]])
    assert weights.statistics(kernel, share=1).inputs.tolist() == [2]


def test_strongest_connections(rng):
    kernel = rng.normal(size=(2, 3, 6, 4))
    kernel[:, :, [1, 4], 2] = 0
    found = weights.strongest(kernel, 9)
    norms = np.sqrt((kernel**2).sum((0, 1)))
    for unit in range(4):
        order = sorted(range(6), key=lambda i: (-norms[i, unit], i))
        assert found.inputs[:, unit].tolist() == order
        np.testing.assert_allclose(found.norms[:, unit], norms[order, unit])
    np.testing.assert_array_equal(weights.strongest(kernel, 2).inputs, found.inputs[:2])
    with pytest.raises(ValueError, match="n must be at least 1"):
        weights.strongest(kernel, 0)
    with pytest.raises(ValueError, match=r"channels, units\), got \(6,\)"):
        weights.strongest(np.ones(6), 1)


def test_directions_by_place(rng):
    kernel = rng.normal(size=(2, 4, 3, 5))
    kernel[..., 2] = 0
    found = weights.directions(kernel)
    assert found.vectors.shape == (5, 2, 4, 3)
    np.testing.assert_array_equal(found.vectors[3, 1, 2], kernel[1, 2, :, 3])
    norms = np.linalg.norm(kernel[..., 3], axis=-1)
    np.testing.assert_allclose(found.strength[3], norms / norms.max())
    assert not found.strength[2].any() and found.strength[0].max() == 1


def test_banding(rng):
    rows, columns = np.zeros((5, 5)), np.zeros((5, 5))
    rows[1], columns[:, 3] = 2.0, 1.0
    checks = np.indices((5, 5)).sum(0) % 2 + 1.52 + 0.2 * rows
    maps = [rows + 1, columns + 1, rows + rows.T + 1, 1 + 0 * rows, 0 * rows, checks]
    towards = rng.normal(size=3)
    towards /= np.linalg.norm(towards)
    kernel = np.stack([m[..., None] * towards for m in maps], -1)
    found = weights.banding(kernel)
    np.testing.assert_allclose(found[:5], [1, -1, 0, 0, 0], atol=1e-12)
    assert 0 < found[5] < 0.5
    with pytest.raises(ValueError, match="height, width, channels, units"):
        weights.banding(np.ones((3, 3)))
