"""The figures and the page of a lottery-ticket run, from its records alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots, runs
from sparsejax.pages import counted

_LABELS = {
    "ticket": "lottery ticket",
    "random": "random ticket",
    "shuffled": "shuffled in each layer",
    "reinit": "same mask, fresh weights",
}
# Böhm, Kirk, Gavenčiak (2020): MNIST, 784-32-32-10 at 539 of 26,432 weights; and a
# network of three convolutions at 187 of 29,742.
_PUBLISHED = {
    ("mnist", "mlp", 26432): (539 / 26432, 0.905, "Böhm et al. 2020: 90.5%"),
    ("mnist", "convnet", 29742): (187 / 29742, 0.80, "Böhm et al. 2020: 80%"),
}


def write(
    folder: Path,
    config: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    levels: Sequence[Mapping[str, np.ndarray]],
    image_shape: tuple[int, ...],
    *,
    flow_graph: str | None = None,
) -> None:
    """Write `fig_*.svg` and `index.html`.

    Args:
        folder: the run's.
        config: fields of the config.
        records: the lines of `metrics.jsonl`.
        levels: arrays of every level, as from `checkpoints.read_level`.
        image_shape: `(height, width, channels)`.
        flow_graph: address of the last ticket's flow graph.
    """
    figures = _figures(config, records)
    for name, (figure, _) in figures.items():
        plots.save(figure, folder / f"fig_{name}.svg")
    pictures = _pictures(levels, image_shape)
    last = pictures[-1]
    filters = plots.filters(
        last["images"],
        [unit["label"] for unit in last["units"]],
        title=f"First-layer filters of seed {config['seeds'][0]} at the last level",
    )
    plots.save(filters, folder / "fig_filters.svg")
    drawn = [
        pages.figure_svg((folder / f"fig_{name}.svg").read_bytes(), caption, caption)
        for name, (_, caption) in figures.items()
    ]
    rows = _rows(records)
    html = pages.page(
        f"Lottery tickets: {config['dataset']}, {config['model']}",
        pages.facts(_facts(config, records)),
        pages.section("Accuracy and density", drawn[0]),
        pages.section(
            "What the first layer looks at",
            pages.slot("filters"),
            note=f"Kernels of seed {config['seeds'][0]}, each scaled by itself. "
            "Move the slider to go through the levels.",
        ),
        *_read_on(flow_graph, config["seeds"][0]),
        pages.section("Where weights stay", pages.columns(*drawn[1:])),
        pages.section(
            "Levels",
            pages.table(
                rows[1:],
                rows[0],
                caption=f"Means over {pages.counted(len(config['seeds']), 'seed')}.",
            ),
        ),
        lead=finding(records),
        footer=f"Made by sparsejax from {counted(len(records), 'record')} of "
        f"metrics.jsonl. "
        f"Test accuracy over the whole test set; seeds {_span(config['seeds'])}.",
        data={"levels": _page_levels(records, pictures)},
        script=_SCRIPT,
    )
    runs.write_text(folder / "index.html", html)


def _read_on(address, seed) -> list[pages.Html]:
    if address is None:
        return []
    link = pages.tag("a", "Every step of its computation", href=address)
    text = pages.join(link, ", to be looked at, changed and drawn into.")
    title = f"The last ticket of seed {seed}, as a flow graph"
    return [pages.section(title, pages.tag("p", text))]


_SCRIPT = """
const levels = sj.data.levels;
const tiles = sj.el("div", {class: "tiles"});
const text = sj.el("p", {class: "quiet"});
const show = (i) => {
  const level = levels[i];
  text.textContent = level.text;
  tiles.replaceChildren(...level.units.map((unit) => {
    const canvas = sj.el("canvas", {role: "img", "aria-label": unit.label});
    sj.paint(canvas, unit.uri);
    return sj.el("figure", {}, canvas, sj.el("figcaption", {}, unit.label));
  }));
  sj.hash.set("level", i);
};
const start = Math.min(sj.hash.get("level", levels.length - 1), levels.length - 1);
const slider = sj.slider("Level", levels.length, (i) => levels[i].name, show);
slider.value = start;
sj.fill("filters", slider, text, sj.el("p", {}, sj.legend("−", "+")), tiles);
"""


def _figures(config, records) -> dict[str, tuple[Any, str]]:
    """`{name: (figure, caption)}`."""
    tickets = _grid(records, "ticket")
    sizes = _sizes(records)
    published = _PUBLISHED.get(
        (config["dataset"], config["model"], sum(sizes.values()))
    )
    figures = {
        "accuracy": (
            plots.against_density(
                _series(records, "test_accuracy"),
                title=finding(records),
                ylabel="test accuracy",
                published=published,
                logit=True,
            ),
            "Test accuracy against weights left."
            + (" Thin lines: seeds; thick: their mean." * (len(config["seeds"]) > 1)),
        ),
        "layers": (
            plots.weights_per_layer(
                {
                    name: [[r["kept_per_layer"][name] for r in row] for row in tickets]
                    for name in sizes
                },
                sizes,
                title=_layers_finding(tickets, sizes),
            ),
            "Weights left in each layer, by level.",
        ),
    }
    if tickets[0][0]["idle"]:
        figures["idle"] = (
            plots.idle_units(_idle(tickets), title=_idle_finding(tickets[-1])),
            "Units without input are constant; without output, unread.",
        )
    if tickets[0][0]["barrier"] is not None:
        figures["barrier"] = (
            plots.against_density(
                _series(records, "barrier"),
                title="Test error barrier of the last ticket: "
                f"{_mean(tickets[-1], 'barrier'):.2%}",
                ylabel="test error barrier between two data orders",
            ),
            "Largest rise of the test error on the straight line between two networks "
            "trained from the same start on data in two orders.",
        )
    return figures


def _layers_finding(tickets, sizes) -> str:
    """Which layer keeps the largest part of its weights, and which the smallest."""
    left = {
        name: float(np.mean([r["kept_per_layer"][name] for r in tickets[-1]])) / size
        for name, size in sizes.items()
    }
    most, least = max(left, key=left.__getitem__), min(left, key=left.__getitem__)

    def short(name):
        return name.removesuffix("/kernel")

    return (
        f"{short(most)} keeps {left[most]:.1%} of its weights, "
        f"{short(least)} {left[least]:.1%}"
    )


def _idle_finding(row) -> str:
    units = sum(layer["units"] for layer in row[0]["idle"].values())
    idle = [
        sum(layer["constant"] + layer["unread"] for layer in r["idle"].values())
        for r in row
    ]
    live = round(units - float(np.mean(idle)), 1)
    return f"{live:g} of {units} hidden units still do something"


def _grid(records, variant) -> list[list[Mapping[str, Any]]]:
    """Records of a variant by level, then by seed."""
    by_level: dict[int, list] = {}
    for record in records:
        if record["variant"] == variant:
            by_level.setdefault(record["level"], []).append(record)
    return [by_level[level] for level in sorted(by_level)]


def _series(records, field) -> dict[str, tuple[list, list]]:
    series = {}
    for variant in dict.fromkeys(record["variant"] for record in records):
        grid = _grid(records, variant)
        densities = [np.mean([r["density"] for r in row]) for row in grid]
        values = [[r[field] for r in row] for row in grid]
        series[_LABELS[variant]] = densities, values
    return series


def _idle(tickets) -> dict[str, tuple[list, list, int]]:
    def mean(row, name, kind):
        return np.mean([r["idle"][name][kind] for r in row])

    return {
        name: (
            [mean(row, name, "constant") for row in tickets],
            [mean(row, name, "unread") for row in tickets],
            first["units"],
        )
        for name, first in tickets[0][0]["idle"].items()
    }


def _sizes(records) -> dict[str, int]:
    return records[0]["kept_per_layer"]


def _mean(row, field) -> float:
    return float(np.mean([record[field] for record in row]))


def finding(records) -> str:
    """One sentence: how small, how good."""
    tickets = _grid(records, "ticket")
    dense, last = _mean(tickets[0], "test_accuracy"), tickets[-1]
    return (
        f"{_mean(last, 'kept'):,.0f} of {sum(_sizes(records).values()):,} weights "
        f"classify {_mean(last, 'test_accuracy'):.1%} (dense: {dense:.1%})"
    )


def _facts(config, records):
    tickets = _grid(records, "ticket")
    dense, last = tickets[0], tickets[-1]
    good = _mean(dense, "test_accuracy")
    winning = [row for row in tickets[1:] if _mean(row, "test_accuracy") >= good]

    def spread(row):
        return (
            f"{min(r['test_accuracy'] for r in row):.2%} to "
            f"{max(r['test_accuracy'] for r in row):.2%} over {len(row)} seeds"
            if len(row) > 1
            else "of one seed"
        )

    return [
        ("dense accuracy", f"{good:.2%}", spread(dense)),
        (
            "last ticket",
            f"{_mean(last, 'test_accuracy'):.2%}",
            spread(last),
        ),
        (
            "weights left",
            f"{_mean(last, 'kept'):,.0f}",
            f"{_mean(last, 'density'):.2%} of {sum(_sizes(records).values()):,}",
        ),
        (
            "smallest winning ticket",
            f"{_mean(winning[-1], 'kept'):,.0f}" if winning else "none",
            "fewest weights at the dense accuracy or above",
        ),
    ]


def _rows(records) -> list[list[str | None]]:
    variants = list(dict.fromkeys(record["variant"] for record in records))
    grids = {v: {row[0]["level"]: row for row in _grid(records, v)} for v in variants}
    header: list[str | None] = [
        "level",
        "weights",
        "left",
        *variants,
    ]
    rows = [header]
    for level, row in grids["ticket"].items():
        cells = [
            f"{_mean(grids[v][level], 'test_accuracy'):.2%}"
            if level in grids[v]
            else None
            for v in variants
        ]
        kept, density = _mean(row, "kept"), _mean(row, "density")
        rows.append([str(level), f"{kept:,.0f}", f"{density:.2%}", *cells])
    return rows


def _pictures(levels, image_shape) -> list[dict[str, Any]]:
    """First-layer kernels of the first seed at every level, as pictures."""
    name = "conv_0" if "params/conv_0/kernel" in levels[0] else "dense_0"
    out = []
    for arrays in levels:
        kernel = arrays[f"params/{name}/kernel"][0]
        shape = image_shape if name == "dense_0" else kernel.shape[:3]
        images = kernel.reshape(*shape, kernel.shape[-1]).mean(axis=2)
        images = np.moveaxis(images, -1, 0)
        kept = np.count_nonzero(kernel.reshape(-1, kernel.shape[-1]), axis=0)
        units = [
            {"label": f"{i}: {counted(n, 'weight')}", "uri": _uri(image)}
            for i, (n, image) in enumerate(zip(kept, images, strict=True))
        ]
        out.append({"images": images, "units": units})
    return out


def _uri(image) -> str:
    return pages.data_uri(pages.signed_png(image), "image/png")


def _page_levels(records, pictures) -> list[dict[str, Any]]:
    levels = []
    for i, (row, picture) in enumerate(
        zip(_grid(records, "ticket"), pictures, strict=True)
    ):
        first = row[0]
        name = f"{i} ({first['density']:.1%} left)"
        layers = ", ".join(f"{k} {n:,}" for k, n in first["kept_per_layer"].items())
        text = (
            f"{counted(first['kept'], 'weight')} ({layers}); "
            f"test accuracy of seed {first['seed']}: {first['test_accuracy']:.2%}"
        )
        levels.append({"name": name, "text": text, "units": picture["units"]})
    return levels


def _span(seeds) -> str:
    return ", ".join(map(str, seeds))
