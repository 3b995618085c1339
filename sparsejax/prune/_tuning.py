"""How much to prune where, when networks are pruned for samples.

Which layers can lose how much before explanations get worse is found on samples for
calibration, by whatever score an analysis has. Layers are pruned for what they read in
the dense network, so each is pruned once for each density and sample; a trial only puts
together what was pruned.
"""

import functools
import itertools as it
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from sparsejax import checks, pages, trees
from sparsejax._progress import tqdm
from sparsejax.prune._kernels import Layer
from sparsejax.prune._spade import Solve, fitting, prune_layers


class Tuning(NamedTuple):
    """Densities of groups of layers, and how they were found.

    Attributes:
        density: by group, as `spade` takes it.
        score: of it.
        trials: the mean score of every choice that was tried, a density for each
            group; the first is the dense network.
    """

    density: dict[str, float]
    score: float
    trials: dict[tuple[float, ...], float]

    @pages.display
    def _repr_html_(self) -> str:
        best = max(self.trials.values(), default=0)
        rows = [
            (*densities, score, "best" if score == best else "")
            for densities, score in self.trials.items()
        ]
        header = [f"density of {group}" for group in self.density] + ["score", ""]
        return pages.output(
            pages.listing(rows, header, title="Densities that were tried")
        )


def tune_density(
    params: PyTree,
    seen: Iterable[list[Layer]],
    score: Callable[[PyTree, int], float],
    *,
    groups: str | Iterable,
    densities: float | int | Iterable = (0.5, 0.2),
    sweeps: int = 2,
    solve: Solve | None = None,
    block_size: int | None = None,
    progress: bool = True,
) -> Tuning:
    """Choose how much is kept of every group of layers, one group after another.

    From the dense network on, the last group first, each takes the density with the
    best mean score beside what the others have; of equal ones what it had.

    Args:
        params: of the dense network.
        seen: what `prune.layer_hessians` found on each sample's variations.
        score: `score(pruned, i)` of the parameters pruned for the i-th sample; larger
            is better.
        groups: a pattern of kernels, such as "layer3*", or several; all others are
            left whole.
        densities: to choose from, beside 1.
        sweeps: over all groups, at most; they end when one changes nothing.
        solve: as of `prune_layers`.
        block_size: as of `spade`.
        progress: show a bar.

    Raises:
        ValueError: for no samples, groups that fit no kernel or one together,
            densities out of [0, 1], and scores that are no numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsejax.prune import layer_hessians
        >>> fn = lambda params, x: x @ params["out"]
        >>> x, params = jnp.array([9.0, 0.1]), {"out": jnp.ones((2, 1))}
        >>> score = lambda pruned, i: -abs(fn(pruned, x) - 9).item()
        >>> tune_density(
        ...     params, [layer_hessians(fn, params, x[None])], score, groups=["out"],
        ...     block_size=2, progress=False,
        ... ).density
        {'out': 0.5}
    """
    groups, densities = checks.several(groups), checks.several(densities)
    seen = list(seen)
    if not seen:
        raise ValueError("seen is empty; give the layers of at least one sample")
    if not groups or not all(isinstance(group, str) for group in groups):
        raise ValueError(f"groups must be a list of patterns, got {[*groups]!r}")
    checks.arrays(params)
    if sweeps < 1:
        raise ValueError(f"sweeps must be at least 1, got {sweeps}")
    paths = [layer.kernel.path for layer in seen[0]]
    kernels = {group: fitting(group, paths) for group in groups}
    for path in paths:
        both = [group for group in groups if path in kernels[group]]
        if len(both) > 1:
            raise ValueError(f"{path!r} is in the groups {both}; it can be in one")
    dense, structure = trees.by_path(params), jax.tree.structure(params)

    @functools.cache
    def pruned(i: int, group: str, density: float) -> dict:
        found = prune_layers(params, seen[i], {group: density}, solve, block_size)
        new = trees.by_path(found.params)
        return {path: new[path] for path in kernels[group]}

    @functools.cache
    def mean(choice: tuple[float, ...]) -> float:
        values = []
        for i in range(len(seen)):
            leaves = dict(dense)
            for group, density in zip(groups, choice, strict=True):
                leaves |= pruned(i, group, density)
            trial = jax.tree.unflatten(structure, list(leaves.values()))
            values.append(float(score(trial, i)))
        if not np.isfinite(values).all():
            raise ValueError(f"score is not finite at {dict(zip(groups, choice))}")
        return float(np.mean(values))

    best = (1.0,) * len(groups)
    trials = {best: mean(best)}
    options = 1.0, *map(float, densities)
    most = sweeps * len(groups) * len(options)
    with tqdm(total=most, disable=not progress, unit="trial") as bar:
        for _ in range(sweeps):
            before = best
            for at, density in it.product(reversed(range(len(groups))), options):
                choice = (*best[:at], density, *best[at + 1 :])
                trials[choice] = mean(choice)
                if trials[choice] > trials[best]:
                    best = choice
                bar.update()
            if best == before:
                break
    return Tuning(dict(zip(groups, best, strict=True)), trials[best], trials)
