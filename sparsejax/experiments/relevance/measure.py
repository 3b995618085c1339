"""What is measured of a method: maps, what they sum to, curves, randomized networks."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float

from sparsejax import meshes, relevance
from sparsejax.experiments.relevance import methods as methods_
from sparsejax.experiments.relevance.config import Config
from sparsejax.experiments.relevance.images import Images
from sparsejax.experiments.relevance.methods import Explanation

CHUNK = 32  # images at a time, whatever their number: one program for each method
CURVES: tuple[str, ...] = ("deletion", "insertion")
CONTROL = "random"  # the order of places that methods are to beat


def method(config: Config, name: str, images: Images, curve) -> dict[str, Any]:
    """All arrays of one method, under their paths.

    map, account/FIELD and bias/PATH have a row for every image of `images.positions`;
    deletion and insertion (images, points) for those that are not shown alone;
    randomized (layers, images) for the first of these; level_LEVEL (samples, ...).

    Args:
        config: what to do.
        name: of the method.
        images: what is explained.
        curve: from `curves`.

    Raises:
        ValueError: for maps that are not finite.
    """
    runner = _runner(config, name, images)
    positions, targets = images.positions, images.targets
    explanation = runner(images.subject.params, positions, targets)
    maps = explanation.map
    if not np.isfinite(maps).all():
        bad = positions[~np.isfinite(maps.reshape(len(maps), -1)).all(1)][0]
        raise ValueError(f"the map of {name} is not finite for test image {bad}")
    arrays = {"map": np.asarray(maps)}
    arrays |= {
        f"account/{k}": array for k, array in explanation.account._asdict().items()
    }
    arrays |= {f"bias/{path}": array for path, array in explanation.bias.items()}
    arrays |= curve(maps[images.shown :])
    arrays["randomized"] = _randomized(config, images, runner, arrays["map"])
    part = slice(images.shown)
    for level, (params, _) in images.others.items():
        arrays[f"level_{level}"] = runner(params, positions[part], targets[part]).map
    return arrays


def curves(images: Images) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function from maps of the drawn images to the probability of their targets.

    One program for all methods.
    """
    setting, params = images.setting, images.subject.params

    @functools.partial(meshes.spread, in_axes=(None, 0, 0, 0))
    @functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
    def both(params, x, target, maps):
        def watch(out):
            return jax.nn.softmax(out)[target]

        options = {"target": watch, "baseline": setting.baseline}
        measures = relevance.deletion, relevance.insertion
        return [
            measure(setting.fn, params, x, maps, **options).output
            for measure in measures
        ]

    part = slice(images.shown, None)
    x, targets = images.x[part], images.targets[part]

    def run(maps):
        def many(*chunk):
            return both(params, *chunk)

        pairs = chunked(many, x, targets, maps)
        return dict(zip(CURVES, pairs, strict=True))

    return run


def control(config: Config, images: Images, curve) -> dict[str, np.ndarray]:
    """The curves of places in random order, another for every image."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1 << 30)
    shape = len(images.positions) - images.shown, *images.x.shape[1:]
    return curve(np.asarray(jax.random.uniform(key, shape)))


def chunked(run: Callable, *arrays: np.ndarray) -> Any:
    """`run` on `CHUNK` rows at a time, the last padded: a tree of NumPy arrays."""
    count, parts = len(arrays[0]), []
    for start in range(0, count, CHUNK):
        rows = np.minimum(np.arange(start, start + CHUNK), count - 1)
        parts.append(jax.device_get(run(*(array[rows] for array in arrays))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def _runner(config: Config, name: str, images: Images) -> Callable[..., Explanation]:
    """`(params, positions, targets) -> Explanation` of many images."""
    explain = methods_.explainer(name, images.setting)
    base = jax.random.key(config.seed)

    @functools.partial(meshes.spread, in_axes=(None, 0, 0, 0))
    @functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
    def many(params, x, position, target):
        return explain(params, x, target, jax.random.fold_in(base, position))

    def run(params, positions, targets):
        x = images.subject.x[positions]

        def one(*chunk):
            return many(params, *chunk)

        return chunked(one, x, positions.astype(np.int32), targets)

    return run


def _randomized(
    config, images: Images, runner, maps: np.ndarray
) -> Float[np.ndarray, "layers images"]:
    """Rank correlation of |maps| with those of networks with shuffled layers."""
    part = slice(images.shown, images.shown + CHUNK)
    if np.ptp(maps[part]) == 0:  # all Grad-CAM of a network whose last units are dead
        shape = len(images.layers), len(maps[part])
        return np.full(shape, np.nan, maps.dtype)
    positions, targets = images.positions[part], images.targets[part]

    def sizes(params):
        return jnp.abs(runner(params, positions, targets).map)

    key = jax.random.fold_in(jax.random.key(config.seed), (1 << 30) + 1)
    check = relevance.randomization_check(
        sizes, images.subject.params, key, layers=images.layers
    )
    return np.stack([agreement(check.maps[0], maps) for maps in check.maps[1:]])


def agreement(a: ArrayLike, b: ArrayLike) -> Float[np.ndarray, " n"]:
    """Rank correlation of maps, image by image; NaN where one is all equal."""
    return np.asarray(_correlations(jnp.asarray(a), jnp.asarray(b)))


_correlations = jax.jit(jax.vmap(relevance.rank_correlation))
