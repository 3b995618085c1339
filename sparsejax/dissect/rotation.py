"""Random rotations of units: are the axes interpretable, or the space as a whole?"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float64, Key


def rotation(
    key: Key[Array, ""], units: int, power: float | int = 1
) -> Float64[np.ndarray, "units units"]:
    """A rotation drawn evenly from all there are, or a part of the way to it.

    The rotation Q is a product of turns by angles in planes; Q^power turns by `power`
    of every angle (-pi to pi), so that 0 is the identity, 1 is Q, and the powers of one
    key are the points of one path. Takes some units^3 operations: a minute for 2048.

    Args:
        key: a key; the same for a whole path.
        units: how many.
        power: how far to go.

    Returns:
        An orthogonal matrix of determinant 1.

    Example:
        >>> rotation(jax.random.key(0), 2, 0).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference: Bau et al., "Network Dissection: Quantifying Interpretability of Deep
    Visual Representations", 2017 (arXiv 1704.05796), section 3.2.
    """
    if units < 1 or not np.isfinite(power):
        raise ValueError(f"no rotation of {units} units to the power {power}")
    normal = jax.random.normal(key, (units, units), jnp.float32)
    q, r = np.linalg.qr(np.asarray(normal, np.float64))
    q = q * np.sign(np.diag(r))  # else not evenly drawn
    q[:, 0] *= np.sign(np.linalg.det(q))
    if power in (0, 1):
        return q if power else np.eye(units)
    # The Schur form of a matrix that is orthogonal is diagonal.
    turns, basis = scipy.linalg.schur(q, output="complex")[:2]
    angles = np.angle(np.diag(turns))
    return ((basis * np.exp(1j * power * angles)) @ basis.conj().T).real
