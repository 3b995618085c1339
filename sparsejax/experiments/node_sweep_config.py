"""What a sweep of node masks does: its config, and the plan that follows from it."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from sparsejax import data, trees
from sparsejax.experiments import fields, networks

MOST = 20  # units of which all subsets are evaluated
CHOICES = {
    "dataset": (*data.NAMES, *networks.CIRCLES),
    "model": ("mlp", "convnet"),
    "distribution": ("bernoulli", "fixed_size", "subsets"),
}
WITHIN = {
    "widths": fields.WIDTHS,
    "epochs": fields.COUNTS,
    "seed": fields.SEEDS,
    "level": fields.WHOLE,
    "units": fields.COUNTS,
    "keep_probs": "[0, 1]",
    "sizes": "[0, 2^31)",
    "count": "[2, 2^31)",
    "examples": fields.WHOLE,
    "permutations": fields.WHOLE,
    "mask_seed": fields.SEEDS,
    "batch_size": fields.COUNTS,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to sweep.

    Attributes:
        dataset: "digits" (embedded), "mnist" or "fashion_mnist"; "circle" (two inputs;
            half of the square inside) or "circle_published" (62.67% inside).
        model: "mlp" or "convnet".
        widths: hidden units, or channels of the convolutions; by default (32, 32),
            (6, 6, 6), and (20,) for circles.
        epochs: of the network's training; by default 3 (digits: 40, circles: 20).
        seed: of the network's training, by default 0; of a lottery run, which network,
            by default the first.
        level: of a lottery run, which level; by default the last.
        nodes: named activations whose units are removed, as hidden_0; by default all.
        units: only so many of their units are swept, those whose activation varies
            most; the others stay on.
        distribution: "bernoulli" (every unit is kept with a probability), "fixed_size"
            (a number of units, any of them) or "subsets" (all 2^n, exactly).
        keep_probs: a sweep for each (bernoulli), or what the exact distribution is
            shown for (subsets).
        sizes: a sweep for each (fixed_size): numbers of units kept or, below 1, parts
            of all; by default those of keep_probs.
        count: masks of each sweep.
        examples: test images that every mask sees, drawn once; 0 for all.
        gradients: of the loss with respect to the mask, too.
        permutations: orders of joining that Shapley values are estimated from; 0 for
            none.
        mask_seed: of masks, orders and the choice of examples.
        batch_size: masks at a time; by default what fits memory. Changes speed alone.
    """

    dataset: str = "digits"
    model: str = "mlp"
    widths: tuple[int, ...] = ()
    epochs: int | None = None
    seed: int | None = None
    level: int | None = None
    nodes: tuple[str, ...] = ()
    units: int | None = None
    distribution: str = "bernoulli"
    keep_probs: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9)
    sizes: tuple[float, ...] = ()
    count: int = 2000
    examples: int = 1000
    gradients: bool = True
    permutations: int = 200
    mask_seed: int = 0
    batch_size: int | None = None


class Sweep(NamedTuple):
    """One distribution of masks.

    Attributes:
        name: of its file, as "keep_0.5", "size_16" or "subsets".
        label: for readers.
        value: keep probability, or number of units kept.
        count: number of masks.
    """

    name: str
    label: str
    value: float
    count: int


class Plan(NamedTuple):
    """What will be swept.

    Attributes:
        layers: `{name: units}` of the chosen activations.
        units: number of units switched.
        total: number of units of the network; the others are always on.
        sweeps: in order; for all subsets only one.
    """

    layers: dict[str, int]
    units: int
    total: int
    sweeps: list[Sweep]


def plan(config: Config, layers: Mapping[str, int]) -> Plan:
    """The sweeps of a config.

    Args:
        config: what to sweep.
        layers: number of units of every named activation of the network.

    Raises:
        ValueError: for anything in the config that does not exist or cannot be.
    """
    check(config)
    if unknown := [name for name in config.nodes if name not in layers]:
        raise ValueError(
            f"no activations {trees.listed(unknown)}; there are {trees.listed(layers)}"
        )
    chosen = {k: n for k, n in layers.items() if k in config.nodes or not config.nodes}
    total = sum(chosen.values())
    if config.units is not None and not 1 <= config.units <= total:
        raise ValueError(f"units must be in [1, {total}], got {config.units}")
    n = config.units or total
    return Plan(chosen, n, sum(layers.values()), _sweeps(config, n))


def switched(units: int, total: int) -> str:
    """How many units are swept, and what becomes of the others."""
    if units < total:
        return f"{units} of {total} units switched, {total - units} always on"
    return f"all {total} units switched" if total > 1 else "1 unit switched"


def kept_label(keep_prob: float) -> str:
    """For readers, and different for all different probabilities."""
    return f"keep {_digits(keep_prob)}"


def _sweeps(config: Config, n: int) -> list[Sweep]:
    if config.distribution == "subsets":
        if n > MOST:
            raise ValueError(
                f"2^{n} subsets are too many ({n} units; at most {MOST}): draw some of "
                "them (distribution=bernoulli), take fewer activations (nodes=...) or "
                f"only the units that vary most (units={MOST})"
            )
        return [Sweep("subsets", f"all {1 << n:,} subsets", 0.5, 1 << n)]
    if config.distribution == "bernoulli":
        return [
            Sweep(f"keep_{_digits(p)}", kept_label(p), p, config.count)
            for p in config.keep_probs
        ]
    sizes = [round(s * n) if s < 1 else s for s in config.sizes]
    for size in sizes:
        if size != int(size) or not 0 <= size <= n:
            raise ValueError(
                f"sizes must be whole numbers in [0, {n}] or fractions below 1, "
                f"got {size:g}"
            )
    # a keep probability of 1 is all units, a size of 1 a single one
    sizes = sizes or [round(p * n) for p in config.keep_probs]
    return [
        Sweep(f"size_{k}", f"{k} of {n}", k, config.count)
        for k in dict.fromkeys(map(int, sizes))
    ]


def _digits(value: float) -> str:
    """The shortest number that reads as this one: 0.1, 1."""
    return repr(float(value)).removesuffix(".0")


def check(config: Config) -> None:
    """Raise a `ValueError` for what is wrong whatever the network is."""
    fields.check(config, WITHIN, CHOICES)
    if config.sizes and config.distribution != "fixed_size":
        raise ValueError("sizes are those of distribution=fixed_size")
    if config.permutations == 1:
        raise ValueError("permutations must be 0, or 2 or more for an error estimate")
