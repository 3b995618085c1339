"""What is measured of a method: maps, what they sum to, curves, randomised networks."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, PyTree

from sparsejax import lift, masks, relevance
from sparsejax.experiments import lottery, networks
from sparsejax.experiments import relevance_maps_config as config_
from sparsejax.experiments import relevance_maps_methods as methods_
from sparsejax.experiments.networks import Network
from sparsejax.experiments.relevance_maps_config import Config
from sparsejax.experiments.relevance_maps_methods import Found, Setting

CHUNK = 32  # images at a time, whatever their number: one program for each method
CURVES: tuple[str, ...] = ("deletion", "insertion")
CONTROL = "random"  # the order of places that methods are to beat
_BACKGROUNDS = 100


class Subject(NamedTuple):
    """A network and the images that are explained.

    Attributes:
        network: of `networks.load`.
        others: parameters and weights kept at further levels, by level.
        setting: what methods are given.
        layers: of the parameters, the first first.
        chosen: positions in the test set of all images; shape (n,).
        shown: how many of these, the first, are samples to show.
        logits: of all images, shape (n, outputs).
        targets: the output that is explained of each, shape (n,).
    """

    network: Network
    others: dict[int, tuple[PyTree, int]]
    setting: Setting
    layers: list[str]
    chosen: np.ndarray
    shown: int
    logits: np.ndarray
    targets: np.ndarray

    @property
    def x(self) -> np.ndarray:
        return self.network.x[self.chosen]

    @property
    def labels(self) -> np.ndarray:
        return self.network.y[self.chosen]


def subject(
    config: Config, source: str | Path, data_dir: str | Path | None = None
) -> Subject:
    """The network of a lottery run and the images; arguments as of the run.

    Raises:
        ValueError: for what is not there.
    """
    load = functools.partial(networks.load, source, seed=config.seed, data_dir=data_dir)
    network = load(level=config.level)
    made = lottery.read(source).config
    model, _ = networks.blank(made.dataset, made.model, made.widths)
    fn, image = model.apply, network.image or network.x.shape[1:]
    logits, acts = jax.eval_shape(lift.activations(fn), network.params, network.x[0])
    places = [name for name, act in acts.items() if act.ndim > 2]
    config_.check_network(config, network, logits.shape[0], bool(places))
    others = {}
    for level in config.levels:
        other = load(level=level)
        if other.title == network.title:
            raise ValueError(
                f"level {level} is the one explained; leave it out of levels"
            )
        others[level] = other.params, masks.count(other.mask)
    train = networks.splits(made.dataset, 0, data_dir).train.x

    def flat(images):
        return jnp.asarray(images.reshape(-1, *network.x.shape[1:]))

    key = jax.random.key(config.draw_seed)
    for_images, for_backgrounds = jax.random.split(key)
    draw = functools.partial(jax.random.choice, replace=False)
    drawn = np.asarray(draw(for_images, len(network.x), (config.count,)))
    some = np.asarray(draw(for_backgrounds, len(train), (_BACKGROUNDS,)))
    baseline = flat(train).mean(0) if config.baseline == "mean" else (
        jnp.zeros(network.x.shape[1:])
    )  # fmt: skip
    samples = config.samples or _first_of_each(network.y)
    chosen = np.concatenate([np.asarray(samples, int), drawn])
    logits = np.asarray(jax.jit(jax.vmap(fn, (None, 0)))(
        network.params, network.x[chosen]))  # fmt: skip
    setting = Setting(
        fn, image, baseline, flat(train[some]), network.domain,
        places[-1] if places else None, config.epsilon, config.gamma,
    )  # fmt: skip
    labels = network.y[chosen]
    answers = {"label": labels, "predicted": logits.argmax(1)}
    targets = answers.get(config.target)
    if targets is None:
        targets = np.full(len(chosen), int(config.target))
    order = sorted(network.params, key=_place)
    return Subject(network, others, setting, order, chosen, len(samples), logits,
                   np.asarray(targets, np.int32))  # fmt: skip


def method(config: Config, name: str, subject: Subject, curve) -> dict[str, Any]:
    """All arrays of one method, under their paths.

    map, account/FIELD and bias/PATH have a row for every image of `subject.chosen`;
    deletion and insertion (images, points) for those that are not shown alone;
    randomised (layers, images) for the first of these; level_LEVEL (samples, ...).

    Args:
        config: what to do.
        name: of the method.
        subject: what is explained.
        curve: from `curves`.

    Raises:
        ValueError: for maps that are not finite.
    """
    runner = _runner(config, name, subject)
    chosen, targets = subject.chosen, subject.targets
    found = runner(subject.network.params, chosen, targets)
    if not np.isfinite(found.map).all():
        bad = chosen[~np.isfinite(found.map.reshape(len(chosen), -1)).all(1)][0]
        raise ValueError(f"the map of {name} is not finite for test image {bad}")
    arrays = {"map": np.asarray(found.map)}
    arrays |= {f"account/{k}": array for k, array in found.account._asdict().items()}
    arrays |= {f"bias/{path}": array for path, array in found.bias.items()}
    arrays |= curve(found.map[subject.shown :])
    arrays["randomised"] = _randomised(config, subject, runner, arrays["map"])
    part = slice(subject.shown)
    for level, (params, _) in subject.others.items():
        arrays[f"level_{level}"] = runner(params, chosen[part], targets[part]).map
    return arrays


def curves(subject: Subject) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """A function from maps of the drawn images to the probability of their targets.

    One program for all methods.
    """
    setting, params = subject.setting, subject.network.params

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
    def both(params, x, target, found):
        def watch(out):
            return jax.nn.softmax(out)[target]

        options = {"target": watch, "baseline": setting.baseline}
        measures = relevance.deletion, relevance.insertion
        return [
            measure(setting.fn, params, x, found, **options).output
            for measure in measures
        ]

    part = slice(subject.shown, None)
    x, targets = subject.x[part], subject.targets[part]

    def run(maps):
        made = chunked(lambda *chunk: both(params, *chunk), x, targets, maps)
        return dict(zip(CURVES, made, strict=True))

    return run


def control(config: Config, subject: Subject, curve) -> dict[str, np.ndarray]:
    """The curves of places in random order, another for every image."""
    key = jax.random.fold_in(jax.random.key(config.draw_seed), 1 << 30)
    shape = len(subject.chosen) - subject.shown, *subject.x.shape[1:]
    return curve(np.asarray(jax.random.uniform(key, shape)))


def chunked(run: Callable, *arrays: np.ndarray) -> Any:
    """`run` on `CHUNK` rows at a time, the last padded: a tree of NumPy arrays."""
    count, parts = len(arrays[0]), []
    for start in range(0, count, CHUNK):
        rows = np.minimum(np.arange(start, start + CHUNK), count - 1)
        parts.append(jax.device_get(run(*(array[rows] for array in arrays))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


def _runner(config: Config, name: str, subject: Subject) -> Callable[..., Found]:
    """`(params, positions, targets) -> Found` of many images."""
    explain = methods_.explainer(name, subject.setting)
    base = jax.random.key(config.draw_seed)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
    def many(params, x, position, target):
        return explain(params, x, target, jax.random.fold_in(base, position))

    def run(params, positions, targets):
        x = subject.network.x[positions]

        def one(*chunk):
            return many(params, *chunk)

        return chunked(one, x, positions.astype(np.int32), targets)

    return run


def _randomised(
    config, subject: Subject, runner, maps: np.ndarray
) -> Float[np.ndarray, "layers images"]:
    """Rank correlation of |maps| with those of networks with shuffled layers."""
    part = slice(subject.shown, subject.shown + CHUNK)
    if np.ptp(maps[part]) == 0:  # all Grad-CAM of a network whose last units are dead
        shape = len(subject.layers), len(maps[part])
        return np.full(shape, np.nan, maps.dtype)
    chosen, targets = subject.chosen[part], subject.targets[part]

    def sizes(params):
        return jnp.abs(runner(params, chosen, targets).map)

    key = jax.random.fold_in(jax.random.key(config.draw_seed), (1 << 30) + 1)
    check = relevance.randomization_check(
        sizes, subject.network.params, key, layers=subject.layers
    )
    return np.stack([agreement(check.maps[0], maps) for maps in check.maps[1:]])


def agreement(a: ArrayLike, b: ArrayLike) -> Float[np.ndarray, " n"]:
    """Rank correlation of maps, image by image; NaN where one is all equal."""
    return np.asarray(_correlations(jnp.asarray(a), jnp.asarray(b)))


_correlations = jax.jit(jax.vmap(relevance.rank_correlation))


def _first_of_each(labels: np.ndarray) -> np.ndarray:
    """Positions of the first image of every class."""
    return np.unique(labels, return_index=True)[1][: config_.MOST]


def _place(layer: str) -> tuple[str, int]:
    """Convolutions come before dense layers, each in the order of their numbers."""
    kind, _, number = layer.rpartition("_")
    return kind, int(number)
