"""The network of a lottery run, its first parameters, its optimizer and schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from sparsejax import masks, models, trees
from sparsejax.data import augmentations
from sparsejax.experiments.lottery.config import Config, is_residual


def model(config: Config, outputs: int) -> models.Model:
    """The network of images in [0, 1], of flat ones if it is an MLP.

    Training varies images if the config says so, and is spread over all devices where
    the network is a residual one.

    Args:
        config: with everything filled in.
        outputs: number of logits.
    """
    if config.model == "mlp":
        return models.mlp(config.widths, outputs)
    if config.model == "convnet":
        return models.convnet(config.widths, outputs)
    depth = int(str(config.model).removeprefix("resnet"))
    stride = config.stride or (2 if config.dataset == "scenes" else None)
    network = models.resnet(depth, outputs, config.widths or None, stride)
    auto = (jax.sharding.AxisType.Auto,)
    devices = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=auto)
    rows = jax.sharding.NamedSharding(devices, jax.sharding.PartitionSpec("batch"))
    vary = augmentations.compose(augmentations.crop((0.6, 1.0)), augmentations.flip())

    def train_apply(params, x, *, key):
        if jax.device_count() > 1:
            x = jax.lax.with_sharding_constraint(x, rows)
        if config.augment:
            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(x)))
            x = jax.vmap(vary)(keys, x)
        return network.train_apply(params, _centred(x), key=key)

    def apply(params, x):
        return network.apply(params, _centred(x))

    return models.Model(network.init, apply, train_apply)


def input_shape(config: Config, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what the network takes, from that of an image."""
    height, width, channels = shape
    return (height * width * channels,) if config.model == "mlp" else shape


def outputs(params: PyTree) -> int:
    """Number of outputs of a network, from its parameters."""
    last = [k for k in params if k.startswith("dense_")]
    name = f"dense_{len(last) - 1}" if last else "fc" if "fc" in params else "linear"
    return params[name]["bias"].shape[-1]


def keys(config: Config) -> tuple[Key[Array, " seeds"], Key[Array, " seeds"]]:
    """Keys of the first parameters, and of training."""
    each = seed_keys(config)
    if is_residual(config):
        pairs = jax.vmap(jax.random.split)(each)
        return pairs[:, 0], pairs[:, 1]
    return fold(each, 0), fold(each, 1)


def seed_keys(config: Config) -> Key[Array, " seeds"]:
    """A key for each seed."""
    return jax.vmap(jax.random.key)(jnp.array(config.seeds))


def fold(keys: Key[Array, "*seeds"], number: int) -> Key[Array, "*seeds"]:
    """A new key for each of one or several."""

    def one(key):
        return jax.random.fold_in(key, number)

    return jax.vmap(one)(keys) if keys.ndim else one(keys)


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """The optimizer, with its schedule over the steps of one training."""
    rule = {
        "sgd": optax.identity,
        "momentum": lambda: optax.trace(decay=0.9),
    }.get(str(config.optimizer), optax.scale_by_adam)()
    rate = optax.scale_by_learning_rate(_schedule(config, steps))
    if not config.weight_decay:
        return optax.chain(rule, rate)
    decay = optax.add_decayed_weights(config.weight_decay, _kernels)
    coupled = config.optimizer in ("sgd", "momentum")
    return optax.chain(*((decay, rule) if coupled else (rule, decay)), rate)


def prunable(config: Config, shape: tuple[int, ...], outputs: int) -> PyTree:
    """Masks of ones over everything that is pruned and counted.

    Args:
        config: with everything filled in.
        shape: of an image.
        outputs: number of logits.

    Raises:
        ValueError: for layers in `exclude` that there are not, or if none is left.
    """
    x = jnp.zeros((1, *input_shape(config, shape)))
    network = model(config, outputs)
    params = jax.eval_shape(network.init, jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    weights = masks.ones(network.apply, params, x).weights
    names = list(masks.sizes(weights))
    out = {layer(name, names) for name in config.exclude}
    if out >= set(names):
        raise ValueError(f"exclude leaves nothing to prune: {trees.listed(names)}")

    def drop(path, leaf):
        return jnp.ones((), leaf.dtype) if path in out else leaf

    return trees.map_with_path(drop, weights)


def layer(name: str, paths: list[str]) -> str:
    """The path of a layer given by its name or its kernel's path.

    Raises:
        ValueError: if there is no such layer.
    """
    for path in (name, f"{name}/kernel"):
        if path in paths:
            return path
    layers = [path.removesuffix("/kernel") for path in paths]
    raise ValueError(f"no layer {name!r}; there are {trees.listed(layers)}")


def _schedule(config: Config, steps: int) -> Any:
    """The learning rate at a step."""
    peak, warm = config.learning_rate or 0.0, max(steps // 10, 1)
    if config.schedule == "constant":
        return peak
    if config.schedule == "cosine":
        # Not to zero, so that "final" names a rate one can fine-tune with.
        return optax.warmup_cosine_decay_schedule(
            0.0, peak, warm, max(steps, warm + 1), end_value=peak / 100
        )
    falls = {steps // 3: 0.1, 2 * steps // 3: 0.1, 8 * steps // 9: 0.1}
    after = optax.piecewise_constant_schedule(peak, falls)
    rise = optax.linear_schedule(0.0, peak, warm)
    return lambda step: jnp.minimum(rise(step), after(step))


def _kernels(params: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


def _centred(x):
    """Images in colour as networks of such images are given them."""
    return models.normalize(x) if x.shape[-1] == 3 else x
