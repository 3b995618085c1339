"""The sweeps of a config, and the masks of each.

Masks are a function of the config's seed alone, see `generator`: the same whatever the
batch size, and nested: what mask i keeps at one probability it keeps at all higher
ones.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sparsejax import masks
from sparsejax._words import listed
from sparsejax.experiments.node_sweep.config import Config

MOST = 20  # units of which all subsets are evaluated


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


def chosen_layers(config: Config, layers: Mapping[str, int]) -> dict[str, int]:
    """Units of the activations that a config names.

    Args:
        config: what to sweep.
        layers: number of units of every named activation of the network.

    Raises:
        ValueError: for what the network does not have.
    """
    if unknown := [name for name in config.nodes if name not in layers]:
        raise ValueError(
            f"no activations {listed(unknown)}; there are {listed(layers)}"
        )
    named = {k: n for k, n in layers.items() if k in config.nodes or not config.nodes}
    total = sum(named.values())
    if config.num_units is not None and config.num_units > total:
        raise ValueError(f"num_units must be in [1, {total}], got {config.num_units}")
    return named


def sweeps(config: Config, n: int) -> list[Sweep]:
    """The sweeps over n units in order; for all subsets only one.

    Raises:
        ValueError: for more subsets than can be evaluated, and impossible sizes.
    """
    if config.distribution == "subsets":
        if n > MOST:
            raise ValueError(
                f"2^{n} subsets are too many ({n} units; at most {MOST}): draw some of "
                "them (distribution=bernoulli), take fewer activations (nodes=...) or "
                f"only the units that vary most (num_units={MOST})"
            )
        return [Sweep("subsets", f"all {1 << n:,} subsets", 0.5, 1 << n)]
    if config.distribution == "bernoulli":
        return [
            Sweep(f"keep_{_digits(p)}", kept_label(p), p, config.num_masks)
            for p in config.keep_probs
        ]
    sizes = [round(s * n) if s < 1 else s for s in config.subset_sizes]
    for size in sizes:
        if size != int(size) or size > n:
            raise ValueError(
                f"subset_sizes must be whole numbers in [0, {n}] or fractions below 1, "
                f"got {size:g}"
            )
    # a keep probability of 1 is all units, a size of 1 a single one
    sizes = sizes or [round(p * n) for p in config.keep_probs]
    return [
        Sweep(f"size_{k}", f"{k} of {n}", k, config.num_masks)
        for k in dict.fromkeys(map(int, sizes))
    ]


def generator(config: Config, sweep: Sweep, n: int) -> Callable[[Any], Array]:
    """The function from an index to a mask (n,) whose first `count` masks are swept.

    Mask i is drawn with `jax.random.fold_in(jax.random.key(seed), i)` by
    `masks.bernoulli` or `masks.fixed_size`. (All subsets are in the order of
    `masks.subsets`.)
    """
    key, ones = jax.random.key(config.seed), jnp.ones(n)
    value = jnp.asarray(sweep.value)  # of the program an input: all share one

    def mask(index):
        mine = jax.random.fold_in(key, index)
        if config.distribution == "bernoulli":
            return masks.bernoulli(mine, ones, value)
        return masks.fixed_size(mine, ones, value)

    return mask


def switched(units: int, total: int) -> str:
    """How many units are swept, and what becomes of the others."""
    if units < total:
        return f"{units} of {total} units switched, {total - units} always on"
    return f"all {total} units switched" if total > 1 else "1 unit switched"


def kept_label(keep_prob: float) -> str:
    """For readers, and different for all different probabilities."""
    return f"keep {_digits(keep_prob)}"


def _digits(value: float) -> str:
    """The shortest number that reads as this one: 0.1, 1."""
    return repr(float(value)).removesuffix(".0")
