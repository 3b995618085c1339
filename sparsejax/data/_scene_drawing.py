"""How scenes are drawn: shapes, what their surfaces are like, parts, backgrounds.

Everything is a function of coordinates, for many drawings at once. A length of 1 is the
radius of an object, or the side of a background; x goes right and y down.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Grid = Float[np.ndarray, "n rows columns"]
Column = Float[np.ndarray, "n 1 1"]

_NARROW = np.pi / 5  # half the angle from one point of a star to the next


def _star(x: Grid, y: Grid) -> Grid:
    """Between two points all is alike: distance to the line from tip to dent."""
    angle = np.arctan2(x, -y)
    folded = np.abs((angle + _NARROW) % (2 * _NARROW) - _NARROW)
    away, across = np.hypot(x, y) * np.cos(folded), np.hypot(x, y) * np.sin(folded)
    dent = 0.45 * np.cos(_NARROW) - 1, 0.45 * np.sin(_NARROW)
    return ((away - 1) * dent[1] - across * dent[0]) / np.hypot(*dent)


# How far a place is outside of an outline, negative inside.
OBJECTS: dict[str, Callable[[Grid, Grid], Grid]] = {
    "disc": lambda x, y: np.hypot(x, y) - 0.9,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.76,
    "triangle": lambda x, y: np.maximum(y, 0.866 * np.abs(x) - 0.5 * y) - 0.5,
    "cross": lambda x, y: np.minimum(
        np.maximum(np.abs(x) - 0.34, np.abs(y) - 0.95),
        np.maximum(np.abs(y) - 0.34, np.abs(x) - 0.95),
    ),
    "star": _star,
    "heart": lambda x, y: np.minimum(
        (np.abs(x) + np.abs(y - 0.1) - 0.78) / np.sqrt(2),
        np.hypot(np.abs(x) - 0.39, y + 0.29) - 0.5515,
    ),
}
# Likewise of parts, from the place and how far it is outside of the object.
PARTS: dict[str, Callable[[Grid, Grid, Grid], Grid]] = {
    "core": lambda x, y, outside: np.hypot(x, y) - 0.45,
    "rim": lambda x, y, outside: -0.2 - outside,
    "belt": lambda x, y, outside: np.abs(y) - 0.22,
    "cap": lambda x, y, outside: y + 0.2,
}


def _stripes(x: Grid, y: Grid, period: Column) -> Grid:
    return _wave(x, period)


def _dots(x: Grid, y: Grid, period: Column) -> Grid:
    def near(t):
        return (t / period) % 1 - 0.5

    return cover((np.hypot(near(x), near(y)) - 0.3) * period)


def _checks(x: Grid, y: Grid, period: Column) -> Grid:
    a, b = _wave(x, 2 * period), _wave(y, 2 * period)
    return a * b + (1 - a) * (1 - b)


def _wave(t: Grid, period: Column) -> Grid:
    return cover(np.sin(2 * np.pi * t / period) * period / (2 * np.pi))


# How dark a place is, 0 to 1, all lengths in pixels.
TEXTURES: dict[str, Callable[[Grid, Grid, Column], Grid]] = {
    "striped": _stripes,
    "dotted": _dots,
    "checkered": _checks,
}


def _metal(color, behind, x: Grid, y: Grid, outside: Grid):
    """A bright band across a dark body that has lost half of its colour."""
    along = (x + y)[..., None] * 0.7
    body = 0.5 * (color + color.mean(-1, keepdims=True))

    def band(at, width):
        return np.exp(-(((along - at) / width) ** 2))

    return body * (0.35 + 0.3 * band(0.7, 0.2)) + 0.85 * band(-0.15, 0.22)


def _glass(color, behind, x: Grid, y: Grid, outside: Grid):
    """What is behind it shows; its edge and a glint are light."""
    body = 0.6 * behind + 0.4 * color
    edge = np.exp(-(((outside + 0.03) / 0.06) ** 2))
    streak = np.abs(x + y + 0.35) + 0.35 * np.abs(x - y)
    glint = np.exp(-((streak / 0.2) ** 2))
    return body + np.maximum(0.5 * edge, 0.95 * glint)[..., None] * (1 - body)


# The colour of a place, from that of the object and that behind it.
MATERIALS: dict[str, Callable[..., Float[np.ndarray, "n rows columns 3"]]] = {
    "metal": _metal,
    "glass": _glass,
}


def _hills(x: Grid, y: Grid, p: list[Column]) -> Grid:
    far = 0.35 + 0.1 * p[0] + 0.08 * np.sin(2 * np.pi * ((1 + p[1]) * x + p[2]))
    near = 0.62 + 0.15 * p[3] + 0.1 * np.sin(2 * np.pi * ((0.6 + p[4]) * x + p[5]))
    return np.where(y > near, -1.0, np.where(y > far, 0.0, 1.0))


def _road(x: Grid, y: Grid, p: list[Column]) -> Grid:
    below = y - 0.25 - 0.2 * p[0]
    beside = np.abs(x - 0.3 - 0.4 * p[1] - (p[2] - 0.5) * below)
    wide = (0.45 + 0.3 * p[3]) * below
    road = np.where(beside < 0.1 * wide, 1.2, -1.0)
    return np.where(below < 0, 0.7, np.where(beside < wide, road, -0.1))


def _room(x: Grid, y: Grid, p: list[Column]) -> Grid:
    left, right = 0.12 + 0.2 * p[0], 0.68 + 0.2 * p[1]
    top, bottom = 0.1 + 0.15 * p[2], 0.6 + 0.18 * p[3]
    beyond = [
        (left - x) / left,
        (x - right) / (1 - right),
        (top - y) / top,
        (y - bottom) / (1 - bottom),
    ]
    wall = np.argmax(np.stack([np.zeros_like(x), *beyond]), 0)
    return np.array([0.1, -0.5, 0.6, 1.2, -1.2])[wall]


def _sea(x: Grid, y: Grid, p: list[Column]) -> Grid:
    depth = y - 0.3 - 0.25 * p[0]
    bent = 0.25 * np.sin(2 * np.pi * ((2 + p[1]) * x + p[2]))
    wave = np.sin(2 * np.pi * (9 * np.sqrt(np.maximum(depth, 0)) + bent + p[3]))
    return np.where(depth < 0, 0.8, -0.6 + 0.5 * wave)


def _studio(x: Grid, y: Grid, p: list[Column]) -> Grid:
    away = np.hypot(x - 0.3 - 0.4 * p[0], y - 0.3 - 0.4 * p[1])
    return 2.4 * np.exp(-((away / (0.25 + 0.15 * p[2])) ** 2)) - 1.2


# How light a place is, about -1 to 1, given six numbers in [0, 1].
SCENES: dict[str, Callable[[Grid, Grid, list[Column]], Grid]] = {
    "hills": _hills,
    "road": _road,
    "room": _room,
    "sea": _sea,
    "studio": _studio,
}
COLORS = {  # hue, and how far it varies
    "red": (0.0, 0.025),
    "yellow": (0.145, 0.025),
    "green": (0.36, 0.05),
    "blue": (0.61, 0.04),
    "purple": (0.8, 0.035),
    "grey": (0.0, 0.5),  # with next to no saturation
}


def cover(outside: Grid) -> Grid:
    """The share of a pixel that is covered, from its centre's distance in pixels."""
    return np.clip(0.5 - outside, 0, 1)


def rgb(
    hue: Float[np.ndarray, " n"],
    saturation: Float[np.ndarray, " n"],
    value: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 3"]:
    """Colours of the HSV cylinder, all in turns and [0, 1]."""
    thirds = np.array([0, 2, 1], np.float32) / 3
    distance = np.abs((hue[:, None] + thirds) % 1 * 6 - 3) - 1
    pure = np.clip(distance, 0, 1)
    return value[:, None] * (1 - saturation[:, None] * (1 - pure))
