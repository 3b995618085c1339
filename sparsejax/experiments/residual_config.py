"""What a lottery run of a residual network is of."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sparsejax import data, models, train
from sparsejax.data import augmentations
from sparsejax.experiments import fields, networks

ARMS = ("rewind", "finetune", "random")
CHOICES = {
    "model": ("resnet8", "resnet20", "resnet56", "resnet18", "resnet34", "resnet50"),
    "optimizer": ("momentum", "adam"),
    "schedule": ("cosine", "steps"),
    "precision": ("float32", "tensorfloat32", "bfloat16"),
}
WITHIN = {
    "size": "[0, 2^16]",
    "widths": fields.WIDTHS,
    "stride": "[0, 16]",
    "train_images": fields.WHOLE,
    "test_images": fields.WHOLE,
    "epochs": fields.COUNTS,
    "batch_size": fields.COUNTS,
    "learning_rate": fields.POSITIVE,
    "weight_decay": "[0, inf)",
    "rounds": "[0, 1000]",
    "fraction": "(0, 1)",
    "rewind_to": fields.WHOLE,
    "seeds": fields.SEEDS,
}
SCENES = 0  # seed of one row of scenes: test, dissection, then training
DISSECTED = 2000  # scenes after the test set that nothing is trained on


@dataclasses.dataclass(frozen=True)
class Config:
    """What to train and to prune. A fraction is of the weights still kept.

    Attributes:
        dataset: "scenes" (drawn; several labels an image), "cifar10", or a folder (or
            above `train` and `test` folders or zips) of CLASS/NAME.jpg.
        size: height and width to cut out of a folder's images, which are then read
            while training; 0 reads all at once, and they must be of one size.
        model: the residual network.
        widths: channels of each stage; by default the usual ones.
        stride: of the first convolution; 0 for 2 on scenes, a quarter of the work, and
            for the usual one elsewhere.
        train_images: how many to train on; 0 for all there are.
        test_images: likewise.
        epochs: of every training.
        batch_size: examples a step.
        optimizer: "momentum" (SGD, 0.9) or "adam".
        learning_rate: the highest of the schedule, after a warm-up.
        schedule: "cosine" down to a hundredth, or "steps": a tenth at a third of the
            steps, again at two thirds and at eight ninths.
        weight_decay: of kernels.
        augment: vary training images: parts of them, left and right.
        rounds: number of prunings.
        fraction: removed by every round, of all kernels ranked together.
        rewind_to: training step that rounds rewind to.
        arms: "rewind" (lottery tickets), "finetune" (weights as trained, at the last
            learning rate, as long), "random" (as many weights in every layer, anywhere,
            from the rewind point). "finetune" prunes by itself.
        seeds: a network each, one after the other.
        precision: of products on accelerators.
    """

    dataset: str = "scenes"
    size: int = 0
    model: str = "resnet8"
    widths: tuple[int, ...] = ()
    stride: int = 0
    train_images: int = 4000
    test_images: int = 1000
    epochs: int = 6
    batch_size: int = 128
    optimizer: str = "adam"
    learning_rate: float = 0.005
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    augment: bool = False
    rounds: int = 8
    fraction: float = 0.5
    rewind_to: int = 20
    arms: tuple[str, ...] = ("rewind",)
    seeds: tuple[int, ...] = (0,)
    precision: str = "float32"


class Task(NamedTuple):
    """Images and what is asked of them.

    Attributes:
        training: images in [0, 1] and labels (n,), or targets (n, outputs).
        test: likewise.
        outputs: how many.
        loss: `loss(logits, y) -> scalar`.
        accuracy: `accuracy(logits, y) -> share`; where there are several labels, the
            mean over them of how often they are told where they are, and where not.
    """

    training: tuple[Any, Any]
    test: tuple[Any, Any]
    outputs: int
    loss: Any
    accuracy: Any


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be run."""
    fields.check(config, WITHIN, {**CHOICES, "arms": ARMS})
    if "rewind" not in config.arms:
        raise ValueError(f"arms must hold rewind, got {', '.join(config.arms)}")
    if config.size and config.dataset in ("scenes", "cifar10"):
        raise ValueError(f"{config.dataset} has images of 32x32: drop size")
    stages = 3 if config.model in networks.SMALL or config.model == "resnet8" else 4
    if config.widths and len(config.widths) != stages:
        raise ValueError(
            f"{config.model} has {stages} stages, widths are {len(config.widths)}"
        )


def read(folder: str | Path) -> Config:
    """The config of a run.

    Raises:
        ValueError: if the folder is none.
    """
    needs = ("arms", "model", "stride")
    return fields.read(folder, Config, check, launcher="train", needs=needs)


def task(config: Config, data_dir: str | Path | None) -> Task:
    """The data of a config.

    Raises:
        ValueError: for images that are not there, and too few of them.
    """
    if config.dataset == "scenes":
        return _scenes(config)
    if config.dataset == "cifar10":
        each = -(-config.train_images // 10) or None
        found = data.cifar10(data_dir, most=each)
    else:
        found = _folders(Path(config.dataset), config.size or None)
    draw = np.random.default_rng(0)  # files lie class after class

    def some(y, count):
        return draw.permutation(len(y))[: count or None]

    train_ = some(found.train.y, config.train_images)
    test = some(found.test.y, config.test_images)

    def pick(x, rows):
        return x.only(rows) if isinstance(x, data.Images) else x[rows]

    return Task(
        (pick(found.train.x, train_), found.train.y[train_]),
        (pick(found.test.x, test), found.test.y[test]),
        int(found.train.y.max()) + 1,
        train.cross_entropy,
        lambda logits, y: float((logits.argmax(-1) == y).mean()),
    )


def outputs(params: Any) -> int:
    """How many outputs a network has, from its parameters."""
    return len(next(params[k] for k in ("linear", "fc") if k in params)["bias"])


def model(config: Config, outputs: int) -> models.Model:
    """The network of images in [0, 1]; training varies them, over all devices."""
    depth = int(config.model.removeprefix("resnet"))
    stride = config.stride or (2 if config.dataset == "scenes" else None)
    made = models.resnet(depth, outputs, config.widths or None, stride)
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
        return made.train_apply(params, networks.normalised(x), key=key)

    def apply(params, x):
        return made.apply(params, networks.normalised(x))

    return models.Model(made.init, apply, train_apply)


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """The optimizer, with its schedule over the steps of one training."""
    peak, warm = config.learning_rate, max(steps // 10, 1)
    if config.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(
            0.0, peak, warm, max(steps, warm + 1), end_value=peak / 100
        )
    else:
        falls = {steps // 3: 0.1, 2 * steps // 3: 0.1, 8 * steps // 9: 0.1}
        after = optax.piecewise_constant_schedule(peak, falls)
        rise = optax.linear_schedule(0.0, peak, warm)

        def falling(step):
            return jnp.minimum(rise(step), after(step))

        rate = falling

    def kernels(params):
        return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)

    rule = (
        optax.scale_by_adam() if config.optimizer == "adam" else optax.trace(decay=0.9)
    )
    decay = optax.add_decayed_weights(config.weight_decay, kernels)
    parts = (rule, decay) if config.optimizer == "adam" else (decay, rule)
    return optax.chain(*parts, optax.scale_by_learning_rate(rate))


def _scenes(config: Config) -> Task:
    """The first scenes are to test on, the next to dissect, all others to train on."""
    count = config.train_images or 4000
    key = jax.random.key(SCENES)
    test = data.scenes(key, config.test_images or 1000, size=32)
    first = len(test.targets) + DISSECTED
    seen = data.scenes(key, count, size=32, first=first)

    def loss(logits, y):
        return optax.sigmoid_binary_cross_entropy(logits, y).mean()

    return Task(
        (seen.labelled.images, seen.targets),
        (test.labelled.images, test.targets),
        seen.targets.shape[1],
        loss,
        _balanced,
    )


def _balanced(logits, targets) -> float:
    """Balanced accuracy, mean over labels that some images have and some have not."""
    found, there = logits > 0, targets > 0.5
    some = there.any(0) & ~there.all(0)

    def share(where):
        return (found == there)[:, some].mean(0, where=where[:, some])

    return float((share(there) + share(~there)).mean() / 2)


def _folders(root: Path, size: int | None) -> data.Dataset:
    """`train` and `test` (or `val`), folders or zips."""

    def find(*names):
        return next(
            (
                p
                for name in names
                for p in (root / name, root / f"{name}.zip")
                if p.exists()
            ),
            root / names[0],
        )

    seen, names = data.image_folder(find("train"), size=size)
    test, others = data.image_folder(find("test", "val"), size=size)
    if names != others:
        raise ValueError(f"{root}: classes to train on are {names}, to test {others}")
    return data.Dataset(seen, test)
