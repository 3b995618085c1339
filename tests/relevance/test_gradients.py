"""Gradient methods against NumPy, and the properties that all attributions share."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import models, relevance

pytestmark = pytest.mark.usefixtures("float64")


def plus(v):
    return np.maximum(v, 0)


def dense_layers(rng, sizes=(5, 7, 6, 3)):
    pairs = zip(sizes, sizes[1:], strict=False)
    return [(rng.normal(size=s), rng.normal(size=s[1])) for s in pairs]


def mlp(params, x):
    for i, (kernel, bias) in enumerate(params):
        x = x @ kernel + bias
        if i < len(params) - 1:
            x = checkpoint_name(jax.nn.relu(x), f"hidden_{i}")
    return x


def backward(layers, x, target, gate):
    """What comes back to the input of a ReLU network, with `gate(z, q)` at ReLUs."""
    kernels, sums = [], []
    for kernel, bias in layers:
        kernels.append(kernel)
        sums.append(x @ kernel + bias)
        x = plus(sums[-1])
    q = kernels[-1][:, target]
    for kernel, z in list(zip(kernels[:-1], sums[:-1], strict=True))[::-1]:
        q = kernel @ gate(z, q)
    return q


GATES = {
    "gradient": lambda z, q: (z > 0) * q,
    "guided_backprop": lambda z, q: (z > 0) * plus(q),
    "deconvnet": lambda z, q: plus(q),
}


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.defaults
def test_by_hand_on_relu_networks(name, seed):
    rng = np.random.default_rng(seed)
    layers, x = dense_layers(rng), rng.normal(size=5)
    found = getattr(relevance, name)(mlp, layers, x, target=1)
    np.testing.assert_allclose(found, backward(layers, x, 1, GATES[name]), atol=1e-12)


def test_gradient_by_finite_differences(rng):
    def fn(params, x):
        return jnp.tanh(x @ params) ** 2

    kernel, x, h = rng.normal(size=(4, 2)), rng.normal(size=4), 1e-6

    def value(x):
        return float(fn(kernel, x)[1])

    slopes = [(value(x + h * e) - value(x - h * e)) / (2 * h) for e in np.eye(4)]
    found = relevance.gradient(fn, kernel, x, target=1)
    np.testing.assert_allclose(found, slopes, atol=1e-8)
    start = rng.normal(size=4)
    shares = relevance.gradient_x_input(fn, kernel, x, target=1, baseline=start)
    np.testing.assert_allclose(shares, (x - start) * slopes, atol=1e-8)


def test_gradient_x_input_is_lrp_of_relu_networks(rng):
    layers, x = dense_layers(rng), rng.normal(size=5)
    lrp = relevance.explain(mlp, layers, x, target=2, baseline="zero").input
    found = relevance.gradient_x_input(mlp, layers, x, target=2)
    np.testing.assert_allclose(found, lrp, atol=1e-12)


def test_deeplift_is_complete_and_compares(rng):
    layers, x, start = dense_layers(rng), rng.normal(size=5), rng.normal(size=5)
    found = relevance.deeplift(mlp, layers, x, start, target=0)
    wanted = mlp(layers, x)[0] - mlp(layers, start)[0]
    np.testing.assert_allclose(found.input.sum(), wanted, atol=1e-12)
    assert abs(found.residual()) < 1e-12
    with pytest.raises(ValueError, match=r"baseline has shape \(4,\), but x has shape"):
        relevance.deeplift(mlp, layers, x, start[:4], target=0)


@pytest.mark.parametrize("positive", [True, False])
def test_grad_cam_of_a_readout(rng, positive):
    """Of logits that average channels over places, Grad-CAM is the class map."""
    mix, readout = rng.normal(size=(2, 5)), rng.normal(size=(5, 3))

    def fn(params, x):
        acts = checkpoint_name(jnp.tanh(x @ params["mix"]), "last")
        return acts.mean((0, 1)) @ params["readout"]

    x = rng.normal(size=(4, 6, 2))
    params = {"mix": mix, "readout": readout}
    run = ft.partial(relevance.grad_cam, fn, params, x, target=1, positive=positive)
    wanted = np.tanh(x @ mix) @ readout[:, 1] / 24
    wanted = plus(wanted) if positive else wanted
    np.testing.assert_allclose(run("last"), wanted, atol=1e-12)
    with pytest.raises(ValueError, match="no activation 'first'; it names 'last'"):
        run("first")


def test_grad_cam_needs_places(rng):
    with pytest.raises(ValueError, match=r"'hidden_0' has shape \(7,\).*channels"):
        relevance.grad_cam(mlp, dense_layers(rng), np.ones(5), "hidden_0", target=0)


# What every attribution of an example to its inputs has in common.

METHODS = {
    "gradient": relevance.gradient,
    "gradient_x_input": relevance.gradient_x_input,
    "integrated_gradients": lambda *a, **k: (
        relevance.integrated_gradients(*a, steps=5, **k).input
    ),
    "expected_gradients": lambda fn, params, x, **k: (
        relevance.expected_gradients(
            fn, params, x, jnp.stack([0 * x, x + 1]), key=KEY(), samples=6, **k
        ).input
    ),
    "smoothgrad": lambda *a, **k: relevance.smoothgrad(*a, key=KEY(), samples=4, **k),
    "guided_backprop": relevance.guided_backprop,
    "deconvnet": relevance.deconvnet,
    "deeplift": lambda fn, params, x, **k: (
        relevance.deeplift(fn, params, x, 0.5 * jnp.ones_like(x), **k).input
    ),
    "occlusion": lambda *a, **k: relevance.occlusion(*a, window=2, **k),
}


def KEY():
    return jax.random.key(7)


def network(rng, axes=1):
    """A function of examples with so many axes, its parameters, an example."""
    layers = dense_layers(rng, (12, 8, 3))
    if axes == 1:
        return mlp, layers, rng.normal(size=12)
    if axes == 2:

        def flat(params, x):
            return mlp(params, x.ravel())

        return flat, layers, rng.normal(size=(4, 3))
    net, x = models.convnet((3, 4), 3), rng.normal(size=(7, 6, 2))
    shapes = jax.eval_shape(net.init, KEY(), jnp.float32(x))
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    return net.apply, params, x


@pytest.mark.parametrize(
    "axes", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))]
)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_on_every_network(name, axes, rng):
    fn, params, x = network(rng, axes)
    run = ft.partial(METHODS[name], fn, params, target=1)
    examples = jnp.asarray(np.stack([x, -0.5 * x]))
    single = jax.jit(run)
    alone = [single(example) for example in examples]
    assert alone[0].shape == x.shape and alone[0].dtype == x.dtype
    assert np.any(np.asarray(alone[0]) != 0)
    np.testing.assert_array_equal(single(examples[0]), alone[0])
    together = jax.jit(jax.vmap(run))(examples)
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_derivative(name, rng):
    """By parameters: the way to train on an explanation."""
    fn, params, x = network(rng)

    def square(params):
        return jnp.sum(METHODS[name](fn, params, x, target=1) ** 2)

    run = jax.jit(square)
    (kernel, bias), *others = params
    step = rng.normal(size=kernel.shape)

    def along(t):
        return run([(kernel + t * step, bias), *others])

    slope = np.sum(np.asarray(jax.jit(jax.grad(square))(params)[0][0]) * step)
    ahead, behind = along(1e-6), along(-1e-6)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "target", [np.array([0.5, 0.0, -2.0]), lambda out: 0.5 * out[0] - 2 * out[2]]
)
def test_every_method_takes_weights_and_functions(name, target, rng):
    fn, params, x = network(rng)

    @jax.jit
    def run(x):
        explained = ft.partial(METHODS[name], fn, params, x)
        if name in ("guided_backprop", "deconvnet"):  # not linear in what comes back
            wanted = explained(target=np.array([0.5, 0.0, -2.0]))
        else:
            wanted = 0.5 * explained(target=0) - 2 * explained(target=2)
        return explained(target=target), wanted

    found, wanted = run(x)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


BAD = {
    "out of range": ({"target": 3}, "target 3 is none of 3 outputs"),
    "no choice": ({}, r"fn returns an array of shape \(3,\); say what to explain"),
    "of no shape": ({"target": np.ones(2)}, "target is .*can be an index"),
    "function": ({"target": lambda out: out}, "target function returned an array"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_refuses_bad_targets(name, bad, rng):
    fn, params, x = network(rng)
    given, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        METHODS[name](fn, params, x, **given)


@pytest.mark.parametrize("place", ["x", "params", "fn"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_refuses_what_is_not_finite(name, place, rng):
    """A ReLU's derivative at NaN is 0: it must not pass for an answer."""
    fn, params, x = network(rng)
    if place == "x":
        x = np.full_like(x, np.nan)
    elif place == "params":
        params = [(k, np.full_like(b, np.nan)) for k, b in params]
    else:

        def fn(params, x):
            return mlp(params, x) * jnp.inf

    with pytest.raises(ValueError, match="relevance is not finite in"):
        METHODS[name](fn, params, x, target=0)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_wants_one_real_output(name, rng):
    fn, params, x = network(rng)

    def pair(params, x):
        return (mlp(params, x), x)

    with pytest.raises(ValueError, match="fn returns 2 arrays; pass target=lambda"):
        METHODS[name](pair, params, x)
    first = METHODS[name](pair, params, x, target=lambda out: out[0][1])
    np.testing.assert_allclose(first, METHODS[name](fn, params, x, target=1))

    def whole(params, x):
        return jnp.argmax(mlp(params, x))

    with pytest.raises(ValueError, match="the output is int"):
        METHODS[name](whole, params, x)
