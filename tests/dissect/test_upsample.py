"""Interpolation against Pillow, JAX and the formula."""

import jax
import numpy as np
import pytest
from PIL import Image

from sparsejax import dissect


def by_formula(cells, size):
    """Between the four nearest centres, clamped to the outermost."""
    out = np.empty(size)
    for index in np.ndindex(*size):
        at = [
            np.clip((i + 0.5) * n / s - 0.5, 0, n - 1)
            for i, n, s in zip(index, cells.shape, size)
        ]
        low = [int(a) for a in at]
        high = [min(l + 1, n - 1) for l, n in zip(low, cells.shape)]
        u, v = (a - l for a, l in zip(at, low))
        out[index] = (
            (1 - u) * (1 - v) * cells[low[0], low[1]]
            + (1 - u) * v * cells[low[0], high[1]]
            + u * (1 - v) * cells[high[0], low[1]]
            + u * v * cells[high[0], high[1]]
        )
    return out


@pytest.mark.parametrize("size", [(7, 5), (14, 10), (112, 112), (9, 13), (8, 5)])
def test_formula(size, rng):
    maps = rng.normal(size=(7, 5, 3))
    wanted = np.stack([by_formula(m, size) for m in np.moveaxis(maps, -1, 0)], -1)
    np.testing.assert_allclose(dissect.upsample(maps, size), wanted, atol=1e-14)


@pytest.mark.parametrize("cells", [(1, 1), (7, 7), (7, 4), (56, 56), (13, 64)])
@pytest.mark.parametrize("size", [(112, 112), (28, 28), (30, 17)])
@pytest.mark.defaults
def test_pillow_and_jax_agree_whether_it_grows_or_shrinks(cells, size, rng):
    maps = rng.normal(size=(*cells, 2)).astype(np.float32)
    found = dissect.upsample(maps, size)
    assert found.dtype == np.float32 and found.shape == (*size, 2)
    for unit in range(2):
        image = Image.fromarray(maps[..., unit])
        wanted = image.resize(size[::-1], Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[..., unit], np.asarray(wanted), atol=2e-6)
    wanted = jax.image.resize(maps, (*size, 2), "bilinear")
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("factor", "counts"),
    [(8, (104, 40, 12)), (16, (408, 164, 40)), (32, (1656, 628, 144))],
)
def test_one_hot_cell(factor, counts):
    # Of a cell of 1 among zeros, the pixels with (1 - |u|) (1 - |v|) above a level,
    # which other ideas of where cells lie would change.
    maps = np.zeros((5, 5, 1), np.float32)
    maps[2, 2] = 1
    found = dissect.upsample(maps, (5 * factor, 5 * factor))
    assert tuple((found > level).sum() for level in (0.25, 0.5, 0.75)) == counts
    side = np.abs((np.arange(2 * factor) + 0.5) / factor - 1)
    tent = (1 - side[:, None]) * (1 - side)
    assert tuple((tent > level).sum() for level in (0.25, 0.5, 0.75)) == counts
