"""What pages of weights show of one network: a layer among its neighbours, pictures."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sparsejax import features, runs, weights
from sparsejax.experiments._study import nodes as nodes_
from sparsejax.experiments._study.subject import Network, Subject
from sparsejax.experiments.weights.config import Config
from sparsejax.pages import counted

INPUT = "input"
_FACTORS = 3  # red, green and blue


class Layer(NamedTuple):
    """A layer among its neighbours; no layer is None.

    Attributes:
        node, before, two, after: names of it, the one and the two before, the next.
        near, far: expanded weights from the one and the two before, with their parts.
        out: those to the next.
        root: those from the input.
        colours: near and far in red, green and blue by unit, None if they have no map.
        place: pictures of places of a unit's kernel, by unit.
        factors: directions among inputs that the weights share.
        factor_icons: pictures of them.
    """

    node: str
    before: str
    two: str | None
    after: str
    near: weights.Expanded
    far: weights.Expanded | None
    out: weights.Expanded
    root: np.ndarray
    colours: dict[str, np.ndarray | None]
    place: dict[int, np.ndarray]
    factors: weights.Factors
    factor_icons: list[Any]


class View:
    """One network's layers, computed when asked for; its pictures are kept on disk.

    Args:
        folder: where pictures are kept.
        config: `strongest`, `places` and `steps` of it.
        of: the networks.
        network: the one to look at.
        counts: how many units every activation has.
        nodes: units that get pages, by layer.
        log: called with lines of progress.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        of: Subject,
        network: Network,
        counts: dict[str, int],
        nodes: dict[str, list[int]],
        log: Callable[[str], Any],
    ):
        self.folder, self.config, self.of, self.log = folder, config, of, log
        self.counts, self.nodes = counts, nodes
        self.params, _ = of.read(network)
        self.chain = [INPUT, *counts]
        self.icons: dict[str, np.ndarray] = {}

    def layer(self, node: str) -> Layer:
        i = self.chain.index(node)
        before, after = self.chain[i - 1], self.chain[i + 1]
        two = self.chain[i - 2] if i > 1 else None
        near = self.expand(before, node, split=True)
        factors = weights.factor(near.weights, _FACTORS, "group")
        icons, place = self.directions(node, before, near, factors)
        far = None if two is None else self.expand(two, node, split=True)
        return Layer(
            node, before, two, after, near, far, self.expand(node, after),
            np.asarray(self.expand(INPUT, node).weights),
            {"weights": _colours(near), "two layers": _colours(far)},
            place, factors, icons,
        )  # fmt: skip

    def expand(self, source: str, target: str, **how) -> weights.Expanded:
        def name(node, end):
            return None if node == end else node

        return weights.expand(
            self.of.fn, self.params, name(source, INPUT),
            name(target, nodes_.LOGITS), size=self.of.shape, **how,
        )  # fmt: skip

    def icon(self, node: str, unit: int) -> np.ndarray:
        """What a unit responds to, a picture in [0, 1]."""
        if node not in self.icons:

            def make():
                self.log(f"drawing {counted(self.counts[node], 'unit')} of {node}")
                name = "" if node == nodes_.LOGITS else node
                return {"images": self.render(name, range(self.counts[node]))}

            file = self.folder / f"{runs.file_name(node)}.npz"
            self.icons[node] = runs.cached(file, make, self.log)["images"]
        return self.icons[node][unit]

    def directions(self, node: str, before: str, near, factors):
        """Pictures of factors, and of what the largest units look for at each place."""
        if before == INPUT:
            return [None] * _FACTORS, {}
        found = weights.directions(near.weights)
        vectors, strength = np.asarray(found.vectors), np.asarray(found.strength)
        size = np.square(vectors).reshape(len(vectors), -1).sum(1)
        large = sorted(self.nodes[node], key=lambda unit: -size[unit])[
            : self.config.places
        ]
        large = [unit for unit in large if size[unit] and vectors.ndim == 4]
        looked = [np.asarray(factors.channels)]
        looked += [vectors[unit].reshape(-1, vectors.shape[-1]) for unit in large]
        asked = np.concatenate(looked)

        def make():
            images = np.ones((len(asked), *self.picture), np.float32)
            alive = np.flatnonzero(asked.any(-1))  # others stay white
            if len(alive):
                objective = features.direction(before, asked[alive])
                images[alive] = self.render(objective, range(len(alive)))
            return {"images": images}

        file = self.folder / f"{runs.file_name(node)}_directions.npz"
        images = runs.cached(file, make, self.log)["images"]
        icons, rest = images[:_FACTORS], images[_FACTORS:]
        parts = np.split(rest, len(large)) if large else []
        place = {unit: _by_place(part, strength[unit])
                 for unit, part in zip(large, parts, strict=True)}  # fmt: skip
        return list(icons), place

    @property
    def picture(self) -> tuple[int, ...]:
        """Shape of a picture of an input."""
        shape = self.of.shape
        side = round(shape[0] ** 0.5)
        return self.of.image or ((side, side, 1) if len(shape) == 1 else shape)

    def render(self, objective, units) -> np.ndarray:
        fn = _of_picture(self.of.fn, self.of.shape)
        found = features.render(
            fn, self.params, objective, list(units), key=jax.random.key(0),
            size=self.picture, steps=self.config.steps, progress=False,
        )  # fmt: skip
        return np.asarray(found.images)


@functools.cache
def _of_picture(fn: Callable, size: tuple[int, ...]) -> Callable:
    """The same function of a picture, where its inputs are a row of pixels."""
    return fn if len(size) > 1 else lambda params, x: fn(params, x.reshape(size))


def _by_place(images: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Pictures of a kernel's places as one, the weaker the fainter."""
    fade = strength.reshape(-1, 1, 1, 1)
    images = np.pad(fade * images + (1 - fade), ((0, 0), (1, 1), (1, 1), (0, 0)),
                    constant_values=1)  # fmt: skip
    grid = images.reshape(*strength.shape, *images.shape[1:]).swapaxes(1, 2)
    return grid.reshape(len(strength) * images.shape[1], -1, images.shape[-1])


def _colours(found: weights.Expanded | None) -> np.ndarray | None:
    """Weights (height, width, channels, units) in red, green and blue, by unit."""
    if found is None or found.weights.ndim != 4:
        return None
    factors = weights.factor(found.weights, _FACTORS)
    maps = np.moveaxis(np.asarray(factors.maps), -1, 0)
    most = maps.max((1, 2, 3), keepdims=True)
    return maps / np.where(most > 0, most, 1)
