"""What a sweep shares between masks, and where it puts the axis of masks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import sweep
from sparsejax.sweep import _many as many
from sparsejax.sweep._columns import Columns

COUNT = 300


def network(hidden=(6,), classes=3):
    rng = np.random.default_rng(0)
    model = sj.models.mlp(hidden, classes)
    x = rng.normal(size=(20, 4)).astype(np.float32)
    params = model.init(jax.random.key(0), x)
    return model, params, x, jnp.asarray(rng.integers(0, classes, 20))


def loss_of(layer, ablate=None, hidden=(6,), log=False):
    model, params, x, y = network(hidden)
    apply = sj.masked(model.apply, ablate=ablate)
    weights = jax.tree.map(lambda leaf: jnp.ones(()), params)

    def loss(mask):
        logits = apply(params, sj.masks.Masks(weights, {layer: mask}), x)
        value = sj.train.cross_entropy(logits, y)
        return jnp.log(value) if log else value

    return loss


def evaluated_in_a_scan(mask):
    model, params, x, y = network()
    apply = sj.masked(lambda _, x: model.apply(params, x))
    masks = sj.masks.Masks({}, {"hidden_0": mask})
    return sj.train.evaluate(apply, {}, masks, (x, y), batch_size=10)


def looked_up(mask):
    table = jnp.arange(12.0).reshape(6, 2)
    return (table[jnp.array([0, 3, 5])] * mask[:3, None]).sum(0).at[0].add(mask[3])


def shapes(mask):
    h = jnp.arange(24.0).reshape(4, 6) * mask
    wide = jnp.concatenate([h, jnp.ones((4, 1))], 1).reshape(2, 14).T
    return {"a": jnp.exp(-wide).max(0), "b": h[:, ::2] @ jnp.ones((3, 2)), "c": 3.0}


def both(fn):
    return jax.value_and_grad(fn)


CASES = {
    "last layer": (loss_of("hidden_0"), True),
    "with gradients": (both(loss_of("hidden_0")), True),
    "logarithm": (both(loss_of("hidden_0", log=True)), True),
    "mean ablation": (both(loss_of("hidden_0", {"hidden_0": jnp.ones(6)})), True),
    "first of two": (both(loss_of("hidden_0", hidden=(6, 5))), True),
    "scan": (evaluated_in_a_scan, True),
    "look-up": (looked_up, None),
    "shapes": (shapes, True),
    "sort": (lambda m: jnp.sort(m * jnp.arange(6.0)), False),
    "nothing shared": (lambda m: m.sum(), False),
    "integers": (lambda m: m.astype(jnp.int32) @ jnp.arange(6), False),
}


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_each_mask_alone(name):
    fn, in_columns = CASES[name]
    masks = np.random.default_rng(1).integers(0, 2, (COUNT, 6)).astype(np.float32)
    found = sweep.evaluate(fn, masks, batch_size=64, progress=False)
    wanted = jax.jit(lambda masks: jax.lax.map(fn, masks))(masks)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    if in_columns is not None:
        run = many.stacked(fn, jax.ShapeDtypeStruct((6,), jnp.float32), COUNT)
        assert isinstance(run, Columns) == in_columns


def test_what_is_not_finite_is_selected_away():
    h = jnp.array([[1.0, jnp.inf, 2.0], [3.0, jnp.nan, 4.0]])

    def fn(mask):
        return jnp.where(mask == 0, 0, h * mask) @ jnp.ones((3, 1))

    masks = np.tile(np.array([[1, 0, 1], [1, 1, 1]], np.float32), (150, 1))
    with pytest.warns(UserWarning, match="NaN"):
        found = sweep.evaluate(fn, masks, progress=False)
    np.testing.assert_array_equal(found[0, :, 0], [3, 7])
    assert not np.isfinite(found[1]).any()


def test_what_no_mask_changes_runs_once():
    calls = []

    def slow(x):
        return jax.pure_callback(
            lambda x: (calls.append(0), np.asarray(x))[1], jnp.float32(0), x
        )

    start = jnp.ones(3)
    found = sweep.evaluate(
        lambda m: jnp.sort(slow(start.sum()) * m)[-1],
        np.ones((COUNT, 3), np.float32),
        batch_size=8,
        progress=False,
    )
    assert len(calls) == 1 and (found == 3).all()


def test_batches_go_by_the_largest_array():
    h = jnp.ones((1 << 18,))
    for fn in (
        lambda m: jnp.sort(h * m[0]).sum(),
        lambda m: jnp.exp(h[:, None] * m[0] @ jnp.ones((1, 1))).sum(),
    ):
        run = many.stacked(fn, jax.ShapeDtypeStruct((2,), h.dtype), COUNT)
        assert not isinstance(run, Columns) and run.largest == h.nbytes
