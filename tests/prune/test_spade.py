"""Pruning for one sample, against layers and solvers written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import lift, masks, models, prune
from sparsejax.data import augmentations
from sparsejax.prune import hessian, obs, patches


def dense(params, x):
    return jax.nn.relu(x @ params["a"] + params["b"]) @ params["c"].T


@pytest.fixture
def network(rng):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {"a": draw(4, 6), "b": draw(6), "c": draw(3, 6)}


def test_layers_are_kernels_and_what_they_read(network, rng):
    x = jnp.asarray(rng.normal(size=(70, 4)), jnp.float32)  # more than one chunk
    a, c = prune.layer_hessians(dense, network, x)
    assert (a.kernel.path, c.kernel.path) == ("a", "c")
    hidden = jax.nn.relu(x @ network["a"] + network["b"])
    np.testing.assert_allclose(a.state.products, x.T @ x, rtol=1e-5)
    np.testing.assert_allclose(c.state.products, hidden.T @ hidden, rtol=1e-4)
    assert a.state.rows == c.state.rows == 70
    np.testing.assert_array_equal(c.kernel.places, np.arange(18).reshape(3, 6).T)


@pytest.mark.defaults
def test_equals_surgery_layer_by_layer(network, getkey):
    x, key = jnp.array([1.0, -1.0, 0.5, 2.0]), getkey()
    found = prune.spade(dense, network, x, key=key, density=0.5, samples=32)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(32))
    batch = jax.vmap(augmentations.noise(), (0, None))(keys, x)
    hidden = jax.nn.relu(batch @ network["a"] + network["b"])
    a = obs(network["a"], hessian(batch), 0.5, block_size=1)
    c = obs(network["c"].T, hessian(hidden), 0.5, block_size=1)
    np.testing.assert_allclose(found.params["a"], a.params, atol=1e-4)
    np.testing.assert_allclose(found.params["c"], c.params.T, atol=1e-4)
    np.testing.assert_array_equal(found.mask["c"], c.mask.T)
    assert found.mask["b"].shape == () and found.params["b"] is network["b"]
    assert masks.count(found.mask) == 12 + 9


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_read_patches(groups, getkey, rng):
    kernel = jnp.asarray(rng.normal(size=(3, 3, 4 // groups, 6)), jnp.float32)

    def fn(params, x):
        out = jax.lax.conv_general_dilated(
            x[None], params, (2, 1), ((1, 0), (2, 1)), rhs_dilation=(1, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups,
        )  # fmt: skip
        return out[0].ravel()

    x = jnp.asarray(rng.uniform(size=(5, 8, 8, 4)), jnp.float32)
    (layer,) = prune.layer_hessians(fn, kernel, x)
    rows = patches(x, kernel.shape, strides=(2, 1), padding=((1, 0), (2, 1)),
                   dilation=(1, 2))  # fmt: skip
    np.testing.assert_allclose(layer.state.products, hessian(rows).products, rtol=1e-4)
    assert layer.kernel.places.shape == kernel.shape and layer.kernel.taps == 9


def test_the_shipped_convnet_and_its_dense_layer(getkey):
    model = models.convnet((3,), 4)
    x = jax.random.uniform(getkey(), (6, 6, 1))
    params = model.init(getkey(), x)
    found = prune.layer_hessians(model.apply, params, x[None])
    assert [(f.kernel.path, f.kernel.places.shape) for f in found] == [
        ("conv_0/kernel", (3, 3, 1, 3)),
        ("dense_0/kernel", (48, 4)),
    ]


def test_a_kernel_used_twice_is_pruned_for_both_uses(getkey):
    def fn(w, x):
        return (x @ w) @ w

    w, x = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[1.0, 2.0]])
    (layer,) = prune.layer_hessians(fn, w, x)
    rows = jnp.concatenate([x, x @ w])
    np.testing.assert_allclose(layer.state.products, rows.T @ rows)
    assert layer.state.rows == 2


def test_kernels_with_more_axes_are_matrices(rng):
    """As in attention: into heads, and out of them."""

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params, x = {"in": draw(4, 2, 3), "out": draw(2, 3, 5)}, draw(6, 4)

    def fn(p, x):
        return jnp.einsum("hk,hko->o", jnp.einsum("d,dhk->hk", x, p["in"]), p["out"])

    found = prune.layer_hessians(fn, params, x)
    shapes = {layer.kernel.path: layer.kernel.places.shape for layer in found}
    assert shapes == {"in": (4, 6), "out": (6, 5)}
    trace = prune.prune_layers(params, found, 0.5)
    assert masks.count(trace.mask) == 12 + 15


def test_kernels_may_be_frozen_named_and_rounded(network, rng):
    def fn(p, x):
        a = checkpoint_name(jax.lax.stop_gradient(p["a"]), "kernel")
        c = jax.lax.reduce_precision(jax.device_put(p["c"]), 8, 23)
        return dense(p | {"a": a, "c": c}, x)

    x = jnp.asarray(rng.normal(size=(9, 4)), jnp.float32)
    pairs = zip(
        prune.layer_hessians(fn, network, x),
        prune.layer_hessians(dense, network, x),
        strict=True,
    )
    for layer, plain in pairs:
        assert layer.kernel.path == plain.kernel.path
        np.testing.assert_allclose(layer.state.products, plain.state.products, 1e-6)


def _repeat(kernel, x):
    return jax.lax.scan(lambda h, _: (h @ kernel, None), x, length=2)[0]


@pytest.mark.parametrize(
    "use",
    [
        lambda a, x: x @ a @ a.T,  # two layouts
        lambda a, x: _repeat(a, x @ a),  # in a loop too
        lambda a, x: _repeat(a, x),  # in a loop alone
        lambda a, x: x @ a + x @ (2 * a),  # scaled too
        lambda a, x: jnp.concatenate([x @ a[:, :1], x @ a[:, 1:]]),  # in parts
    ],
)
def test_kernels_in_other_uses_are_left_whole(use, getkey):
    def fn(p, x):
        return use(p["a"], x) @ p["d"]

    params = {"a": jax.random.normal(getkey(), (4, 4)), "d": jnp.ones((4, 2))}
    with pytest.warns(UserWarning, match="^left whole: 'a', used in a loop"):
        found = prune.spade(
            fn, params, jnp.ones(4), key=getkey(), density=0.5, samples=8
        )
    assert found.mask["a"].shape == () and masks.count(found.mask) == 4
    np.testing.assert_array_equal(found.params["a"], params["a"])


def test_layers_of_a_stack_alone_cannot_be_pruned(getkey):
    def fn(params, x):
        return jax.lax.scan(lambda h, k: (jnp.tanh(h @ k), None), x, params["a"])[0]

    stack = jax.random.normal(getkey(), (3, 4, 4))
    for use in (fn, lift.unrolled(fn)):
        with pytest.raises(ValueError, match="in parts.*; pass each layer of a stack"):
            prune.spade(use, {"a": stack}, jnp.ones(4), key=getkey(), density=0.5)


def test_the_same_variations_are_compiled_once():
    for make in (augmentations.standard, lambda shape: augmentations.noise(0.2)):
        assert make((4, 4, 1)) is make((4, 4, 1))


def test_several_samples_are_as_one_by_one(network):
    x = jnp.array([[1.0, -1.0, 0.5, 2.0], [0.0, 1.0, 2.0, 3.0]])

    def keys():
        return jax.random.split(jax.random.key(7), 2)

    how = {"density": {"a": 0.3, "c": 0.7}, "samples": 16}
    many = prune.spade(dense, network, x, key=keys(), **how)
    for i in range(2):
        one = prune.spade(dense, network, x[i], key=keys()[i], **how)
        jax.tree.map(np.testing.assert_array_equal, one.mask,
                     jax.tree.map(lambda m, i=i: m[i], many.mask))  # fmt: skip
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a, b[i], rtol=1e-5),
                     one.params, many.params)  # fmt: skip


def test_outputs_on_the_sample_move_less_than_by_magnitude(getkey):
    model = models.mlp((32,), 10)
    x = jax.random.uniform(getkey(), (30,))
    params = model.init(getkey(), x)
    params = jax.tree.map(np.array, params)  # that could be written to
    before = jax.tree.map(np.copy, params)
    found = prune.spade(model.apply, params, x, key=getkey(), density=0.3,
                        samples=64)  # fmt: skip
    weights = jax.tree.map(lambda p: jnp.ones_like(p) if p.ndim > 1 else jnp.ones(()),
                           params)  # fmt: skip
    by_size = prune.remove(prune.magnitude(params), weights, 0.7)

    def error(p):
        return jnp.abs(model.apply(p, x) - model.apply(params, x)).max()

    assert error(found.params) < 0.6 * error(masks.apply(params, by_size))
    jax.tree.map(np.testing.assert_array_equal, before, params)


@pytest.mark.parametrize("density", [0, 1])
def test_nothing_and_everything(network, getkey, density):
    found = prune.spade(dense, network, jnp.ones(4), key=getkey(), density=density,
                        samples=4)  # fmt: skip
    if density:
        jax.tree.map(np.testing.assert_array_equal, found.params, network)
    else:
        assert not found.params["a"].any() and not found.mask["c"].any()


def test_a_unit_with_two_regions_is_left_with_that_of_the_sample(getkey):
    """The source's two-dimensional example, by hand: relu(x - 1) + relu(-x - 1)."""

    def fn(p, x):
        return jax.nn.relu(x @ p["in"] - 1) @ p["out"]

    params = {"in": jnp.array([[1.0, -1.0]]), "out": jnp.ones((2, 1))}
    for side in (3.0, -3.0):
        found = prune.spade(fn, params, jnp.array([side]), key=getkey(), block_size=2,
                            density={"out": 0.5})  # fmt: skip
        assert fn(found.params, jnp.array([side]))[0] == pytest.approx(2, abs=0.01)
        assert fn(found.params, jnp.array([-side]))[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density": {"d*": 0.5}}, r"no kernel fits 'd\*'; there are 'a', 'c'"),
        ({"density": 1.5}, "must be in"),
        ({"samples": 0}, "at least 1"),
        (
            {"x": jnp.full((4, 4, 1), 9, jnp.uint8)},
            "must be of real numbers, got uint8",
        ),
        ({"damping": -1}, "'a': damping must be 0 or more"),
        ({"x": jnp.full(4, jnp.nan)}, "NaN"),
        ({"x": jnp.full(4, 3e38)}, "'a' reads is not finite"),
        ({"fn": lambda p, x: x}, "no kernel"),
        ({"x": jnp.ones(5)}, r"takes no example of shape \(5,\)"),
        ({"x": jnp.full((4, 4, 1), 2.0)}, "values from 2 to 2"),
    ],
)
def test_bad_input(network, getkey, change, message):
    given = {"fn": dense, "x": jnp.ones(4), "density": 0.5, "samples": 4, **change}
    with pytest.raises(ValueError, match=message):
        prune.spade(given.pop("fn"), network, given.pop("x"), key=getkey(), **given)


def test_keys_and_samples_must_agree(network, getkey):
    with pytest.raises(ValueError, match="a key each"):
        prune.spade(dense, network, jnp.ones((3, 4)), density=0.5,
                    key=jax.random.split(getkey(), 2))  # fmt: skip


def test_not_inside_jit(network, getkey):
    def run(x, key):
        return prune.spade(dense, network, x, key=key, density=0.5, samples=4)

    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(run)(jnp.ones(4), getkey())
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda x: obs(network["a"], x, 0.5).params)(jnp.ones((9, 4)))


def test_parameters_that_are_no_arrays_are_named():
    params = {"w": jnp.ones((2, 2)), "activation": jax.nn.relu}

    def fn(params, x):
        return params["activation"](x @ params["w"])

    with pytest.raises(
        ValueError, match=r"not arrays \('activation'\); params, static"
    ):
        prune.layer_hessians(fn, params, jnp.ones((3, 2)))
