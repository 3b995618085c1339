"""Whether a smaller network computes what it should."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import checks, interpret


def results(calls: Sequence[tuple], args: tuple, kwargs: dict) -> list:
    """The results of several functions, each with its parameters, of the same inputs.

    They run just once, so that one program is compiled, quickly.
    """
    leaves, structure = jax.tree.flatten(([p for _, p in calls], args, kwargs))
    arrays = [leaf for leaf in leaves if hasattr(leaf, "shape")]

    def call(arrays):
        rest = iter(arrays)
        full = [next(rest) if hasattr(leaf, "shape") else leaf for leaf in leaves]
        params, args, kwargs = jax.tree.unflatten(structure, full)
        pairs = zip(calls, params, strict=True)
        return [fn(own, *args, **kwargs) for (fn, _), own in pairs]

    quickly: dict[str, Any] = {"xla_backend_optimization_level": 0}
    return interpret.Compiled(call, compiler_options=quickly)(arrays)


def problem(fn, small, args, kwargs) -> str:
    """What fn raises on the smaller parameters; "" if nothing."""
    leaves, structure = jax.tree.flatten((small, args, kwargs))

    def call():
        params, args, kwargs = jax.tree.unflatten(structure, leaves)
        return fn(params, *args, **kwargs)

    try:
        jax.eval_shape(call)
    except Exception as error:  # whatever fn raises for sizes that it knows better
        return f"raises {checks.first_line(error)}"
    return ""


def compare(expected, results) -> None:
    """Refuse results that differ by more than rounding."""
    if (gap := _gap(expected, results)) is not None:
        raise ValueError(
            f"the smaller network differs from the masked one by {gap:.2g}: fn does "
            "something that compact does not follow, or its results are not finite. "
            "Please report it, with fn"
        )


def _gap(expected, results) -> float | None:
    """The largest difference, if it is more than rounding."""
    worst = 0.0
    pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(results), strict=True)
    for a, b in pairs:
        if jnp.issubdtype(jnp.result_type(a), jax.dtypes.prng_key):
            continue
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape:
            return float("inf")
        real = jnp.issubdtype(a.dtype, jnp.floating)
        bound = min(1000 * float(jnp.finfo(a.dtype).eps), 0.05) if real else 0
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = a[np.isfinite(a)]
        scale = max(1.0, float(np.abs(finite).max(initial=0)))
        close = np.isclose(a, b, rtol=bound, atol=bound * scale, equal_nan=True)
        if not close.all():
            worst = max(worst, float(np.abs(a - b)[~close].max()), 1e-30)
    return worst or None


def difference(expected, own) -> str:
    """How much the results of fn itself differ; "" if not."""
    if jax.tree.structure(own) != jax.tree.structure(expected):
        return "returns another structure"
    gap = _gap(expected, own)
    return "" if gap is None else f"differs by {gap:.2g}"
