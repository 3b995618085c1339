"""Labels against geometry in float64, areas against binomial error, keys, and jit."""

import math
from functools import partial

import jax
import numpy as np
import pytest

from sparsejax import data

SQUARED_RADII = {"half": 2 / math.pi, "published": math.sqrt(2 / math.pi)}
spiral = jax.jit(data.spiral, static_argnames="n")
TOYS = [data.circle, partial(data.circle, variant="published"), data.spiral]


@pytest.mark.parametrize("toy", TOYS)
def test_shapes_and_dtypes_are_those_of_a_split(getkey, toy):
    split = toy(getkey(), 7)
    assert isinstance(split, data.Split)
    assert split.x.shape == (7, 2) and split.x.dtype == np.float32
    assert split.y.shape == (7,) and split.y.dtype == np.int32


@pytest.mark.parametrize("toy", TOYS)
def test_dtypes_do_not_follow_x64(getkey, toy):
    with jax.enable_x64(True):
        split = toy(getkey(), 7)
    assert split.x.dtype == np.float32 and split.y.dtype == np.int32


@pytest.mark.parametrize("toy", TOYS)
def test_same_key_same_points_and_other_key_other_points(toy):
    first, again = toy(jax.random.key(3), 50), toy(jax.random.key(3), 50)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.any(np.asarray(toy(jax.random.key(4), 50).x) == np.asarray(first.x))


@pytest.mark.parametrize("toy", TOYS)
def test_jit_and_vmap_draw_the_same_points(toy):
    def make_keys():
        return jax.random.split(jax.random.key(0), 3)  # a key serves once

    jitted = jax.jit(toy, static_argnames="n")
    batch = jax.jit(jax.vmap(lambda key: toy(key, 20)))(make_keys())
    for i in range(3):
        eager, compiled = toy(make_keys()[i], 20), jitted(make_keys()[i], n=20)
        np.testing.assert_allclose(compiled.x, eager.x, atol=1e-6)
        np.testing.assert_array_equal(compiled.y, eager.y)
        np.testing.assert_allclose(batch.x[i], eager.x, atol=1e-6)
        np.testing.assert_array_equal(batch.y[i], eager.y)


@pytest.mark.parametrize("toy", TOYS)
@pytest.mark.parametrize("n", [0, -3])
def test_no_points_is_an_error(getkey, toy, n):
    with pytest.raises(ValueError, match=f"n is {n}; expected .* at least 1"):
        toy(getkey(), n)


@pytest.mark.parametrize("variant", ["half", "published"])
def test_circle_labels_agree_with_geometry(getkey, variant):
    x, y = data.circle(getkey(), 20_000, variant=variant)
    x = np.asarray(x, np.float64)
    margin = (x**2).sum(axis=1) - SQUARED_RADII[variant]
    clear = np.abs(margin) > 1e-6  # float32 may round a point at the edge either way
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(np.asarray(y)[clear], (margin > 0)[clear])


@pytest.mark.parametrize(("variant", "inside"), [("half", 0.5), ("published", 0.6267)])
def test_circle_covers_its_share_of_the_square(getkey, variant, inside):
    n = 100_000
    x, y = data.circle(getkey(), n, variant=variant)
    error = math.sqrt(inside * (1 - inside) / n)
    assert abs(np.mean(np.asarray(y) == 0) - inside) < 4 * error
    # Uniform: each of the 16 squares of a 4x4 grid holds its share.
    cells, _, _ = np.histogram2d(*np.asarray(x).T, bins=4, range=[[-1, 1], [-1, 1]])
    assert cells.sum() == n
    assert np.all(np.abs(cells / n - 1 / 16) < 4 * math.sqrt(15 / 256 / n))


def test_circle_is_half_by_default():
    for drawn, default in zip(
        data.circle(jax.random.key(0), 99, variant="half"),
        data.circle(jax.random.key(0), 99),
        strict=True,
    ):
        np.testing.assert_array_equal(drawn, default)


def test_unknown_circle_variant_lists_both(getkey):
    with pytest.raises(ValueError, match="'ring'; expected 'half' or 'published'"):
        data.circle(getkey(), 5, variant="ring")


@pytest.mark.parametrize("n", [1, 2, 101, 500])
def test_spiral_arms_are_balanced_from_start_to_end(getkey, n):
    y = np.asarray(spiral(getkey(), n).y)
    assert set(y) <= {0, 1}
    ones, points = np.cumsum(y), np.arange(1, n + 1)
    assert np.all(np.abs(points - 2 * ones) <= 1)


@pytest.mark.parametrize("turns", [0.5, 1.5, 3.0])
def test_spiral_without_noise_lies_on_its_arms(getkey, turns):
    x, y = spiral(getkey(), 1000, turns=turns, noise=0.0)
    x = np.asarray(x, np.float64)
    radius, angle = np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])
    assert radius.min() > 0 and radius.max() < 1 + 1e-6
    arm = (angle - 2 * np.pi * turns * radius) / np.pi
    np.testing.assert_allclose(arm, np.round(arm), atol=1e-4)
    np.testing.assert_array_equal(np.round(arm) % 2, y)


def test_spiral_arms_are_apart(getkey):
    x, y = spiral(getkey(), 2000, noise=0.0)
    x, y = np.asarray(x, np.float64), np.asarray(y)
    outer = np.hypot(x[:, 0], x[:, 1]) > 0.2
    zero, one = x[outer & (y == 0)], x[outer & (y == 1)]
    gaps = np.linalg.norm(zero[:, None] - one[None], axis=-1)
    assert gaps.min() > 0.2  # 1 / (2 turns) = 1/3 along a ray, less across it


def test_spiral_points_are_even_along_the_arms(getkey):
    n = 100_000
    x, _ = spiral(getkey(), n, noise=0.0)
    inner = np.mean(np.linalg.norm(np.asarray(x, np.float64), axis=1) < 0.5)
    assert abs(inner - 0.25) < 4 * math.sqrt(0.25 * 0.75 / n)


def test_spiral_noise_is_normal_and_independent_of_the_place():
    n = 50_000
    still, moved = (
        np.asarray(spiral(jax.random.key(0), n, noise=noise).x, np.float64)
        for noise in (0.0, 0.1)
    )
    steps = (moved - still) / 0.1
    near = np.linalg.norm(still, axis=1) < 0.7
    for part in (steps, steps[near]):
        assert np.all(np.abs(part.mean(axis=0)) < 4 / math.sqrt(len(part)))
        assert np.all(np.abs(part.std(axis=0) - 1) < 4 / math.sqrt(2 * len(part)))
    assert abs(np.mean(np.abs(steps) < 1) - 0.6827) < 0.01
    assert abs(np.corrcoef(steps.T)[0, 1]) < 4 / math.sqrt(n)
