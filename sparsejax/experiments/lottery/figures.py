"""The figures of a lottery run, from its records; and what they say, in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import pages, plots
from sparsejax.experiments._study.records import curve, group, mean
from sparsejax.experiments.lottery import charts
from sparsejax.experiments.lottery.config import Config, is_residual
from sparsejax.pages import counted

Records = Sequence[Mapping[str, Any]]
LABELS = {
    "rewind": "lottery ticket",
    "trained": "learning rate rewound",
    "finetune": "fine-tuned",
    "rewind_weights": "weights rewound alone",
    "random_global": "random anywhere",
    "random_layerwise": "random in each layer",
    "reinit": "same mask, fresh weights",
}
# Böhm, Kirk, Gavenčiak (2020): MNIST, 784-32-32-10 at 539 of 26,432 weights; and a
# network of three convolutions at 187 of 29,742.
_PUBLISHED = {
    ("mnist", "mlp", 26432): (539 / 26432, 0.905, "Böhm et al. 2020: 90.5%"),
    ("mnist", "convnet", 29742): (187 / 29742, 0.80, "Böhm et al. 2020: 80%"),
}
_LAYERS = 12  # as many as a figure can tell apart


def title(config: Config) -> str:
    """What was pruned, in a few words."""
    return f"{Path(config.dataset).name}, {config.model}"


def drawn(config: Config, records: Records) -> dict[str, tuple[Any, str]]:
    """`{name: (figure, caption)}`."""
    tickets, sizes = levels(records, "rewind"), layer_sizes(records)
    published = _PUBLISHED.get((config.dataset, str(config.model), sum(sizes.values())))
    several = len(config.seeds) > 1
    figures = {
        "accuracy": (
            plots.against_density(
                _series(records, "test_accuracy"),
                title=finding(config, records),
                ylabel="test accuracy",
                published=published,
                logit=not is_residual(config),
            ),
            "Test accuracy against weights left."
            + " Thin lines: seeds; thick: their mean." * several,
        )
    }
    if len(sizes) <= _LAYERS:
        counts = {
            name: [[r["kept_per_layer"][name] for r in row] for row in tickets]
            for name in sizes
        }
        figures["layers"] = (
            charts.weights_per_layer(
                counts, sizes, title=_layers_finding(tickets, sizes)
            ),
            "Weights left in each layer, by level.",
        )
    if tickets[0][0]["idle"]:
        figures["idle"] = (
            charts.idle_units(_idle(tickets), title=_idle_finding(tickets[-1])),
            "Units without input are constant; without output, unread.",
        )
    if tickets[0][0]["barrier"] is not None:
        figures["barrier"] = (
            plots.against_density(
                _series(records, "barrier"),
                title="Test error barrier of the last ticket: "
                f"{mean(tickets[-1], 'barrier'):.2%}",
                ylabel="test error barrier between two data orders",
            ),
            "Largest rise of the test error on the straight line between two networks "
            "trained from the same start on data in two orders.",
        )
    return figures


def finding(config: Config, records: Records) -> str:
    """One sentence: how small, how good."""
    tickets = levels(records, "rewind")
    dense, last = mean(tickets[0], "test_accuracy"), tickets[-1]
    if is_residual(config):
        good = [row for row in tickets if mean(row, "test_accuracy") >= dense - 0.01]
        return (
            f"Accuracy is {dense:.1%} with all weights, and within a point of it down "
            f"to {mean(good[-1], 'density'):.1%} of them"
        )
    return (
        f"{mean(last, 'kept'):,.0f} of {sum(layer_sizes(records).values()):,} weights "
        f"classify {mean(last, 'test_accuracy'):.1%} (dense: {dense:.1%})"
    )


def filters(
    kernels: Sequence[np.ndarray], shape: tuple[int, ...]
) -> list[dict[str, Any]]:
    """First-layer kernels at every level as pictures, with what is left of each.

    Args:
        kernels: of every level, shape (height, width, channels, units) or (inputs,
            units).
        shape: of an image.

    Returns:
        For every level `images` (units, height, width), and `units`, a label and the
        address of a picture each.
    """
    out = []
    for kernel in kernels:
        image = shape if kernel.ndim == 2 else kernel.shape[:3]
        images = kernel.reshape(*image, kernel.shape[-1]).mean(axis=2)
        images = np.moveaxis(images, -1, 0)
        left = np.count_nonzero(kernel.reshape(-1, kernel.shape[-1]), axis=0)
        units = [
            {"label": f"{i}: {counted(n, 'weight')}", "uri": _uri(picture)}
            for i, (n, picture) in enumerate(zip(left, images, strict=True))
        ]
        out.append({"images": images, "units": units})
    return out


def levels(records: Records, arm: str) -> list[list[Mapping[str, Any]]]:
    """Records of an arm by level, then by seed."""
    by_level = group((r for r in records if r["arm"] == arm), "level")
    return [by_level[level] for level in sorted(by_level)]


def layer_sizes(records: Records) -> dict[str, int]:
    """Number of weights of every layer before pruning."""
    return records[0]["kept_per_layer"]


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


def _series(records: Records, field: str) -> dict[str, tuple[list, list]]:
    arms = group(records, "arm")
    return {LABELS[arm]: curve(rows, field) for arm, rows in arms.items()}


def _idle(tickets) -> dict[str, tuple[list, list, int]]:
    def average(row, name, kind):
        return np.mean([r["idle"][name][kind] for r in row])

    return {
        name: (
            [average(row, name, "constant") for row in tickets],
            [average(row, name, "unread") for row in tickets],
            first["units"],
        )
        for name, first in tickets[0][0]["idle"].items()
    }


def _uri(image) -> str:
    return pages.data_uri(pages.signed_png(image), "image/png")
