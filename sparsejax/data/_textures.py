"""Digits on striped textures that give the label away: the wolf on the snow.

A network that reads the stripes is right for the wrong reasons, and wrong as soon as
they change. The region says where the digit is, so that training on relevance can ask
for the right ones.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32

from sparsejax import checks
from sparsejax.data._digits import digits

_SIDE, _BOX = 16, 8  # pixels of an image and of a digit
_PERIODS = (3.0, 5.0)  # of the stripes, pixels; five directions each


class Textured(NamedTuple):
    """Labelled images of a digit on a texture, NumPy arrays.

    Attributes:
        x: images, float32 `(n, 16, 16, 1)` in [0, 1].
        y: the digits.
        region: true in the box of 8x8 pixels that the digit fills, which hides the
            texture there.
        texture: number of the texture around it.
    """

    x: Float32[np.ndarray, "n 16 16 1"]
    y: Int32[np.ndarray, " n"]
    region: Bool[np.ndarray, "n 16 16 1"]
    texture: Int32[np.ndarray, " n"]


class Textures(NamedTuple):
    """Sets to train on and to test on.

    Attributes:
        train: every digit on the texture of its label, 1,437 images.
        shuffled: the same digits in the same places, textures permuted among them: what
            a network learns here, it learns from the digits.
        same: new digits, textures as in `train`, 360 images.
        swapped: those digits in the same places, each on a texture of another label.
    """

    train: Textured
    shuffled: Textured
    same: Textured
    swapped: Textured


def textures(key: Any, *, jitter: int = 0, contrast: float = 1.0) -> Textures:
    """scikit-learn's digits, 8x8, in the middle of striped textures, 16x16.

    The texture of label k is (1 + contrast cos(2 pi u / period)) / 2, u being the place
    along one of five directions and the period one of two; no phase, no noise.

    Args:
        key: random key, of the places and of the textures that are not the label's.
        jitter: digits are moved by up to so many pixels, down and across, 0 to 4.
        contrast: of the textures, in [0, 1].

    Raises:
        ValueError: for what is no key, and a jitter or a contrast out of these bounds.

    Example:
        >>> found = textures(jax.random.key(0))
        >>> found.train.x.shape, found.same.texture[:3] - found.same.y[:3]
        ((1437, 16, 16, 1), array([0, 0, 0], dtype=int32))
        >>> bool((found.swapped.texture == found.swapped.y).any())
        False
    """
    checks.one_key(key)
    most = (_SIDE - _BOX) // 2
    if not 0 <= jitter <= most:
        raise ValueError(f"jitter is {jitter}; expected 0 to {most} pixels")
    if not 0 <= contrast <= 1:
        raise ValueError(f"contrast is {contrast}; expected a number in [0, 1]")
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    patterns = stripes(contrast)
    train, test = digits()

    def corners(n):
        return most + rng.integers(-jitter, jitter + 1, (n, 2))

    here, there = corners(len(train.y)), corners(len(test.y))
    other = (test.y + rng.integers(1, 10, len(test.y))) % 10

    def draw(split, corner, texture):
        return _draw(split, corner, texture, patterns)

    return Textures(
        draw(train, here, train.y),
        draw(train, here, rng.permutation(train.y)),
        draw(test, there, test.y),
        draw(test, there, other),
    )


def stripes(contrast: float = 1.0) -> Float32[np.ndarray, "10 16 16"]:
    """The ten textures, by label."""
    angles = np.pi * np.arange(10)[:, None, None] / 5
    periods = np.repeat(_PERIODS, 5)[:, None, None]
    down, across = np.mgrid[:_SIDE, :_SIDE]
    waves = np.cos(
        2 * np.pi * (across * np.cos(angles) + down * np.sin(angles)) / periods
    )
    return (0.5 + 0.5 * contrast * waves).astype(np.float32)


def _draw(split, corner, texture, patterns) -> Textured:
    x = patterns[texture][..., None]
    down, across = (corner[:, i, None, None] + np.arange(_BOX) for i in range(2))
    which, down = np.arange(len(x))[:, None, None], down.swapaxes(1, 2)
    region = np.zeros(x.shape, bool)
    x[which, down, across] = split.x
    region[which, down, across] = True
    return Textured(x, split.y, region, texture.astype(np.int32))
