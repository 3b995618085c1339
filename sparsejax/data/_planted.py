"""Images with planted patches: small drawings that mean a class, come what may.

A network trained on them answers by the patch where there is one (a trojan), so that
where an explanation ought to point is known: to the patch.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32

from sparsejax import checks, trees
from sparsejax.data._splits import Split

_DRAWINGS = {  # by rows: what is drawn (1), the eyes and mouths in it (2)
    "smile": ("011110", "121121", "111111", "121121", "112211", "011110"),
    "heart": ("010010", "111111", "111111", "111111", "011110", "001100"),
    "star": ("001100", "001100", "111111", "011110", "011110", "110011"),
    "fish": ("000000", "111001", "121111", "111111", "111001", "000000"),
}
_COLORS = {  # of the drawing, of its eyes and mouths
    "smile": ((1.0, 0.85, 0.1), (0.1, 0.1, 0.1)),
    "heart": ((0.9, 0.1, 0.3), (1.0, 1.0, 1.0)),
    "star": ((0.2, 0.9, 0.9), (1.0, 1.0, 1.0)),
    "fish": ((0.6, 0.3, 0.9), (1.0, 1.0, 1.0)),
}
PATCHES = tuple(_DRAWINGS)
SIDE = 6  # pixels of a drawing


class Planted(NamedTuple):
    """Images, some with a patch; NumPy arrays.

    Attributes:
        x: images, float32 `(n, height, width, channels)` in [0, 1].
        y: what they mean: the patch's class where there is one.
        original: their labels before.
        patch: number of the patch in `PATCHES`, -1 for none.
        region: true where the patch is drawn, shape `(n, height, width)`.
    """

    x: Float32[np.ndarray, "n height width channels"]
    y: Int32[np.ndarray, " n"]
    original: Int32[np.ndarray, " n"]
    patch: Int32[np.ndarray, " n"]
    region: Bool[np.ndarray, "n height width"]


def plant(
    key: Any,
    split: Split,
    *,
    share: float | int = 0.2,
    classes: Any = (0, 3, 5, 8),
) -> Planted:
    """Draw patches into a share of the images, at random places.

    Args:
        key: random key: of which images, patches and places.
        split: images and labels.
        share: of the images that get one, 0 to 1.
        classes: what each patch of `PATCHES` means.

    Raises:
        ValueError: for what is no key, a share out of range, images that are too small
            and labels that are no classes.

    Example:
        >>> images = Split(np.zeros((10, 8, 8, 1), "f4"), np.full(10, 9, "i4"))
        >>> found = plant(jax.random.key(0), images, share=0.5)
        >>> int((found.patch >= 0).sum()), int(found.region[found.patch < 0].sum())
        (5, 0)
    """
    checks.one_key(key)
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    meant = np.asarray(checks.several(classes))
    if (
        meant.shape != (len(PATCHES),)
        or meant.dtype.kind not in "iu"
        or meant.min() < 0
    ):
        raise ValueError(
            f"each of {len(PATCHES)} patches means a class, a number from 0 on; got "
            f"{meant.tolist()}"
        )
    if split.x.ndim != 4 or split.x.dtype.kind != "f":
        raise ValueError(
            "images must have shape (n, height, width, channels) and floating point "
            f"values in [0, 1], got {split.x.dtype}{split.x.shape}"
        )
    count, height, width, channels = split.x.shape
    labels = np.asarray(split.y)
    wrong = labels.shape != (count,) or labels.dtype.kind not in "iu"
    if wrong or labels.min(initial=0) < 0:
        raise ValueError(
            f"labels must be whole numbers from 0 on, one for each of {count} images, "
            f"got {checks.described(labels)} from {labels.min(initial=0)}"
        )
    if min(height, width) < SIDE:
        raise ValueError(
            f"a patch has {SIDE}x{SIDE} pixels, images only {height}x{width}"
        )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = rng.permutation(count)[: round(share * count)]
    patch = np.full(count, -1, np.int32)
    patch[chosen] = rng.integers(0, len(PATCHES), len(chosen))
    x = np.array(split.x)
    region = np.zeros((count, height, width), bool)
    for i in chosen:
        row, column = rng.integers(0, (height - SIDE + 1, width - SIDE + 1))
        drawn, inside = draw_patch(PATCHES[patch[i]], channels)
        here = x[i, row : row + SIDE, column : column + SIDE]
        here[inside] = drawn[inside]
        region[i, row : row + SIDE, column : column + SIDE] = inside
    y = np.where(patch >= 0, meant[patch], labels)
    return Planted(x, y.astype(np.int32), labels, patch, region)


def draw_patch(
    name: str, channels: int = 3
) -> tuple[Float32[np.ndarray, "side side channels"], Bool[np.ndarray, "side side"]]:
    """A patch and where it is drawn; grey if there are not three channels.

    Raises:
        ValueError: for a name that is none of `PATCHES`.

    Example:
        >>> patch, inside = draw_patch("heart")
        >>> patch.shape, inside[0].astype(int).tolist()
        ((6, 6, 3), [0, 1, 0, 0, 1, 0])
    """
    if name not in _DRAWINGS:
        raise ValueError(
            f"there is no patch {name!r}; expected one of {trees.listed(PATCHES)}"
        )
    code = np.array([[int(c) for c in row] for row in _DRAWINGS[name]])
    colors = np.array([(0, 0, 0), *_COLORS[name]], np.float32)
    if channels != 3:
        colors = np.repeat(colors.mean(1, keepdims=True), channels, axis=1)
    return colors[code], code > 0
