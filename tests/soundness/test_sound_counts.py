"""Exact counts of what is removed, whatever the scores; statistics are loops."""

import functools
import itertools as it
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lawful import law

from sparsejax import hypercube, masks, prune, removal

pytestmark = pytest.mark.usefixtures("float64")

TYPES = ("float64", "float32", "bfloat16", "float16", "int8", "uint16", "int32",
         "int64", "bool")  # fmt: skip
QUICK = [("bfloat16", "global"), ("float32", "layer"), ("int64", "layer")]
CASES = [
    pytest.param(
        dtype, scope,
        marks=pytest.mark.defaults if (dtype, scope) in QUICK else pytest.mark.slow,
    )
    for dtype in TYPES for scope in ("layer", "global")
]  # fmt: skip
SHAPES = {"a": (3, 5), "b": (7,), "c": ()}


def scores_of(rng, dtype, shape):
    """Ties, zeros of both signs, numbers at either end of the type, infinities."""
    kind = jnp.dtype(dtype)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    if jnp.issubdtype(kind, jnp.integer):
        ends = jnp.iinfo(kind)
        few = [0, 1, ends.min, ends.max, ends.max - 1, ends.max // 2]
        return rng.choice(np.array(few, kind), shape)
    ends = jnp.finfo(kind)
    small, large = float(ends.smallest_subnormal), float(ends.max)
    style = rng.integers(4)
    if style == 0:
        few = [0.0, -0.0, small, 2 * small, float(ends.tiny), -small, 1.0]
        return rng.choice(np.array(few), shape).astype(kind)
    if style == 1:
        return rng.choice([large, -large, np.inf, -np.inf, 1.0], shape).astype(kind)
    numbers = rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4)
    return (numbers if style == 2 else np.round(numbers, 1)).astype(kind)


def removed_by_hand(scores, alive, fraction, scope):
    """Entries one by one, the lowest first; Python's numbers compare exactly."""
    names = [k for k in SHAPES if SHAPES[k]]
    groups = [names] if scope == "global" else [[k] for k in names]
    kept = {k: alive[k] != 0 for k in names}
    for group in groups:
        entries = [
            (exact(scores[k].flat[i]), g, i, k)
            for g, k in enumerate(group) for i in np.flatnonzero(kept[k])
        ]  # fmt: skip
        count = round(len(entries) * Fraction(str(fraction)))
        for _, _, i, k in sorted(entries)[:count]:
            kept[k].flat[i] = False
    return kept


def exact(number):
    """As Python's number: integers of any size, floats with zeros alike."""
    if isinstance(number, bool | np.bool_ | np.integer):
        return int(number)
    number = float(number)
    return number if math.isinf(number) else Fraction(number)


@pytest.mark.parametrize(("dtype", "scope"), CASES)
def test_counts_are_exact(dtype, scope):
    """40 cases of every type, on the host and in one program."""
    rng, count = np.random.default_rng(len(dtype)), 40
    fraction = float(rng.choice([0.1, 0.2, 0.25, 0.5, 1 / 3, 0.9]))
    draws = [
        {k: scores_of(rng, dtype, shape) for k, shape in SHAPES.items()}
        for _ in range(count)
    ]
    alive = [
        {k: (rng.random(shape) < 0.8 if shape else np.ones(())) * np.float32(1)
         for k, shape in SHAPES.items()} for _ in range(count)
    ]  # fmt: skip

    def remove(scores, mask):
        return prune.remove(scores, mask, fraction, scope=scope, allow_empty=True)

    def stacked(trees):
        return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *trees)

    together = jax.jit(jax.vmap(remove))(stacked(draws), stacked(alive))
    for i, (scores, mask) in enumerate(zip(draws, alive, strict=True)):
        theirs = removed_by_hand(scores, mask, fraction, scope)
        ours = remove(scores, mask)
        for k, kept in theirs.items():
            said = f"draw {i}, {k}: {scores[k]} of {mask[k]}, {fraction}"
            np.testing.assert_array_equal(np.asarray(ours[k]) != 0, kept, said)
            np.testing.assert_array_equal(np.asarray(together[k][i]) != 0, kept, said)
        total = sum(int(np.sum(mask[k])) for k in theirs)
        if scope == "global":
            count_left = sum(int(np.sum(ours[k])) for k in theirs)
            assert count_left == prune.kept_count(total, fraction)


@law(quick=2, slow=40)
def test_counts_of_networks_are_exact(network):
    """Layer by layer and together, twice in a row."""
    mask = jax.tree.map(
        lambda p: np.ones(p.shape if p.ndim > 1 else (), np.float32), network.params
    )
    scores = jax.tree.map(lambda p: np.abs(np.asarray(p)), network.params)
    sizes = masks.sizes(mask)
    for scope in ("layer", "global"):
        now, left = mask, dict(sizes)
        for fraction in (0.3, 0.45):
            after = prune.remove(scores, now, fraction, scope=scope, allow_empty=True)
            assert masks.is_nested(after, now)
            counts = masks.counts(after)
            if scope == "layer":
                left = {k: prune.kept_count(n, fraction) for k, n in left.items()}
                assert counts == left
            else:
                total = prune.kept_count(sum(left.values()), fraction)
                assert sum(counts.values()) == total
                left = counts
            kept = [s[np.asarray(m) == 1] for s, m in pairs(scores, after)]
            gone = [
                s[(np.asarray(m) == 0) & (np.asarray(b) == 1)]
                for (s, m), (_, b) in zip(pairs(scores, after), pairs(scores, now))
            ]
            if scope == "global":
                kept, gone = [np.concatenate(kept)], [np.concatenate(gone)]
            for high, low in zip(kept, gone, strict=True):
                assert not (len(high) and len(low)) or high.min() >= low.max()
            now = after
    return 1


def pairs(scores, mask):
    return [
        (np.asarray(s).astype(np.float64).ravel(), np.asarray(m).ravel())
        for s, m in zip(jax.tree.leaves(scores), jax.tree.leaves(mask))
        if np.ndim(m)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_what_follows_from_all_subsets_is_a_loop(seed):
    """Indices, means, paths and moments, each written as a sum over subsets."""
    rng, n = np.random.default_rng(seed), 4
    values, p = rng.normal(size=1 << n), 0.3
    on = np.array([[m >> i & 1 for i in range(n)] for m in range(1 << n)])
    size = on.sum(1)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    chance = p**size * (1 - p) ** (n - size)
    close(hypercube.probabilities(n, p), chance)
    close(hypercube.subset_sizes(n), size)
    close(hypercube.mean(values, keep_prob=p), chance @ values)
    for i in range(n):
        without = [m for m in range(1 << n) if not m >> i & 1]
        gains = {m: values[m | 1 << i] - values[m] for m in without}
        share = [
            math.factorial(size[m])
            * math.factorial(n - 1 - size[m])
            / math.factorial(n)
            for m in without
        ]
        close(hypercube.shapley(values)[i], np.dot(share, [*gains.values()]))
        close(hypercube.banzhaf(values)[i], np.mean([*gains.values()]))
    best = hypercube.best(values)
    for k in range(n + 1):
        close(best.values[k], values[size == k].min())
    signs = (-1.0) ** (on @ on.T)
    close(hypercube.walsh(values), signs @ values / (1 << n))
    found = removal.moments(values, chance)
    close(found.mean, chance @ values)
    close(found.sd, np.sqrt(chance @ (values - chance @ values) ** 2))
    grads = rng.normal(size=(1 << n, n))
    states = removal.by_state(grads, on.astype(float), chance)
    for part, which in ((states.on_nodes, on == 1), (states.off_nodes, on == 0)):
        for i in range(n):
            share = chance * which[:, i] / (chance @ which[:, i])
            mean = share @ grads[:, i]
            close(part.mean[i], mean)
            close(part.sd[i], np.sqrt(share @ (grads[:, i] - mean) ** 2))
    walks = np.array([
        [values[sum(1 << j for j in order[:k])] for k in range(n + 1)]
        for order in it.permutations(range(n))
    ])  # fmt: skip
    paths = removal.path_statistics(walks)
    close(paths.covariance, np.cov(walks.T))
