"""Scenes with labels of objects, parts, scenes, materials, textures and colours.

Made to dissect networks on, and to train those to dissect: what is in an image is known
to the pixel. One or two objects stand before a background. An object's shape, part,
surface, colour and place, and the scene, are drawn independently of each other, so that
none gives another away; four in ten objects are grey, no hue is ever the same twice.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int

from sparsejax import checks
from sparsejax.data import _scene_drawing as drawing
from sparsejax.data._labels import Labeled, Labels

_CHUNK = 64  # images drawn together: more leave the cache
_PART, _FINISH, _HUE = 0.7, 0.4, 0.6  # shares of objects that have one
_RADIUS = (0.18, 0.23)  # of objects, in sides of the image
_PER_OBJECT, _PER_IMAGE = 16, 24  # numbers drawn

_VOCABULARY = {
    "object": tuple(drawing.OBJECTS),
    "part": tuple(drawing.PARTS),
    "scene": tuple(drawing.SCENES),
    "material": tuple(drawing.MATERIALS),
    "texture": tuple(drawing.TEXTURES),
    "color": tuple(drawing.COLORS),
}
_LAYERS = ("object", "part", "material", "texture", "color")
_NUMBERS = {  # of labels
    name: number
    for number, name in enumerate(sum(_VOCABULARY.values(), ()), 1)
}  # fmt: skip
_KINDS = np.repeat(np.arange(len(_VOCABULARY)), [*map(len, _VOCABULARY.values())])
_HUES = [name for name in drawing.COLORS if name != "grey"]
_TASK = np.array([0, *(_KINDS != [*_VOCABULARY].index("color"))]).nonzero()[0]


class Scenes(NamedTuple):
    """Scenes, their labels, and what to train a network for.

    Attributes:
        labeled: images `(n, size, size, 3)` of 8 bits, label maps of half their size
            `(n, 5, size / 2, size / 2)`, a layer for each category but scenes, and the
            scene of every image `(n, 1)`.
        labels: the table.
        targets: 1 where a label is in an image, else 0, shape (n, outputs). Not of
            colours, which are to be looked through.
        outputs: the number of each target's label.
    """

    labeled: Labeled
    labels: Labels
    targets: Float32[np.ndarray, "n outputs"]
    outputs: Int[np.ndarray, " outputs"]


def scenes(key: Any, n: int, *, size: int = 56, first: int = 0) -> Scenes:
    """Draw scenes number `first`, `first + 1`, ... of a key.

    An image depends on the key and its own number alone, so that sets for training,
    testing and dissection are parts of one row of numbers, and any can be drawn again.

    A network trained on `targets` has an output for each; an image counts as right if
    all of them are on their side of zero: all objects, parts, materials and textures
    that are there, none that are not, and the scene.

    Args:
        key: random key.
        n: number of images.
        size: their height and width, a multiple of 4.
        first: number of the first.

    Raises:
        ValueError: for what is no key, a size that is none, and numbers below 0.

    Example:
        >>> found = scenes(jax.random.key(0), 3, size=32)
        >>> found.labeled.images.shape, found.labeled.pixels.shape
        ((3, 32, 32, 3), (3, 5, 16, 16))
        >>> later = scenes(jax.random.key(0), 1, size=32, first=2)
        >>> bool((later.labeled.images[0] == found.labeled.images[2]).all())
        True
    """
    checks.one_key(key)
    if size < 16 or size % 4 or n < 0 or first < 0:
        raise ValueError(
            "size must be 16, 20, 24, ... and n and first 0 or more, got "
            f"{size}, {n}, {first}"
        )
    words = np.asarray(jax.random.key_data(key)).tolist()
    images = np.empty((n, size, size, 3), np.float32)
    pixels = np.zeros((n, len(_LAYERS), size // 2, size // 2), np.int32)
    whole = np.zeros((n, 1), np.int32)
    for start in range(0, n, _CHUNK):
        here = slice(start, min(start + _CHUNK, n))
        numbers = range(first + here.start, first + here.stop)
        images[here], pixels[here], whole[here] = _draw(words, numbers, size)
    labeled = Labeled(images, pixels, whole)
    return Scenes(labeled, _labels(), _targets(labeled), _TASK.copy())


def _labels() -> Labels:
    return Labels(("", *_NUMBERS), tuple(_VOCABULARY), np.array([-1, *_KINDS]))


def _targets(labeled: Labeled) -> Float32[np.ndarray, "n outputs"]:
    found = np.zeros((len(labeled.whole), len(_NUMBERS) + 1), np.float32)
    rows = np.arange(len(found))[:, None]
    found[rows, labeled.pixels.reshape(len(found), -1)] = 1
    found[rows, labeled.whole] = 1
    return found[:, _TASK]


class _Objects(NamedTuple):
    """Objects in a row, those of all images; n numbers of each kind.

    Attributes:
        shape, part, finish, color: labels, 0 for none.
        paint: what the color is here, shape (n, 3).
        radius: in sides of the image.
        down, across: where it is, -1 to 1 in what its quarter leaves free.
        tilt, slant: angles of the object, and of its texture to it.
        period: of the texture, 0 to 1 from fine to coarse.
    """

    shape: np.ndarray
    part: np.ndarray
    finish: np.ndarray
    color: np.ndarray
    paint: np.ndarray
    radius: np.ndarray
    down: np.ndarray
    across: np.ndarray
    tilt: np.ndarray
    slant: np.ndarray
    period: np.ndarray


def _draw(words: list[int], numbers: range, size: int):
    """Images, label maps and scenes."""
    count = _PER_IMAGE + 4 * _PER_OBJECT
    # The numbers of an image come before its noise: they are the same at every size.
    streams = [np.random.default_rng([*words, i]) for i in numbers]
    drawn = np.stack([stream.random(count, np.float32) for stream in streams])
    noise = [s.standard_normal((size, size, 1), np.float32) for s in streams]
    columns = iter(drawn[:, :_PER_IMAGE].T)
    images, scene = _backgrounds(columns, size)
    # One or two of an image's quarters have an object.
    counts = 1 + (next(columns) < 0.5)
    ranks = np.stack([next(columns) for _ in range(4)], 1).argsort(1)
    image, quarter = (ranks < counts[:, None]).nonzero()
    objects = _objects(
        drawn[:, _PER_IMAGE:].reshape(-1, 4, _PER_OBJECT)[image, quarter]
    )
    pixels = np.zeros((len(numbers), len(_LAYERS), size // 2, size // 2), np.int32)
    _put(objects, (image, quarter // 2, quarter % 2), images, pixels)
    y, x = _places(size)
    angle, strength = (next(columns)[:, None, None] for _ in range(2))
    across, _ = _turned(x - 0.5, y - 0.5, 2 * np.pi * angle)
    images *= (1 + 0.5 * strength * across)[..., None]
    images += 0.02 * np.stack(noise)
    eight_bits = np.round(np.clip(images, 0, 1) * 255) / np.float32(255)
    return eight_bits, pixels, scene[:, None]


def _backgrounds(columns: Iterator[np.ndarray], size: int):
    """Images of scenes, and the labels of these."""
    scene = _pick(next(columns), drawing.SCENES)
    hue, saturation, value, contrast = (next(columns) for _ in range(4))
    form = [next(columns)[:, None, None] for _ in range(6)]
    y, x = _places(size)
    light = np.empty((len(scene), size, size), np.float32)
    for of, draw in _each(scene, drawing.SCENES):
        places = (np.broadcast_to(t, light[of].shape) for t in (x, y))
        light[of] = draw(*places, [p[of] for p in form])
    light *= (0.1 + 0.12 * contrast)[:, None, None]
    tint = drawing.rgb(hue, 0.25 * saturation, 0.4 + 0.2 * value)
    return tint[:, None, None] + light[..., None], scene


def _objects(drawn: np.ndarray) -> _Objects:
    columns = iter(drawn.T)

    def take():
        return next(columns)

    color = _pick(take(), _HUES, _HUE)
    color = np.where(color > 0, color, _NUMBERS["grey"])
    return _Objects(
        shape=_pick(take(), drawing.OBJECTS),
        part=_pick(take(), drawing.PARTS, _PART),
        finish=_pick(take(), [*drawing.MATERIALS, *drawing.TEXTURES], _FINISH),
        color=color,
        paint=_paint(color, take(), take(), take()),
        radius=_RADIUS[0] + (_RADIUS[1] - _RADIUS[0]) * take(),
        down=2 * take() - 1,
        across=2 * take() - 1,
        tilt=0.7 * take() - 0.35,
        slant=np.pi * take(),
        period=take(),
    )


def _paint(color, a, b, c) -> Float32[np.ndarray, "n 3"]:
    """A colour of that name for three numbers; greys are light or dark."""
    hue, width = np.array(list(drawing.COLORS.values()), np.float32)[
        color - _NUMBERS["red"]
    ].T
    gray = np.where(c < 0.5, 0.1 + 0.3 * c, 0.72 + 0.28 * c)
    gray = drawing.rgb(a, 0.06 * b, gray)
    hued = drawing.rgb(hue + width * (2 * a - 1), 0.6 + 0.35 * b, 0.6 + 0.38 * c)
    return np.where((color == _NUMBERS["grey"])[:, None], gray, hued)


def _put(objects: _Objects, at, images: np.ndarray, pixels: np.ndarray) -> None:
    """Paint objects into images and label maps, each in its quarter of its image.

    `at` is the number of the image, and which half of it, down and across.
    """
    size = images.shape[1]
    half = size // 2

    def column(values):
        return values[:, None, None]

    radius = column(size * objects.radius)

    def middle(t):
        return half / 2 + (half / 2 - radius - 0.5) * column(t)

    y, x = (half * t for t in _places(half))
    x, y = x - middle(objects.across), y - middle(objects.down)
    x, y = (t / radius for t in _turned(x, y, column(objects.tilt)))
    outside = np.empty(x.shape, np.float32)
    for of, outline in _each(objects.shape, drawing.OBJECTS):
        outside[of] = outline(x[of], y[of])
    covered = drawing.cover(outside * radius)
    within = np.zeros_like(covered)
    for of, outline in _each(objects.part, drawing.PARTS):
        apart = outline(x[of], y[of], outside[of])
        within[of] = drawing.cover(apart * radius[of])

    quarters = images.reshape(-1, 2, half, 2, half, 3).swapaxes(2, 3)
    behind = quarters[at]
    surface = _surface(objects, x, y, outside, behind, size)
    contrast = np.where(objects.paint.mean(1) > 0.45, 0.06, 0.96)[:, None, None, None]
    surface += within[..., None] * (contrast - surface)
    quarters[at] += covered[..., None] * (surface - behind)

    here, there = _halved(covered), _halved(covered * within)
    material = objects.finish < _NUMBERS["striped"]
    maps = {
        "object": (objects.shape, here),
        "part": (objects.part, there),
        "material": (objects.finish * material, here & ~there),
        "texture": (objects.finish * ~material, here & ~there),
        "color": (objects.color, here & ~there),
    }
    quarters = pixels.reshape(-1, len(_LAYERS), 2, half // 2, 2, half // 2)
    quarters = quarters.transpose(1, 0, 2, 4, 3, 5)
    for layer, name in zip(quarters, _LAYERS, strict=True):
        labels, where = maps[name]
        layer[at] = column(labels) * where


def _surface(objects: _Objects, x, y, outside, behind, size: int):
    """What objects look like without parts; lengths in radii, `behind` is hidden."""
    radius = size * objects.radius[:, None, None]
    paint = objects.paint[:, None, None]
    surface = np.broadcast_to(paint, behind.shape).copy()
    light = paint.mean(-1, keepdims=True) > 0.3
    other = np.where(light, 0.3 * paint, np.float32(0.6))
    # Stripes finer than three pixels would not be seen.
    period = max(0.085 * size, 3.0) * (1 + 0.25 * objects.period[:, None, None])
    slanted = _turned(x * radius, y * radius, objects.slant[:, None, None])
    for of, texture in _each(objects.finish, drawing.TEXTURES):
        share = texture(*(t[of] for t in slanted), period[of])
        surface[of] += share[..., None] * (other[of] - surface[of])
    for of, material in _each(objects.finish, drawing.MATERIALS):
        surface[of] = material(surface[of], behind[of], x[of], y[of], outside[of])
    return surface


def _pick(drawn: np.ndarray, names: Collection[str], share: float = 1.0) -> np.ndarray:
    """For numbers in [0, 1) labels, equally often; a share of them, the rest is 0."""
    numbers = np.array([*(_NUMBERS[name] for name in names), 0])
    which = drawn.astype(np.float64) / share * len(names)
    return numbers[np.minimum(which.astype(int), len(names))]


def _each(labels: np.ndarray, drawings: Mapping[str, Any]) -> Iterator[tuple]:
    """Where a label is, and how it is drawn."""
    for name, draw in drawings.items():
        yield labels == _NUMBERS[name], draw


def _places(size: int) -> tuple[np.ndarray, np.ndarray]:
    """y and x of the centres of pixels, in sides of the image."""
    t = (np.arange(size, dtype=np.float32) + 0.5) / size
    return t[None, :, None], t[None, None, :]


def _turned(x, y, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def _halved(covered: np.ndarray) -> np.ndarray:
    """Where at least half of a square of four pixels is covered."""
    n, rows, columns = covered.shape
    squares = covered.reshape(n, rows // 2, 2, columns // 2, 2)
    return squares.mean((2, 4)) >= 0.5
