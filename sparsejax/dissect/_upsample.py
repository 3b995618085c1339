"""Maps of activations, brought to the size of label maps."""

import functools

import numpy as np
from jaxtyping import Float


def upsample(
    maps: Float[np.ndarray, "height width units"], size: tuple[int, int]
) -> Float[np.ndarray, "rows columns units"]:
    """Bilinear interpolation between the centres of cells; constant beyond the outer.

    What Pillow's BILINEAR, PyTorch without aligned corners and `jax.image.resize` do.
    Where a map has more cells than pixels, it is averaged over a wider triangle, as
    Pillow and JAX do.

    Args:
        maps: the last axis are units.
        size: rows and columns.

    Example:
        >>> upsample(np.array([[[0.0], [4.0]]]), (1, 4)).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    rows, columns = (_weights(*ends) for ends in zip(maps.shape, size))
    rows, columns = rows.astype(maps.dtype), columns.astype(maps.dtype)
    return np.matmul(columns, np.tensordot(rows, maps, 1))


@functools.lru_cache(64)
def _weights(cells: int, pixels: int) -> Float[np.ndarray, "pixels cells"]:
    """Row j has the share of each cell in pixel j: never negative, sum one."""
    scale = cells / pixels
    centers = (np.arange(pixels) + 0.5) * scale
    distance = np.abs(centers[:, None] - (np.arange(cells) + 0.5))
    shares = np.maximum(0, 1 - distance / max(scale, 1))
    return shares / shares.sum(1, keepdims=True)
