"""Lottery tickets: train, prune, rewind and train again, with controls.

Digits (shipped with scikit-learn, half a minute):
    sparsejax lottery

MNIST at 2% of its weights, five seeds:
    sparsejax lottery --dataset=mnist --data_dir=DIR --final_count=539

The first layer left alone:
    sparsejax lottery --dataset=mnist --data_dir=DIR --exclude=dense_0

ResNet-8 on scenes, drawn here, nine levels down to 0.4% of its weights, three seeds,
with fine-tuning and random tickets to compare:
    sparsejax lottery --dataset=scenes --seeds=0:3 \\
        --arms=rewind,finetune,random_layerwise

ResNet-20 on CIFAR-10 (any of the forms in docs/data.md, in DIR):
    sparsejax lottery --dataset=cifar10 --data_dir=DIR --model=resnet20 \\
        --augment --optimizer=momentum --learning_rate=0.1 --epochs=160 \\
        --fraction=0.2 --rounds=20 --rewind_to=2000

ResNet-50 on images of any size (FOLDER/train/CLASS/NAME.jpg, FOLDER/val/...):
    sparsejax lottery --dataset=FOLDER --model=resnet50 --image_size=224 \\
        --augment --optimizer=momentum --learning_rate=0.4 --schedule=steps \\
        --precision=bfloat16 --batch_size=1024 --epochs=90

--rounds=0 trains once. A run leaves a folder with its config, metrics.jsonl, the masks
and weights of every level, figures and index.html. An interrupted run resumes when
started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE, WIDTHS
from sparsejax.experiments._study.shares import Shares

SUBJECT = ()
# Pruning by itself, level after level: weights and schedule that a round restarts with.
SEQUENCES = {
    "rewind": ("rewind", "rewind"),
    "trained": ("trained", "rewind"),
    "finetune": ("trained", "final"),
    "rewind_weights": ("rewind", "final"),
}
# Trained beside the tickets of "rewind", with masks as large.
CONTROLS = ("random_global", "random_layerwise", "reinit")
ARMS = (*SEQUENCES, *CONTROLS)
IMAGES = {"digits": 8, "mnist": 28, "fashion_mnist": 28}  # grey ones, and their side
_EPOCHS = {"digits": 40, "mnist": 3, "fashion_mnist": 3}
SCENES = 0  # seed of one row of scenes: test, dissection, then training
DISSECTED = 2000  # scenes after the test set that nothing is trained on
NUM_SCENES = {"train": 4000, "test": 1000}  # where the config does not say
DATASETS = (*IMAGES, "cifar10", "scenes")
CHOICES = {
    "model": ("mlp", "convnet", "resnet8", "resnet20", "resnet56", "resnet18",
              "resnet34", "resnet50"),
    "optimizer": ("sgd", "momentum", "adam", "adamw"),
    "schedule": ("cosine", "steps", "constant"),
    "scope": ("global", "layer"),
    "score": ("magnitude", "random", "snip"),
    "precision": ("default", "float32", "tensorfloat32", "bfloat16"),
}  # fmt: skip
WITHIN = {
    "image_size": "[0, 2^16]",
    "widths": WIDTHS,
    "stride": "[0, 16]",
    "num_train_images": WHOLE,
    "num_test_images": WHOLE,
    "epochs": COUNTS,
    "batch_size": COUNTS,
    "learning_rate": POSITIVE,
    "weight_decay": "[0, inf)",
    "rounds": "[0, 1000]",
    "fraction": "[0, 1)",
    "final_count": COUNTS,
    "rewind_to": WHOLE,
    "seeds": SEEDS,
    "data_seed": SEEDS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run. Where one is left open, the network and its data decide.

    Attributes:
        dataset: Images to classify: "digits" (from scikit-learn), "mnist",
            "fashion_mnist", "cifar10", "scenes" (generated, several labels per image),
            or a folder with `train` and `test` (or `val`) folders or zips of
            CLASS/NAME.jpg.
        image_size: Height and width to which a folder's images are cropped and resized,
            read while training; 0 loads all at once, and they must be of one size.
        model: Network to prune; by default "mlp" for gray images, else "resnet8".
        widths: Numbers of hidden units, or of channels of the convolutions or of the
            stages; by default 32,32 (mlp), 6,6,6 (convnet) and the usual ones (residual
            networks).
        stride: Stride of a residual network's first convolution; 0 for the usual one
            (on scenes 2, a quarter of the work).
        num_train_images: Number of training images, drawn once; 0 for all (scenes:
            4,000).
        num_test_images: Number of test images, drawn once; 0 for all (scenes: 1,000).
        epochs: Number of passes over the training images; by default 6, but for an MLP
            or a convnet 40 on digits and 3 on MNIST and Fashion-MNIST.
        batch_size: Number of examples in a step; by default 64 (residual networks:
            128).
        optimizer: Optimizer to train with: "sgd", "momentum" (0.9), "adam" or "adamw";
            by default momentum (residual networks: adamw).
        learning_rate: Peak learning rate; by default 0.15 for momentum (convnet: 0.05,
            residual networks: 0.1), 0.1 for sgd, 0.001 for adam and adamw (residual
            networks: 0.005).
        schedule: Learning-rate schedule: "cosine" (down to a hundredth) or "steps" (a
            tenth at 1/3, 2/3 and 8/9 of the steps), both after a linear warm-up over a
            tenth of the steps, or "constant".
        weight_decay: Weight decay of the kernels; by default 1e-4 for adamw and, in
            residual networks, for sgd and momentum, else 0.
        augment: Random crops and flips of the training images (residual networks only).
        rounds: Number of pruning rounds; by default as many as `final_count` or
            `layer_fractions` need, else 18 (digits: 14, residual networks: 8).
        fraction: Fraction of the remaining weights that every round removes; by default
            0.2 (residual networks: 0.5).
        scope: Weights that are ranked together: all of them ("global"), or those of
            each layer ("layer").
        layer_fractions: Fractions for single layers, as "dense_0=0.1" or, for the first
            20 rounds only, "dense_0=0.1x20"; each other layer loses `fraction`.
        exclude: Layers that are neither pruned nor counted.
        final_count: Number of weights after the last round, met exactly (global scope).
        score: Score of the weights, the lowest of which are removed: "magnitude",
            "random" or "snip" (|w g|).
        rewind_to: Training step that rounds rewind to; by default 0 (residual networks:
            20).
        arms: Ways to train after pruning. Pruned on their own: "rewind" (lottery
            tickets), "trained" (weights kept, schedule rewound), "finetune" (weights
            kept, last learning rate) and "rewind_weights" (weights rewound, last
            learning rate). Controls of the tickets: "reinit" (same mask, new initial
            weights), "random_global" (as many weights, anywhere) and "random_layerwise"
            (as many in every layer). By default rewind and the three controls (residual
            networks: rewind).
        allow_empty: Permission to empty a layer; by default on for residual networks,
            whose shortcuts bypass it.
        barrier: Error barrier between two trainings with different data orders,
            measured for every arm (doubles the time); by default on for MLPs and
            convnets.
        seeds: Seeds of the networks; by default 0 to 4, trained together (residual
            networks: 0; several are trained one after the other).
        share_data_order: Same data order for all seeds (faster where they train
            together); by default on for MLPs and convnets.
        data_seed: Seed of the data order that the networks share.
        precision: Precision of matrix products: JAX's "default" (TF32 on recent GPUs,
            bfloat16 on TPUs), "float32", "tensorfloat32" or "bfloat16".
    """

    dataset: str = "digits"
    image_size: int = 0
    model: str | None = None
    widths: tuple[int, ...] = ()
    stride: int = 0
    num_train_images: int = 0
    num_test_images: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str = "cosine"
    weight_decay: float | None = None
    augment: bool = False
    rounds: int | None = None
    fraction: float | None = None
    scope: str = "global"
    layer_fractions: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    final_count: int | None = None
    score: str = "magnitude"
    rewind_to: int | None = None
    arms: tuple[str, ...] = ()
    allow_empty: bool | None = None
    barrier: bool | None = None
    seeds: tuple[int, ...] = ()
    share_data_order: bool | None = None
    data_seed: int = 0
    precision: str = "default"

    def __post_init__(self) -> None:
        check(self)


def resolve(config: Config) -> Config:
    """The config with everything filled in that is left open, `rounds` apart."""
    residual = is_residual(config)
    model = _model(config)
    widths = {"mlp": (32, 32), "convnet": (6, 6, 6)}.get(model, ())
    optimizer = config.optimizer or ("adamw" if residual else "momentum")
    decays = optimizer == "adamw" or (residual and optimizer != "adam")
    usual = {
        "model": model,
        "epochs": 6 if residual else _EPOCHS.get(config.dataset, 6),
        "batch_size": 128 if residual else 64,
        "optimizer": optimizer,
        "learning_rate": _learning_rate(model, optimizer),
        "weight_decay": 1e-4 if decays else 0.0,
        "fraction": 0.5 if residual else 0.2,
        "rewind_to": 20 if residual else 0,
        "allow_empty": residual,
        "barrier": not residual,
        "share_data_order": not residual,
    }
    open_ = {k: v for k, v in usual.items() if getattr(config, k) is None}
    open_["widths"] = config.widths or widths
    open_["seeds"] = config.seeds or ((0,) if residual else (0, 1, 2, 3, 4))
    open_["arms"] = config.arms or (("rewind",) if residual else ("rewind", *CONTROLS))
    return dataclasses.replace(config, **open_)


def named(config: Config) -> Config:
    """The same config with every field left open that would be what it is: one run has
    one name."""
    for field in dataclasses.fields(config):
        usual = dataclasses.replace(config, **{field.name: field.default})
        if resolve(usual) == resolve(config):
            config = usual
    return config


def shares(config: Config) -> Shares:
    """How a run is divided: by seeds, over which arrays have an axis."""
    files = "rewind.npz", "level_*/*.npz"
    return Shares("seeds", resolve(config).seeds, files, stacked=True)


def environment(config: Config) -> dict[str, str]:
    """Variables of the process that suit a run, to be set before JAX is used."""
    return {} if is_residual(config) else config_.ONE_THREAD


def usual_rounds(config: Config) -> int:
    """The number of prunings where the config does not say."""
    if is_residual(config):
        return 8
    return 14 if config.dataset == "digits" else 18


def is_residual(config: Config) -> bool:
    """Whether the network is a residual one, whose seeds train one after the other."""
    return _model(config).startswith("resnet")


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be run, whatever the network's layers."""
    if isinstance(config.arms, tuple) and "random" in config.arms:
        raise ValueError(
            "unknown arm 'random': pass random_layerwise (as many weights in every "
            "layer as the ticket) or random_global (as many in all)"
        )
    config_.check(config, WITHIN, {**CHOICES, "arms": ARMS})
    if config.arms and "rewind" not in config.arms:
        raise ValueError(f"arms must include rewind, got {', '.join(config.arms)}")
    model, named = _model(config), config.dataset in DATASETS
    if config.image_size and named:
        raise ValueError(f"image_size is for folders of images, not {config.dataset}")
    if config.optimizer == "adam" and config.weight_decay:
        raise ValueError("adam has no weight_decay: choose optimizer=adamw")
    if is_residual(config):
        stages = 3 if model in ("resnet8", "resnet20", "resnet56") else 4
        if config.widths and len(config.widths) != stages:
            raise ValueError(
                f"widths must have {stages} entries for {model}, got "
                f"{len(config.widths)}"
            )
        return
    for name in ("augment", "stride", "image_size"):
        if getattr(config, name):
            raise ValueError(f"{name} is for residual networks, not {model}")
    if config.dataset == "scenes":
        raise ValueError(f"scenes have several labels: choose a resnet, not {model}")


def _model(config: Config) -> str:
    return config.model or ("mlp" if config.dataset in IMAGES else "resnet8")


def _learning_rate(model: str, optimizer: str) -> float:
    if optimizer == "sgd":
        return 0.1
    if optimizer == "momentum":  # at 0.15 some seeds of a convnet do not train
        return {"mlp": 0.15, "convnet": 0.05}.get(model, 0.1)
    return 0.005 if model.startswith("resnet") else 0.001


def memory(config: Config) -> dict[str, float]:
    """Bytes of the states of all seeds that are trained, and of their data."""
    config = resolve(config)
    side = config.image_size or 8
    # Parameters, momentum, gradients and the state that rounds rewind to.
    return {
        "widths or seeds": 4 * _weights(config) * len(config.seeds),
        "images": 3.0 * side**2 * (config.num_train_images + config.num_test_images)
        if config.dataset == "scenes"
        else 0.0,
    }


def disk(config: Config) -> float:
    """Bytes of the dense networks of all seeds, which do not compress."""
    config = resolve(config)
    return 0.8 * _weights(config) * len(config.seeds)


def _weights(config: Config) -> float:
    """Bytes of a network's kernels, at least."""
    if config.model == "mlp":
        return needs.weights(config.widths, IMAGES.get(config.dataset, 0) ** 2, 2)
    return needs.convolutions(config.widths)
