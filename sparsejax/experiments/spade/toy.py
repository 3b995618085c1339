"""A unit with two positive regions in the plane, and what would drive it.

A multilayer perceptron learns two discs, a large one and a small one. Points that drive
its answer, found by gradient ascent from random starts, lie in both. Pruned for a point
of one disc, is it about that disc?
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sparsejax import features, lift, masks, models, prune, train
from sparsejax.data import augmentations
from sparsejax.experiments.spade.config import Config

DISCS = {"large": (-0.45, 0.1, 0.42), "small": (0.6, -0.35, 0.22)}  # x, y, radius
_NOISE = 0.07  # of variations of a point
_WIDTH = 64
_MODEL = models.mlp((_WIDTH, _WIDTH), 2)
# All inputs of a layer in one block: units that nothing near the point wakes lose all
# their weights. With shares of its own for every input they would keep some.
_DENSITY, _BLOCK = {"dense_1/*": 0.3, "dense_2/*": 0.3}, _WIDTH
_STARTS, _SIDE, _EXAMPLES = 100, 160, 4000
_APART = features.logit(1) - features.logit(0)


def draw(config: Config, log) -> dict[str, np.ndarray]:
    """Points and, of the first seed, probabilities over the square [-1, 1]^2.

    Returns:
        `points/ARM` (seeds, points, 2), of arms "dense", "large", "small" (pruned for
        the middle of that disc) and "dataset"; `surface/ARM` (side, side), the first
        row at the top.
    """
    points: dict[str, list] = {}
    surfaces = {}
    for seed in range(config.num_planes):
        log(f"toy: seed {seed} of {config.num_planes}")
        for arm, params in _networks(seed, config.plane_epochs).items():
            points.setdefault(arm, []).append(_driving(params))
            if seed == 0:
                surfaces[f"surface/{arm}"] = _surface(params)
    return surfaces | {f"points/{arm}": np.stack(p) for arm, p in points.items()}


def inside(points: np.ndarray, disc: str) -> np.ndarray:
    """Which points (..., 2) lie in a disc."""
    x, y, radius = DISCS[disc]
    return np.hypot(points[..., 0] - x, points[..., 1] - y) < radius


def _networks(seed: int, epochs: int) -> dict[str, Any]:
    """Parameters of the dense network and of pruned ones."""
    for_data, for_init, for_order, for_views = jax.random.split(jax.random.key(seed), 4)
    x = jax.random.uniform(for_data, (_EXAMPLES, 2), jnp.float32, -1, 1)
    y = inside(np.asarray(x), "large") | inside(np.asarray(x), "small")
    params = _MODEL.init(for_init, jnp.zeros(2))
    state, _ = train.fit(
        _apply,
        params,
        masks.Masks(jax.tree.map(lambda p: jnp.ones((), p.dtype), params), {}),
        (x, y.astype(np.int32)),
        optimizer=optax.adamw(3e-3, weight_decay=0.03),
        batch_size=64,
        epochs=epochs,
        key=for_order,
    )
    arms = {"dense": state.params}
    for disc, (left, up, _) in DISCS.items():
        arms[disc] = prune.spade(
            _fn, state.params, jnp.array([left, up]), key=for_views, samples=256,
            density=_DENSITY, augment=augmentations.noise(_NOISE), block_size=_BLOCK,
        ).params  # fmt: skip
    everywhere = prune.layer_hessians(_fn, state.params, x[:1000])
    arms["dataset"] = prune.prune_layers(
        state.params, everywhere, _DENSITY, block_size=_BLOCK
    ).params
    return arms


_apply = lift.masked(_MODEL.apply)


def _fn(params, x):
    return _MODEL.apply(params, x.reshape(-1))


def _driving(params) -> np.ndarray:
    """Points of the square found by ascent from random starts, shape (points, 2)."""
    rendered = features.render(
        _fn, params, _APART, [0], key=jax.random.key(5), size=(1, 2), count=_STARTS,
        steps=200, learning_rate=0.1, redirect=0, bounds=(-1.0, 1.0), progress=False,
        transform=features.compose(), parametrization=features.pixels(1.5),
    )  # fmt: skip
    return np.asarray(rendered.images)[0, :, 0]


def _surface(params) -> np.ndarray:
    side = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    plane = jnp.stack(jnp.meshgrid(side, side[::-1]), -1).reshape(-1, 2)
    logits = jax.vmap(_fn, (None, 0))(params, plane)
    return np.asarray(jax.nn.softmax(logits)[:, 1]).reshape(_SIDE, _SIDE)
