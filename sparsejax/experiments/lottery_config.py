"""What a lottery-ticket run does: its config, and the plan that follows from it."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sparsejax import data, masks, models, prune, trees
from sparsejax.experiments import fields

CONTROLS = ("random", "shuffled", "reinit")
OPTIMIZERS: dict[str, Callable] = {
    "sgd": optax.sgd,
    "momentum": partial(optax.sgd, momentum=0.9),
    "adam": optax.adam,
    "adamw": optax.adamw,
}
CHOICES = {
    "dataset": data.NAMES,
    "model": ("mlp", "convnet"),
    "scope": ("global", "layer"),
    "score": ("magnitude", "random", "snip"),
    "weights_from": ("rewind", "trained"),
    "schedule_from": ("rewind", "final"),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": ("cosine", "constant"),
}
WITHIN = {
    "widths": fields.WIDTHS,
    "rounds": "[0, 1000]",
    "fraction": "[0, 1)",
    "final_count": fields.COUNTS,
    "rewind_to": fields.WHOLE,
    "epochs": fields.COUNTS,
    "batch_size": fields.COUNTS,
    "learning_rate": fields.POSITIVE,
    "weight_decay": "[0, inf)",
    "seeds": fields.SEEDS,
    "data_seed": fields.SEEDS,
}
_RATES = {"sgd": 0.1, "momentum": 0.15, "adam": 0.001, "adamw": 0.001}
# epochs and rounds where the config leaves them open
_USUAL = {"digits": (40, 14), "mnist": (3, 18), "fashion_mnist": (3, 18)}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to run. A fraction is of the weights still kept.

    Attributes:
        dataset: "digits" (embedded), "mnist" or "fashion_mnist".
        model: "mlp" or "convnet".
        widths: hidden units, or channels of the convolutions; by default (32, 32) and
            (6, 6, 6).
        rounds: number of prunings; by default as many as `final_count` needs, else 18
            (digits: 14).
        fraction: part of the weights still kept that every round removes.
        scope: "global" ranks all weights together, "layer" each layer by itself.
        layer_fractions: single layers' own rates, as "dense_0=0.1" or, for the first 20
            rounds only, "dense_0=0.1x20"; the other layers are pruned by `fraction`,
            each by itself.
        exclude: layers that are never pruned nor counted.
        final_count: weights left after the last round, exactly (global scope).
        score: what the lowest of is removed: "magnitude", "random" or "snip" (|w g|).
        rewind_to: training step that rounds rewind to.
        weights_from: weights that a round restarts with: of the "rewind" point, or as
            "trained".
        schedule_from: optimizer state, learning rate and order of the data that a round
            restarts with: of the "rewind" point, or the "final" ones.
        epochs: of every training; by default 3 (digits: 40).
        batch_size: examples a step.
        optimizer: "sgd", "momentum" (0.9), "adam" or "adamw".
        learning_rate: the highest of the schedule; by default what suits the optimizer:
            0.15 for momentum (convnet: 0.05), 0.1 for sgd, 0.001 for adam and adamw.
        schedule: "cosine" (linear warm-up over a tenth of the steps, then a cosine down
            to a hundredth of the rate) or "constant".
        weight_decay: of adamw alone.
        seeds: a network each, trained together; launchers read 0:5 as 0,1,2,3,4.
        share_data_order: all seeds see the data in the same order (faster).
        data_seed: seed of the shared order.
        controls: trained at every level beside the tickets, on their schedule: "random"
            (as many weights anywhere) and "shuffled" (as many in every layer), both
            with the weights of the rewind point; "reinit" (same mask, fresh weights).
        barrier: train every ticket and control a second time on data in another order
            and measure the barrier between the two (twice the time).
        allow_empty: let a layer lose its last weight.
    """

    dataset: str = "digits"
    model: str = "mlp"
    widths: tuple[int, ...] = ()
    rounds: int | None = None
    fraction: float = 0.2
    scope: str = "global"
    layer_fractions: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    final_count: int | None = None
    score: str = "magnitude"
    rewind_to: int = 0
    weights_from: str = "rewind"
    schedule_from: str = "rewind"
    epochs: int | None = None
    batch_size: int = 64
    optimizer: str = "momentum"
    learning_rate: float | None = None
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    share_data_order: bool = True
    data_seed: int = 0
    controls: tuple[str, ...] = CONTROLS
    barrier: bool = True
    allow_empty: bool = False


class Plan(NamedTuple):
    """What the rounds will do.

    Attributes:
        fractions: removed in each round.
        scopes: scope of each round, as in `prune.remove`.
        counts: weights kept at every level, the dense one first.
    """

    fractions: list[float | Fraction]
    scopes: list[Any]
    counts: list[int]


def plan(config: Config) -> Plan:
    """The rounds of a config.

    Raises:
        ValueError: for anything in the config that does not exist or cannot be.
    """
    check(config)
    sizes = masks.sizes(prunable(config))
    total = sum(sizes.values())
    fractions: list[Any]
    usual = _USUAL[config.dataset][1]
    if config.layer_fractions:
        if config.final_count is not None:
            raise ValueError("final_count needs scope=global without layer_fractions")
        own = _layer_fractions(config, sizes)
        longest = max((n for _, n in own.values() if n is not None), default=usual)
        rounds = longest if config.rounds is None else config.rounds

        def rate(f, n, level):
            return f if n is None or level < n else 0.0

        scopes = [
            {path: rate(f, n, level) for path, (f, n) in own.items()}
            for level in range(rounds)
        ]
        fractions = [config.fraction] * rounds
    elif config.final_count is None:
        rounds = usual if config.rounds is None else config.rounds
        fractions = [config.fraction] * rounds
        scopes = [config.scope] * rounds
    else:
        fractions = _to_final_count(config, total)
        scopes = ["global"] * len(fractions)
    counts, kept = [total], dict(sizes)
    for fraction, scope in zip(fractions, scopes, strict=True):
        if scope == "global":
            counts.append(prune.remaining(counts[-1], fraction))
        else:
            rates = scope if isinstance(scope, dict) else {}
            kept = {
                k: prune.remaining(n, rates.get(k, fraction)) for k, n in kept.items()
            }
            counts.append(sum(kept.values()))
    return Plan(fractions, scopes, counts)


def epochs(config: Config) -> int:
    """Epochs of one training."""
    return config.epochs or _USUAL[config.dataset][0]


def learning_rate(config: Config) -> float:
    """Highest learning rate of the schedule."""
    if config.learning_rate is not None:
        return config.learning_rate
    if config.model == "convnet" and config.optimizer == "momentum":
        return 0.05  # at 0.15 some seeds do not train
    return _RATES[config.optimizer]


def model(config: Config) -> models.Model:
    """The network."""
    if config.model == "mlp":
        return models.mlp((*(config.widths or (32, 32)), 10))
    return models.convnet(config.widths or (6, 6, 6), 10)


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """The optimizer, with its schedule over the steps of one training."""
    rate: Any = learning_rate(config)
    if config.schedule == "cosine":
        # Not to zero, so that "final" names a rate one can fine-tune with.
        rate = optax.warmup_cosine_decay_schedule(
            0.0, rate, steps // 10, steps, end_value=rate / 100
        )
    decay = config.optimizer == "adamw"
    more = {"weight_decay": config.weight_decay} if decay else {}
    return OPTIMIZERS[config.optimizer](rate, **more)


def prunable(config: Config) -> Any:
    """Masks of ones over everything that is pruned and counted."""
    side = 8 if config.dataset == "digits" else 28
    shape = (1, side * side) if config.model == "mlp" else (1, side, side, 1)
    network, x = model(config), jnp.zeros(shape)
    params = jax.eval_shape(network.init, jax.random.key(0), x)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
    weights = masks.ones(network.apply, params, x).weights
    names = list(masks.sizes(weights))
    out = {_find(name, names) for name in config.exclude}
    if out >= set(names):
        raise ValueError(f"exclude leaves nothing to prune: {trees.listed(names)}")

    def drop(path, leaf):
        return jnp.ones((), leaf.dtype) if path in out else leaf

    return trees.map_with_path(drop, weights)


def _find(layer: str, names: Sequence[str]) -> str:
    """The path of a layer given by its name or its kernel's path."""
    for name in (layer, f"{layer}/kernel"):
        if name in names:
            return name
    layers = [name.removesuffix("/kernel") for name in names]
    raise ValueError(f"no layer {layer!r}; there are {trees.listed(layers)}")


def _layer_fractions(config, sizes) -> dict[str, tuple[float, int | None]]:
    """Rate and number of rounds (None: all) for each layer named in the config."""
    own = {}
    for entry in config.layer_fractions:
        match = re.fullmatch(r"(.+)=([\d.]+)(?:x([1-9]\d*))?", entry)
        if match is None:
            raise ValueError(
                f"layer_fractions entry {entry!r} is not like 'dense_0=0.1' or "
                "'dense_0=0.1x20'"
            )
        layer, rate, rounds = match.groups()
        path = _find(layer, list(sizes))
        if path in own:
            raise ValueError(f"layer_fractions names {layer!r} twice")
        own[path] = float(rate), int(rounds) if rounds else None
    return own


def _to_final_count(config, total) -> list[float | Fraction]:
    final = config.final_count
    if config.scope != "global":
        raise ValueError("final_count needs scope=global")
    if not 0 < final < total:
        raise ValueError(f"final_count must be between 0 and {total}, got {final}")
    fractions: list[float | Fraction] = []
    count = total
    while count > final and len(fractions) != config.rounds:
        following = prune.remaining(count, config.fraction)
        last = following <= final or len(fractions) + 1 == config.rounds
        if following == count and not last:
            raise ValueError(
                f"fraction {config.fraction} never reaches {final} weights"
            )
        fractions.append(Fraction(count - final, count) if last else config.fraction)
        count = final if last else following
    return fractions


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be run, whatever the network's layers."""
    known = {**CHOICES, "controls": CONTROLS}
    fields.check(config, WITHIN, known, empty=("controls",))
