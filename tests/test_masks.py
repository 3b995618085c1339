"""Masks against loops in NumPy, and the algebra that they obey."""

import itertools as it
from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import models
from sparsejax.masks import Masks

SHAPES = {"kernel": (3, 4), "node": (5,), "one": (1,)}
SIZE = 18


def random_mask(seed):
    """Three leaves of zeros and ones and, not to be counted, one of no axes."""
    rng = np.random.default_rng(seed)
    chance = rng.random()

    def draw(shape):
        return jnp.asarray(rng.random(shape) < chance, jnp.float32)

    return {"bias": jnp.ones(()), **{k: draw(s) for k, s in SHAPES.items()}}


def entries(tree):
    """All entries that count, as one vector; a leading axis stays."""
    return np.concatenate([np.asarray(tree[k]).reshape(-1) for k in SHAPES])


some = st.integers(0, 2**32 - 1).map(random_mask)
ONES = random_mask(0) | {k: jnp.ones(s) for k, s in SHAPES.items()}
NONE = jax.tree.map(lambda m: 0 * m if m.ndim else m, ONES)
quick = settings(max_examples=25, deadline=None)


@quick
@given(some, some)
def test_counting_and_comparing_equal_numpy(a, b):
    p, q = entries(a) != 0, entries(b) != 0
    assert sj.masks.count(a) == p.sum() and sj.masks.count(a).dtype == jnp.int32
    np.testing.assert_allclose(sj.masks.density(a), p.mean(), rtol=1e-6)
    assert sj.masks.sizes(a) == {k: np.prod(s) for k, s in SHAPES.items()}
    assert sj.masks.counts(a) == {k: int(np.sum(a[k])) for k in SHAPES}
    union = (p | q).sum()
    ratio = (p & q).sum() / union if union else 1.0
    np.testing.assert_allclose(sj.masks.overlap(a, b), ratio, rtol=1e-6)
    assert sj.masks.is_nested(a, b) == (q[p]).all()


@quick
@given(some, some)
def test_overlap_and_nestedness_obey_their_algebra(a, b):
    both = jax.tree.map(jnp.multiply, a, b)
    either = jax.tree.map(jnp.maximum, a, b)
    forth, back = sj.masks.overlap(a, b), sj.masks.overlap(b, a)
    assert forth == back and 0 <= forth <= 1
    assert sj.masks.overlap(a, a) == 1
    for whole in (a, b):
        assert sj.masks.is_nested(both, whole) and sj.masks.is_nested(whole, either)
    equal = (entries(a) == entries(b)).all()
    assert (sj.masks.is_nested(a, b) and sj.masks.is_nested(b, a)) == equal
    assert sj.masks.is_nested(a, a) and sj.masks.is_nested(NONE, a)


def test_a_leaf_without_axes_counts_for_nothing():
    assert sj.masks.count(NONE) == 0 and sj.masks.density(NONE) == 0
    assert sj.masks.overlap(NONE, NONE) == 1 and sj.masks.overlap(NONE, ONES) == 0
    assert sj.masks.count(Masks(ONES, {"hidden_0": jnp.ones(7)})) == SIZE + 7
    assert sj.masks.count(jnp.ones((2, 3))) == 6


@quick
@given(some)
def test_apply_multiplies_and_zero_writes_positive_zeros(mask):
    rng = np.random.default_rng(1)
    params = {k: jnp.asarray(rng.normal(size=SHAPES.get(k, 4)), "f4") for k in mask}
    applied, zeroed = sj.masks.apply(params, mask), sj.masks.zero(params, mask)
    for k, param in params.items():
        expected = np.where(mask[k], param, 0)
        np.testing.assert_array_equal(applied[k], expected)
        np.testing.assert_array_equal(zeroed[k], expected)
        assert not np.signbit(zeroed[k])[expected == 0].any()


def test_zero_removes_what_a_product_cannot():
    leaf, mask = jnp.array([jnp.nan, -jnp.inf, -2.0, -2.0]), jnp.array([0.0, 0, 0, 1])
    zeroed = np.asarray(sj.masks.zero({"w": leaf}, {"w": mask})["w"])
    assert zeroed.tobytes() == np.array([0, 0, 0, -2], np.float32).tobytes()


def test_apply_leaves_counters_and_keys_alone():
    params = {"w": jnp.full(3, 2.0), "n": jnp.int32(7), "k": jax.random.key(3)}
    weights = {"w": jnp.zeros(3), "n": jnp.ones(()), "k": jnp.ones(())}
    applied = sj.masks.apply(params, weights)
    assert applied["n"] == 7 and applied["n"].dtype == jnp.int32
    assert applied["k"] == jax.random.key(3) and not applied["w"].any()


def test_bernoulli_keeps_the_asked_for_fraction():
    draw = jax.jit(lambda key: sj.masks.bernoulli(key, ONES, 0.3, (4000,)))
    drawn = jax.device_get(draw(jax.random.key(0)))
    for k, shape in SHAPES.items():
        leaf = drawn[k]
        assert leaf.shape == (4000, *shape) and leaf.dtype == np.float32
        assert set(np.unique(leaf)) == {0.0, 1.0}
        error = np.sqrt(0.3 * 0.7 / 4000)
        assert np.abs(leaf.mean(axis=0) - 0.3).max() < 5 * error
    assert drawn["bias"].shape == (4000,) and (drawn["bias"] == 1).all()
    flat = np.concatenate([drawn[k].reshape(4000, -1) for k in SHAPES], axis=1)
    correlation = np.corrcoef(flat.T) - np.eye(SIZE)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_samplers_repeat_with_their_key():
    for sample in (
        lambda key: sj.masks.bernoulli(key, ONES, 0.5, (2, 3)),
        lambda key: sj.masks.fixed_size(key, ONES, 9, (2, 3)),
    ):
        drawn = map(jax.jit(sample), map(jax.random.key, (0, 0, 1)))
        one, again, other = jax.device_get(list(drawn))
        assert one["kernel"].shape == (2, 3, 3, 4) and one["bias"].shape == (2, 3)
        jax.tree.map(np.testing.assert_array_equal, one, again)
        assert (one["kernel"] != other["kernel"]).any()
        assert (one["kernel"][0, 0] != one["kernel"][1, 2]).any()


def test_bernoulli_at_the_ends_and_with_a_traced_chance():
    key = jax.random.key(0)
    chances = jnp.array([0.0, 1.0])
    draw = jax.jit(jax.vmap(lambda p: sj.masks.bernoulli(key, ONES, p)))
    ends = draw(chances)
    for k in SHAPES:
        assert (ends[k][0] == 0).all() and (ends[k][1] == 1).all()


@quick
@given(st.integers(0, SIZE), st.integers(0, 2**32 - 1))
def test_fixed_size_keeps_exactly_that_many(kept, seed):
    drawn = sj.masks.fixed_size(jax.random.key(seed), ONES, kept, (3,))
    assert drawn["bias"].tolist() == [1, 1, 1]
    for i in range(3):
        row = jax.tree.map(lambda leaf, i=i: leaf[i], drawn)
        assert set(np.unique(entries(row))) <= {0.0, 1.0}
        assert entries(row).sum() == kept


def test_fixed_size_is_uniform_over_masks():
    tree = {"a": jnp.ones(2), "b": jnp.ones((1, 2))}
    draw = jax.jit(lambda key: sj.masks.fixed_size(key, tree, 2, (6000,)))
    drawn = draw(jax.random.key(0))
    rows = np.concatenate([drawn["a"], drawn["b"][:, 0]], axis=1)
    seen = Counter(map(tuple, rows.astype(int).tolist()))
    assert len(seen) == 6  # 4 choose 2
    assert max(abs(n - 1000) for n in seen.values()) < 5 * np.sqrt(6000 * 5 / 36)


def test_fixed_size_inside_jit():
    def draw(key):
        return sj.masks.fixed_size(key, ONES, 7, (3,))

    inside, outside = jax.jit(draw)(jax.random.key(5)), draw(jax.random.key(5))
    jax.tree.map(np.testing.assert_array_equal, inside, outside)


def test_subsets_are_the_binary_numbers():
    for n, start, stop in [(5, 0, None), (5, 3, 17), (0, 0, None), (4, 16, 16)]:
        numbers = range(start, 1 << n if stop is None else stop)
        expected = [[m >> i & 1 for i in range(n)] for m in numbers]
        got = sj.masks.subsets(n, start, stop)
        np.testing.assert_array_equal(got, np.reshape(expected, (len(numbers), n)))
    last = np.asarray(sj.masks.subsets(31, 2**31 - 2))
    assert last.sum(axis=1).tolist() == [30, 31] and last[0, 0] == 0


@quick
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_flip_path_flips_every_unit_once(seed, given_start):
    begin = jnp.array([1.0, 0, 0, 1, 0, 1]) if given_start else None
    path = np.asarray(sj.masks.flip_path(jax.random.key(seed), 6, begin))
    assert path.shape == (7, 6) and set(np.unique(path)) <= {0.0, 1.0}
    assert (np.abs(np.diff(path, axis=0)).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(path[-1], 1 - path[0])
    if given_start:
        np.testing.assert_array_equal(path[0], begin)


def test_flip_paths_start_and_go_anywhere():
    keys = jax.random.split(jax.random.key(0), 3000)
    paths = np.asarray(jax.jit(jax.vmap(lambda key: sj.masks.flip_path(key, 3)))(keys))
    starts = Counter(map(tuple, paths[:, 0]))
    assert set(starts) == set(it.product((0.0, 1.0), repeat=3))
    assert max(abs(n - 375) for n in starts.values()) < 5 * np.sqrt(3000 * 7 / 64)
    orders = Counter(map(tuple, np.abs(np.diff(paths, axis=1)).argmax(axis=2)))
    assert set(orders) == set(it.permutations(range(3)))
    assert max(abs(n - 500) for n in orders.values()) < 5 * np.sqrt(3000 * 5 / 36)


def test_stacked_masks_vmap():
    params = jax.tree.map(lambda m: m + 2, ONES)
    masks, others = ([random_mask(i) for i in range(k, k + 3)] for k in (0, 3))

    def stack(trees):
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

    def each(a, b):
        both = jax.tree.map(jnp.multiply, a, b)
        return {
            "count": sj.masks.count(a),
            "density": sj.masks.density(a),
            "overlap": sj.masks.overlap(a, b),
            "nested": (sj.masks.is_nested(a, b), sj.masks.is_nested(both, a)),
            "apply": sj.masks.apply(params, a),
            "zero": sj.masks.zero(params, a),
        }

    together = jax.jit(jax.vmap(each))(stack(masks), stack(others))
    for i, pair in enumerate(zip(masks, others, strict=True)):
        row = jax.tree.map(lambda leaf, i=i: leaf[i], jax.device_get(together))
        jax.tree.map(np.testing.assert_array_equal, row, each(*pair))


def test_gradients_reach_the_masks(rng):
    params = {"w": jnp.asarray(rng.normal(size=(3, 4)), "f4"), "b": jnp.arange(4.0)}
    weights = {"w": jnp.zeros((3, 4)), "b": jnp.ones(())}
    slope = {"w": jnp.asarray(rng.normal(size=(3, 4)), "f4"), "b": jnp.full(4, 2.0)}

    def dot(a, b):
        return sum(jnp.vdot(a[k], b[k]) for k in a)

    grads = jax.grad(lambda w: dot(sj.masks.apply(params, w), slope))(weights)
    np.testing.assert_allclose(grads["w"], params["w"] * slope["w"], rtol=1e-6)
    np.testing.assert_allclose(grads["b"], 12)  # of all biases together: 2 (0+1+2+3)


@pytest.mark.parametrize(
    "model, x, kernels, units",
    [
        (
            models.mlp((4, 3), 2),
            jnp.ones((2, 5)),
            {"dense_0/kernel": 20, "dense_1/kernel": 12, "dense_2/kernel": 6},
            {"hidden_0": (4,), "hidden_1": (3,)},
        ),
        (
            models.convnet((2, 3), 4),
            jnp.ones((2, 6, 5, 1)),
            {"conv_0/kernel": 18, "conv_1/kernel": 54, "dense_0/kernel": 24},
            {"hidden_0": (2,), "hidden_1": (3,)},
        ),
    ],
)
def test_ones_finds_kernels_and_nodes(model, x, kernels, units):
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    params = jax.tree.map(lambda p: np.ones(p.shape, p.dtype), shapes)
    masks = sj.masks.ones(model.apply, params, x)
    assert jax.tree.structure(masks.weights) == jax.tree.structure(params)
    assert sj.masks.counts(masks.weights) == kernels
    assert {k: m.shape for k, m in masks.nodes.items()} == units
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(masks))
    for name, leaf in sj.trees.by_path(masks.weights).items():
        assert name.endswith("kernel") or leaf.shape == ()


def test_ones_with_a_choice_of_ones_own():
    def fn(params, x):
        h = checkpoint_name(x @ params["w"] + params["b"], "h")
        return checkpoint_name(checkpoint_name(h, "twice") * params["scale"], "twice")

    params = {"b": jnp.ones(3), "scale": jnp.ones(3), "w": jnp.ones((2, 3))}
    x = jnp.ones((4, 2))
    masks = sj.masks.ones(fn, params, x, prunable=lambda path, leaf: path != "w")
    assert jax.tree.map(jnp.shape, masks.weights) == {"b": (3,), "scale": (3,), "w": ()}
    assert list(masks.nodes) == ["h", "twice", "twice#2"]
    large = sj.masks.ones(fn, params, x, prunable=lambda path, leaf: leaf.size > 3)
    assert sj.masks.sizes(large.weights) == {"w": 6}
    with pytest.raises(ValueError, match=r"chose none of 'b', 'scale', 'w'"):
        sj.masks.ones(fn, params, x, prunable=lambda path, leaf: False)

    def without(params, x):
        return x * params["scale"][:2]

    with pytest.raises(ValueError, match=r"none of .* as a kernel; pass prunable="):
        sj.masks.ones(without, params, x)


def test_bad_masks_are_named():
    params = {"a": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    good = {"a": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(())}}
    sj.masks.check(params, good)
    turned = {"a": good["a"] | {"kernel": jnp.ones((3, 2))}}
    with pytest.raises(ValueError, match=r"'a/kernel' has shape \(3, 2\).*\(2, 3\)"):
        sj.masks.check(params, turned)
    other = {"a": {"kernel": jnp.ones((2, 3)), "scale": jnp.ones(())}}
    with pytest.raises(ValueError, match="missing: 'a/bias'; unknown: 'a/scale'"):
        sj.masks.apply(params, other)


def test_bad_arguments():
    for chance in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"in \[0, 1\], got {chance}"):
            sj.masks.bernoulli(jax.random.key(0), ONES, chance)
    for kept in (-1, SIZE + 1):
        with pytest.raises(ValueError, match=f"cannot keep {kept} of {SIZE} entries"):
            sj.masks.fixed_size(jax.random.key(0), ONES, kept)
    for n, start, stop in [(32, 0, 1), (3, 0, 9), (3, 5, 4), (3, -1, 2), (-1, 0, None)]:
        with pytest.raises(ValueError, match=f"no subsets {start} to .* of {n} nodes"):
            sj.masks.subsets(n, start, stop)


def test_of_flax_collections_only_params_are_pruned():
    module = nn.SpectralNorm(nn.Dense(8))
    x = jnp.ones((2, 4))
    variables = module.init(jax.random.key(0), x, update_stats=False)

    def fn(v, x):
        return module.apply(v, x, update_stats=False)

    sizes = sj.masks.sizes(sj.masks.ones(fn, variables, x).weights)
    assert list(sizes.values()) == [32] and next(iter(sizes)).startswith("params/")


def test_leaves_that_are_no_arrays_are_named_where_masks_are_applied():
    params = {"activation": jax.nn.relu, "w": jnp.ones(2)}
    weights = {"activation": jnp.ones(()), "w": jnp.ones(2)}
    with pytest.raises(ValueError, match="not arrays .'activation'.*eqx.partition"):
        sj.masks.apply(params, weights)
