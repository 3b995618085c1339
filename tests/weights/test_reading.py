"""Which steps read as linear ones, and what is said of those that do not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import weights

pytestmark = pytest.mark.usefixtures("float64")

RISING = {
    "relu": jax.nn.relu,
    "zeros": lambda x: jnp.maximum(jnp.zeros_like(x), x),
    "where": lambda x: jnp.where(x > 0, x, 0.0),
    "gate": lambda x: x * (x > 0).astype(x.dtype),
    "relu6": jax.nn.relu6,
    "leaky": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "erf gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "shifted gelu": lambda x: jax.nn.gelu(x - 5),
    "threshold": lambda x: jnp.where(x > 5, x, 0.0),
    "bare gelu": lambda x: 0.5 * x * (1 + jnp.tanh(0.8 * (x + 0.045 * x**3))),
    "swish": jax.nn.swish,
    "bare swish": lambda x: x / (1 + jnp.exp(-x)),
    "hard swish": jax.nn.hard_swish,
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "clip": lambda x: jnp.clip(x, -1.0, 1.0),
    "per channel": lambda x: jnp.maximum(x, jnp.arange(2.0)),
    "jit": jax.jit(lambda x: jax.nn.relu(x)),
    "remat": jax.checkpoint(jax.nn.relu),
    "barrier": lambda x: jax.lax.stop_gradient(jax.nn.relu(x)),
    "on a device": lambda x: jax.device_put(jax.nn.relu(x)),
    "angle": lambda x: jnp.arctan2(x, 2.0),
}


def between(f):
    return lambda params, x: f(x @ params[0] + 0.3) @ params[1]


def test_activation_functions_are_the_identity(rng):
    """Every form between the same two layers, all in one function."""

    def fn(params, x):
        return jnp.stack([between(form)(params, x) for form in RISING.values()], -1)

    params = rng.normal(size=(3, 2)), rng.normal(size=(2, 4))
    found = weights.expand(fn, params, None, None, size=(3,), position=(2,))
    for name, part in zip(RISING, found.weights.T, strict=True):
        wanted = (params[0] @ params[1])[:, 2]
        np.testing.assert_allclose(part, wanted, atol=1e-12, err_msg=name)


def test_signs_numbers_and_what_is_added(rng):
    def fn(params, x):
        return jnp.stack([between(form)(params, x) for form in forms.values()], -1)

    params = rng.normal(size=(3, 2)), rng.normal(size=(2, 1))
    forms = {
        -1: lambda x: jax.nn.relu(-x),
        -3: lambda x: 1 - 3 * jax.nn.sigmoid(x),
        2: lambda x: x + jnp.tanh(x),
        5: lambda x: 3 * jax.nn.relu(x) + 2 * x - 1,
        0.5: lambda x: (4 + jax.nn.gelu(x)) / 2,
    }
    found = weights.expand(fn, params, None, None, size=(3,))
    wanted = params[0] @ params[1] * np.array(list(forms))
    np.testing.assert_allclose(found.weights, wanted, atol=1e-12)


def test_moves_are_moves(rng):
    """Against a Jacobian: everything here is linear as it is."""

    def fn(params, x):
        h = checkpoint_name(x, "h")
        h = jnp.concatenate([h[::-1], jnp.cumsum(h, 0), params], 0) - 2.0
        a, b = jnp.split(jnp.roll(h, 1, 0), [2])
        h = jnp.take(b, jnp.array([3, 0, 0]), axis=0) + a[:1] - b.sum(0)
        h = jax.lax.reduce_window(h, 0.0, jax.lax.add, (2, 1), (1, 1), "VALID")
        return jnp.stack([h[0], -h[1] / 4.0]) @ params

    params, x = rng.normal(size=(2, 2)), rng.normal(size=(3, 2))
    found = weights.expand(fn, params, "h", None, size=(3, 2), position=(1,))
    whole = jax.jit(jax.jacobian(lambda x: fn(params, x)))(x)[1]
    assert found.corner == (0,)
    np.testing.assert_allclose(found.weights, jnp.moveaxis(whole, 0, -1), atol=1e-12)


def test_maxima_over_axes_are_means(rng):
    def fn(params, x):
        return x.max(0) @ params - x.min(0) @ params

    found = weights.expand(fn, rng.normal(size=(2, 3)), None, None, size=(4, 2))
    assert found.weights.shape == (4, 2, 3)
    np.testing.assert_allclose(found.weights, 0, atol=1e-12)
    one = weights.expand(lambda p, x: x.max(0) * p, np.ones(2), None, None, size=(4, 2))
    np.testing.assert_allclose(one.weights, np.tile(np.eye(2) / 4, (4, 1, 1)))


def test_same_padding_of_max_pooling():
    def fn(params, x):
        return nn.max_pool(x, (2, 2), (2, 2), "SAME") * params

    found = weights.expand(fn, np.ones(1), None, None, size=(5, 5, 1))
    np.testing.assert_allclose(found.weights, np.full((2, 2, 1, 1), 0.25))


def loop(x):
    return jax.lax.fori_loop(0, 3, lambda i, h: h * 1.5, x)


NONE = {
    "softmax": (jax.nn.softmax, "the step 'exp' at "),
    "square": (jnp.square, "the step 'square' at "),
    "exp": (jnp.exp, "the step 'exp' at "),
    "cube": (lambda x: x**3, "the step 'integer_pow' at "),
    "sine": (jnp.sin, "the step 'sin' at "),
    "abs": (jnp.abs, "the step 'abs' at "),
    "product": (lambda x: x * jnp.flip(x, -1), "the step 'mul' at "),
    "quotient": (lambda x: x[:1] / x, "divides two activations"),
    "dot": (lambda x: x * (x @ x), "multiplies or divides two activations"),
    "larger": (lambda x: jnp.maximum(x, jnp.flip(x, -1)), "compares two activations"),
    "normalisation": (
        lambda x: (x - x.mean()) * jax.lax.rsqrt(x.var() + 1e-5),
        "is neither linear nor an activation function",
    ),
    "loop": (loop, "which is not opened; pass sj.unrolled(fn): its 3 steps"),
    "sorted": (jnp.sort, "the step 'sort' at "),
    "chosen": (lambda x: x[jnp.argmax(x)[None]], "has no linear"),
    "whole": (lambda x: x.astype(int).astype(float) * x, "multiplies or"),
}


@pytest.mark.parametrize("form", NONE)
def test_steps_without_a_linear_reading_are_named(form, rng):
    fn, message = NONE[form]
    if form == "chosen":
        message = "the step 'argmax' at "
    params = rng.normal(size=(3, 2)), np.ones((1 if form == "chosen" else 2, 4))
    with pytest.raises(ValueError) as caught:
        weights.expand(between(fn), params, None, None, size=(3,))
    said = str(caught.value)
    assert message in said and "from the input to the output there is no linear" in said
    assert "test_reading.py:" in said and "weights.gradients" in said


def test_a_gate_from_beside_is_a_product(rng):
    """Neither factor is known: one depends on the source, the other on the input."""

    def fn(params, x):
        return checkpoint_name(jax.nn.relu(x), "h") * jax.nn.sigmoid(x)

    with pytest.raises(
        ValueError, match="'mul' .* multiplies or divides two activations"
    ):
        weights.expand(fn, np.ones(1), "h", None, size=(3,))


def test_what_is_beyond_the_target_or_beside_the_path_does_not_matter(rng):
    def fn(params, x):
        low = checkpoint_name(x @ params, "low")
        checkpoint_name(jax.nn.softmax(low), "attention")
        high = checkpoint_name(jax.nn.relu(low) @ params, "high")
        return jax.nn.softmax(high)

    params = rng.normal(size=(3, 3))
    found = weights.expand(fn, params, "low", "high", size=(3,))
    np.testing.assert_allclose(found.weights, params, atol=1e-12)
    with pytest.raises(ValueError, match="from 'low' to 'attention'.*'exp'"):
        weights.expand(fn, params, "low", "attention", size=(3,))


def test_a_name_inside_a_loop_says_so():
    def fn(params, x):
        def body(i, h):
            return checkpoint_name(h * params, "h")

        return jax.lax.fori_loop(0, 3, body, x)

    with pytest.raises(
        ValueError, match="'h' at .*in a loop of 3 steps; pass sj.unrolled"
    ):
        weights.expand(fn, np.ones(2), "h", None, size=(2,))
