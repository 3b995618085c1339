"""Random rotations of units: are the axes interpretable, or the space as a whole?"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Float64

from sparsejax import checks


def rotation(
    key: Any,
    units: int,
    power: float | int | Iterable = 1,
) -> Float64[np.ndarray, "... units units"]:
    """A rotation drawn evenly from all there are, or points on the way to it.

    The rotation Q is a product of turns by angles in planes; Q^power turns by `power`
    of every angle (-pi to pi), so that 0 is the identity and 1 is Q. Takes some units^3
    operations.

    Args:
        key: a key.
        units: how many.
        power: how far to go, a number or several.

    Returns:
        Orthogonal matrices of determinant 1, one for each power.

    Raises:
        ValueError: for what is no key, no units and a power that is not finite.

    Example:
        >>> path = rotation(jax.random.key(0), 2, [0, 0.5, 1])
        >>> path.shape, path[0].round(6).tolist()
        ((3, 2, 2), [[1.0, 0.0], [0.0, 1.0]])

    Reference: Bau et al., "Network Dissection: Quantifying Interpretability of Deep
    Visual Representations", 2017 (arXiv 1704.05796), section 3.2.
    """
    checks.one_key(key)
    power = np.asarray(list(power) if isinstance(power, Iterator) else power, "f8")
    if units < 1 or not np.isfinite(power).all():
        raise ValueError(f"no rotation of {units} units to the power {power}")
    normal = jax.random.normal(key, (units, units), jnp.float32)
    q, r = np.linalg.qr(np.asarray(normal, np.float64))
    q = q * np.sign(np.diag(r))  # else not evenly drawn
    q[:, 0] *= np.sign(np.linalg.det(q))
    if (power == 1).all():
        return np.broadcast_to(q, (*power.shape, units, units))
    # The Schur form of a matrix that is orthogonal is diagonal.
    turns, basis = scipy.linalg.schur(q, output="complex")[:2]
    angles = np.angle(np.diag(turns))
    turned = np.exp(1j * power[..., None, None] * angles)
    return ((basis * turned) @ basis.conj().T).real
