"""Pages of one network's layers and units: what feeds them, and how, in pictures."""

from pathlib import Path
from urllib.parse import quote

import jax
import numpy as np

from sparsejax import pages, runs, weights
from sparsejax.experiments._study.subject import Network
from sparsejax.experiments.weights.view import INPUT, Layer, View
from sparsejax.pages import Html, counted, tag

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


def write(view: View, network: Network) -> dict[str, Path]:
    """Write a page for each layer and each of its units; the layers' pages."""
    title = view.of.title.partition(",")[0]
    title = f"{title}, seed {network.seed}, level {network.level}."
    book = _Book(view, title, network.density)
    written = {}
    for node, units in view.nodes.items():
        layer = view.layer(node)
        for unit in units:
            runs.write_text(book.path(node, unit), book.unit_page(layer, unit, units))
        written[node] = book.path(node)
        runs.write_text(written[node], book.layer_page(layer, units))
        view.log(f"level {network.level}: {counted(len(units), 'page')} of {node}")
    return written


class _Book:
    """The pages of one network."""

    def __init__(self, view: View, title: str, density: float):
        self.view, self.config = view, view.config
        self.title, self.density = title, density

    def path(self, node: str, unit: int | None = None) -> Path:
        name = runs.file_name(node) + ("" if unit is None else f"_{unit}")
        return self.view.folder / f"{name}.html"

    def address(self, node: str, unit: int | None = None) -> str:
        """Of a page, as its neighbours link to it."""
        return quote(self.path(node, unit).name)

    def link(self, node: str, unit: int, tile: Html | None, caption: str) -> Html:
        """A unit's picture, linked to its page, over a tile of weights."""
        name = f"{node} {unit}"
        shown = _image(self.view.icon(node, unit), name) if node != INPUT else Html()
        if unit in self.view.nodes.get(node, ()):
            shown = tag("a", shown, href=self.address(node, unit))
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

    def unit_page(self, layer: Layer, unit: int, units: list[int]) -> str:
        n, node = self.config.strongest, layer.node

        def one(a):
            return np.asarray(a[..., unit])

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
            tag("a", f"{which}: unit {units[i]}", href=self.address(node, units[i]))
            for which, i in around if 0 <= i < len(units)
        ]  # fmt: skip
        up = tag("a", f"all of {node}", href=self.address(node))
        bodies.append(pages.join(up, *(pages.join(" · ", link) for link in links)))
        return self.page(f"{node}, unit {unit}", *map(_paragraph, bodies))

    def summary(self, layer: Layer, unit: int) -> Html:
        """A unit's picture, factors, look at the input, and numbers."""
        tiles = [self.link(layer.node, unit, None, "what it responds to")]
        for what, colours in layer.colours.items():
            if colours is not None:
                caption = f"{what} in three colours, a factor each"
                tiles.append(_captioned(colours[unit], caption))
        root = layer.root[..., unit]
        if root.ndim == 1:
            root = root.reshape(self.view.picture)
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

    def indirect(self, layer: Layer, unit: int) -> list[Html]:
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

        def over(a):
            return a.reshape(-1, a.shape[-1]).sum(0)

        lost = over(np.minimum(plus, minus))
        channel = int(lost.argmax())
        if not lost[channel]:
            return found
        part = self.view.expand(
            layer.two, layer.node, units=(unit,), through=layer.before
        )
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

    def layer_page(self, layer: Layer, units: list[int]) -> str:
        w = np.asarray(layer.near.weights)
        near = jax.tree.map(np.asarray, weights.statistics(layer.near))
        colours = layer.colours["weights"]
        sheet = [
            self.link(
                layer.node, unit,
                None if colours is None else _image(colours[unit], "its weights"),
                f"{counted(int(near.inputs[unit]), 'input')} with 90%",
            )
            for unit in units
        ]  # fmt: skip
        below = " Below each, its weights in three colours, a factor each."
        bodies = [
            pages.section(
                counted(len(units), 'unit'), _tiles(sheet),
                note="What each responds to." + below * (colours is not None),
            ),
            *self.factors(layer),
            self.family(layer, w),
        ]  # fmt: skip
        return self.page(layer.node, *bodies)

    def factors(self, layer: Layer) -> list[Html]:
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

    def family(self, layer: Layer, w: np.ndarray) -> Html:
        """A grid of tiles: units by what they read most.

        In the order of the config, else those with the largest weights.
        """
        flat = np.square(w).reshape(-1, *w.shape[-2:]).sum(0)
        large = sorted(np.argsort(-flat.sum(0), kind="stable")[:_FAMILY].tolist())
        units = list(self.config.units) or large
        read = np.argsort(-flat[:, units].sum(1), kind="stable")[:_FAMILY].tolist()
        scale = np.abs(w[..., units]).max()
        cells = [Html("<span></span>")]

        def face(node, unit):
            return (
                    tag("span", str(unit)) if node == INPUT
                    else _image(self.view.icon(node, unit), f"{node} {unit}")
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
        return pages.page(
            f"{name}, {self.density:.1%} of weights left",
            *bodies,
            lead=self.title,
            footer="Voss et al., Visualizing Weights, Distill, 2021. Pictures of units "
            f"by {counted(self.config.steps, 'step')} of gradient ascent.",
            script=_SCRIPT,
            style=_STYLE,
        )


_SIGNS = "Green excites, red inhibits, one scale for all; other colours by the switch."


def _of_unit(found: weights.Statistics, unit: int) -> weights.Statistics:
    return jax.tree.map(lambda a: np.asarray(a)[unit].item(), found)


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
