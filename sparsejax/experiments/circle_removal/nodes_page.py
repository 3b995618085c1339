"""The circle classifier as an instrument: its nodes are switches, all of it redraws.

One offline HTML file. The page holds the network and its test points and computes in
float64 whatever is shown of the network switched on: the decision surface, the loss at
every point, the gradient for a node, loss and accuracy, the effect of every flip. What
needs all 2^n subnetworks is computed here: how their losses are distributed, the best
of every size, Shapley values.

The scripts in page/ are the page: `net.js` is the mathematics,
`view.js` draws, `page.js` is the state and what changes it.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import ArrayLike

from sparsejax import hypercube, pages
from sparsejax.experiments._study import report

MOST_NODES = 24
HEAD = 64  # the lowest losses of a size, kept one by one
STEPS = 1024  # from there on, kept at equal steps of rank: places err by less than this
FAR = 1e-3  # difference between a given and a computed loss, relative to 1 + loss


def page(
    params: Mapping[str, Mapping[str, ArrayLike]],
    test: tuple[ArrayLike, ArrayLike],
    losses: ArrayLike,
    *,
    radius: float,
    title: str = "Every subnetwork of a circle classifier",
    lead: str | None = None,
    footer: str | None = None,
    keep_probs: Sequence[float] = (0.25, 0.5, 0.75),
) -> str:
    """The page's text.

    The network is logits = (relu(x W0 + b0) * mask) W1 + b1 for points x of the plane,
    class 1 being outside of the circle; its loss is the mean cross entropy over the
    test points, in natural logarithms.

    Args:
        params: of `models.mlp((n,), 2)`, trained, n from 1 to 24: "dense_0" has kernel
            (2, n) and bias (n,), "dense_1" kernel (n, 2) and bias (2,).
        test: points x of shape (P, 2), and their classes y of shape (P,).
        losses: of all 2^n subsets, as `hypercube.evaluate_readout` returns them: bit i
            of the index is set where node i is kept.
        radius: of the true circle around the origin, > 0.
        title: of the page.
        lead: the finding, in a sentence under the title.
        footer: how the network was made.
        keep_probs: of the distributions and random masks offered.

    Returns:
        HTML; write it with `runs.write_text`.

    Raises:
        ValueError: if an argument has the wrong shape or numbers that cannot be used,
            or if `losses` are not those of this network on these points.
    """
    net = _network(params)
    n = len(net["b0"])
    x, y = _points(test)
    if not 0 < radius < np.inf:
        raise ValueError(f"radius must be a positive number, got {radius}")
    table = _table(losses, n)
    _check_losses(net, x, y, table)
    sorted_sizes = _by_size(table, n)
    best = hypercube.best(table)
    data = {
        "net": net,
        "x": _bytes(x, "<f4"),
        "y": _bytes(y, "u1"),
        "radius": float(radius),
        "keeps": list(keep_probs),
        "head": HEAD,
        "steps": STEPS,
        "sizes": [_bytes(_knots(values), "<f4") for values in sorted_sizes],
        "means": [float(values.mean()) for values in sorted_sizes],
        "best": best.subsets,
        "shapley": hypercube.shapley(table),
        "minima": len(hypercube.local_minima(table)),
    }
    scripts = ("net.js", "view.js", "page.js")
    notes = [footer, _made(n, len(y))]
    return pages.page(
        title,
        pages.slot("circle"),
        lead=lead,
        footer=pages.join(*(pages.tag("p", note) for note in notes if note)),
        data=data,
        script="\n".join(report.resource(__name__, script) for script in scripts),
        style=report.resource(__name__, "page.css"),
    )


def _made(n: int, points: int) -> str:
    return (
        f"The loss of each of the {1 << n:,} subnetworks is known, on {points:,} test "
        "points. Their distribution is kept by size as sorted losses, the lowest "
        f"{HEAD} of a size one by one, the others at {STEPS:,} equal steps of rank: a "
        "place in it errs by less than 0.1 %, at every keep probability. All else is "
        "computed in this page, in float64. One file, no network: made with sparsejax."
    )


def _by_size(table: np.ndarray, n: int) -> list[np.ndarray]:
    """The losses of the subsets of every size, sorted."""
    size = hypercube.subset_sizes(n)
    return [np.sort(table[size == k]) for k in range(n + 1)]


def _knots(values: np.ndarray) -> np.ndarray:
    """Few of the sorted values, or all where they are few; see `rank` in the script."""
    if len(values) <= HEAD + STEPS:
        return values
    steps = np.arange(1, STEPS + 1) * (len(values) - HEAD) // STEPS
    return values[np.concatenate([np.arange(HEAD), HEAD - 1 + steps])]


def _bytes(values: np.ndarray, kind: str) -> str:
    return b64encode(values.astype(kind).tobytes()).decode("ascii")


# ---- Checks


def _network(params: Mapping[str, Mapping[str, ArrayLike]]) -> dict[str, np.ndarray]:
    net = {}
    for layer in (0, 1):
        for short, name in (("w", "kernel"), ("b", "bias")):
            try:
                value = params[f"dense_{layer}"][name]
            except (KeyError, TypeError, IndexError):
                raise ValueError(
                    f"params have no dense_{layer}/{name}; expected those of "
                    "models.mlp((n,), 2)"
                ) from None
            array = _finite(value, f"dense_{layer}/{name}", np.float64)
            net[f"{short}{layer}"] = array
    n = net["b0"].size
    if not 1 <= n <= MOST_NODES:
        raise ValueError(f"a page shows 1 to {MOST_NODES} nodes, the network has {n}")
    shapes = {"w0": (2, n), "b0": (n,), "w1": (n, 2), "b1": (2,)}
    for name, shape in shapes.items():
        if net[name].shape != shape:
            full = f"dense_{name[1]}/{'kernel' if name[0] == 'w' else 'bias'}"
            raise ValueError(f"{full} has shape {net[name].shape}, expected {shape}")
    return net


def _points(test: tuple[ArrayLike, ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    x, y = _finite(test[0], "test points", np.float32), np.asarray(test[1])
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"test points have shape {x.shape}, expected (P, 2), P >= 1")
    if y.shape != x.shape[:1]:
        raise ValueError(f"{len(x)} test points have classes of shape {y.shape}")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("the classes of test points are 0 (inside) and 1 (outside)")
    return x, y


def _table(losses: ArrayLike, n: int) -> np.ndarray:
    table = _finite(losses, "losses", np.float64)
    if table.shape != (1 << n,):
        raise ValueError(
            f"losses have shape {table.shape}; {n} nodes have 2^{n} subsets, "
            f"expected ({1 << n},)"
        )
    if not (table > 0).all():
        raise ValueError(
            f"losses must be above 0, subset {table.argmin()} has {table.min()}"
        )
    return table


def _finite(value: ArrayLike, name: str, kind: Any) -> np.ndarray:
    array = np.asarray(value).astype(kind)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} hold numbers that are not finite")
    return array


def _check_losses(
    net: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, table: np.ndarray
) -> None:
    """A few subsets tell a table of other points, or of nodes in another order."""
    w0, b0, w1, b1 = (net[name] for name in ("w0", "b0", "w1", "b1"))
    n, sign = len(b0), np.where(y == 1, -1.0, 1.0)
    votes = np.maximum(x @ w0 + b0, 0) * (w1[:, 1] - w1[:, 0])
    for subset in {0, (1 << n) - 1, *(1 << i for i in range(n))}:
        kept = subset >> np.arange(n) & 1
        z = votes @ kept + b1[1] - b1[0]
        loss = np.logaddexp(0, sign * z).mean()
        if abs(loss - table[subset]) > FAR * (1 + loss):
            raise ValueError(
                f"losses[{subset}] is {table[subset]:.6g}, but this network has "
                f"{loss:.6g} on these test points with the nodes "
                f"{np.flatnonzero(kept).tolist()} kept; bit i of the index is node i"
            )
