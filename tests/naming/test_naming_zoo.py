"""Models of Linen, NNX and Equinox as they are: masked by names as by hand, and what
their activations are called."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import open_models
import pytest

import sparsejax as sj

GOLDEN = Path(__file__).parent / "golden" / "names.txt"
SLOW = ("linen_cnn_train", "linen_scan")


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Layers of these libraries mix dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def logits(output):
    return jax.tree.leaves(output)[0]


def masked(model, masks):
    fn = sj.named(model.fn, list(masks), views=model.views)
    ones = jax.tree.map(lambda leaf: jnp.ones(()), model.params)

    def run(params, masks, *args):
        return logits(sj.masked(fn)(params, sj.masks.Masks(ones, masks), *args))

    return run


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW))
        for name in open_models.MODELS
    ],
)
def test_masks_by_names_equal_masks_by_hand(name):
    model = open_models.model(name)
    masks = open_models.masks(model)
    run = masked(model, masks)
    plain = sj.named(model.fn)

    @jax.jit
    def all_of_them(params, masks, *args):
        outs = [model.fn(params, *args), plain(params, *args)]
        return *map(logits, outs), model.by_hand(masks), run(params, masks, *args)

    fn, named, by_hand, ours = all_of_them(model.params, masks, *model.args)
    np.testing.assert_array_equal(named, fn)
    np.testing.assert_allclose(ours, by_hand, rtol=0, atol=1e-5)
    assert np.abs(ours - fn).max() > 1e-3


def rows(points):
    """What a golden file keeps of points: all but places in files."""
    for p in points:
        shape = "x".join(map(str, p.shape))
        loops = f" in {'x'.join(map(str, p.loops))}" if p.loops else ""
        alias = f" = {p.alias}" if p.alias else ""
        marks = "*" * p.is_default + " output" * p.is_output
        yield f"{p.name} {shape}{loops}{alias} {marks}".rstrip()


def listed():
    parts = []
    for name in open_models.MODELS:
        model = open_models.model(name)
        points = sj.points(model.fn, model.params, *model.args)
        parts.append("\n".join([f"[{name}]", *rows(points)]))
    return "\n\n".join(parts) + "\n"


def test_names_are_the_golden_ones():
    assert listed() == GOLDEN.read_text()


def names(fn, *args):
    return [(p.name, p.alias, p.is_default) for p in sj.points(fn, *args)]


@pytest.mark.parametrize("name", ["linen_cnn", "nnx_vit", "equinox_transformer"])
def test_names_do_not_depend_on_how_fn_is_called(name):
    model = open_models.model(name)
    fn, params, (x,) = model.fn, model.params, model.args
    expected = names(fn, params, x)
    half = jax.tree.map(
        lambda leaf: (
            leaf.astype(jnp.bfloat16)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
        ),
        (params, x),
    )
    assert names(fn, params, x[:1]) == expected
    assert names(fn, params, jnp.concatenate([x, x, x])[:7]) == expected
    assert names(jax.jit(fn), params, x) == expected
    assert names(jax.checkpoint(fn), params, x) == expected
    assert names(jax.vmap(fn, (None, 0)), params, x[None]) == expected
    assert names(lambda p, x: fn(p, x[None])[0], params, x[0]) == expected
    assert names(lambda p, x: jax.nn.logsumexp(fn(p, x)), params, x) == expected
    assert names(fn, *half) == expected


def test_names_in_training_are_those_in_evaluation():
    evaluated, trained = map(open_models.model, ("linen_cnn", "linen_cnn_train"))
    assert names(*evaluated[:2], *evaluated[2]) == names(*trained[:2], *trained[2])


@pytest.mark.parametrize("name", ["linen_cnn", "equinox_cnn", "scanned_gpt"])
def test_gradients_are_those_of_the_function(name):
    model = open_models.model(name)
    fn = model.fn

    def every(point):
        return not point.reason and point.name.rpartition(":")[2] != "scores"

    @jax.jit
    def gradients(params, *args):
        fns = fn, sj.named(fn), sj.named(fn, every)
        losses = [lambda p, f=f: jnp.sin(logits(f(p, *args))).sum() for f in fns]
        return [jax.grad(loss)(params) for loss in losses]

    expected, *others = gradients(model.params, *model.args)
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, other, expected)
