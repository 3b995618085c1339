"""Exact removal against a sort in NumPy, on the host and inside jit."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsejax as sj
from sparsejax import prune


def oracle(scores, mask, fraction, scope):
    """Sort (score, index) of what is kept, drop the first; in exact arithmetic."""
    groups = [list(mask)] if scope == "global" else [[k] for k in mask]
    new = {k: np.array(m) for k, m in mask.items()}
    for group in groups:
        alive = [
            (float(np.asarray(scores[k]).ravel()[i]), j, i)
            for j, k in enumerate(group)
            for i in np.flatnonzero(np.asarray(mask[k]).ravel())
        ]
        part = Fraction(str(fraction if isinstance(scope, str) else scope[group[0]]))
        for _, j, i in sorted(alive)[: round(part * len(alive))]:
            new[group[j]].reshape(-1)[i] = 0
    return new


def traced(scores, mask, fraction, scope):
    cut = lambda s, m: prune.remove(s, m, fraction, scope=scope)
    return jax.jit(cut)(scores, mask)


trees = st.integers(0, 2**31).map(np.random.default_rng)


@settings(max_examples=30, deadline=None)
@given(
    trees,
    st.sampled_from([0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7]),
    st.sampled_from(["layer", "global", {"a": 0.5, "b": 0.1}]),
    st.sampled_from([1, 3, 1000]),
)
def test_equals_a_sort(rng, fraction, scope, values):
    draw = lambda *shape: rng.integers(-values, values, shape).astype(np.float32)
    scores = {"a": draw(5, 7), "b": draw(40) / 3}
    mask = {
        k: rng.integers(0, 2, s.shape).astype(np.float32) for k, s in scores.items()
    }
    expected = oracle(scores, mask, fraction, scope)
    eager = prune.remove(scores, mask, fraction, scope=scope, allow_empty=True)
    for got in (eager, traced(scores, mask, fraction, scope)):
        for k in mask:
            np.testing.assert_array_equal(got[k], expected[k])


def test_vmap_equals_one_by_one(rng):
    scores = {"a": rng.normal(size=(4, 30)).astype(np.float32)}
    mask = {"a": rng.integers(0, 2, (4, 30)).astype(np.float32)}
    cut = lambda s, m: prune.remove(s, m, 0.3, scope="global")
    together = jax.vmap(cut)(scores, mask)
    for i in range(4):
        row = lambda tree, i=i: {"a": tree["a"][i]}
        np.testing.assert_array_equal(
            together["a"][i], cut(row(scores), row(mask))["a"]
        )


SPECIAL = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3e38, -3e38, 1.0, -1.0]


def test_special_values_sort_as_numbers():
    scores = {"a": np.array(SPECIAL * 2, np.float32)}
    mask = {"a": np.ones(20, np.float32)}
    for fraction in np.arange(1, 20) / 20:
        fraction = float(fraction)
        expected = oracle(scores, mask, fraction, "layer")
        got = prune.remove(scores, mask, fraction)
        np.testing.assert_array_equal(got["a"], expected["a"])
        # XLA on CPU flushes denormals to zero, so leave those out inside jit
        keep = np.abs(scores["a"]) != 1e-45
        few, ones = {"a": scores["a"][keep]}, {"a": mask["a"][keep]}
        np.testing.assert_array_equal(
            traced(few, ones, fraction, "layer")["a"],
            oracle(few, ones, fraction, "layer")["a"],
        )


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31 - 1),
    st.one_of(
        st.floats(0, 1, exclude_max=True)
        .map(lambda f: round(f, 6))
        .filter(lambda f: f < 1),
        st.integers(1, 999_999_999).map(lambda n: Fraction(n, 1_000_000_000)),
    ),
)
def test_numbers_are_exact_at_any_size(count, fraction):
    from sparsejax.prune.remove import _exact, _portion

    got = int(_portion(jnp.int32(count), _exact(fraction)))
    assert got == round(count * Fraction(str(fraction)))
    assert prune.remaining(count, fraction) == count - got


def test_twenty_per_cent_a_round_gives_the_known_counts():
    mask = {k: np.ones(n) for k, n in [("a", 25088), ("b", 1024), ("c", 320)]}
    scores = {k: np.arange(m.size) * 1.0 for k, m in mask.items()}
    per_layer = []
    for _ in range(18):
        mask = prune.remove(scores, mask, 0.2)
        per_layer.append(tuple(sj.masks.counts(mask).values()))
    assert per_layer[0] == (20070, 819, 256)
    assert per_layer[9] == (2694, 110, 34)
    assert per_layer[17] == (452, 18, 6)
    total, numbers = 26432, []
    for _ in range(18):
        total = prune.remaining(total, 0.2)
        numbers.append(total)
    assert numbers == [
        21146, 16917, 13534, 10827, 8662, 6930, 5544, 4435, 3548, 2838, 2270, 1816,
        1453, 1162, 930, 744, 595, 476,
    ]  # fmt: skip


@pytest.mark.slow
def test_exact_at_25_million(rng):
    n = 25_502_912
    scores = {"a": rng.integers(0, 50_000, n).astype(np.float32)}
    mask = {"a": np.ones(n, np.float32)}
    kept = n - round(Fraction("0.36") * n)
    host = np.asarray(prune.remove(scores, mask, 0.36)["a"])
    assert host.sum(dtype=np.int64) == kept
    np.testing.assert_array_equal(host, traced(scores, mask, 0.36, "layer")["a"])


def test_leaves_without_axes_stay(rng):
    mask = {"w": jnp.ones((3, 4)), "b": jnp.ones(())}
    new = prune.remove({"w": rng.random((3, 4)), "b": rng.random(4)}, mask, 0.5)
    assert new["b"] == 1 and new["w"].sum() == 6


def test_an_exact_target(rng):
    mask = {"w": jnp.ones(26432)}
    new = prune.remove({"w": rng.random(26432)}, mask, Fraction(26432 - 539, 26432))
    assert sj.masks.counts(new) == {"w": 539}


def test_erk_densities(rng):
    mask = {
        "a": jnp.ones((100, 50)),
        "b": jnp.ones((3, 3, 4, 8)),
        "c": jnp.ones((5, 4)),
    }
    fractions = prune.erk(mask, 0.2)
    scores = {k: rng.random(m.shape) for k, m in mask.items()}
    new = prune.remove(scores, mask, 0, scope=fractions)
    sizes, counts = sj.masks.sizes(mask), sj.masks.counts(new)
    assert abs(sum(counts.values()) - 0.2 * sum(sizes.values())) <= 1.5
    assert counts["c"] == 20  # its share would be over 1
    raw = {"a": 150 / 5000, "b": (3 + 3 + 4 + 8) / 288}
    density = {k: counts[k] / sizes[k] for k in raw}
    assert density["a"] / density["b"] == pytest.approx(raw["a"] / raw["b"], rel=0.02)
    uniform = prune.erk(mask, 0.2, power=0)
    assert all(abs(float(f) - 0.8) < 0.02 for f in uniform.values())


def test_bad_input(rng):
    mask = {"w": jnp.ones((2, 2)), "v": jnp.ones(2), "b": jnp.ones(())}
    scores = {"w": rng.random((2, 2)), "v": rng.random(2), "b": rng.random(3)}
    for fraction in (-0.1, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\), got"):
            prune.remove(scores, mask, fraction)
    with pytest.raises(
        ValueError, match="scope names 'x'; what can be pruned is 'v', "
    ):
        prune.remove(scores, mask, 0.1, scope={"x": 0.2})
    with pytest.raises(ValueError, match="scope must be"):
        prune.remove(scores, mask, 0.1, scope="everything")
    with pytest.raises(ValueError, match=r"would empty 'v'.*allow_empty=True"):
        prune.remove(scores, mask, 0.9, scope={"w": 0})
    assert prune.remove(scores, mask, 0.9, allow_empty=True)["v"].sum() == 0
    with pytest.raises(ValueError, match="scores of 'v' have shape"):
        prune.remove({**scores, "v": rng.random(3)}, mask, 0.1)
    with pytest.raises(ValueError, match="must have the structure"):
        prune.remove({"w": scores["w"]}, mask, 0.1)
    with pytest.raises(ValueError, match="NaN"):
        prune.remove({**scores, "v": np.array([np.nan, 1])}, mask, 0.5)


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint32", "int8", "bfloat16"])
def test_every_type_of_score_ranks_the_same_inside_jit(dtype, rng):
    with jax.enable_x64(True):
        wide = rng.integers(-100, 100, 200) if dtype != "uint32" else 2**31 - 50
        numbers = wide + rng.integers(0, 100, 200)
        if dtype == "float64":
            numbers = 1 + numbers * 1e-12  # equal in float32
        scores = {"a": jnp.asarray(numbers.clip(*limits(dtype)), dtype)}
        mask = {"a": jnp.ones(200)}
        expected = oracle(scores, mask, 0.3, "layer")["a"]
        np.testing.assert_array_equal(prune.remove(scores, mask, 0.3)["a"], expected)
        np.testing.assert_array_equal(traced(scores, mask, 0.3, "layer")["a"], expected)


def limits(dtype):
    return (-128, 127) if dtype == "int8" else (-np.inf, np.inf)


def test_erk_keeps_everything_and_at_least_one():
    assert prune.erk({"a": jnp.ones((9, 2))}, 1.0) == {"a": 0}
    mask = {"a": jnp.ones((100, 100)), "b": jnp.ones((4, 2))}
    fractions = prune.erk(mask, 0.0005, power=0)
    scores = {k: np.arange(m.size).reshape(m.shape) * 1.0 for k, m in mask.items()}
    new = prune.remove(scores, mask, 0, scope=fractions)
    assert sj.masks.counts(new) == {"a": 5, "b": 1}
