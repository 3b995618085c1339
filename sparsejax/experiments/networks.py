"""Networks out of run folders, or trained here, ready to be looked at."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from sparsejax import data, lift, masks, models, pretrained, runs, train, trees
from sparsejax.experiments import lottery as lottery_
from sparsejax.experiments.lottery import build

CIRCLES = {"circle": "half", "circle_published": "published"}
LOGITS = "logits"  # what an output is called among activations
SMALL = ("resnet20", "resnet56")  # for images of 32x32


class Network(NamedTuple):
    """A pruned network and what it was tested on.

    Attributes:
        title: what it is, in a few words.
        fn: the function of one input.
        params: its parameters, removed weights zero.
        mask: a tree like `Masks.weights`.
        x: test inputs, shape (n, *shape).
        y: their labels, shape (n,).
        domain: lowest and highest value of an input.
        image: (height, width, channels) of an input that is a picture.
    """

    title: str
    fn: Callable[[Array], Array]
    params: PyTree
    mask: PyTree
    x: Float[np.ndarray, "n ..."]
    y: np.ndarray
    domain: tuple[float, float]
    image: tuple[int, ...] | None


def load(
    folder: str | Path,
    *,
    seed: int | None = None,
    level: int | None = None,
    data_dir: str | Path | None = None,
) -> Network:
    """A network of a lottery run.

    Args:
        folder: the run's.
        seed: which network; by default the first.
        level: which level; by default the last that is there.
        data_dir: folder of the data set's files.

    Raises:
        ValueError: if the folder is no such run, or has no such seed or level.
    """
    run = lottery_.read(folder)
    seed = run.seeds[0] if seed is None else seed
    level = run.levels["rewind"][-1] if level is None else level
    params, mask = lottery_.network(run, level=level, seed=seed)
    return lottery(run.config, params, mask, data_dir, seed, level)


def lottery(config, params, mask, data_dir, seed: int, level: int) -> Network:
    """A network of a lottery run, from its parameters and masks."""
    task = lottery_.task(config, data_dir)
    x, y = task.test
    x = np.asarray(x[np.arange(len(x))])
    apply = build.model(config, build.outputs(params)).apply
    shape = build.input_shape(config, task.shape)
    return Network(
        title=f"{config.dataset}, {config.model}, seed {seed}, level {level}",
        fn=lambda x: apply(params, x),
        params=params,
        mask=mask,
        x=x.reshape(len(x), *shape),
        y=np.asarray(y),
        domain=(0.0, 1.0),
        image=x.shape[1:],
    )


def residual(
    model: str,
    data_dir: str | Path | None = None,
    checkpoint: str | Path | None = None,
) -> tuple[Callable[[PyTree, Array], Array], PyTree]:
    """A residual network of images in [0, 1], and its parameters.

    Args:
        model: "resnet20" and the like.
        data_dir: where `resnet_cifar10/MODEL_cifar10.safetensors` lies.
        checkpoint: any other file of its parameters.

    Raises:
        ValueError: for a file that is missing or of another network.
    """
    made = models.resnet(int(model.removeprefix("resnet")))
    root = Path(data_dir or os.environ.get(data.VARIABLE, "."))
    file = Path(checkpoint or root / "resnet_cifar10" / f"{model}_cifar10.safetensors")
    if not file.exists():
        raise ValueError(f"{file} is missing; give the file of {model} as checkpoint")

    def fn(params, x):
        return made.apply(params, models.normalize(x))

    return fn, pretrained.load(file, made)


def units(fn: Callable, params: PyTree, size: tuple[int, ...]) -> dict[str, int]:
    """How many units every activation has, in the order they are computed.

    Args:
        fn: `fn(params, x)` with named activations; its output is "logits".
        params: its parameters.
        size: shape of x.

    Raises:
        ValueError: if fn takes no x of this size.
    """
    counts = {}

    def look(params, x):
        out, acts = lift.activations(fn)(params, x)
        counts.update({name: leaf.shape[-1] for name, leaf in acts.items()})
        counts[LOGITS] = out.shape[-1]

    try:
        jax.eval_shape(look, params, jax.ShapeDtypeStruct(size, "float32"))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the network takes no image of shape {size}: {error}"
        ) from error
    return counts


def chosen(
    counts: Mapping[str, int], nodes: Iterable[str], units: Iterable[int]
) -> dict[str, list[int]]:
    """Numbers of units by node: those given, else all.

    Raises:
        ValueError: for a node or a unit that is not among `counts`.
    """
    found = {}
    for node in nodes:
        if node not in counts:
            raise ValueError(
                f"there is no activation {node!r}; there are {trees.listed(counts, 24)}"
            )
        found[node] = list(units) or list(range(counts[node]))
        wrong = [unit for unit in found[node] if not 0 <= unit < counts[node]]
        if wrong:
            raise ValueError(
                f"{node} has units 0 to {counts[node] - 1}, and no {wrong[0]}"
            )
    return found


def blank(
    dataset: str, model: str, widths: tuple[int, ...] = ()
) -> tuple[models.Model, tuple[int, ...]]:
    """A network before training, and the shape of its inputs.

    Args:
        dataset: as of a lottery run, or one of `CIRCLES` (points of the plane).
        model: "mlp" or "convnet".
        widths: hidden units or channels; by default as of a lottery run, and (20,) for
            circles.

    Raises:
        ValueError: for convolutions of points.
    """
    if dataset in CIRCLES:
        if model != "mlp":
            raise ValueError(f"{dataset} has points, not images: model must be mlp")
        return models.mlp(widths or (20,), 2), (2,)
    side = 8 if dataset == "digits" else 28
    shape = (side * side,) if model == "mlp" else (side, side, 1)
    config = lottery_.resolve(lottery_.Config(dataset, model=model, widths=widths))
    return build.model(config, 10), shape


def splits(
    dataset: str, seed: int = 0, data_dir: str | Path | None = None
) -> data.Dataset:
    """What to train and to test on; circles are drawn: 1,000 points and 10,000."""
    if dataset not in CIRCLES:
        return data.load(dataset, data_dir)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))

    def draw(key, n):
        return data.circle(key, n, variant=CIRCLES[dataset])

    return data.Dataset(draw(keys[0], 1000), draw(keys[1], 10_000))


def trained(
    dataset: str,
    model: str,
    widths: tuple[int, ...],
    sets: data.Dataset,
    *,
    epochs: int | None = None,
    seed: int = 0,
    file: Path | None = None,
) -> Network:
    """A dense network of `blank`, trained on the first of `splits`.

    Args:
        dataset: see `blank`.
        model: see `blank`.
        widths: see `blank`.
        sets: from `splits`.
        epochs: by default as of a lottery run, and 20 for circles.
        seed: of the initial weights and of the order of the data.
        file: where its parameters are read from or, if it is missing, written to.
    """
    network, shape = blank(dataset, model, widths)

    def put(part):
        return (jnp.reshape(part.x, (-1, *shape)), jnp.asarray(part.y))

    training, (x, y) = put(sets.train), put(sets.test)
    key, init_key = jax.random.split(jax.random.key(seed))
    params = jax.jit(network.init)(init_key, x[:1])
    weights = masks.ones(network.apply, params, x[:1]).weights
    if file is not None and file.exists():
        params = trees.from_arrays(runs.read_arrays(file), params)
    else:
        batch_size, steps, optimizer = _training(dataset, model, epochs, len(sets[0].x))
        state, _ = train.fit(
            lift.masked(network.apply),
            params,
            masks.Masks(weights, {}),
            training,
            optimizer=optimizer,
            batch_size=batch_size,
            key=key,
            steps=steps,
        )
        params = state.params
        if file is not None:
            runs.write_arrays(file, trees.to_arrays(params))
    points = dataset in CIRCLES
    return Network(
        title=f"{dataset}, {model}, seed {seed}",
        fn=lambda x: network.apply(params, x),
        params=params,
        mask=weights,
        x=np.asarray(x),
        y=np.asarray(y),
        domain=(-1.0, 1.0) if points else (0.0, 1.0),
        image=None if points else np.shape(sets.test.x)[1:],
    )


def _training(dataset, model, epochs, examples):
    """Batch size, steps and optimizer."""
    if dataset in CIRCLES:
        return 32, (epochs or 20) * (examples // 32), optax.adam(0.01)
    config = lottery_.resolve(lottery_.Config(dataset, model=model, epochs=epochs))
    batch_size = config.batch_size or 1
    steps = (config.epochs or 1) * (examples // batch_size)
    return batch_size, steps, build.optimizer(config, steps)
