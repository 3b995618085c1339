"""A small relu network as a closed form: its linear pieces, exactly.

The pieces are found by walking a flow graph: at every relu whose sign is not decided in
the polytope so far (two linear programs each), both signs are followed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from scipy.optimize import linprog

from sparsejax.flowgraph import Graph

_SLACK = 1e-9  # of the linear programs, relative to coefficients of at most 1


class Piece(NamedTuple):
    """Where all relus have one sign each; there the network is linear.

    Attributes:
        sides: rows (a, b): the piece is where a @ x + b >= 0 for all of them.
        values: rows (a, b), one an output: its value there is a @ x + b.
    """

    sides: Float[np.ndarray, "sides inputs_and_one"]
    values: Float[np.ndarray, "outputs inputs_and_one"]


class ClosedForm(NamedTuple):
    """A network of relus on a box.

    Attributes:
        pieces: they cover the box and overlap in their borders alone.
        low: of the box.
        high: of the box.
    """

    pieces: tuple[Piece, ...]
    low: Float[np.ndarray, " inputs"]
    high: Float[np.ndarray, " inputs"]


def closed_form(graph: Graph, *, most: int = 512) -> ClosedForm:
    """The pieces of a flow graph on its domain.

    Args:
        graph: of sums and relus, from `flowgraph.trace`; at most a few dozen relus.
        most: the largest number of pieces.

    Raises:
        ValueError: for other operations, a domain without bounds, and too many pieces.
    """
    ops = set(graph.ops) - {"input", "const", "affine", "output", "relu"}
    if ops:
        raise ValueError(
            f"a closed form needs sums and relus alone, the graph has {sorted(ops)}"
        )
    if not (np.isfinite(graph.low).all() and np.isfinite(graph.high).all()):
        raise ValueError("a closed form needs a bounded domain= of every input")
    size = len(graph.low)
    pieces: list[Piece] = []

    def follow(node: int, rows: np.ndarray, sides: np.ndarray) -> None:
        """Fill in the forms of the nodes from `node` on."""
        for i in range(node, len(graph)):
            if graph.ops[i] == "input":
                rows[i, graph.inputs[i]] = 1
                continue
            args, coefs = graph.operands(i)
            rows[i] = coefs @ rows[args]
            rows[i, -1] += graph.consts[i]
            if graph.ops[i] != "relu":
                continue
            least, most_ = _range(rows[i], sides, graph.low, graph.high)
            if most_ <= 0:
                rows[i] = 0
            elif least < 0:
                off = rows.copy()
                off[i] = 0
                follow(i + 1, off, np.vstack([sides, -rows[i]]))
                sides = np.vstack([sides, rows[i]])
        if len(pieces) >= most:
            raise ValueError(
                f"the network has more than {most} linear pieces: prune it further"
            )
        pieces.append(Piece(sides, rows[graph.outputs]))

    follow(0, np.zeros((len(graph), size + 1)), np.zeros((0, size + 1)))
    return ClosedForm(tuple(pieces), np.asarray(graph.low), np.asarray(graph.high))


def decide(form: ClosedForm, x: ArrayLike) -> Int[np.ndarray, " points"]:
    """The output that is largest, the first of equals, for points (points, inputs)."""
    points = np.asarray(x, np.float64)
    ones = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    worst = np.stack([_worst(piece, ones) for piece in form.pieces])
    values = np.stack([ones @ piece.values.T for piece in form.pieces])
    return values[worst.argmax(0), np.arange(len(points))].argmax(1)


def one_rule(form: ClosedForm) -> Float[np.ndarray, " inputs_and_one"] | None:
    """A single linear rule that is the whole policy of two actions, if there is one.

    Returns:
        (a, b) such that the second action is taken where a @ x + b > 0, in all of the
        box (points where both actions have the same value aside); else None.
    """
    rules = [difference(piece) for piece in form.pieces]
    for rule in rules:
        pairs = zip(form.pieces, rules, strict=True)
        if rule[:-1].any() and all(_agree(rule, *pair, form) for pair in pairs):
            return rule
    return None


def difference(piece: Piece) -> Float[np.ndarray, " inputs_and_one"]:
    """The second output less the first."""
    return piece.values[1] - piece.values[0]


def rounded(form: ClosedForm, digits: int = 3) -> ClosedForm:
    """With coefficients of as many significant digits, as `text` shows them."""

    def cut(rows):
        return np.stack([_cut(_unit(row), digits) for row in rows])

    pieces = []
    for piece in form.pieces:
        sides = cut(piece.sides) if len(piece.sides) else piece.sides
        values = piece.values
        if len(values) == 2:  # what matters is their difference
            values = np.stack([0 * values[0], _cut(_unit(difference(piece)), digits)])
        pieces.append(Piece(sides, values))
    return ClosedForm(tuple(pieces), form.low, form.high)


def text(
    form: ClosedForm, inputs: Sequence[str], actions: Sequence[str], digits: int = 3
) -> list[str]:
    """The policy of two actions in words, a line for every piece.

    Coefficients are scaled (largest 1) and rounded; `rounded` is the same as a form.

    Args:
        form: what to say.
        inputs: names of the inputs.
        actions: names of the two actions.
        digits: significant digits.
    """
    rule = one_rule(form)
    if rule is not None:
        return [f"{actions[1]} where {_says(rule, inputs, digits)}, else {actions[0]}"]
    lines = []
    for piece in form.pieces:
        where = " and ".join(_says(side, inputs, digits) for side in piece.sides)
        least, most = _range(difference(piece), piece.sides, form.low, form.high)
        if most <= 0 or least >= 0:
            then = actions[int(most > 0)]
        else:
            then = f"{actions[1]} where {_says(difference(piece), inputs, digits)}"
        lines.append(f"if {where}: {then}" if where else then)
    return lines


def _range(row, sides, low, high) -> tuple[float, float]:
    """Least and largest value of a @ x + b in a polytope."""
    if not row[:-1].any():
        return row[-1], row[-1]
    scale = np.abs(row[:-1]).max()
    given = sides / np.maximum(np.abs(sides).max(axis=1, keepdims=True), 1e-300)
    ends = []
    for sign in (1, -1):
        found = linprog(
            sign * row[:-1] / scale,
            A_ub=-given[:, :-1] if len(given) else None,
            b_ub=given[:, -1] if len(given) else None,
            bounds=np.stack([low, high], axis=1),
        )
        if found.status == 2:  # nothing is inside, but for rounding
            return 0.0, 0.0
        if found.status:
            raise ValueError(f"a linear program could not be solved: {found.message}")
        ends.append(sign * found.fun * scale + row[-1])
    tiny = _SLACK * scale
    least, most = (0.0 if abs(end) < tiny else float(end) for end in ends)
    return least, most


def _agree(rule, piece: Piece, own, form: ClosedForm) -> bool:
    """Whether a rule decides in a piece as the piece's own does."""

    def within(side):
        return np.vstack([piece.sides, side])

    _, most = _range(rule, within(-own), form.low, form.high)
    least, _ = _range(rule, within(own), form.low, form.high)
    return most <= 0 <= least


def _worst(piece: Piece, ones) -> np.ndarray:
    """How far inside the piece each point is (negative: outside)."""
    if not len(piece.sides):
        return np.full(len(ones), np.inf)
    return (ones @ np.stack([_unit(side) for side in piece.sides]).T).min(axis=1)


def _unit(row) -> np.ndarray:
    """Scaled so that the largest coefficient of an input is 1."""
    largest = np.abs(row[:-1]).max()
    return row / largest if largest else np.sign(row)


def _cut(row, digits: int) -> np.ndarray:
    return np.array([float(f"{value:.{digits}g}") for value in row])


def _says(row, inputs, digits: int) -> str:
    """a @ x + b > 0 in words."""
    row = _unit(row)
    parts: list[str] = []
    for value, name in zip(row[:-1], inputs, strict=True):
        if value:
            sign = "−" if value < 0 else "+" if parts else ""
            size = f"{abs(value):.{digits}g}"
            parts.append(f"{sign} {size} {name}" if parts else f"{sign}{size} {name}")
    threshold = f"{-row[-1] or 0.0:.{digits}g}".replace("-", "−")
    return f"{' '.join(parts) or '0'} > {threshold}"
