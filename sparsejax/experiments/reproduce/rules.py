"""The rules of Hobson's "how to blame the bias", asked on small random networks.

Formulas are tried as they are printed and as they must be; the library's rules are
asked for the rest. A truth for each of a few networks, pairs or formulas.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.relevance import Rules, explain

NUM_NETWORKS = 10
_TOLERANCE = 1e-4  # of float32 sums, relative to the sizes of what is summed
_WIDTHS = (6, 8, 7, 1)
_MATRIX = ("gradient", "normalized")
_NONLINEAR = ("gradient", "slope", "repeat", "ignore")
# Of the source's table: rules that scale by a constant in the same way.
CONSISTENT = (
    ("gradient", "gradient"), ("gradient", "slope"), ("gradient", "repeat"),
    ("normalized", "ignore"),
)  # fmt: skip


def measure(
    folder: Path | None = None, data_dir: str | Path | None = None
) -> list[dict[str, Any]]:
    """One row: the truths of every statement, by its name."""
    rng = np.random.default_rng(0)
    networks = [_Network(rng, bias=1.0) for _ in range(NUM_NETWORKS)]
    without = [_Network(rng, bias=0.0) for _ in range(NUM_NETWORKS)]
    pairs = [(m, n) for m in _MATRIX for n in _NONLINEAR]
    return [{
        "scaling": [_scales(*pair) for pair in CONSISTENT],
        "scaling_others": [_scales(*p) for p in pairs if p not in CONSISTENT],
        "conserves": [net.conserves(jnp.tanh) for net in without],
        "with_biases": [net.conserves(jax.nn.relu) for net in networks],
        "slope_is_gradient": [net.is_gradient(jax.nn.relu) for net in networks],
        "slope_is_gradient_tanh": [net.is_gradient(jnp.tanh) for net in networks],
        "radial_is_slope": [_radial_share(a, -0.7) > 0.999 for a in (0.4, -0.3)],
        "nesting": [
            _nesting_differs(a, c) for a, c in ((1.0, 0.5), (2.0, 1.5), (-1.0, -2.0))
        ],
        "two_maxima_differ": [_maxima_differ(rng) for _ in range(NUM_NETWORKS)],
        "unstable": [_blows_up(gap) for gap in (1e-4, 1e-5, 1e-6)],
        **_printed(rng),
        **mask_stream(),
    }]  # fmt: skip


def mask_stream() -> dict[str, int]:
    """What the source says of its masks at 0.75: NumPy's stream of seed 17."""
    stream = np.random.RandomState(17)
    kept = [stream.rand(1000, 20) < p for p in (0.25, 0.5, 0.75)][-1]
    only_14 = kept.sum(axis=1) == 19
    return {
        "distinct": len(np.unique(kept, axis=0)),
        "all_on": int(kept.all(axis=1).sum()),
        "only_14": int((only_14 & ~kept[:, 14]).sum()),
    }


class _Network:
    """A random network of three layers, and an input."""

    def __init__(self, rng: np.random.Generator, bias: float):
        ends = zip(_WIDTHS, _WIDTHS[1:], strict=False)
        self.params = {
            f"dense_{i}": {
                "kernel": jnp.asarray(rng.normal(size=size) / size[0] ** 0.5, "f4"),
                "bias": jnp.asarray(bias * rng.normal(size=size[1]), "f4"),
            }
            for i, size in enumerate(ends)
        }
        self.x = jnp.asarray(rng.normal(size=_WIDTHS[0]), "f4")

    def _fn(self, nonlinear):
        def fn(params, x):
            for i in range(len(_WIDTHS) - 1):
                layer = params[f"dense_{i}"]
                x = x @ layer["kernel"] + layer["bias"]
                x = nonlinear(x) if i < len(_WIDTHS) - 2 else x
            return x[0]

        return fn

    def conserves(self, nonlinear) -> bool:
        """Whether all relevance adds up to the output."""
        found = explain(self._fn(nonlinear), self.params, self.x, baseline="zero")
        return bool(abs(found.residual()) <= _TOLERANCE * found.magnitude())

    def is_gradient(self, nonlinear) -> bool:
        """Whether the relevance of inputs is gradient times input."""
        fn = self._fn(nonlinear)
        found = explain(fn, self.params, self.x, baseline="zero")
        slopes = jax.grad(fn, argnums=1)(self.params, self.x)
        return bool(np.allclose(found.input, slopes * self.x, rtol=1e-3, atol=1e-5))


def _scales(matrix: str, nonlinear: str) -> bool:
    """Whether b = alpha a passes alike as a matrix and as a function."""
    alpha, a, weight = -1.7, 0.6, 2.3

    def through(as_matrix: bool) -> float:
        def fn(params, x):
            if as_matrix:
                b = x @ params["alpha"]
            else:  # the same function, but not as a product
                b = jnp.where(x > 0, alpha * x, alpha * x)
            return (b @ params["weight"])[0]

        params = {"alpha": jnp.array([[alpha]]), "weight": jnp.array([[weight]])}
        rules = Rules(matrix=matrix, nonlinear=nonlinear)
        found = explain(fn, params, jnp.array([a]), baseline="zero", rules=rules)
        return float(found.input[0])

    return bool(np.isclose(through(True), through(False), rtol=1e-5))


def _radial_share(a: float, c: float, times: int = 1) -> float:
    """The share of max(a, c, ..., c) that the radial rule gives to a."""

    def fn(_, x):
        return jnp.max(x)

    x = jnp.array([a, *[c] * times], jnp.float32)
    found = explain(fn, {}, x, baseline="zero", rules=Rules(maximum="radial"))
    return float(found.input[0] / jnp.max(x))


def _nesting_differs(a: float, c: float) -> bool:
    return abs(_radial_share(a, c) - _radial_share(a, c, 2)) > 1e-3


def _maxima_differ(rng: np.random.Generator) -> bool:
    """Whether the limit of soft maxima and a + relu(b - a) share differently."""
    x, baseline = jnp.asarray(rng.normal(size=(2, 2)), "f4")
    soft = explain(lambda _, x: jnp.max(x), {}, x, baseline=baseline,
                   rules=Rules(maximum="cross"))  # fmt: skip
    relu = explain(lambda _, x: x[0] + jax.nn.relu(x[1] - x[0]), {}, x,
                   baseline=baseline)  # fmt: skip
    return not np.allclose(soft.input, relu.input, atol=1e-4)


def _blows_up(gap: float) -> bool:
    """Whether shares of a sum without its bias grow as the sum nears zero."""
    parts, total = np.array([0.5, -0.5 + gap]), 1.0 + gap  # a bias of 1
    normalized = parts / parts.sum() * total
    with_bias = parts / total * total
    return bool(np.abs(normalized).max() > 0.4 / gap and np.abs(with_bias).max() < 1)


def _printed(rng: np.random.Generator) -> dict[str, list[bool]]:
    """Formulas as printed and as corrected: whether each does what the text says."""
    a, r = 0.6, 2.3
    f = np.tanh(a)
    w, x = rng.normal(size=(4, 3)), rng.normal(size=4)
    b, above = x @ w, rng.normal(size=3)
    old, new = (0.2, np.tanh(0.2)), (0.9, np.tanh(0.9))

    def alike(*values):
        return bool(np.isclose(*values))

    values, eps = np.array([1.0, 2.0, 3.0]), 1e-3
    soft = values.max() + eps * np.log(np.exp((values - values.max()) / eps).sum())
    by_sums = x[:, None] * w / w.sum(axis=1, keepdims=True) * above
    by_outputs = x[:, None] * w / b * above
    return {
        # a Q(a) = f(a) Q(b) is what is conserved
        "slope_printed": [alike(a * (r / f), f * r)],
        "slope_corrected": [alike(a * (f / a * r), f * r)],
        "matrix_printed": [alike(by_sums.sum(), above.sum())],
        "matrix_corrected": [alike(by_outputs.sum(), above.sum())],
        "baseline_printed": [
            alike((new[1] - old[1]) / old[1], (old[1] - new[1]) / new[1])
        ],
        "baseline_corrected": [
            alike((new[1] - old[1]) / (new[0] - old[0]),
                  (old[1] - new[1]) / (old[0] - new[0]))
        ],
        # By its logarithm, since the number itself is beyond a float.
        "softmax_printed": [alike(values.sum() / eps, np.log(values.max()))],
        "softmax_corrected": [bool(abs(soft - values.max()) < eps)],
    }  # fmt: skip
