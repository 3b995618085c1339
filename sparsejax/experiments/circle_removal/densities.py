"""The densities of one circle classifier, exact and sampled, ready to be drawn.

Computed while all gradients of all subsets are at hand, since those are not kept.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

from sparsejax import removal


def arrays(
    losses: Float[np.ndarray, " subsets"],
    gradients: dict[str, Float[np.ndarray, "subsets n"]],
    drawn: dict[float, Int[np.ndarray, " samples"]],
    exact: dict[float, Float[np.ndarray, " subsets"]],
    width: float,
) -> dict[str, np.ndarray]:
    """Densities by keep probability; of log-loss gradients also by state and node.

    Args:
        losses: of all subsets.
        gradients: of "loss" and "log_loss", with respect to every node.
        drawn: for each keep probability, the numbers of sampled subsets.
        exact: for each keep probability, the probability of every subset.
        width: of the Gaussian kernel.

    Returns:
        For each measure `<measure>/at`, shape (places,), and `<measure>/exact` and
        `<measure>/sampled`, shape (keep_probs, places); `by_state/...` (on, off) and
        `by_node/...` at the keep probability nearest to 1/2.
    """
    logs = np.log(losses)
    values = {
        "loss": losses,
        "log_loss": logs,
        **{f"{name}_gradient": gradient for name, gradient in gradients.items()},
    }
    spans = {
        "loss": (max(losses.min() - 2 * width, 0.0), _span(losses, width)[1]),
        "log_loss": (logs.min() - 3 * width, logs.max() + 3 * width),
    }
    found: dict[str, np.ndarray] = {}
    for name, table in values.items():
        low, high = spans.get(name) or _span(table, width)
        at = np.linspace(low, high, 250)
        found[f"{name}/at"] = at
        found[f"{name}/exact"] = np.stack(
            [removal.kde(table, width, at, weights) for weights in exact.values()]
        )
        found[f"{name}/sampled"] = np.stack(
            [removal.kde(table[rows], width, at) for rows in drawn.values()]
        )
    return found | _by_state(gradients["log_loss"], exact[middle(exact)], width)


def middle(keep_probs: Iterable[float]) -> float:
    """The keep probability nearest to 1/2, at which gradients are told apart."""
    return min(keep_probs, key=lambda p: abs(p - 0.5))


def _by_state(gradients, weights, width) -> dict[str, np.ndarray]:
    """Densities where a node is on and where it is off, of all nodes and of each."""
    subsets = np.arange(len(gradients))
    at = np.linspace(*_span(gradients, width), 250)
    pooled, places, by_node = np.zeros((2, len(at))), [], []
    for i, values in enumerate(gradients.T):
        on = (subsets >> i & 1).astype(bool)
        places.append(np.linspace(*_span(values, width), 100))
        sides = [(values[side], weights[side]) for side in (on, ~on)]

        def draw(at, sides=sides):
            return np.array([removal.kde(v, width, at, w) for v, w in sides])

        by_node.append(draw(places[-1]))
        pooled += draw(at) / gradients.shape[1]
    return {
        "by_state/at": at,
        "by_state/density": pooled,
        "by_node/at": np.array(places),
        "by_node/density": np.array(by_node),
    }


def _span(table, width) -> tuple[float, float]:
    """Nearly all of the values, and what the kernel spreads."""
    low, high = np.quantile(table, [0.002, 0.998])
    return float(low) - 2 * width, float(high) + 2 * width
