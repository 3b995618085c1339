"""What is measured of training on relevance, network by network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsejax import interpret, relevance
from sparsejax.experiments._study.records import group
from sparsejax.experiments.right_reasons import train
from sparsejax.experiments.right_reasons.config import Config, Stage
from sparsejax.experiments.right_reasons.train import Task

Records = Sequence[Mapping[str, Any]]
Groups = Mapping[Stage, Records]


def records(
    config: Config, task: Task, stage: Stage, params: Any
) -> list[dict[str, Any]]:
    """A record for every seed.

    `test_accuracy` and `outside` (mean share of |R| of the label's logit outside of the
    box) on the backgrounds of training ("same") and on "swapped" ones; `background`:
    how often, on these, the answer is the label of the background.
    """
    sets = {}
    for name in ("same", "swapped"):
        split = getattr(task.sets, name)
        arrays = train.flat(split.x), train.flat(split.region) > 0, split.y
        answers, shares = _ask(task.fn, params, *map(jnp.asarray, arrays))
        sets[name] = np.asarray(answers), np.asarray(shares), split
    loss, strength = stage

    def mean(values):
        return float(np.mean(values, dtype=np.float64))

    swapped, _, split = sets["swapped"]
    return [
        {
            "loss": loss,
            "strength": strength,
            "seed": seed,
            "test_accuracy": {k: mean(a[i] == s.y) for k, (a, _, s) in sets.items()},
            "outside": {k: mean(part[i]) for k, (_, part, _) in sets.items()},
            "background": mean(swapped[i] == split.texture),
        }
        for i, seed in enumerate(config.seeds)
    ]


def grouped(records: Records) -> Groups:
    """Records by loss and strength."""
    return group(records, "loss", "strength")


def maps(fn: Callable, params: Any, x: Array) -> tuple[Array, Array]:
    """Answers (n,), and relevance (n, pixels) of their centred logits; one network."""

    def one(params, x):
        logits = fn(params, x)
        answer = jnp.argmax(logits)
        weights = jnp.where(jnp.arange(len(logits)) == answer, 1.0, 0.0)
        weights = weights - 1 / len(logits)
        explained = relevance.explain(fn, params, x, target=weights, baseline="zero")
        return answer, explained.input

    return interpret.Batched(one, (None, 0))(params, x)


def _ask(fn, params, x, region, labels):
    """Answers and shares outside of stacked networks, (networks, n) each."""

    def one(params, x, region, label):
        share = relevance.outside_share(fn, params, x, region, target=label)
        return jnp.argmax(fn(params, x)), share

    each = jax.vmap(one, (0, None, None, None))
    by_example = interpret.Batched(each, (None, 0, 0, 0))(params, x, region, labels)
    return tuple(part.T for part in by_example)
