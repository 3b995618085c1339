"""What is measured of one network: saliency against patches, dense and pruned."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import data, prune, relevance
from sparsejax.data import augmentations
from sparsejax.experiments.spade.config import NUM_TESTED, Config

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
SHOWN = 4  # images whose maps are kept


def seed(
    config: Config, fn, number: int, params, test: data.Split, log
) -> dict[str, np.ndarray]:
    """All measures of one network, under `measures/ARM/MEASURE`, and some maps."""
    for_patches, for_views = jax.random.split(jax.random.key(1000 + number))
    some = np.random.default_rng(number).permutation(len(test.y))[:NUM_TESTED]
    test = data.Split(test.x[some], test.y[some])
    images = data.plant(for_patches, test, share=1.0)
    arrays, order = _deceived(config, fn, number, params, test, images)
    tuning = order[: config.num_calibration_images]
    ends = len(tuning), len(tuning) + config.num_test_images
    measured = order[slice(*ends)]

    def views(i):
        key = jax.random.fold_in(for_views, int(i))
        return layers(fn, params, images.x[i], key, config.num_variations)

    def image(i):
        return (images.x[i], images.y[i], images.region[i])

    def score(pruned, i):
        return _SCORES[config.tune](fn, params, pruned, *image(tuning[i]))

    tuned = prune.tune_density(
        params, [views(i) for i in tuning], score, groups=STAGES,
        densities=config.densities, progress=False,
    )  # fmt: skip
    density = tuned.density
    log(f"seed {number}: {config.tune} {tuned.score:.3f} when tuned to {density}")
    arrays["density"] = np.array([density[stage] for stage in STAGES])
    some = np.random.default_rng(number).choice(len(test.y), config.num_variations)
    everything = prune.layer_hessians(fn, params, jnp.asarray(test.x[some]))
    fixed = {
        "dataset": prune.prune_layers(params, everything, density).params,
        "magnitude": prune.prune_layers(params, everything, density, largest).params,
    }
    rows: dict[str, dict[str, list]] = {arm: {} for arm in ARMS}
    before: Any = views(order[-1])
    seconds = []
    for i in measured:
        began = time.perf_counter()
        here = views(i)
        spade = prune.prune_layers(params, here, density).params
        seconds.append(time.perf_counter() - began)
        arms = {
            "dense": params,
            "spade": spade,
            "wanda": prune.prune_layers(params, here, density, wanda).params,
            "other": prune.prune_layers(params, before, density).params,
            **fixed,
        }
        before = here
        for arm, pruned in arms.items():
            one = _measure(fn, params, pruned, *image(i))
            for name, value in one.items():
                rows[arm].setdefault(name, []).append(np.asarray(value))
    # Said, not kept: times would make files differ that are the same.
    log(f"seed {number}: pruning for an image took {np.median(seconds):.1f} s (median)")
    for arm, columns in rows.items():
        arrays[f"maps/{arm}"] = np.stack(columns.pop("map")[:SHOWN])
        for name, values in columns.items():
            arrays[f"measures/{arm}/{name}"] = np.array(values)
    arrays |= {"chosen": measured, "shown": images.x[measured[:SHOWN]]}
    return {name: np.asarray(value) for name, value in arrays.items()}


def _deceived(
    config: Config, fn, number: int, params, test, images
) -> tuple[dict, np.ndarray]:
    """Accuracies, and the images in which a patch decides, in a random order."""
    answers, clean = logits(fn, params, images.x), logits(fn, params, test.x)
    success = answers.argmax(1) == images.y
    order = np.random.default_rng(number).permutation(
        np.flatnonzero(success & (images.y != images.original))
    )
    needed = config.num_calibration_images + config.num_test_images
    if len(order) < needed:
        raise ValueError(
            f"seed {number}: the patch decides in {len(order)} of {len(test.y)} test "
            "images, too few for num_calibration_images and num_test_images, "
            f"{needed}; take fewer, or train longer"
        )
    accuracy = (clean.argmax(1) == test.y).mean()
    return {"accuracy": accuracy, "success": success.mean()}, order


def layers(fn, params, x, key, num_variations: int) -> list:
    """What the kernels read of variations of one image."""
    vary = augmentations.standard(x.shape)
    batch = augmentations.variations(vary, key, jnp.asarray(x), num_variations)
    return prune.layer_hessians(fn, params, batch)


def logits(fn, params, x) -> np.ndarray:
    parts = [_answers(fn, params, x[i : i + 250]) for i in range(0, len(x), 250)]
    return np.concatenate(parts)


_answers = jax.jit(lambda fn, params, x: fn(params, x), static_argnums=0)


def _maps(fn, params, x, target):
    """Maps by method."""
    gradient = relevance.gradient(fn, params, x, target=target)
    ways = [gradient, x * gradient]
    ways.append(
        relevance.integrated_gradients(fn, params, x, target=target, steps=16).input
    )
    return jnp.stack([jnp.abs(way).sum(-1) for way in ways])


def _areas(curve, fn, params, x, target, maps):
    """Areas under the curves of maps, asking for the probability of the target."""

    def watch(out):
        return jax.nn.softmax(out)[target]

    def area(m):
        return curve(fn, params, x, m, target=watch, baseline=0.5).area()

    return jax.lax.map(area, maps).mean()  # all at once leave the cache


@partial(jax.jit, static_argnums=0)
def _auc(fn, dense, params, x, target, region):
    maps = _maps(fn, params, x, target)
    return jax.vmap(relevance.localization_auc, (0, None))(maps, region).mean()


@partial(jax.jit, static_argnums=0)
def _faithfulness(fn, dense, params, x, target, region):
    """Insertion less deletion in the dense network: nobody need know the place."""
    maps = _maps(fn, params, x, target)
    curves = relevance.insertion, relevance.deletion
    more, less = (_areas(curve, fn, dense, x, target, maps) for curve in curves)
    return more - less


_SCORES = {"auc": _auc, "faithfulness": _faithfulness}


@partial(jax.jit, static_argnums=0)
def _measure(fn, dense, params, x, target, region) -> dict[str, Any]:
    """What is told of one explanation."""
    maps = _maps(fn, params, x, target)
    auc = jax.vmap(relevance.localization_auc, (0, None))(maps, region)
    pointing = jax.vmap(relevance.pointing_game, (0, None))(maps, region)
    agrees = fn(params, x).argmax() == fn(dense, x).argmax()
    return {
        "map": maps[0],
        **{f"auc, {name}": value for name, value in zip(METHODS, auc, strict=True)},
        "auc": auc.mean(),
        "pointing": pointing.mean(),
        "insertion": _areas(relevance.insertion, fn, dense, x, target, maps),
        "deletion": _areas(relevance.deletion, fn, dense, x, target, maps),
        "agreement": agrees.astype(jnp.float32),
    }


def _masked(scores, kernel, density):
    weights = jnp.ones_like(kernel)
    mask = prune.remove({"w": scores}, {"w": weights}, 1 - density)["w"]
    return prune.Pruned(kernel * mask, mask)


def largest(kernel, state, density, block):
    """Magnitude: the control that looks at no input."""
    return _masked(jnp.abs(kernel), kernel, density)


def wanda(kernel, state, density, block):
    """|w| times the norm of what it reads (Sun et al., 2023, arXiv 2306.11695)."""
    products = jnp.asarray(state.products)
    squares = jnp.diagonal(products, axis1=-2, axis2=-1).reshape(-1)
    norms = jnp.sqrt(squares).reshape(*kernel.shape[:-1], 1)
    return _masked(jnp.abs(kernel) * norms, kernel, density)
