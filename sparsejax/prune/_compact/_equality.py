"""Whether a smaller network computes what it should."""

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import checks


def results(fn, params, args: tuple, kwargs: dict):
    """The results of a function that runs just once."""
    leaves, structure = jax.tree.flatten((params, args, kwargs))
    arrays = [leaf for leaf in leaves if hasattr(leaf, "shape")]

    def call(arrays):
        rest = iter(arrays)
        full = [next(rest) if hasattr(leaf, "shape") else leaf for leaf in leaves]
        params, args, kwargs = jax.tree.unflatten(structure, full)
        return fn(params, *args, **kwargs)

    quickly = {"xla_backend_optimization_level": 0}
    return jax.jit(call).lower(arrays).compile(compiler_options=quickly)(arrays)


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


def own(fn, small, args, kwargs, expected) -> str:
    """Whether fn itself runs on the smaller parameters; "" if it does."""
    try:
        after = results(fn, small, args, kwargs)
        if jax.tree.structure(after) != jax.tree.structure(expected):
            return "returns another structure"
        gap = _gap(expected, after)
    except Exception as error:  # whatever fn raises for sizes that it knows better
        return f"raises {checks.first_line(error)}"
    return "" if gap is None else f"differs by {gap:.2g}"
