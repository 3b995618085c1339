"""Exact removal against a sort in NumPy, on the host and inside jit."""

import functools as ft
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsejax as sj
from sparsejax import prune
from sparsejax.prune import _amounts as amounts
from sparsejax.prune import _order as order


def oracle(scores, mask, fraction, scope):
    """Sort (score, index) of what is kept, drop the first; in exact arithmetic."""
    groups = [list(mask)] if scope == "global" else [[k] for k in mask]
    new = {k: np.array(m) for k, m in mask.items()}
    for group in groups:
        alive = [
            (np.asarray(scores[k]).ravel()[i].item(), j, i)
            for j, k in enumerate(group)
            for i in np.flatnonzero(np.asarray(mask[k]).ravel())
        ]
        part = Fraction(str(fraction if isinstance(scope, str) else scope[group[0]]))
        for _, j, i in sorted(alive)[: round(part * len(alive))]:
            new[group[j]].reshape(-1)[i] = 0
    return new


@ft.cache
def compiled(fraction, scope):
    scope = scope if isinstance(scope, str) else dict(scope)
    return jax.jit(lambda s, m: prune.remove(s, m, fraction, scope=scope))


def traced(scores, mask, fraction, scope):
    scope = scope if isinstance(scope, str) else tuple(scope.items())
    return compiled(fraction, scope)(scores, mask)


trees = st.integers(0, 2**31).map(np.random.default_rng)


@settings(max_examples=30, deadline=None)
@given(
    trees,
    st.sampled_from([0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7]),
    st.sampled_from(["layer", "global", {"a": 0.5, "b": 0.1}]),
    st.sampled_from([1, 3, 1000]),
)
@pytest.mark.defaults
def test_equals_a_sort(rng, fraction, scope, values):
    def draw(*shape):
        return rng.integers(-values, values, shape).astype(np.float32)

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

    def cut(s, m):
        return prune.remove(s, m, 0.3, scope="global")

    together = jax.vmap(cut)(scores, mask)
    for i in range(4):

        def row(tree, i=i):
            return {"a": tree["a"][i]}

        np.testing.assert_array_equal(
            together["a"][i], cut(row(scores), row(mask))["a"]
        )


def specials(dtype):
    """The ends of a type, its smallest numbers, zeros of both signs; all twice."""
    dtype = jnp.dtype(dtype)
    if dtype.kind == "b":
        few = [True, False]
    elif jnp.issubdtype(dtype, jnp.integer):
        info = jnp.iinfo(dtype)
        few = [info.max, info.min, 0, 1, info.max - 1, info.min + 1, info.max // 2 + 1]
    else:
        info = jnp.finfo(dtype)
        tiny, least = info.smallest_normal, info.smallest_subnormal
        few = [0.0, least, 2 * least, tiny - least, tiny, 1, 1 + info.eps, info.max]
        few = [dtype.type(x) for x in [*few, np.inf]]
        few = [x for x in few if not np.isnan(x)]  # some types have no infinity
        few += [-x for x in few]
    return np.array([dtype.type(x) for x in few * 2])


FLOATS = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
INTEGERS = "int64 uint64 int32 uint32 int16 uint16 int8 uint8 int4 bool".split()
TOGETHER = [
    "bfloat16 float16", "float32 bfloat16", "float8_e5m2 float16 float32",
    "float32 float64", "bfloat16 float64", "float16 float64", "float8_e4m3fn float64",
    "int8 uint16", "bool int32", "int16 float32", "uint16 bfloat16", "bool float16",
    "int32 float64", "uint32 float32 float64", "int32 uint32 int64", "uint64 uint8",
    "uint16 uint32", "int4 float64",
]  # fmt: skip


@pytest.mark.parametrize("types", FLOATS + INTEGERS + TOGETHER)
@pytest.mark.defaults
def test_integers_sort_as_the_numbers_do(types):
    """Against Python, which compares numbers of all types exactly; host and `jit`."""
    with jax.enable_x64("64" in types):
        scores = [specials(dtype) for dtype in types.split()]
        dtype = order.common(types.split(), scores)

        def ranks(scores):
            return [order.integers(score, dtype) for score in scores]

        found = np.concatenate(ranks(scores))
        inside = np.concatenate([np.asarray(r) for r in jax.jit(ranks)(scores)])
        closed = jax.jit(lambda: ranks([jnp.asarray(score) for score in scores]))()
    np.testing.assert_array_equal(inside, found)
    np.testing.assert_array_equal(np.concatenate(closed), found)
    numbers = [x.item() if x.dtype != "int4" else int(x) for s in scores for x in s]
    for x, rank in zip(numbers, found.tolist(), strict=True):
        assert [y < x for y in numbers] == (found < rank).tolist()
        assert [y == x for y in numbers] == (found == rank).tolist()


RANKS = {
    dtype: jax.jit(
        lambda score, dtype=dtype: order.integers(score, np.dtype("float32"))
    )
    for dtype in ("float32", "bfloat16", "float16")
}


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(sorted(RANKS)),
    st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8),
)
def test_any_bits_sort_as_the_numbers_they_are(dtype, bits):
    """Of eight numbers of any bits, half of them below the normal range."""
    words = np.array(bits, np.uint32)
    words[::2] &= 0x807FFFFF
    words = words if dtype == "float32" else (words >> 16).astype(np.uint16)
    score = words.view(jnp.dtype(dtype))
    score[np.isnan(score)] = 0
    ranks = order.integers(score, np.dtype("float32"))
    np.testing.assert_array_equal(RANKS[dtype](score), ranks)
    exact = score.astype(np.float64)
    for x, rank in zip(exact, ranks, strict=True):
        np.testing.assert_array_equal(exact < x, ranks < rank)
        np.testing.assert_array_equal(exact == x, ranks == rank)


@pytest.mark.parametrize(
    "types", ["float32", "bfloat16", "uint8", "float64", "bfloat16 float16 float32"]
)
@pytest.mark.defaults
def test_host_jit_and_a_sort_agree(types):
    """With removed entries that are NaN, where that exists."""
    scores = {f"{i}": specials(t) for i, t in enumerate(types.split())}
    mask = {k: np.arange(len(v)) % 5 != 1 for k, v in scores.items()}
    for k, score in scores.items():
        if jnp.issubdtype(score.dtype, jnp.floating):
            score[~mask[k]] = np.nan

    def cut(s, m):
        return prune.remove(s, m, 0.35, scope="global")

    expected = oracle(scores, mask, 0.35, "global")
    with jax.enable_x64("64" in types):
        for got in (cut(scores, mask), jax.jit(cut)(scores, mask)):
            for k in mask:
                np.testing.assert_array_equal(got[k], expected[k])


def test_smallest_numbers_by_hand():
    mask = {"w": jnp.ones(2)}
    for dtype in (jnp.float32, jnp.bfloat16):
        scores = {"w": np.array([1e-40, 0]).astype(dtype)}
        for cut in (prune.remove, jax.jit(prune.remove, static_argnums=2)):
            assert cut(scores, mask, 0.5)["w"].tolist() == [1, 0]


@pytest.mark.parametrize(
    "types, message",
    [
        ("int32 float32", "int32 of '0', float32 of '1' have none; cast them to one"),
        ("uint32 int32", "uint32 of '0', int32 of '1' have none"),
        ("uint32 bfloat16 bfloat16", "uint32 of '0', bfloat16 of '1' have none"),
        ("float32 complex64", "scores of '1' are complex64; rank them by their magni"),
    ],
)
def test_what_cannot_be_ranked_together_is_refused_everywhere(types, message):
    scores = {f"{i}": jnp.ones(3, t) for i, t in enumerate(types.split())}
    mask = {k: jnp.ones(3) for k in scores}

    def cut(s, m):
        return prune.remove(s, m, 0.5, scope="global")

    for run in (cut, jax.jit(cut)):
        with pytest.raises(ValueError, match=message):
            run(scores, mask)


def test_wide_integers_do_not_wrap_inside_jit():
    scores, mask = {"w": np.array([2**40, 1])}, {"w": jnp.ones(2)}
    assert prune.remove(scores, mask, 0.5)["w"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="scores of int64 do not fit int32 inside jit"):
        jax.jit(lambda m: prune.remove(scores, m, 0.5))(mask)


def test_nan_ranks_highest_where_it_cannot_be_refused():
    bits = np.array([0x7FC00000, 0xFFC00000, 0x3F800000, 0xFF800000], np.uint32)
    scores, mask = {"w": bits.view(np.float32)}, {"w": jnp.ones(4)}

    def cut(s, m):
        return prune.remove(s, m, 0.5)

    assert jax.jit(cut)(scores, mask)["w"].tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"'w' are at 2 of 4 entries that the mask"):
        cut(scores, mask)
    gone = {"w": jnp.array([0.0, 0.0, 1.0, 1.0])}
    for run in (cut, jax.jit(cut)):
        assert run(scores, gone)["w"].tolist() == [0, 0, 1, 0]


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
    got = int(amounts.portion(jnp.int32(count), amounts.exact(fraction)))
    assert got == round(count * Fraction(str(fraction)))
    assert prune.kept_count(count, fraction) == count - got


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
        total = prune.kept_count(total, 0.2)
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


def test_erk_keeps_everything_and_at_least_one():
    assert prune.erk({"a": jnp.ones((9, 2))}, 1.0) == {"a": 0}
    mask = {"a": jnp.ones((100, 100)), "b": jnp.ones((4, 2))}
    fractions = prune.erk(mask, 0.0005, power=0)
    scores = {k: np.arange(m.size).reshape(m.shape) * 1.0 for k, m in mask.items()}
    new = prune.remove(scores, mask, 0, scope=fractions)
    assert sj.masks.counts(new) == {"a": 5, "b": 1}


class Torch:
    """What a tensor of another library looks like."""

    shape, dtype, ndim = (2, 2), "torch.float32", 2


W = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    "amount, message",
    [
        *[(x, r"must be in \[0, 1\), got") for x in (-0.1, 1, 1.5, np.nan, np.inf)],
        *[(x, r"must be in \[0, 1\), got") for x in (0.9999999999, Fraction(7, 5))],
        ("0.5", "must be a number, got the str '0.5'"),
        (True, "must be a number, got the bool True"),
        (np.bool_(True), "must be a number, got bool of shape"),
        (None, "must be a number, got None"),
        ([0.5], "must be a number, got a list of 1"),
        (np.array([0.5]), r"must be a number, got float64 of shape \(1,\)"),
        (0.5j, "must be a number, got the complex 0.5j"),
    ],
)
def test_amounts_that_are_none(amount, message):
    mask = {"w": jnp.ones((2, 2))}
    for call in (
        lambda: prune.remove({"w": W}, mask, amount),
        lambda: prune.remove({"w": W}, mask, amount, scope="global"),
        lambda: prune.remove({"w": W}, mask, 0, scope={"w": amount}),
        lambda: prune.kept_count(4, amount),
        lambda: jax.jit(lambda m: prune.remove({"w": W}, m, amount))(mask),
    ):
        with pytest.raises(ValueError, match="a fraction to remove " + message):
            call()
    if isinstance(amount, bool) or amount not in (1, 0.9999999999):
        with pytest.raises(ValueError, match="density must be "):
            prune.erk(mask, amount)


def test_traced_amounts_are_refused():
    mask = {"w": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match="a number that is known, not one that jit"):
        jax.jit(lambda p: prune.remove({"w": W}, mask, p))(0.5)
    with pytest.raises(ValueError, match="call it outside jit"):
        jax.jit(lambda m: prune.erk(m, 0.5))(mask)


@pytest.mark.parametrize(
    "amount", [np.float32(0.2), np.array(0.2), jnp.float32(0.2),
               Fraction(1, 5), Decimal("0.2"), 0.2], ids=repr)  # fmt: skip
def test_amounts_are_read_as_they_are_written(amount):
    assert prune.kept_count(10**9, amount) == 8 * 10**8


@pytest.mark.parametrize(
    "scores, mask, message",
    [
        ({"w": Torch()}, {"w": W}, "scores of 'w' are a .*Torch, expected an array"),
        ({"w": W}, {"w": Torch()}, "the mask of 'w' is a .*Torch, expected an array"),
        ({"w": [[1, 2], [3, 4]]}, {"w": W}, "missing: 'w'; unknown: 'w/0/0', "),
        ({"w": W}, {"w": [[1, 1], [1, 1]]}, "scores must have the structure of the "),
        ({"w": len}, {"w": W}, "scores of 'w' are a builtins.builtin_function_or_meth"),
        ({"w": None}, {"w": W}, "missing: 'w'; unknown: none"),
        ((W, W), [W, W], "paths are the same, containers are not"),
        ({"w": np.array([["a", "b"]] * 2)}, {"w": W}, "scores of 'w' are "),
        ({"w": W.astype(np.longdouble)}, {"w": W}, "at most 64 bits"),
        ({}, {}, "none has axes"),
    ],
)
def test_scores_and_masks_that_are_none(scores, mask, message):
    with pytest.raises(ValueError, match=message):
        prune.remove(scores, mask, 0.5)


@pytest.mark.parametrize(
    "density, kept",
    [(0.145, 14), (0.575, 58), (0.585, 58), (0.285, 28), (0.005, 1), (1, 100)],
)
def test_erk_rounds_decimals_exactly(density, kept):
    (fraction,) = prune.erk({"a": jnp.ones((10, 10))}, density, power=0).values()
    assert 100 - 100 * fraction == kept


def test_erk_of_leaves_without_entries():
    assert prune.erk({"a": jnp.ones((0, 3)), "b": jnp.ones((2, 2))}, 0.5).keys() == {
        "b"
    }
