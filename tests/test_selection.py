"""What a mask removes is gone: against functions that never had it, in float64 NumPy.

Every function here sums over its units what each is made of alone, so that without a
unit the value is the sum over the others, and the gradient to its input is 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax.masks import Masks

NONE = jnp.ones(())
INF, NAN = np.inf, np.nan
# What a unit does with its input, its derivative, and the input of the removed unit.
UNITS = {
    "log": (jnp.log, lambda x: 1 / x, 0.0),
    "log of a negative": (jnp.log, lambda x: 1 / x, -1.0),
    "log inside jit": (jax.jit(jnp.log), lambda x: 1 / x, 0.0),
    "log inside remat": (jax.checkpoint(jnp.log), lambda x: 1 / x, 0.0),
    "sqrt": (jnp.sqrt, lambda x: 0.5 / np.sqrt(x), 0.0),
    "rsqrt": (jax.lax.rsqrt, lambda x: -0.5 * x**-1.5, 0.0),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, 0.0),
    "power": (lambda x: x**0.3, lambda x: 0.3 * x**-0.7, 0.0),
    "exp": (jnp.exp, np.exp, 1000.0),
    "arctanh": (lambda x: jnp.arctanh(x / 4), lambda x: 4 / (16 - x**2), 4.0),
    "entropy": (lambda x: -x * jnp.log(x), lambda x: -np.log(x) - 1, 0.0),
    "guarded": (lambda x: jnp.where(x > 0, jnp.log(x), 0), lambda x: 1 / x, 0.0),
    "gate": (lambda x: jnp.exp(x) * jax.nn.sigmoid(-x), None, 1000.0),
    "silu": (jax.nn.silu, None, -INF),
    "what is no number": (lambda x: 2 * x, lambda x: 2 + 0 * x, NAN),
    "an infinite input": (lambda x: x * x, lambda x: 2 * x, INF),
}


@pytest.mark.parametrize("case", UNITS)
def test_a_removed_unit_leaves_no_trace(case):
    unit, slope, bad = UNITS[case]
    x, kept = jnp.array([1.5, bad, 0.5]), jnp.array([1.0, 0.0, 1.0])
    apply = sj.masked(lambda scale, x: checkpoint_name(unit(scale * x), "h").sum())
    masks = Masks(NONE, {"h": kept})
    good = np.array([1.5, 0.5])
    if slope is None:  # no closed form: by JAX, without the unit

        def slope(x):
            return np.asarray(jax.vmap(jax.grad(unit))(jnp.asarray(x, "f4")))

    value = float(np.sum(np.asarray(unit(jnp.asarray(good, jnp.float32)))))
    gradient = np.zeros(3)
    gradient[[0, 2]] = slope(good)

    def run(x):
        return apply(NONE, masks, x)

    def close(a, b):
        return np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)

    @jax.jit
    def compiled(x, kept):
        to_x = [d(run)(x) for d in (jax.grad, jax.jacfwd, jax.jacrev)]
        to_x.append(jax.vmap(jax.grad(run))(jnp.stack([x, x]))[1])
        to_x.append(jax.grad(jax.checkpoint(run))(x))
        to_mask = jax.grad(lambda m: apply(NONE, Masks(NONE, {"h": m}), x))(kept)
        return run(x), to_x, to_mask

    close(run(x), value)
    close(jax.grad(run)(x), gradient)
    found, to_x, to_mask = jax.tree.map(np.asarray, compiled(x, kept))
    close(found, value)
    for slopes in to_x:
        close(slopes, gradient)
    # The kept units' masks have their derivative: the value.
    close(to_mask[[0, 2]], np.asarray(unit(jnp.asarray(good, jnp.float32))))


INDEX = jnp.array([1, 0])
# Activations of two units made of x (3, 2) and p (2,): the first column is the
# removed unit's, with 0 in it.
MADE = {
    "a gain and a bias": lambda p, x: jnp.log(x) * p + p,
    "a number that is traced": lambda p, x: jnp.log(x) * p[1],
    "reshaped": lambda p, x: jnp.log(x * p).reshape(1, 6).reshape(3, 2),
    "transposed": lambda p, x: jnp.log(x.T * p[:, None]).T,
    "moved": lambda p, x: jnp.moveaxis(jnp.log(p * x)[None], 0, 1).squeeze(1),
    "flipped": lambda p, x: jnp.flip(jnp.log(jnp.flip(x, 1)), 1) * p,
    "gathered": lambda p, x: jnp.log(x[:, INDEX])[:, INDEX] * p,
    "sliced": lambda p, x: jnp.log(jnp.concatenate([x, x * p], 1))[:, 2:],
    "stacked": lambda p, x: jnp.stack([jnp.log(x[:, 0]), jnp.sqrt(x[:, 1])], 1) * p,
    "updated": lambda p, x: jax.lax.dynamic_update_slice(
        jnp.log(x * p), jnp.ones((1, 1)), (2, 1)
    ),
    "tiled": lambda p, x: jnp.tile(jnp.log(x * p), (2, 1)),
    "on a device": lambda p, x: jax.device_put(jnp.log(x) * p),
    "padded": lambda p, x: jnp.pad(jnp.log(x) * p, ((1, 0), (0, 0))),
    "a sum": lambda p, x: jnp.log(x).sum(0) * p,
    "a mean": lambda p, x: jnp.sqrt(x).mean(0, keepdims=True) * p,
    "a maximum": lambda p, x: jnp.sqrt(p * x).max(0),
    "a norm of nothing": lambda p, x: (
        jnp.linalg.norm(jnp.where(x > 2, x, 0) * p, axis=0) + x * p
    ),
    "a deviation of nothing": lambda p, x: (x * jnp.array([0, 1.0])).std(0) * p,
    "named on the way": lambda p, x: checkpoint_name(jnp.log(x) * p, "before") * 2,
    "a calls' call": jax.jit(lambda p, x: jax.jit(lambda x: jnp.log(x.T))(x).T * p),
    "all inside jit": lambda p, x: jax.jit(jnp.log)(x) ** 2 * p,
    "in vmap": lambda p, x: jax.vmap(lambda x: jnp.log(x) * p)(x),
}


@pytest.mark.parametrize("case", MADE)
@pytest.mark.defaults
def test_a_removed_unit_leaves_no_trace_in_what_it_is_made_of(case):
    """Its gradients are those for numbers that are harmless, and 0 to its own."""
    apply = sj.masked(lambda p, x: (checkpoint_name(MADE[case](p, x), "h") ** 2).sum())
    masks = Masks(jnp.ones(()), {"h": jnp.array([0.0, 1.0])})
    p, harmless = jnp.array([0.5, 2.0]), jnp.array([[1.0, 3.0], [2.0, 0.5], [1.5, 4.0]])
    x = harmless.at[0, 0].set(0)

    @jax.jit
    def derivatives(p, x):
        def run(p, x):
            return apply(p, masks, x)

        return [derivative(run, (0, 1))(p, x) for derivative in (jax.grad, jax.jacfwd)]

    wanted = [np.asarray(a) for a in derivatives(p, harmless)[0]]
    assert all(np.isfinite(a).all() and a[..., 1].any() for a in wanted)
    assert not any(a[..., 0].any() for a in wanted)
    for found in derivatives(p, x):
        for a, right in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, right, rtol=1e-5)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.defaults
def test_a_removed_weight_leaves_no_trace(bad):
    kernel = jnp.array([[1.0, bad], [bad, 2.0], [3.0, 4.0]])
    mask = (jnp.isfinite(kernel)).astype(kernel.dtype)
    x = jnp.array([1.0, -2.0, 0.5])
    apply = sj.masked(lambda w, x: (x @ w).sum())
    right = np.where(mask == 1, kernel, 0)

    def run(w, x):
        return apply(w, Masks(mask, {}), x)

    value, (to_w, to_x) = jax.value_and_grad(run, (0, 1))(kernel, x)
    np.testing.assert_allclose(value, (x @ right).sum())
    np.testing.assert_allclose(to_w, np.asarray(x)[:, None] * mask)
    np.testing.assert_allclose(to_x, right.sum(axis=1))


def test_all_derivatives_are_those_of_the_product():
    """To the value, to the mask and mixed, for masks of 0, of 1 and between."""
    value = jnp.array([[0.3, -1.2, 0.7, 2.0], [1.1, 0.4, -0.6, 0.2]])
    mask = jnp.array([0.0, 1.0, 0.25, 0.0])

    def of(product):
        return lambda v, m: jnp.sum(jnp.sin(product(v, m)) ** 2)

    ours, plain = of(sj.masks.scale), of(jnp.multiply)

    @jax.jit
    def derivatives(value, mask):
        return [
            [d(f, (0, 1))(value, mask) for d in (jax.grad, jax.jacfwd, jax.hessian)]
            for f in (ours, plain)
        ]

    by_ours, by_plain = map(jax.tree.leaves, derivatives(value, mask))
    for a, b in zip(by_ours, by_plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_mixed_derivatives_through_units_that_are_guarded():
    """The gradient to x, differentiated by the mask, is 1 / x also where it is 0."""
    apply = sj.masked(lambda scale, x: checkpoint_name(jnp.log(scale * x), "h").sum())
    x = jnp.array([2.0, 4.0])

    def to_x(m):
        return jax.grad(apply, 2)(NONE, Masks(NONE, {"h": m}), x)

    for jacobian in (jax.jacfwd, jax.jacrev):
        mixed = jacobian(to_x)(jnp.array([1.0, 0.0]))
        np.testing.assert_allclose(mixed, np.diag([0.5, 0.25]), rtol=1e-6)


def test_subsets_of_units_that_are_infinite():
    """All eight subsets of three units, two of which are not finite."""

    def fn(w, x):
        return checkpoint_name(jnp.log(x * w), "h").sum()

    apply, x = sj.masked(fn), jnp.array([2.0, 0.0, -1.0])

    def loss(kept):
        return apply(NONE, Masks(NONE, {"h": kept}), x)

    values = np.asarray(jax.vmap(loss)(sj.masks.subsets(3)))
    np.testing.assert_allclose(values[:2], [0, np.log(2)], rtol=1e-6)
    assert not np.isfinite(values[2:]).any()  # what is kept is what it is
