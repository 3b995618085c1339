"""What drives a class, in the dense network and in networks pruned for images.

A class that a patch means has two causes. Pruned for an image of the class, the network
should picture the class; for another image with the patch, the patch.
"""

from functools import partial

import jax
import numpy as np

from sparsejax import data, features, lift, prune
from sparsejax.experiments.spade import measure
from sparsejax.experiments.spade.config import Config
from sparsejax.experiments.spade.train import Network

CLASSES = (0, 3, 5, 8)
_DENSITY = {"linear/*": 0.1, "layer3/*": 0.1, "layer2/*": 0.3}
_TESTED = 600


def draw(
    config: Config, network: Network, params, test: data.Split, log
) -> dict[str, np.ndarray]:
    """Images and pictures, and how much of the patch is in the pictures.

    How much: along the direction in the means of the last stage's units from images to
    the same images with the patch, 0 for images without and 1 for those with it.

    Returns:
        `patches` (classes, side, side, channels), `samples/clean` and `samples/patched`
        (classes, pictures, ...); `drawn/ARM` and `amount/ARM`, arms "dense", "clean",
        "patched". Nothing if no pictures are wanted, or a class has no such image.
    """
    if not config.num_pictures:
        return {}
    fn = network.fn
    for_patches, for_views = jax.random.split(jax.random.key(7))
    some = np.random.default_rng(0).permutation(len(test.y))[:_TESTED]
    test = data.Split(test.x[some], test.y[some])
    planted = data.plant(for_patches, test, share=1.0, classes=CLASSES)
    answers = [measure.logits(fn, params, x).argmax(1) for x in (test.x, planted.x)]
    means = [_means(network, params, x) for x in (test.x, planted.x)]
    clean = [np.flatnonzero((answers[0] == c) & (test.y == c)) for c in CLASSES]
    patched = [
        np.flatnonzero((planted.patch == patch) & (answers[1] == c) & (test.y != c))
        for patch, c in enumerate(CLASSES)
    ]
    count = min(config.num_pictures, *map(len, clean + patched))
    if not count:
        log("no pictures: a class has no image for them")
        return {}
    columns: dict[str, list] = {}
    for patch, label in enumerate(CLASSES):
        log(f"pictures of class {label}: {2 * count + 1}")
        has = planted.patch == patch
        start, along = means[0][has].mean(0), (means[1] - means[0])[has].mean(0)

        def amount(image, start=start, along=along):
            away = _means(network, params, image[None])[0] - start
            return away @ along / (along @ along)

        whole = _picture(config, fn, params, label, test.x.shape[1:])
        row = {"drawn/dense": [whole], "amount/dense": [amount(whole)]}
        for name, images, where in (
            ("clean", test.x, clean[patch]), ("patched", planted.x, patched[patch]),
        ):  # fmt: skip
            for i in where[:count]:
                key = jax.random.fold_in(for_views, int(i))
                here = measure.layers(fn, params, images[i], key, config.num_variations)
                pruned = prune.prune_layers(params, here, _DENSITY).params
                picture = _picture(config, fn, pruned, label, images.shape[1:])
                row.setdefault(f"samples/{name}", []).append(images[i])
                row.setdefault(f"drawn/{name}", []).append(picture)
                row.setdefault(f"amount/{name}", []).append(amount(picture))
        for name, values in row.items():
            columns.setdefault(name, []).append(np.stack(values))
    patches = [data.draw_patch(name, test.x.shape[-1])[0] for name in data.PATCHES]
    return {"patches": np.stack(patches)} | {k: np.stack(v) for k, v in columns.items()}


def _picture(config: Config, fn, params, label: int, size) -> np.ndarray:
    rendered = features.render(
        fn, params, features.logit(), [label], key=jax.random.key(0), size=size,
        steps=config.picture_steps, progress=False,
    )  # fmt: skip
    return np.asarray(rendered.images[0])


def _means(network: Network, params, x) -> np.ndarray:
    """Means over places of the last stage's units, shape (images, units)."""
    parts = [_stage(network.fn, network.last, params, x[i : i + 200])
             for i in range(0, len(x), 200)]  # fmt: skip
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=(0, 1))
def _stage(fn, last: str, params, x):
    acts = lift.activations(fn, [last])(params, x)[1]
    return acts[last].mean((1, 2))
