"""Losses of circuits: of a network, of other examples, and of controls."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sparsejax import circuits
from sparsejax.experiments.circuits.cases import Case, Examples
from sparsejax.experiments.circuits.config import ABLATIONS, Config
from sparsejax.models import planted


class Loss(NamedTuple):
    """The loss of the nodes that can be left out, all others kept.

    Attributes:
        task: loss of masks of all nodes.
        case: whose nodes they are.
    """

    task: circuits.Task
    case: Case

    def __call__(self, nodes: Mapping[str, Array], ablate: Any = None) -> Array:
        return self.task(self.case.whole(nodes), ablate)

    @property
    def metric(self) -> str:
        return self.task.metric

    @property
    def ablation(self) -> str:
        return self.task.ablation

    @property
    def of(self) -> Callable[[Any], Array]:
        return self.task.of


def check(config: Config, case: Case) -> None:
    """Raise a `ValueError` where there can be no such losses."""
    y, metric = case.examples.y, config.metric or case.metric
    whole = y is not None and np.asarray(y).dtype.kind in "iub"
    if metric == "cross_entropy" and not whole:
        raise ValueError(
            f"{case.title} has no labels of classes for metric=cross_entropy; take "
            f"metric={case.metric}"
        )
    if metric == "error" and y is None:
        raise ValueError(f"{case.title} has no labels for metric=error; take metric=kl")
    real = y is not None and np.asarray(y).dtype.kind == "f"
    if (metric == "kl") if real else (metric in ("squared", "binary")):
        raise ValueError(
            f"{case.title}: metric={metric} does not fit its outputs; take "
            f"metric={case.metric}"
        )
    if "class_mean" in config.ablations and not (
        whole and y is not None and np.ndim(y) == 1
    ):
        raise ValueError(
            f"{case.title} has no label for each example, for class means; leave "
            "class_mean out of ablations"
        )


def loss(config: Config, case: Case, ablation: str, examples: Examples) -> Loss:
    """The loss of circuits of a network."""
    metric = _metric(config, case)
    task = circuits.task(
        case.fn,
        case.params,
        examples.x,
        examples.y,
        metric=metric,
        ablate=values(case, ablation, examples, case.params),
        ablation=ABLATIONS[ablation],
    )
    return Loss(task, case)


def controls(
    config: Config, case: Case, ablation: str, key: Array | Any
) -> dict[str, Loss]:
    """The same of what cannot have a circuit."""
    examples, metric = case.examples, _metric(config, case)
    y = examples.y
    if y is not None and np.asarray(y).dtype.kind == "f":  # nothing to be shuffled
        metric, y = partial(_with_labels, metric, y), None
    tasks = circuits.controls(
        case.fn,
        case.params,
        examples.x,
        y,
        key=key,
        untrained=case.untrained,
        metric=metric,
        ablate=lambda params: values(case, ablation, examples, params),
        ablation=ABLATIONS[ablation],
    )
    return {name: Loss(task, case) for name, task in tasks.items()}


def error(case: Case) -> Loss:
    """The loss that known circuits have at 0, and none other without them."""
    x, y, _ = case.examples
    return Loss(circuits.task(case.fn, case.params, x, y, metric=planted.error), case)


def _metric(config: Config, case: Case) -> Any:
    name = config.metric or case.metric
    own = {"error": planted.error, "squared": squared, "binary": binary}
    return own.get(name, name)


def _with_labels(metric: Callable, y: Any, outputs, reference, _) -> Array:
    return metric(outputs, reference, y)


def binary(outputs: Array, reference: Any, y: Any) -> Array:
    """The cross entropy of each of several labels."""
    with jax.numpy_dtype_promotion("standard"):
        return optax.sigmoid_binary_cross_entropy(outputs, y).mean()


def squared(outputs: Array, reference: Any, y: Any) -> Array:
    """The mean square of what outputs are off."""
    return jnp.square(outputs - y).mean()


def values(case: Case, ablation: str, examples: Examples, params: Any) -> Any:
    """What takes the place of nodes that are left out; None for zero."""
    nodes = case.nodes
    if ablation == "zero":
        return None
    if ablation == "resample":
        return circuits.resampled(case.fn, params, examples.corrupted, nodes)
    x, y = case.sample or (case.examples.x, case.examples.y)
    if ablation == "class_mean":
        over = np.asarray(y)
        return circuits.means(case.fn, params, x, nodes, over=over, at=examples.y)
    over = "positions" if ablation == "position_mean" else "all"
    return circuits.means(case.fn, params, x, nodes, over=over)


def key(seed: int, ablation: str, purpose: int) -> Any:
    """A random key of one part of a run, for one purpose."""
    own = jax.random.fold_in(jax.random.key(seed), [*ABLATIONS].index(ablation))
    return jax.random.fold_in(own, purpose)
