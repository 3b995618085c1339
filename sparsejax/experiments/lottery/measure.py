"""What is measured of an arm at a level: a record for every seed."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from sparsejax import masks, prune
from sparsejax.experiments.lottery.lab import Lab

Record = dict[str, Any]


def records(
    lab: Lab,
    arm: str,
    level: int,
    params: PyTree,
    mask: PyTree,
    again: Callable[[], PyTree],
) -> list[Record]:
    """The records of an arm at a level.

    Args:
        lab: of the run.
        arm: its name.
        level: number of prunings.
        params: trained parameters of all seeds.
        mask: what is kept of them.
        again: gives the parameters of a second training on data in another order.
    """
    tested = lab.evaluate(params, mask)
    heights: list[float | None] = [None] * len(tested)
    if lab.config.barrier:
        heights = [*lab.barrier(params, again(), mask)]
    rows, trees = [], jax.device_get((params, mask))
    for i, seed in enumerate(lab.config.seeds):
        own, one = (jax.tree.map(lambda a, i=i: a[i], tree) for tree in trees)
        kept, total = masks.counts(one), sum(masks.sizes(one).values())
        count = sum(kept.values())
        rows.append({
            "arm": arm,
            "level": level,
            "seed": seed,
            "kept": count,
            "density": count / total,
            "kept_per_layer": kept,
            "test_accuracy": tested[i][0],
            "test_loss": tested[i][1],
            "barrier": heights[i],
            "idle": _idle(lab, own) if lab.together else {},
        })  # fmt: skip
    return rows


def line(rows: list[Record], levels: int) -> str:
    """One line of progress for the arms of a level."""
    arms = dict.fromkeys(row["arm"] for row in rows)
    accuracy = {
        arm: np.mean([r["test_accuracy"] for r in rows if r["arm"] == arm])
        for arm in arms
    }
    first = rows[0]
    scores = "  ".join(f"{arm} {mean:.2%}" for arm, mean in accuracy.items())
    return (
        f"level {first['level']:2d}/{levels - 1}  {first['kept']:6d} weights "
        f"({first['density']:6.2%})  {scores}"
    )


def _idle(lab: Lab, params: PyTree) -> dict[str, dict[str, int]]:
    x = lab.test[0][:1]
    return {
        name: {
            "constant": int(units.constant.sum()),
            "unread": int(units.unread.sum()),
            "units": len(units.constant),
        }
        for name, units in prune.idle(lab.model.apply, params, None, x).items()
    }
