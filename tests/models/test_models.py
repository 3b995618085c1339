"""The shipped networks against NumPy in float64, and Linen modules with statistics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import models

MLP = models.mlp((6, 5), 3)
CONVNET = models.convnet((3, 4), 5)


def noisy(model, x, rng):
    """Parameters of the right shapes, with random biases too."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda p: rng.normal(size=p.shape).astype("f4") / 2, shapes)


def double(layer):
    return [np.asarray(layer[k], np.float64) for k in ("kernel", "bias")]


def convolve(x, kernel):
    height, width, _, units = kernel.shape
    rows, columns = x.shape[0] - height + 1, x.shape[1] - width + 1
    out = np.zeros((rows, columns, units))
    for r, c, u in np.ndindex(out.shape):
        out[r, c, u] = np.sum(x[r : r + height, c : c + width] * kernel[..., u])
    return out


def forward(params, x):
    """One example through convolutions, then dense layers; all activations."""
    h, hidden = np.asarray(x, np.float64), []
    for name, layer in params.items():
        kernel, bias = double(layer)
        conv = name.startswith("conv")
        h = (convolve(h, kernel) if conv else h.reshape(-1) @ kernel) + bias
        if name != list(params)[-1]:
            h = np.maximum(h, 0)
            hidden.append(h)
    return h, hidden


@pytest.mark.parametrize("model, shape", [(MLP, (4,)), (CONVNET, (7, 6, 2))])
def test_equal_to_loops_in_float64(model, shape, rng):
    x = rng.normal(size=(2, 2, *shape)).astype(np.float32)
    params = noisy(model, x, rng)

    def run(p, x):
        return (sj.activations(model.apply)(p, x), model.apply(p, x[1, 0]))

    (out, acts), alone = jax.device_get(jax.jit(run)(params, x))
    assert list(acts) == ["hidden_0", "hidden_1"]
    for i in np.ndindex(2, 2):
        expected, hidden = forward(params, x[i])
        np.testing.assert_allclose(out[i], expected, rtol=1e-5, atol=1e-5)
        for h, want in zip(acts.values(), hidden, strict=True):
            np.testing.assert_allclose(h[i], want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone, out[1, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model, shape, kernels",
    [
        (models.mlp((32, 32), 10), (784,), [25088, 1024, 320]),
        (models.convnet((6, 6, 6)), (28, 28, 1), [54, 324, 324, 29040]),
    ],
)
def test_published_sizes(model, shape, kernels):
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
    assert [layer["kernel"].size for layer in params.values()] == kernels
    out = jax.eval_shape(model.apply, params, jnp.zeros((3, *shape)))
    assert out.shape == (3, 10)


def test_he_normal_kernels_and_zero_biases():
    init = jax.jit(models.mlp((200,), 2).init)
    kernels = []
    for x in (jnp.zeros(100), jnp.ones((3, 100))):  # values and batch do not matter
        layer = init(jax.random.key(0), x)["dense_0"]
        assert not layer["bias"].any()
        kernels.append(layer["kernel"])
    np.testing.assert_array_equal(*kernels)
    error = np.sqrt(0.02) / np.sqrt(2 * 20_000)
    assert abs(kernels[0].std() - np.sqrt(2 / 100)) < 5 * error


def test_convolutions_and_their_derivatives_are_those_of_xla(monkeypatch, rng):
    example = rng.normal(size=(3, 6, 5, 2))
    noise = noisy(CONVNET, jnp.asarray(example, jnp.float32), rng)

    def both(backend, dtype, run):
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        x = jnp.asarray(example, dtype)
        params = jax.tree.map(lambda p: jnp.asarray(p, dtype), noise)
        stacked = jax.tree.map(lambda p: jnp.stack([p, -p]), params)
        traced = jax.jit(lambda *args: run(*args)).trace(stacked, x)
        assert ("conv_general" in str(traced.jaxpr)) == (backend != "cpu")
        return jax.tree.leaves(traced.lower().compile()(stacked, x))

    apply = jax.vmap(CONVNET.apply, (0, None))
    grads = jax.grad(lambda p, x: jnp.square(apply(p, x)).sum(), argnums=(0, 1))
    with jax.enable_x64(True):
        for run, dtype, close in [
            (apply, "float32", 1e-5),
            (apply, "float64", 1e-12),
            (grads, "float64", 1e-12),
        ]:
            pairs = zip(
                both("cpu", dtype, run), both("another", dtype, run), strict=True
            )
            for ours, xla in pairs:
                assert ours.dtype == xla.dtype == dtype
                np.testing.assert_allclose(ours, xla, rtol=close, atol=close)


class Normalized(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-3, name="norm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(2, name="dense")(x)


class Plain(nn.Module):
    @nn.compact
    def __call__(self, x):
        train = nn.Dense(2, name="dense")(x)
        return train


def normalized(x):
    model = models.linen(Normalized())
    params = model.init(jax.random.key(0), x)
    params["norm"] = {
        "mean": jnp.array([1.0, 2, 3]),
        "var": jnp.array([4.0, 1, 9]),
        "scale": jnp.array([1.0, 2, 1]),
        "bias": jnp.array([0.0, 1, 2]),
    }
    return model, params


def test_statistics_are_parameters_and_apply_evaluates(rng):
    x = rng.normal(size=(40, 3)).astype(np.float32)
    model, params = normalized(x)
    assert jax.tree.structure(params) == jax.tree.structure(
        model.init(jax.random.key(1), x)
    )
    out = model.apply(params, x)
    h = (x - np.array([1, 2, 3])) / np.sqrt(np.array([4, 1, 9]) + 1e-3)
    h = h * np.array([1, 2, 1]) + np.array([0, 1, 2])
    kernel, bias = double(params["dense"])
    np.testing.assert_allclose(out, h @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_train_apply_updates_statistics_and_drops_out(rng):
    x = rng.normal(size=(400, 3)).astype(np.float32)
    model, params = normalized(x)

    def run(seed):
        return model.train_apply(params, x, key=jax.random.key(seed))

    (out, new), (again, _), (other, _) = run(0), run(0), run(1)
    for name, batch in (("mean", x.mean(axis=0)), ("var", x.var(axis=0))):
        expected = 0.9 * params["norm"][name] + 0.1 * batch
        np.testing.assert_allclose(new["norm"][name], expected, rtol=1e-5)
    assert jax.tree.structure(new) == jax.tree.structure(params)

    def moved(name, old, new):
        return (old != new).any() == (name[-4:] in ("mean", "/var"))

    assert all(jax.tree.leaves(sj.trees.map_with_path(moved, params, new)))
    np.testing.assert_array_equal(out, again)
    assert (out != other).mean() > 0.8
    # Of three inputs an example keeps each by chance 1/2, doubled.
    kernel, bias = double(params["dense"])
    h = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3)
    h = 2 * (h * np.array([1, 2, 1]) + np.array([0, 1, 2]))
    subsets = np.asarray(sj.masks.subsets(3))[:, None]
    distance = np.abs((h * subsets) @ kernel + bias - out).max(axis=-1)
    assert distance.min(axis=0).max() < 1e-4
    seen = np.bincount(distance.argmin(axis=0), minlength=8)
    assert abs(seen - 50).max() < 5 * np.sqrt(400 * 7 / 64)


@pytest.mark.parametrize("model", [models.linen(Plain()), models.mlp((3,), 2)])
def test_without_statistics_training_mode_is_evaluation(model, rng):
    x = jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)
    params = model.init(jax.random.key(0), x)
    out, same = model.train_apply(params, x, key=jax.random.key(1))
    np.testing.assert_array_equal(out, model.apply(params, x))
    jax.tree.map(np.testing.assert_array_equal, same, params)


def test_only_statistics_are_not_trainable():
    model, params = normalized(jnp.ones((2, 3)))
    moved = sj.trees.by_path(sj.trees.map_with_path(models.is_trainable, params))
    fixed = [name for name, trainable in moved.items() if not trainable]
    assert fixed == ["norm/mean", "norm/var"]
    masks = sj.masks.ones(model.apply, params, jnp.ones((2, 3)))
    assert sj.masks.counts(masks.weights) == {"dense/kernel": 6}
