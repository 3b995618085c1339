"""Removing weights from a quadratic form, the others making up for it.

For one layer, or one group of a convolution: `weights` have shape (inputs, outputs),
`matrix` is the Hessian that all outputs share. All in float64, in NumPy: inverses of
Hessians in float32 lose too many digits, and XLA's float64 would be a switch for the
whole program.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg

# Removals between two updates of a whole inverse, and columns between two updates of
# all weights to their right: products of matrices are several times faster than as
# many products of vectors.
_PANEL, _LAZY = 128, 128


class Form(NamedTuple):
    """A damped Hessian.

    Attributes:
        matrix: positive definite; shape (inputs, inputs).
        dead: inputs that were always zero: ones alone on their row of the matrix.
        noise: relative size of pivots that may be rounding alone: dependent inputs
            leave up to 5e-11 in float64, if others are nearly dependent too.
        rows: how many rows of inputs it is from.
    """

    matrix: np.ndarray
    dead: np.ndarray
    noise: float
    rows: int


def damped(products: np.ndarray, rows: int, damping: float | int) -> Form:
    """H = 2 mean(x x') + damping * mean(diagonal), the mean over inputs that live."""
    width, single = len(products), products.dtype == np.float32
    matrix = products.astype(np.float64) * (2 / rows)
    diagonal = matrix.diagonal()
    dead = diagonal <= 0
    extra = damping * diagonal[~dead].mean() if not dead.all() else 0.0
    matrix[np.diag_indices(width)] += extra
    matrix[dead], matrix[:, dead] = 0, 0
    matrix[dead, dead] = 1
    # Sums made inside `jit` know no more than float32 does; damping covers that.
    noise = 1e-5 if single and not damping else 1e-10
    return Form(matrix, dead, noise, rows)


def fit(form: Form, weights: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The best weights on a support: w_S + H_SS^-1 H_SP w_P, with P the others.

    They minimise (w - weights)' H (w - weights) for each output.
    """
    new = np.where(kept, weights, 0)
    for o in np.flatnonzero((weights * ~kept).any(axis=0) & kept.any(axis=0)):
        stay, go = np.flatnonzero(kept[:, o]), np.flatnonzero(~kept[:, o])
        root = _root(form, form.matrix[np.ix_(stay, stay)])
        pull = form.matrix[np.ix_(stay, go)] @ weights[go, o]
        new[stay, o] += linalg.cho_solve((root, True), pull, check_finite=False)
    return new


def inverse(form: Form, stay: np.ndarray) -> np.ndarray:
    """(H_SS)^-1 for the inputs that stay."""
    if not len(stay):
        return np.empty((0, 0))
    root = _root(form, form.matrix[np.ix_(stay, stay)])
    (potri,) = linalg.get_lapack_funcs(("potri",), (root,))
    lower = np.tril(potri(root, lower=True)[0])
    return lower + np.tril(lower, -1).T


def trace(
    weights: np.ndarray,
    inverse: np.ndarray,
    places: np.ndarray,
    room: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Exact optimal brain surgery on one output: which weight goes next, at what cost.

    Each time the weight with the least w_p^2 / 2 [H^-1]_pp goes (of equal ones the
    first), the others move by -w_p [H^-1]_p / [H^-1]_pp, and p is eliminated from the
    inverse. Eliminations are kept as rows of a Cholesky factor, and applied to the
    inverse a panel at a time.

    Args:
        weights: shape (n,).
        inverse: of the Hessian of these weights, shape (n, n).
        places: number of the set that each weight is in, shape (n,).
        room: how many are to leave each set.

    Returns:
        Indices in the order of removal, and costs.
    """
    left, weights, room = np.arange(len(weights)), weights.copy(), room.copy()
    steps, done = int(room.sum()), 0
    order, costs = np.empty(steps, int), np.empty(steps)
    while done < steps:
        panel = min(_PANEL, steps - done)
        rows, gone = np.empty((panel, len(left))), np.zeros(len(left), bool)
        diagonal = inverse.diagonal().copy()
        # An infinite weight is one that cannot go (any more): it costs too much.
        weights[room[places[left]] == 0] = np.inf
        for k in range(panel):
            cost = weights**2 / diagonal
            p = int(cost.argmin())
            order[done + k], costs[done + k] = left[p], cost[p] / 2
            row = inverse[p] - rows[:k, p] @ rows[:k]
            row /= np.sqrt(row[p])
            weights -= row * (weights[p] / row[p])
            diagonal -= row**2
            rows[k] = row
            gone[p], weights[p], diagonal[p] = True, np.inf, 1
            place = places[left[p]]
            room[place] -= 1
            if not room[place]:
                weights[places[left] == place] = np.inf
        stay, done = np.flatnonzero(~gone), done + panel
        rows = rows[:, stay]
        inverse = inverse.take(stay, 0).take(stay, 1) - rows.T @ rows
        left, weights = left[stay], weights[stay]
    return order, costs


def sweep(
    form: Form,
    weights: np.ndarray,
    choose: Callable[[int, np.ndarray], np.ndarray],
    block: int,
) -> tuple[np.ndarray, np.ndarray]:
    """SparseGPT: inputs one after another, only later ones make up for what goes.

    With H^-1 = U'U and U upper triangular, removing w_j for good moves the weights of
    later inputs k by -w_j U_jk / U_jj. What goes is chosen a block of inputs at a time.

    Args:
        form: the Hessian.
        weights: shape (inputs, outputs).
        choose: `choose(start, scores)` says what is kept of `scores`, the costs
            w_j^2 / U_jj^2 of a block that begins at `start`.
        block: inputs chosen together.

    Returns:
        New weights, and what is kept.
    """
    new, kept = weights.copy(), np.ones(weights.shape, bool)
    upper = _upper(form)
    pivots = upper.diagonal()
    for start, stop in _batches(len(new), block):
        errors = np.zeros((stop - start, new.shape[1]))
        for j in range(start, stop):
            if j % block == 0:
                here = slice(j, j + block)
                scores = (new[here] / pivots[here, None]) ** 2
                kept[here] = choose(j, np.where(form.dead[here, None], 0, scores))
            go = ~kept[j]
            if go.any():
                error = errors[j - start] = np.where(go, new[j] / pivots[j], 0)
                new[j + 1 : stop] -= upper[j, j + 1 : stop, None] * error
                new[j, go] = 0
        new[stop:] -= upper[start:stop, stop:].T @ errors
    return new, kept


def _batches(width: int, block: int) -> list[tuple[int, int]]:
    """Intervals after which all later weights are brought up to date.

    No block begins inside one unless it ends there too: scores are those of up-to-date
    weights.
    """
    step = block * max(1, _LAZY // block)
    ends = [
        (a, min(a + _LAZY, start + step, width))
        for start in range(0, width, step)
        for a in range(start, min(start + step, width), _LAZY)
    ]
    return ends


def _upper(form: Form) -> np.ndarray:
    """U with H^-1 = U'U, without the inverse: U^-1 is a factor of H read backwards."""
    root = _root(form, form.matrix[::-1, ::-1])[::-1, ::-1]
    (trtri,) = linalg.get_lapack_funcs(("trtri",), (root,))
    return trtri(root)[0]


def _root(form: Form, matrix: np.ndarray) -> np.ndarray:
    """Lower Cholesky factor of a part of a form, if it is positive definite.

    The square of a pivot over the diagonal is the share of an input that those before
    do not explain, whatever the scale of inputs.
    """
    try:
        root = np.linalg.cholesky(matrix)
        if (root.diagonal() ** 2 > form.noise * matrix.diagonal()).all():
            return root
    except np.linalg.LinAlgError:
        pass
    raise ValueError(
        f"the Hessian of {len(form.matrix)} inputs from {form.rows} rows is singular: "
        "some inputs are sums of others; give more rows, or a larger damping, such as "
        "0.01"
    )
