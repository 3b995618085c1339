"""Pages of one network's layers and units: what feeds them, and how, in pictures."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sparsejax import features, pages, runs, weights
from sparsejax.experiments import networks
from sparsejax.experiments.weights_subject import Subject
from sparsejax.pages import Html, tag

INPUT = "input"
_FACTORS = 3  # red, green and blue
_FAMILY = 8  # units and inputs of a grid
_STYLE = """
.tiles img, .grid img { width: 100%; border-radius: 4px; image-rendering: pixelated; }
.tiles canvas { background: var(--zero); }
.grid {
  display: grid; gap: 6px; align-items: center; font-size: 13px;
  grid-template-columns: repeat(var(--columns), minmax(24px, 72px));
}
"""
_SCRIPT = """
for (const canvas of document.querySelectorAll("canvas[data-uri]"))
  sj.paint(canvas, canvas.dataset.uri);
"""


class _Layer(NamedTuple):
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


def write(
    folder: Path,
    config,
    of: Subject,
    network: dict[str, Any],
    counts: dict[str, int],
    nodes: dict[str, list[int]],
    report: Callable[[str], Any],
) -> dict[str, Path]:
    """Write a page for each layer and each of its units; the layers' pages."""
    book = _Book(folder, config, of, network, counts, nodes, report)
    written = {}
    for node, units in nodes.items():
        layer = book.layer(node)
        for unit in units:
            runs.write_text(book.path(node, unit), book.unit_page(layer, unit, units))
        written[node] = book.path(node)
        runs.write_text(written[node], book.layer_page(layer, units))
        report(f"level {network['level']}: {len(units)} pages of {node}")
    return written


class _Book:
    """The pages of one network."""

    def __init__(self, folder, config, of: Subject, network, counts, nodes, report):
        self.folder, self.config, self.of, self.report = folder, config, of, report
        self.network, self.counts, self.paged = network, counts, nodes
        self.params = of.params(network)
        self.chain = [INPUT, *counts]
        self.icons: dict[str, np.ndarray] = {}

    def path(self, node: str, unit: int | None = None) -> Path:
        name = node.replace("/", "-") + ("" if unit is None else f"_{unit}")
        return self.folder / f"{name}.html"

    def layer(self, node: str) -> _Layer:
        i = self.chain.index(node)
        before, after = self.chain[i - 1], self.chain[i + 1]
        two = self.chain[i - 2] if i > 1 else None
        near = self.expand(before, node, split=True)
        factors = weights.factor(near.weights, _FACTORS, "group")
        icons, place = self.directions(node, before, near, factors)
        far = None if two is None else self.expand(two, node, split=True)
        return _Layer(
            node, before, two, after, near, far, self.expand(node, after),
            np.asarray(self.expand(INPUT, node).weights),
            {"weights": _colours(near), "two layers": _colours(far)},
            place, factors, icons,
        )  # fmt: skip

    def expand(self, source: str, target: str, **how) -> weights.Expanded:
        name = lambda node, end: None if node == end else node
        return weights.expand(
            self.of.fn, self.params, name(source, INPUT),
            name(target, networks.LOGITS), size=self.of.size, **how,
        )  # fmt: skip

    # Pictures

    def icon(self, node: str, unit: int) -> np.ndarray:
        """What a unit responds to, a picture in [0, 1]."""
        if node not in self.icons:

            def make():
                self.report(f"drawing {self.counts[node]} units of {node}")
                name = "" if node == networks.LOGITS else node
                return {"images": self.render(name, range(self.counts[node]))}

            file = self.folder / f"{node.replace('/', '-')}.npz"
            self.icons[node] = runs.kept(file, make, self.report)["images"]
        return self.icons[node][unit]

    def directions(self, node: str, before: str, near, factors):
        """Pictures of factors, and of what the largest units look for at each place."""
        if before == INPUT:
            return [None] * _FACTORS, {}
        found = weights.directions(near.weights)
        vectors, strength = np.asarray(found.vectors), np.asarray(found.strength)
        size = np.square(vectors).reshape(len(vectors), -1).sum(1)
        large = sorted(self.paged[node], key=lambda unit: -size[unit])[
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

        file = self.folder / f"{node.replace('/', '-')}_directions.npz"
        images = runs.kept(file, make, self.report)["images"]
        icons, rest = images[:_FACTORS], images[_FACTORS:]
        parts = np.split(rest, len(large)) if large else []
        place = {unit: _by_place(part, strength[unit])
                 for unit, part in zip(large, parts, strict=True)}  # fmt: skip
        return list(icons), place

    @property
    def picture(self) -> tuple[int, ...]:
        """Shape of a picture of an input."""
        side = round(self.of.size[0] ** 0.5)
        return (side, side, 1) if len(self.of.size) == 1 else self.of.size

    def render(self, objective, units) -> np.ndarray:
        fn = _of_picture(self.of.fn, self.of.size)
        found = features.render(
            fn, self.params, objective, list(units), key=jax.random.key(0),
            size=self.picture, steps=self.config.steps, progress=False,
        )  # fmt: skip
        return np.asarray(found.images)

    # Pieces

    def link(self, node: str, unit: int, tile: Html | None, caption: str) -> Html:
        """A unit's picture, linked to its page, over a tile of weights."""
        name = f"{node} {unit}"
        shown = _image(self.icon(node, unit), name) if node != INPUT else Html()
        if unit in self.paged.get(node, ()):
            shown = tag("a", shown, href=self.path(node, unit).name)
        text = tag("figcaption", tag("strong", f"{node} {unit}"), Html("<br>"), caption)
        return tag("figure", shown, tile or Html(), text)

    def inputs(self, node: str, w: np.ndarray, n: int) -> Html:
        """The strongest inputs of one unit's weights (*places, channels)."""
        norms = np.sqrt(np.square(w).reshape(-1, w.shape[-1]).sum(0))
        scale, whole = np.abs(w).max(), np.square(norms).sum()
        found = weights.strongest(w[..., None], n).inputs[:, 0].tolist()
        parts = [
            self.link(node, channel, _tile(w[..., channel], scale, f"from {channel}"),
                      f"{norms[channel] ** 2 / whole:.0%} of its norm")
            for channel in found if norms[channel]
        ]  # fmt: skip
        return _tiles(parts)

    # Pages

    def unit_page(self, layer: _Layer, unit: int, units: list[int]) -> str:
        n, node = self.config.strongest, layer.node
        one = lambda a: np.asarray(a[..., unit])
        w = one(layer.near.weights)
        if not w.any():
            bodies = [pages.section("No weights", "All of its weights are gone.")]
        else:
            bodies = [self.summary(layer, unit)]
            bodies.append(pages.section(
                f"Its strongest inputs in {layer.before}",
                self.inputs(layer.before, w, n), note=_SIGNS,
            ))  # fmt: skip
            if layer.far is not None:
                bodies += self.indirect(layer, unit)
            if unit in layer.place:
                caption = (
                    "What each place of its kernel looks for, as a picture; the weaker "
                    "its weights there, the fainter."
                )
                shown = pages.image(
                    _png(layer.place[unit]), caption, caption, width=480
                )
                bodies.append(pages.section("Place by place", shown))
        out = np.asarray(layer.out.weights[..., unit, :])
        bodies.append(pages.section(
            f"Where it matters most in {layer.after}",
            self.outputs(layer.after, out, n) if out.any() else "Nothing reads it.",
        ))  # fmt: skip
        at = units.index(unit)
        around = [("before", at - 1), ("next", at + 1)]
        links = [
            tag("a", f"{which}: unit {units[i]}", href=self.path(node, units[i]).name)
            for which, i in around if 0 <= i < len(units)
        ]  # fmt: skip
        up = tag("a", f"all of {node}", href=self.path(node).name)
        bodies.append(pages.join(up, *(pages.join(" · ", link) for link in links)))
        return self.page(f"{node}, unit {unit}", *map(_paragraph, bodies))

    def summary(self, layer: _Layer, unit: int) -> Html:
        """A unit's picture, factors, look at the input, and numbers."""
        tiles = [self.link(layer.node, unit, None, "what it responds to")]
        for what, colours in layer.colours.items():
            if colours is not None:
                caption = f"{what} in three colours, a factor each"
                tiles.append(_captioned(colours[unit], caption))
        root = layer.root[..., unit]
        if root.ndim == 1:
            root = _square(root[None])[0]
        text = "weights expanded to the input"
        if root.shape[-1] == 3:
            most = np.abs(root).max() or 1
            tiles.append(_captioned(0.5 + 0.5 * root / most, text))
        else:
            shown = root.mean(-1)
            tiles.append(tag("figure", _tile(shown, None, text),
                             tag("figcaption", text)))  # fmt: skip
        near = _of_unit(weights.statistics(layer.near), unit)
        facts = [
            ("Inputs", f"{near.inputs} of {layer.near.weights.shape[-2]}",
             "hold 90% of its norm"),
            ("Weights", f"{np.count_nonzero(layer.near.weights[..., unit])} of "
             f"{layer.near.weights[..., 0].size}",
             "are not zero"),
            ("Participation", f"{near.participation:.1f}", "weights, were they equal"),
        ]  # fmt: skip
        if layer.far is not None:
            far = _of_unit(weights.statistics(layer.far), unit)
            facts += [
                ("Paths", f"{far.live:,.0f}", "through two layers"),
                ("Cancelled", f"{far.cancellation:.0%}", "of these by opposite ones"),
            ]
        return pages.section("What it is", _tiles(tiles), pages.facts(facts))

    def indirect(self, layer: _Layer, unit: int) -> list[Html]:
        """Through two layers: strongest inputs, and where paths cancel most."""
        assert layer.far is not None and layer.two is not None
        n, one = self.config.strongest, lambda a: np.asarray(a[..., unit])
        w, plus, minus = map(
            one, (layer.far.weights, layer.far.positive, layer.far.negative)
        )
        found = [pages.section(
            f"Two layers apart: its strongest inputs in {layer.two}",
            self.inputs(layer.two, w, n) if w.any() else "No path is left.",
            note="Expanded weights: products over all paths, ReLUs read as identity.",
        )]  # fmt: skip
        over = lambda a: a.reshape(-1, a.shape[-1]).sum(0)
        lost = over(np.minimum(plus, minus))
        channel = int(lost.argmax())
        if not lost[channel]:
            return found
        part = self.expand(layer.two, layer.node, units=(unit,), through=layer.before)
        through = np.asarray(part.through[..., channel, :, 0])
        scale = max(plus[..., channel].max(), minus[..., channel].max())
        total, strong = over(through), np.abs(through).max()
        order = np.argsort(-over(np.abs(through)))[:n]
        tiles = [tag("figure",
                     _tile(a[..., channel], scale, text), tag("figcaption", text))
                 for a, text in ((w, "the sum"), (plus, "positive paths"),
                                 (-minus, "negative paths"))]  # fmt: skip
        between = [
            self.link(layer.before, between,
                      _tile(through[..., between], strong, f"through {between}"),
                      f"sum {total[between]:+.2g}")
            for between in order.tolist() if through[..., between].any()
        ]  # fmt: skip
        kept = np.abs(w[..., channel]).sum() / (plus + minus)[..., channel].sum()
        found.append(pages.section(
            f"Where paths cancel most: from {layer.two} {channel}", _tiles(tiles),
            _tiles(between),
            note=f"{1 - kept:.0%} of these paths cancel. Then the units in between, "
            "strongest first, with the part of the sum that passes each, on a scale "
            "of their own.",
        ))  # fmt: skip
        return found

    def outputs(self, node: str, out: np.ndarray, n: int) -> Html:
        """Units of the next layer by the weights from one, (*places, units)."""
        norms = np.sqrt(np.square(out).reshape(-1, out.shape[-1]).sum(0))
        parts = [
            self.link(node, to, _tile(out[..., to], np.abs(out).max(), f"to {to}"),
                      f"norm {norms[to]:.2g}")
            for to in np.argsort(-norms, kind="stable")[:n].tolist() if norms[to]
        ]  # fmt: skip
        return _tiles(parts)

    def layer_page(self, layer: _Layer, units: list[int]) -> str:
        w = np.asarray(layer.near.weights)
        near = jax.tree.map(np.asarray, weights.statistics(layer.near))
        colours = layer.colours["weights"]
        sheet = [
            self.link(
                layer.node, unit,
                None if colours is None else _image(colours[unit], "its weights"),
                f"{near.inputs[unit]} inputs hold 90%",
            )
            for unit in units
        ]  # fmt: skip
        below = " Below each, its weights in three colours, a factor each."
        bodies = [
            pages.section(
                f"{len(units)} units", _tiles(sheet),
                note="What each responds to." + below * (colours is not None),
            ),
            *self.factors(layer),
            self.family(layer, w),
        ]  # fmt: skip
        return self.page(layer.node, *bodies)

    def factors(self, layer: _Layer) -> list[Html]:
        """Directions among the inputs that the weights share, and who uses them."""
        maps = np.asarray(layer.factors.maps)
        found = []
        for i, icon in enumerate(layer.factor_icons):
            use = np.abs(maps[..., i, :]).reshape(-1, maps.shape[-1]).max(0)
            order = np.argsort(-use, kind="stable")[: self.config.strongest].tolist()
            channels = np.asarray(layer.factors.channels[i])
            most = [str(c) for c in np.argsort(-channels)[:4] if channels[c] > 0]
            if not most:
                continue
            text = f"mostly {layer.before} {', '.join(most)}"
            face = Html() if icon is None else _image(icon, text)
            tiles = [tag("figure", face, tag(
                "figcaption", tag("strong", f"factor {i + 1}"), Html("<br>"), text
            ))]  # fmt: skip
            tiles += [
                self.link(layer.node, unit,
                          _tile(maps[..., i, unit], use.max(), f"factor {i + 1}"),
                          f"up to {use[unit]:.2g}")
                for unit in order if use[unit]
            ]  # fmt: skip
            found.append(_tiles(tiles))
        error = float(layer.factors.error)
        note = (
            "Non-negative directions that all units' weights are made of, as pictures, "
            f"and the units that use them most. They leave {error:.0%} of the norm."
        )
        return [pages.section("Factors of all units", *found, note=note)]

    def family(self, layer: _Layer, w: np.ndarray) -> Html:
        """A grid of tiles: units by what they read most.

        In the order of the config, else those with the largest weights.
        """
        flat = np.square(w).reshape(-1, *w.shape[-2:]).sum(0)
        large = sorted(np.argsort(-flat.sum(0), kind="stable")[:_FAMILY].tolist())
        units = list(self.config.units) or large
        read = np.argsort(-flat[:, units].sum(1), kind="stable")[:_FAMILY].tolist()
        scale = np.abs(w[..., units]).max()
        cells = [Html("<span></span>")]
        face = lambda node, unit: (
            tag("span", str(unit)) if node == INPUT
            else _image(self.icon(node, unit), f"{node} {unit}")
        )  # fmt: skip
        cells += [face(layer.before, channel) for channel in read]
        for unit in units:
            cells.append(face(layer.node, unit))
            cells += [_tile(w[..., channel, unit], scale, f"{channel} to {unit}")
                      for channel in read]  # fmt: skip
        grid = tag("div", *cells, class_="grid", style=f"--columns: {len(read) + 1}")
        return pages.section(
            "Units by inputs", grid,
            note=f"Rows: {layer.node} {', '.join(map(str, units))}. Columns: "
            f"{layer.before} {', '.join(map(str, read))}. {_SIGNS}",
        )  # fmt: skip

    def page(self, name: str, *bodies: Html) -> str:
        density = self.network["density"]
        return pages.page(
            f"{name}, {density:.1%} of weights left",
            *bodies,
            lead=f"{self.of.title}, seed {self.network['seed']}, level "
            f"{self.network['level']}.",
            footer="Voss et al., Visualizing Weights, Distill, 2021. Pictures of units "
            f"by {self.config.steps} steps of gradient ascent.",
            script=_SCRIPT,
            style=_STYLE,
        )


_SIGNS = "Green excites, red inhibits, one scale for all; other colours by the switch."


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


def _of_unit(found: weights.Statistics, unit: int) -> weights.Statistics:
    return jax.tree.map(lambda a: np.asarray(a)[unit].item(), found)


def _colours(found: weights.Expanded | None) -> np.ndarray | None:
    """Weights (height, width, channels, units) in red, green and blue, by unit."""
    if found is None or found.weights.ndim != 4:
        return None
    factors = weights.factor(found.weights, _FACTORS)
    maps = np.moveaxis(np.asarray(factors.maps), -1, 0)
    most = maps.max((1, 2, 3), keepdims=True)
    return maps / np.where(most > 0, most, 1)


def _square(flat: np.ndarray) -> np.ndarray:
    """Rows (n, inputs) as pictures (n, side, side, 1)."""
    side = round(flat.shape[-1] ** 0.5)
    return flat.reshape(-1, side, side, 1)


def _png(image: np.ndarray) -> bytes:
    pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return pages.png(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _image(image: np.ndarray, alt: str) -> Html:
    return tag("img", src=pages.data_uri(_png(image), "image/png"), alt=alt)


def _tile(values: np.ndarray, scale, label: str) -> Html:
    """A map of weights, painted in the colours of signs."""
    shown = values.reshape((1,) * (2 - values.ndim) + values.shape)
    strong = float(scale) if scale else None
    uri = pages.data_uri(pages.signed_png(shown, strong), "image/png")
    return tag("canvas", data_uri=uri, aria_label=f"weights {label}")


def _captioned(image: np.ndarray, caption: str) -> Html:
    return tag("figure", _image(image, caption), tag("figcaption", caption))


def _tiles(parts: list[Html]) -> Html:
    return tag("div", *parts, class_="tiles")


def _paragraph(body: Html) -> Html:
    return body if body.startswith("<section") else tag("p", body)
