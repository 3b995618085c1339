"""Sweeps of many masks beside a loop that runs the same function for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sparsejax as sj
from sparsejax import sweep

COUNT = 257  # a last batch of one mask
RNG = np.random.default_rng(0)
UNITS, CLASSES, POINTS = 6, 3, 5


def draw(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


H, W, V, B = draw(POINTS, UNITS), draw(UNITS, CLASSES), draw(CLASSES, 4), draw(CLASSES)
HEADS, OUT = draw(2, POINTS, UNITS), draw(2, UNITS, CLASSES)
NOT_FINITE = H.at[2, 1].set(jnp.inf).at[3, 2].set(jnp.nan)
LARGE, LARGE_W = H.at[:, 1].set(1e30), W.at[1].set(1e30)
scale, blend = sj.masks.scale, sj.masks.blend


def entropy(logits):
    return -jax.nn.log_softmax(logits)[:, 0].mean()


def looped(m):
    def step(c, h):
        return c + jnp.tanh(h * m @ W), None

    return lax.scan(step, jnp.zeros(CLASSES), H)[0].sum()


def barred(m):
    h, same = lax.optimization_barrier((scale(H, m), m))
    return entropy(h @ W) + same[0]


def narrowed(m):
    return (m[0], jnp.where(m[0], H, 0) @ W, ~m[0])


def narrow_sum(m):
    product = lax.dot_general(
        H * m, W, (((1,), (0,)), ((), ())), preferred_element_type=jnp.bfloat16
    )
    return product.sum(dtype=jnp.bfloat16).astype(jnp.float32)


def without_an_axis(m):
    return jnp.tanh(((m[:, None] * H.T) @ H[:, :1])[:, 0])


def without_points(m):
    none = jnp.zeros((0, UNITS)) * m
    return none @ W, (none @ W).sum(0), (H * m) @ W[:, :0]


def with_a_tree(m):
    hidden = jnp.maximum(scale(H, m["a"]) @ W + B, 0)
    return entropy(scale(hidden, m["b"][0]) @ V)


def of_one_number(m):
    return lax.select(m == 0, jnp.zeros_like(H), H * m) @ W


# name: function, and whether its gradients are compared too
CASES = {
    "residual": (lambda m: jnp.sum((H * m + jnp.tanh((H * m) @ W) @ W.T) ** 2), True),
    "used twice": (lambda m: entropy((scale(H, m) @ W) * m[:3] + m[0]), True),
    "denominator": (lambda m: (H @ W / (1 + m[:3])).sum() + 1 / (9 + m.sum()), True),
    "batches": (lambda m: jnp.einsum("bpu,buc->bpc", scale(HEADS, m), OUT).max(), True),
    "einsum": (lambda m: jnp.einsum("bpu,u,buc->bc", HEADS, m, OUT).sum(1), False),
    "blend": (lambda m: entropy(blend(H, m, 0 * H + 0.3) @ W), True),
    "not finite": (lambda m: scale(NOT_FINITE, m) @ W, False),
    "gradients not finite": (lambda m: entropy(scale(NOT_FINITE, m) @ W), True),
    "overflow": (lambda m: scale(LARGE, m) @ LARGE_W, False),
    "infinite bias": (lambda m: scale(H, m) @ W + B.at[1].set(-jnp.inf), False),
    "infinite factor": (lambda m: scale(H, m) @ W * B.at[1].set(jnp.inf), False),
    "other mask": (lambda m: jnp.where(m[::-1] == 0, 0, H * m) @ W, False),
    "comparison": (lambda m: jnp.where(m > 0.5, H, 2 * H).sum() + m @ W, False),
    "argmax": (lambda m: (scale(H, m) @ W).argmax(-1), False),
    "scan": (looped, True),
    "barrier": (barred, True),
    "an axis of length 1": (without_an_axis, False),
    "empty": (without_points, False),
    "narrow sum": (narrow_sum, False),
}


def assert_as_a_loop(fn, masks, rtol=2e-5):
    values = sweep.evaluate(fn, masks, progress=False)
    one = jax.jit(fn)
    rows = [one(jax.tree.map(lambda a, i=i: a[i], masks)) for i in range(COUNT)]
    expected = jax.tree.map(lambda *rows: np.stack(rows), *rows)
    for a, b in zip(jax.tree.leaves(values), jax.tree.leaves(expected), strict=True):
        size = np.abs(b, where=np.isfinite(b), out=np.zeros(b.shape, b.dtype))
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol, rtol / 10 * size.max(initial=0))


@pytest.mark.filterwarnings("ignore:results of .* are NaN")
@pytest.mark.parametrize("name", CASES)
def test_a_sweep_is_a_loop(name):
    fn, is_scalar = CASES[name]
    masks = jnp.asarray(RNG.integers(0, 2, (COUNT, UNITS)), jnp.float32)
    assert_as_a_loop(jax.value_and_grad(fn) if is_scalar else fn, masks, 1e-4)


MASKS = {
    "tree": (with_a_tree, {"a": (UNITS,), "b": [(CLASSES,)]}, np.float32),
    "bools": (narrowed, (1, UNITS), bool),
    "integers": (lambda m: (m[0] * 3, H * m[0] @ W), (1, UNITS), np.int8),
    "one number": (of_one_number, (), np.float32),
    "kernel": (lambda m: entropy(H @ scale(W, m)), (UNITS, CLASSES), np.float32),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_any_kind(name):
    fn, shapes, dtype = MASKS[name]
    masks = jax.tree.map(
        lambda shape: RNG.integers(0, 2, (COUNT, *shape)).astype(dtype),
        shapes,
        is_leaf=lambda shape: isinstance(shape, tuple),
    )
    with jax.numpy_dtype_promotion("standard"):
        assert_as_a_loop(fn, masks)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, bool])
def test_what_shares_work_may_make_masks_of_other_dtypes(dtype):
    def make(i):
        return (i >> jnp.arange(8) & 1).astype(jnp.float32)

    def batched(one, indices):
        return jax.vmap(lambda i: one(make(i).astype(dtype)))(indices)

    def fn(m):
        return m.astype(jnp.float32) @ 2.0 ** jnp.arange(8.0)

    values = sweep.evaluate(fn, make, count=256, batched=batched, progress=False)
    np.testing.assert_array_equal(values, np.arange(256))
