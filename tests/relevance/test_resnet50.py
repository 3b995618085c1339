"""A whole Flax ResNet-50: nothing is lost, and nothing had to be done to it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import models, relevance, trees
from sparsejax.relevance import Rules, explain

pytestmark = pytest.mark.usefixtures("float64")


class Bottleneck(nn.Module):
    features: int
    stride: int

    @nn.compact
    def __call__(self, x):
        norm = functools.partial(nn.BatchNorm, use_running_average=True)
        conv = functools.partial(nn.Conv, use_bias=False)
        h = nn.relu(norm()(conv(self.features, (1, 1))(x)))
        h = nn.relu(norm()(conv(self.features, (3, 3), self.stride)(h)))
        h = norm()(conv(4 * self.features, (1, 1))(h))
        if x.shape != h.shape:
            x = norm()(conv(4 * self.features, (1, 1), self.stride)(x))
        return nn.relu(x + h)


class ResNet50(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(64, (7, 7), 2, padding=[(3, 3), (3, 3)], use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
        for i, count in enumerate((3, 4, 6, 3)):
            for j in range(count):
                x = Bottleneck(64 * 2**i, 1 + (i > 0 and j == 0))(x)
        return nn.Dense(1000)(x.mean((-3, -2)))


@functools.cache
def network():
    """Weights as initialised; statistics, scales and shifts random."""
    model, rng = models.linen(ResNet50()), np.random.default_rng(0)
    start = jnp.zeros((1, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), start)

    def draw(path, leaf):
        if len(leaf.shape) > 1:
            scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
            return rng.normal(0, scale, leaf.shape)
        if path.endswith(("var", "scale")):
            return rng.uniform(0.5, 1.0, leaf.shape)
        return rng.normal(0, 0.2, leaf.shape)

    drawn = {k: draw(k, leaf) for k, leaf in trees.by_path(params).items()}
    return model, trees.nested(drawn), rng.normal(size=(64, 64, 3))


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["lrp_0", "epsilon", "z_plus", "baseline"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_nothing_is_lost_in_a_resnet_50(rule, dtype):
    model, params, x = network()
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), params)
    x = jnp.asarray(x, dtype)
    rules = {
        "epsilon": Rules(layer=relevance.epsilon(0.25)),
        "z_plus": Rules(layer=relevance.z_plus(), last=relevance.epsilon()),
    }.get(rule, Rules())
    reference = 0.5 * jnp.roll(x, 1) if rule == "baseline" else "zero"

    def fn(params, x):
        with jax.numpy_dtype_promotion("standard"):
            return model.apply(params, x[None])[0]

    @jax.jit
    def both(params, x):
        found = explain(fn, params, x, target=7, baseline=reference, rules=rules)
        return found, jax.grad(lambda x: fn(params, x)[7])(x)

    found, gradient = both(params, x)
    tolerance = 1e-6 if dtype == jnp.float32 else 1e-12
    error = float(jnp.abs(found.residual()) / found.magnitude())
    print(rule, dtype.__name__, "residual / magnitude", error)
    assert error < tolerance
    if rule == "lrp_0":
        scale = float(jnp.abs(gradient).max())
        np.testing.assert_allclose(
            found.multiplier, gradient, atol=100 * tolerance * scale
        )
    leaves = trees.by_path(params)
    added = {k for k in leaves if k.endswith(("bias", "mean"))}
    assert set(found.bias) == added and len(added) == 107
