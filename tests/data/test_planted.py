"""Patches planted in images."""

import jax
import numpy as np
import pytest

from sparsejax import data
from sparsejax.data import _planted as planted


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_change_their_region_and_nothing_else(getkey, rng, channels):
    x = rng.uniform(0.3, 0.35, (200, 12, 9, channels)).astype("f4")
    split = data.Split(x, rng.integers(0, 10, 200).astype("i4"))
    found = data.plant(getkey(), split, share=0.25)
    assert (found.patch >= 0).sum() == 50
    changed = (found.x != x).any(-1)
    np.testing.assert_array_equal(changed, found.region)
    has = found.patch >= 0
    np.testing.assert_array_equal(found.region.any((1, 2)), has)
    np.testing.assert_array_equal(found.y[~has], split.y[~has])
    np.testing.assert_array_equal(
        found.y[has], np.array([0, 3, 5, 8])[found.patch[has]]
    )
    again = data.plant(jax.random.key(3), split, share=0.25)
    np.testing.assert_array_equal(again.x, data.plant(jax.random.key(3), split,
                                                      share=0.25).x)  # fmt: skip


def test_drawings_are_told_apart_and_small_images_refused(getkey):
    drawn = {planted.draw_patch(name)[0].tobytes() for name in planted.PATCHES}
    assert len(drawn) == 4
    split = data.Split(np.zeros((2, 5, 9, 1), "f4"), np.zeros(2, "i4"))
    with pytest.raises(ValueError, match="floating point values.*uint8"):
        data.plant(getkey(), data.Split(np.zeros((2, 8, 8, 1), "u1"), split.y))
    with pytest.raises(ValueError, match="no patch 'cat'; expected one of 'smile'"):
        data.draw_patch("cat")
    with pytest.raises(ValueError, match="6x6"):
        data.plant(getkey(), split)
