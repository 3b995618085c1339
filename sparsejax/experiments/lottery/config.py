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

ResNet-20 on CIFAR-10 (DIR/cifar10/train.zip and test.zip):
    sparsejax lottery --dataset=cifar10 --data_dir=DIR --model=resnet20 \\
        --augment --optimizer=momentum --learning_rate=0.1 --epochs=160 \\
        --fraction=0.2 --rounds=20 --rewind_to=2000

ResNet-50 on images of any size (FOLDER/train/CLASS/NAME.jpg, FOLDER/val/...):
    sparsejax lottery --dataset=FOLDER --model=resnet50 --image_size=224 \\
        --augment --optimizer=momentum --learning_rate=0.4 --schedule=steps \\
        --precision=bfloat16 --batch_size=1024 --epochs=90

--rounds=0 trains once. Every run leaves a folder below --out: config, metrics.jsonl,
masks and weights of every level, figures and index.html. Started again after a kill, it
goes on where it was.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE, WIDTHS

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
    "precision": ("float32", "tensorfloat32", "bfloat16"),
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
        dataset: Images to classify: "digits" (embedded), "mnist", "fashion_mnist",
            "cifar10", "scenes" (drawn, with several labels an image), or a folder with
            `train` and `test` folders or zips of CLASS/NAME.jpg.
        image_size: Height and width to cut out of a folder's images, which are then
            read while training; 0 reads all at once, and they must be of one size.
        model: Network to prune; by default "mlp" for grey images, else "resnet8".
        widths: Numbers of hidden units (32, 32), of channels of the convolutions
            (6, 6, 6), or of channels of each stage of a residual network.
        stride: Stride of a residual network's first convolution; 0 is 2 on scenes, a
            quarter of the work, and the usual one elsewhere.
        num_train_images: Number of images to train on, drawn once; 0 takes all there
            are (scenes: 4,000).
        num_test_images: Number of images to test on, drawn once; 0 takes all there are
            (scenes: 1,000).
        epochs: Passes through the images in every training; by default 40 for digits, 3
            for MNIST and Fashion-MNIST, else 6.
        batch_size: Examples in a step of training; by default 64 (residual networks:
            128).
        optimizer: Rule of the steps: "sgd", "momentum" (0.9), "adam" or "adamw"; by
            default momentum (residual networks: adamw).
        learning_rate: Highest rate of the schedule; by default what suits the
            optimizer: 0.15 for momentum (convnet: 0.05, residual networks: 0.1), 0.1
            for sgd, 0.001 for adam and adamw (residual networks: 0.005).
        schedule: Course of the learning rate: "cosine" (a linear warm-up over a tenth
            of the steps, then down to a hundredth), "steps" (a tenth at a third of the
            steps, again at two thirds and at eight ninths) or "constant".
        weight_decay: Decay of the kernels; by default 1e-4 for adamw and for residual
            networks, else none.
        augment: Variation of training images by cropping and mirroring, for residual
            networks.
        rounds: Number of prunings; by default as many as `final_count` or
            `layer_fractions` need, else 18 (digits: 14, residual networks: 8).
        fraction: Part of the weights still kept that every round removes; by default
            0.2 (residual networks: 0.5).
        scope: Weights that are ranked together: all of them ("global"), or those of
            each layer ("layer").
        layer_fractions: Rates of single layers, as "dense_0=0.1" or, for the first 20
            rounds only, "dense_0=0.1x20"; the other layers are pruned by `fraction`,
            each by itself.
        exclude: Layers that are never pruned nor counted.
        final_count: Number of weights after the last round, met exactly (global scope).
        score: Score of a weight, of which the lowest are removed: "magnitude", "random"
            or "snip" (|w g|).
        rewind_to: Training step that rounds rewind to; by default 0 (residual networks:
            20).
        arms: Ways to train on after pruning. Each of these prunes by itself: "rewind"
            (lottery tickets), "trained" (weights as trained, schedule rewound),
            "finetune" (weights as trained, last learning rate) and "rewind_weights"
            (weights rewound, last learning rate). These follow the tickets: "reinit"
            (the same mask, fresh weights), "random_global" (as many weights, anywhere)
            and "random_layerwise" (as many in every layer). By default rewind and those
            three (residual networks: rewind).
        allow_empty: Permission for a layer to lose its last weight; by default for
            residual networks, whose shortcuts lead around it.
        barrier: Measurement of the error barrier between two trainings on data in two
            orders, of every arm (twice the time); by default for MLPs and convnets.
        seeds: Seeds of the networks, one each; by default 0 to 4, which train together
            (residual networks: 0; several train one after the other).
        share_data_order: One order of the data for all seeds (faster for networks that
            train together); by default for MLPs and convnets.
        data_seed: Seed of the shared order.
        precision: Precision of products on accelerators: "float32", "tensorfloat32" or
            "bfloat16".
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
    precision: str = "float32"

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
            "unknown arms 'random': random_layerwise keeps as many weights in every "
            "layer as the ticket, random_global as many in all"
        )
    config_.check(config, WITHIN, {**CHOICES, "arms": ARMS})
    if config.arms and "rewind" not in config.arms:
        raise ValueError(f"arms must hold rewind, got {', '.join(config.arms)}")
    model, named = _model(config), config.dataset in DATASETS
    if config.image_size and named:
        raise ValueError(f"{config.dataset} has images of one size: drop image_size")
    if config.optimizer == "adam" and config.weight_decay:
        raise ValueError("adam has no weight_decay: choose optimizer=adamw")
    if is_residual(config):
        stages = 3 if model in ("resnet8", "resnet20", "resnet56") else 4
        if config.widths and len(config.widths) != stages:
            raise ValueError(
                f"{model} has {stages} stages, widths are {len(config.widths)}"
            )
        return
    for name in ("augment", "stride", "image_size"):
        if getattr(config, name):
            raise ValueError(f"{name} is for residual networks: drop it for {model}")
    if config.dataset == "scenes":
        raise ValueError(f"scenes have several labels an image: no {model}, a resnet")


def _model(config: Config) -> str:
    return config.model or ("mlp" if config.dataset in IMAGES else "resnet8")


def _learning_rate(model: str, optimizer: str) -> float:
    if optimizer == "sgd":
        return 0.1
    if optimizer == "momentum":  # at 0.15 some seeds of a convnet do not train
        return {"mlp": 0.15, "convnet": 0.05}.get(model, 0.1)
    return 0.005 if model.startswith("resnet") else 0.001
