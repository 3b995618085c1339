"""How easy weights are to read: means over the units of every pair of layers."""

from typing import Any

import jax
import numpy as np

from sparsejax import weights
from sparsejax.experiments._study import nodes
from sparsejax.experiments._study.subject import Network, Subject


def readability(
    subject: Subject, network: Network, names: list[str]
) -> list[dict[str, Any]]:
    """Means over living units: of neighbouring layers, and of those two apart."""
    params, records = subject.read(network)[0], []
    chain: list[str | None] = [None, *names[:-1], None]
    for apart in (1, 2):
        for source, target in zip(chain[:-apart], chain[apart:], strict=True):
            expanded = weights.expand(
                subject.fn, params, source, target, size=subject.shape, split=True
            )
            each = jax.tree.map(np.asarray, weights.statistics(expanded))
            alive = each.norm > 0

            def mean(a, alive=alive):
                return float(a[alive].mean()) if alive.any() else 0.0

            records.append(
                {
                    **network._asdict(),
                    "source": source or "input",
                    "target": target or nodes.LOGITS,
                    "apart": apart,
                    "units": len(alive),
                    "alive": int(alive.sum()),
                    "channels": expanded.weights.shape[-2],
                    "inputs": mean(each.inputs),
                    "participation": mean(each.participation),
                    "live": mean(each.live),
                    "cancellation": mean(each.cancellation),
                }
            )
    return records
