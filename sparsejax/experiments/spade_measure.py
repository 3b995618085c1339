"""What is measured of one network: saliency against patches, dense and pruned."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import data, models, prune, relevance
from sparsejax.data import augmentations
from sparsejax.experiments import networks
from sparsejax.prune.obs import Pruned

MODEL = models.resnet(20)
STAGES = ("layer1/*", "layer2/*", "layer3/*", "linear/*")
METHODS = ("gradient", "input x gradient", "integrated gradients")
ARMS = {
    "dense": "dense",
    "spade": "SPADE",
    "wanda": "sample, mask only (Wanda)",
    "other": "another sample's Hessian",
    "dataset": "data set's Hessian",
    "magnitude": "magnitude",
}
_TESTED = 1000  # images, drawn for each seed, that all else is taken from
SHOWN = 4  # images whose maps are kept


def fn(params, x):
    """Logits of images in [0, 1]."""
    return MODEL.apply(params, networks.normalised(x))


def seed(config, number: int, params, test, report) -> dict[str, np.ndarray]:
    """All measures of one network, under `measures/ARM/MEASURE`, and some maps."""
    for_patches, for_views = jax.random.split(jax.random.key(1000 + number))
    some = np.random.default_rng(number).permutation(len(test.y))[:_TESTED]
    test = data.Split(test.x[some], test.y[some])
    images = data.plant(for_patches, test, share=1.0)
    logits, clean = _logits(params, images.x), _logits(params, test.x)
    success = logits.argmax(1) == images.y
    order = np.random.default_rng(number).permutation(
        np.flatnonzero(success & (images.y != images.original))
    )
    if len(order) < config.calibration + config.count:
        raise ValueError(
            f"seed {number}: the patch decides in {len(order)} of {len(test.y)} test "
            f"images, too few for calibration {config.calibration} and count "
            f"{config.count}; take fewer, or train longer"
        )
    tuning = order[: config.calibration]
    chosen = order[config.calibration : config.calibration + config.count]
    found: dict[str, Any] = {
        "accuracy": (clean.argmax(1) == test.y).mean(),
        "success": success.mean(),
        "chosen": chosen,
    }
    views = lambda i: _layers(config, params, images.x[i], for_views, int(i))
    score = lambda traces, where: np.mean([
        _maps(trace, images.x[i], images.y[i], images.region[i])[1]
        for trace, i in zip(traces, where, strict=True)
    ])  # fmt: skip
    density: dict[str, float] = {}
    seen, best = [views(i) for i in tuning], score([params] * len(tuning), tuning)
    for stage in reversed(STAGES):  # one at a time, the last first
        for share in config.densities:
            if share == 1:
                continue
            trial = {**density, stage: share}
            traces = [prune.prune_layers(params, s, trial).params for s in seen]
            value = score(traces, tuning)
            if value > best:
                best, density = value, trial
    report(f"seed {number}: densities {density}, AUC {best:.3f} on calibration images")
    found["density"] = np.array([density.get(stage, 1.0) for stage in STAGES])
    density = density or {"linear/*": 1.0}
    some = np.random.default_rng(number).choice(len(test.y), config.samples)
    everything = prune.layers(fn, params, jnp.asarray(test.x[some]))
    fixed = {
        "dataset": prune.prune_layers(params, everything, density).params,
        "magnitude": prune.prune_layers(params, everything, density, _largest).params,
    }
    rows: dict[str, dict[str, list]] = {arm: {} for arm in ARMS}
    before: Any = views(order[-1])
    for i in chosen:
        here = views(i)
        arms = {
            "dense": params,
            "spade": prune.prune_layers(params, here, density).params,
            "wanda": prune.prune_layers(params, here, density, _wanda).params,
            "other": prune.prune_layers(params, before, density).params,
            **fixed,
        }
        before = here
        for arm, pruned in arms.items():
            one = _measure(params, pruned, images.x[i], images.y[i], images.region[i])
            for name, value in one.items():
                rows[arm].setdefault(name, []).append(np.asarray(value))
    for arm, columns in rows.items():
        found[f"maps/{arm}"] = np.stack(columns.pop("map")[:SHOWN])
        for name, values in columns.items():
            found[f"measures/{arm}/{name}"] = np.array(values)
    found["shown"] = images.x[chosen[:SHOWN]]
    return {name: np.asarray(value) for name, value in found.items()}


def _layers(config, params, x, key, number: int):
    """What the kernels read of variations of one image."""
    key, vary = jax.random.fold_in(key, number), augmentations.standard(x.shape)
    batch = augmentations.variations(vary, key, jnp.asarray(x), config.samples)
    return prune.layers(fn, params, batch)


def _logits(params, x) -> np.ndarray:
    parts = [_answers(params, x[i : i + 250]) for i in range(0, len(x), 250)]
    return np.concatenate(parts)


_answers = jax.jit(fn)


@jax.jit
def _maps(params, x, target, region):
    """Maps by method, and their mean AUC against the region."""
    flat = lambda r: jnp.abs(r).sum(-1)
    gradient = relevance.gradient(fn, params, x, target=target)
    ways = [gradient, x * gradient]
    ways.append(
        relevance.integrated_gradients(fn, params, x, target=target, steps=16).input
    )
    maps = jnp.stack([flat(way) for way in ways])
    return maps, jax.vmap(relevance.localisation_auc, (0, None))(maps, region).mean()


@jax.jit
def _measure(dense, params, x, target, region) -> dict[str, Any]:
    """What is told of one explanation."""
    maps, _ = _maps(params, x, target, region)
    auc = jax.vmap(relevance.localisation_auc, (0, None))(maps, region)
    pointing = jax.vmap(relevance.pointing_game, (0, None))(maps, region)
    watch = lambda out: jax.nn.softmax(out)[target]
    area = lambda curve: jax.vmap(
        lambda m: curve(fn, dense, x, m, target=watch, baseline=0.5).area()
    )(maps).mean()
    agrees = fn(params, x).argmax() == fn(dense, x).argmax()
    return {
        "map": maps[0],
        **{f"auc, {name}": value for name, value in zip(METHODS, auc, strict=True)},
        "auc": auc.mean(),
        "pointing": pointing.mean(),
        "insertion": area(relevance.insertion),
        "deletion": area(relevance.deletion),
        "agreement": agrees.astype(jnp.float32),
    }


def _masked(scores, kernel, density):
    weights = jnp.ones_like(kernel)
    mask = prune.remove({"w": scores}, {"w": weights}, 1 - density)["w"]
    return Pruned(kernel * mask, mask)


def _largest(kernel, state, density, block):
    """Magnitude: the control that looks at no input."""
    return _masked(jnp.abs(kernel), kernel, density)


def _wanda(kernel, state, density, block):
    """|w| times the norm of what it reads (Sun et al., 2023, arXiv 2306.11695)."""
    products = jnp.asarray(state.products)
    squares = jnp.diagonal(products, axis1=-2, axis2=-1).reshape(-1)
    norms = jnp.sqrt(squares).reshape(*kernel.shape[:-1], 1)
    return _masked(jnp.abs(kernel) * norms, kernel, density)
