"""Lines below and above functions of one variable: chords, tangents, and by pieces."""

from collections.abc import Callable

import numpy as np
from scipy import special

from sparsejax.flowgraph import _evaluate, _ranges
from sparsejax.flowgraph._intervals import Interval
from sparsejax.flowgraph._structure import Structure

PIECES = 256
Line = tuple[np.ndarray, np.ndarray]  # slopes and constants, of many functions


def _sigmoid_slope(x):
    y = special.expit(x)
    return y * (1 - y)


# (function, derivative, where it turns from convex to concave)
SMOOTH: dict[str, tuple[Callable, Callable, float]] = {
    "exp": (np.exp, np.exp, np.inf),
    "exp2": (np.exp2, lambda x: np.log(2) * np.exp2(x), np.inf),
    "expm1": (np.expm1, np.exp, np.inf),
    "square": (np.square, lambda x: 2 * x, np.inf),
    "cosh": (np.cosh, np.sinh, np.inf),
    "rsqrt": (lambda x: x**-0.5, lambda x: -0.5 * x**-1.5, np.inf),
    "log": (np.log, lambda x: 1 / x, -np.inf),
    "log1p": (np.log1p, lambda x: 1 / (1 + x), -np.inf),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), -np.inf),
    "sigmoid": (special.expit, _sigmoid_slope, 0.0),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2, 0.0),
    "arctan": (np.arctan, lambda x: 1 / (1 + x**2), 0.0),
    "arcsinh": (np.arcsinh, lambda x: 1 / np.sqrt(1 + x**2), 0.0),
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2)), 0.0),
}


def smooth(op: str, x: Interval) -> tuple[list[Line], float]:
    """Chord and tangents of a function that is convex, then concave.

    Returns:
        Two lower and two upper lines, and the share of the second of two.
    """
    fn, slope, turn = SMOOTH[op]
    low, high = x
    below = _tangents(fn, slope, low, high, turn)

    def mirrored(x):  # -f(-x) is convex, then concave, too
        return -fn(-x)

    above = _tangents(mirrored, lambda x: slope(-x), -high, -low, -turn)
    return [*below, *((k, -c) for k, c in above)], 0.5


def _tangents(fn, slope, low, high, turn: float) -> list[Line]:
    """Two lower lines: tangents to the convex part, or the chord.

    A tangent at a point of the convex part is below the function everywhere if it is at
    `high`; and the further right the point, the higher it is there.
    """
    last = np.minimum(high, turn)
    first, top = np.minimum(low, last), fn(high)

    def fits(at):
        return fn(at) + slope(at) * (high - at) <= top

    convex = high <= turn
    good, bad = first, last
    for _ in range(40):
        middle = (good + bad) / 2
        fine = fits(middle)
        good, bad = np.where(fine, middle, good), np.where(fine, bad, middle)
    end = np.where(convex, last, good)
    chord = (top - fn(low)) / (high - low)
    straight = (low >= turn) | ~(convex | fits(first))
    lines = []
    for share in (np.where(convex, 0.25, 0.5), np.where(convex, 0.75, 1.0)):
        at = first + share * (end - first)
        k = np.where(straight, chord, slope(at))
        lines.append((k, np.where(straight, fn(low) - chord * low, fn(at) - k * at)))
    return lines


def pieces(
    graph: Structure, op: str, operands: list[Interval]
) -> tuple[list[Line], float]:
    """Lines of a few slopes, moved until they clear the intervals on all pieces.

    Args:
        graph: whose operation it is.
        op: its name.
        operands: ends of the one that varies, and of others, which are points.

    Returns:
        Two lower and two upper lines, and the share of the second of two.
    """
    (low, high), *rest = operands
    fixed = np.all([a == b for a, b in rest], axis=0) if rest else True
    low, high = (np.where(fixed & np.isfinite(high - low), end, np.nan)
                 for end in (low, high))  # fmt: skip
    edges = np.linspace(low, high, PIECES + 1, axis=-1)
    shape = edges[:, 1:].shape
    known = [
        (np.broadcast_to(a[:, None], shape), np.broadcast_to(b[:, None], shape))
        for a, b in rest
    ]
    cut = edges[:, :-1], edges[:, 1:]
    least, most = _ranges.apply(graph, op, [cut, *known], pieces=1)
    at = edges[:, [0, 1, -2, -1]]
    fn = _evaluate.numpy_function(graph, op)
    values = fn(at, *(np.broadcast_to(o[0][:, None], at.shape) for o in rest))
    ends = ((0, 3), (0, 1), (2, 3))
    slopes = [(values[:, j] - values[:, i]) / (at[:, j] - at[:, i]) for i, j in ends]
    lower, upper = [], []
    for k in slopes:
        ramp = np.sort([k[:, None] * cut[0], k[:, None] * cut[1]], axis=0)
        lower.append((k, (least - ramp[1]).min(axis=1)))
        upper.append((k, (most - ramp[0]).max(axis=1)))
    best = [*_best(lower, low + high, 1.0), *_best(upper, low + high, -1.0)]
    return best, 0.0


def _best(lines: list[Line], twice: np.ndarray, sign: float) -> list[Line]:
    """The two lines that are tightest in the middle."""
    middle = np.stack([sign * (k * twice / 2 + c) for k, c in lines])
    order = np.argsort(-np.where(np.isnan(middle), -np.inf, middle), axis=0)
    columns = np.arange(order.shape[1])
    ks, cs = (np.stack([line[i] for line in lines]) for i in (0, 1))
    return [(ks[order[i], columns], cs[order[i], columns]) for i in (0, 1)]
