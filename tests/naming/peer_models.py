"""Models of Keras, Haiku and equimo as they are; each function imports its library."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")


class Peer(NamedTuple):
    """`fn(params, x)` of a batch, and the library's own model."""

    fn: Callable
    params: Any
    x: Any
    model: Any


def key(number=7):
    return jax.random.key(number)


IDS = np.asarray(jax.random.randint(key(), (3, 6), 0, 11))


def _stateless(model, x):
    params = {v.path: v.value for v in model.trainable_variables}
    rest = [v.value for v in model.non_trainable_variables]

    def fn(params, x):
        own = [params[v.path] for v in model.trainable_variables]
        return model.stateless_call(own, rest, x)[0]

    return Peer(fn, params, x, model)


def keras_cnn():
    keras = importlib.import_module("keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = layers.Input((8, 8, 3))
    h = layers.Conv2D(8, 3, padding="same", name="c0")(image)
    h = layers.Activation("relu")(layers.BatchNormalization(name="bn")(h))
    h = layers.Conv2D(12, 3, activation="relu", name="c1")(layers.MaxPooling2D()(h))
    h = layers.Dense(5, name="d")(layers.GlobalAveragePooling2D()(h))
    return _stateless(keras.Model(image, h), jax.random.normal(key(), (4, 8, 8, 3)))


def keras_transformer():
    keras = importlib.import_module("keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    ids = layers.Input((6,), dtype="int32")
    h = layers.Embedding(11, 8, name="embed")(ids)
    for i in range(2):
        a = layers.LayerNormalization(name=f"ln{i}")(h)
        attend = layers.MultiHeadAttention(2, 4, name=f"attn{i}")
        h = h + attend(a, a, use_causal_mask=True)
        a = layers.LayerNormalization(name=f"lm{i}")(h)
        a = layers.Dense(16, activation="gelu", name=f"wi{i}")(a)
        h = h + layers.Dense(8, name=f"wo{i}")(a)
    return _stateless(keras.Model(ids, layers.Dense(11, name="head")(h)), IDS)


def _transformed(f, x):
    hk = importlib.import_module("haiku")
    model = hk.without_apply_rng(hk.transform(f))
    return Peer(model.apply, model.init(key(), x), x, f)


def haiku_transformer():
    hk = importlib.import_module("haiku")

    def f(ids):
        h = hk.Embed(11, 8, name="embed")(ids)
        init = hk.initializers.VarianceScaling(1.0)
        for i in range(2):
            a = hk.LayerNorm(-1, True, True, name=f"ln_{i}")(h)
            attend = hk.MultiHeadAttention(
                2, 4, w_init=init, model_size=8, name=f"attn_{i}"
            )
            h = h + attend(a, a, a)
            mlp = hk.nets.MLP([16, 8], activation=jax.nn.gelu, name=f"mlp_{i}")
            h = h + mlp(hk.LayerNorm(-1, True, True, name=f"lm_{i}")(h))
        return hk.Linear(11, name="head")(h)

    return _transformed(f, IDS)


def haiku_cnn():
    """Channels first, and then all places in a row."""
    hk = importlib.import_module("haiku")

    def f(x):
        h = jax.nn.relu(hk.Conv2D(8, 3, data_format="NCHW", name="c0")(x))
        h = jax.nn.relu(hk.Conv2D(6, 3, data_format="NCHW", name="c1")(h))
        return hk.Linear(5, name="head")(hk.Flatten()(h))

    return _transformed(f, jax.random.normal(key(), (2, 3, 6, 6)))


def equimo_vit():
    folder = "equimo.vision.models.vit" if sys.version_info >= (3, 12) else ""
    importlib.import_module("loguru").logger.remove()
    vit = importlib.import_module(folder or "equimo.models.vit")
    model = vit.VisionTransformer(
        img_size=16, in_channels=3, dim=16, patch_size=8, num_heads=[2], depths=[2],
        num_classes=5, reg_tokens=0, key=key(),
    )  # fmt: skip
    params, static = eqx.partition(eqx.nn.inference_mode(model), eqx.is_array)

    def run(model, x):
        return jax.vmap(lambda x: model(x, key=key(), inference=True))(x)

    def fn(params, x):
        return run(eqx.combine(params, static), x)

    x = jax.random.normal(key(), (2, 3, 16, 16))
    return Peer(fn, params, x, (run, eqx.combine(params, static)))
