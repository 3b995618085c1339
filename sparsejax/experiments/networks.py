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
from sparsejax.experiments import fields, lottery_config

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
    folder = Path(folder)
    config = read(folder)
    seeds = list(config.seeds)
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise ValueError(
            f"{folder} has no seed {seed}; there are {trees.listed(seeds)}"
        )
    there = folder.glob("level_*/checkpoint.npz")
    names = (path.parent.name.removeprefix("level_") for path in there)
    levels = sorted(int(name) for name in names if name.isdecimal())
    if not levels:
        raise ValueError(f"{folder} has no finished level yet")
    level = levels[-1] if level is None else level
    if level not in levels:
        raise ValueError(
            f"{folder} has no level {level}; there are {levels[0]} to {levels[-1]}"
        )
    path = folder / f"level_{level:02d}" / "checkpoint.npz"
    kept = {key: array for key, array in runs.read_arrays(path).items()
            if key.startswith(("params/", "mask/"))}  # fmt: skip
    wrong = [key for key, array in kept.items() if array.shape[:1] != (len(seeds),)]
    if wrong or {key.partition("/")[0] for key in kept} != {"params", "mask"}:
        raise runs.DamagedFile(f"{path} holds no networks of {len(seeds)} seeds")
    at = seeds.index(seed)
    one = trees.nested({key: jnp.asarray(array[at]) for key, array in kept.items()})
    return lottery(config, one["params"], one["mask"], data_dir, seed, level)


def lottery(config, params, mask, data_dir, seed: int, level: int) -> Network:
    """A network of a lottery run, from its parameters and masks."""
    test = data.load(config.dataset, data_dir).test
    x = np.asarray(test.x)
    apply = lottery_config.model(config).apply
    return Network(
        title=f"{config.dataset}, {config.model}, seed {seed}, level {level}",
        fn=lambda x: apply(params, x),
        params=params,
        mask=mask,
        x=x.reshape(len(x), -1) if config.model == "mlp" else x,
        y=np.asarray(test.y),
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
        return made.apply(params, normalised(x))

    return fn, pretrained.load(file, made)


def normalised(x: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """As those who trained residual networks on ImageNet and CIFAR-10 do it."""
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    return (x - mean) / std


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
        return models.mlp((*(widths or (20,)), 2)), (2,)
    side = 8 if dataset == "digits" else 28
    shape = (side * side,) if model == "mlp" else (side, side, 1)
    config = lottery_config.Config(dataset=dataset, model=model, widths=widths)
    return lottery_config.model(config), shape


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
    config = lottery_config.Config(dataset=dataset, model=model, epochs=epochs)
    steps = lottery_config.epochs(config) * (examples // config.batch_size)
    return config.batch_size, steps, lottery_config.optimizer(config, steps)


def read(folder: str | Path) -> lottery_config.Config:
    """The config of a lottery run.

    Raises:
        ValueError: if the folder is none.
    """
    return fields.read(
        folder,
        lottery_config.Config,
        lottery_config.check,
        launcher="lottery_ticket",
        needs=("dataset", "rounds"),
    )
