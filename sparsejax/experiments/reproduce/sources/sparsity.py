"""Böhm, Kirk, Gavenčiak (2020): pruned networks as flow graphs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sparsejax.experiments.reproduce.claim import Claim, Results, Values

TITLE = "Böhm, Kirk, Gavenčiak, “Sparsity and interpretability?” (2020)"
_GOAL = 200.0  # the maximal score of CartPole-v0
_NOT_PUBLISHED = "The network was not published."
_FIRST, _CONV = "Pruning once more", "Domains other than MNIST"


def _tickets(part: str, level: int | str = "last") -> Callable[[Results], list]:
    """Records of the tickets of a level, a seed each."""

    def get(results):
        rows = [r for r in results.records(part) if r["arm"] == "rewind"]
        at = max(r["level"] for r in rows) if level == "last" else level
        return [r for r in rows if r["level"] == at]

    return get


def _last(part: str, field: str, level: int | str = "last") -> Values:
    return lambda results: [r[field] for r in _tickets(part, level)(results)]


def _kept(part: str, layer: str, share: bool = False) -> Values:
    """Weights left in a layer, as a number or as a share."""

    def get(results):
        dense = _tickets(part, 0)(results)[0]["kept_per_layer"][layer]
        left = [r["kept_per_layer"][layer] for r in _tickets(part)(results)]
        return [n / dense for n in left] if share else left

    return get


def _lost_at(density: float) -> Values:
    """Points of accuracy lost at the first level below a density."""

    def get(results):
        dense = {r["seed"]: r["test_accuracy"] for r in _tickets("tickets", 0)(results)}
        rows = [r for r in results.records("tickets") if r["arm"] == "rewind"]
        level = min(r["level"] for r in rows if r["density"] <= density)
        return [
            100 * (dense[r["seed"]] - r["test_accuracy"])
            for r in rows
            if r["level"] == level
        ]

    return get


def _whole_share(results: Results) -> list[float]:
    """Share of all weights that is left where the first layer is not pruned."""
    dense = _tickets("tickets", 0)(results)[0]
    first = dense["kept_per_layer"]["dense_0/kernel"]
    return [
        (first + r["kept"]) / dense["kept"] for r in _tickets("first_layer")(results)
    ]


def _smaller(results: Results) -> list[float]:
    """How many times fewer weights the last two kernels have than those of tickets."""
    rows = _tickets("tickets")(results)
    usual = np.mean([r["kept"] - r["kept_per_layer"]["dense_0/kernel"] for r in rows])
    return [usual / r["kept"] for r in _tickets("first_layer")(results)]


def _counted(part: str, field: str) -> Values:
    return lambda results: [row[field] for row in results.records(part)]


def _constant(results: Results) -> list[bool]:
    return [bool(row["constant"]) for row in results.records("first_layer_graphs")]


def _pruned_agents(results: Results) -> list[Mapping[str, Any]]:
    return [
        r for r in results.records("cartpole")
        if r["kind"] == "agent" and r["arm"] == "pruned"
    ]  # fmt: skip


def _ignores(*names: str) -> Values:
    """Whether an agent at the maximal score does not read one of some inputs."""

    def get(results):
        return [
            r["return"] >= _GOAL and not set(names) <= set(r["inputs"])
            for r in _pruned_agents(results)
        ]

    return get


_INPUTS = "position", "velocity", "angle", "angular velocity"
_CONV_COUNTS = (
    ("conv_0", "6 of 54 (11%)", 6 / 54),
    ("conv_1", "23 of 324 (7%)", 23 / 324),
    ("conv_2", "23 of 324 (7%)", 23 / 324),
    ("dense_0", "135 of 29,040 (0.46%)", 135 / 29040),
)

CLAIMS = [
    Claim(
        "kernel weights", "Introduction of the experiment",
        "weights in the kernels of 784-32-32-10", "26432", ("tickets",),
        _last("tickets", "kept", 0), 26432, shown="{:,.0f}",
        said="The text has 27432 once, a misprint.",
    ),
    Claim(
        "dense accuracy", "Introduction of the experiment",
        "test accuracy after three epochs", "95+%", ("tickets",),
        _last("tickets", "test_accuracy", 0), (0.95, 1.0), printed=True, shown="{:.1%}",
    ),
    Claim(
        "ticket weights", "Initial results", "weights left at 2%", "539",
        ("tickets",), _last("tickets", "kept"), 539, shown="{:,.0f}",
        said="Asked for, and met exactly.", aside=True,
    ),
    Claim(
        "ticket accuracy", "Initial results", "test accuracy of 539 weights", "90.5%",
        ("tickets",), _last("tickets", "test_accuracy"), 0.905, shown="{:.1%}",
        said="All weights are ranked together and trained with momentum and a cosine "
        "schedule; the source's optimizer is not told.",
        higher=True,
        figures={"accuracy": "tickets/fig_accuracy.svg"},
    ),
    Claim(
        "ticket accuracy by layer", "Introduction of the experiment",
        "the same, a fifth of every layer a round, as the text has it", "90.5%",
        ("by_layer",), _last("by_layer", "test_accuracy"), 0.905, shown="{:.1%}",
        said="Of 476 weights, after 18 rounds, with Adam: equal shares leave 6 of "
        "them in the last layer, so the source must have pruned in another way.",
        higher=True,
    ),
    Claim(
        "previous work", "Comments",
        "95% of the weights go without much loss: points of accuracy", "“well over "
        "95%”", ("tickets",), _lost_at(0.05), (-100.0, 1.0), shown="{:.1f}",
        said="At the first level below 5% of the weights; at most a point counts.",
    ),
    Claim(
        "weights by layer", "Initial results", "weights left in each layer", "figure",
        ("tickets",),
        said="Its numbers are in a picture alone.",
        figures={"layers": "tickets/fig_layers.svg"},
    ),
    Claim(
        "vertices", "Initial results", "vertices of its flow graph", "963",
        ("tickets", "tickets_graphs"), _counted("tickets_graphs", "vertices"), 963,
        shown="{:,.0f}",
        said="Boxes for products, sums, biases, relus and outputs: a reconstruction "
        "of how the source counts.",
        figures={"page": "tickets/index.html"},
    ),
    Claim(
        "edges", "Initial results", "edges of its flow graph", "1173",
        ("tickets_graphs",), _counted("tickets_graphs", "edges"), 1173,
        shown="{:,.0f}",
        said="Edges less vertices are weights less pixels and units in use, however "
        "boxes are counted: 210 there and more here, so ours use somewhat fewer.",
    ),
    Claim(
        "example", "Gaining insight", "bounds of a small computation", "figure",
        unchecked="The computation is in a picture alone.",
    ),
    Claim(
        "filters", "Making it clearer", "first-layer filters as images", "figure",
        ("tickets",), said="Of the first seed.",
        figures={"filters": "tickets/fig_filters.svg"},
    ),
    Claim(
        "digit zero", "Visualising behaviour on specific inputs",
        "what decides that a 1 is not a 0", "figure and text",
        unchecked=f"{_NOT_PUBLISHED} The page of every flow graph shows it for ours.",
    ),
    Claim(
        "first layer accuracy", _FIRST, "test accuracy, first layer not pruned",
        "93.5%", ("first_layer",), _last("first_layer", "test_accuracy"), 0.935,
        shown="{:.1%}",
        said="With 40 weights in the last two kernels, the source's number of which "
        "is not told.",
        higher=True,
    ),
    Claim(
        "first layer weights", _FIRST, "share of all weights left", "95%",
        ("tickets", "first_layer"), _whole_share, 0.95, shown="{:.1%}",
        said="So it is with any few weights in the last two kernels, here 40.",
        aside=True,
    ),
    Claim(
        "last kernels", _FIRST, "last two kernels smaller than before",
        "“several times”", ("tickets", "first_layer"), _smaller, (2.0, 10.0),
        shown="{:.1f}x", said="It follows from the 40 weights that were asked for.",
        aside=True,
    ),
    Claim(
        "constant output", _FIRST, "an output is always the same",
        "output_2 of one network", ("first_layer_graphs",), _constant,
        said="Proved for every image; which digit it is changes from seed to seed.",
    ),
    Claim(
        "constant value", "Comments", "the constant of digit 2", "-2.39",
        unchecked=_NOT_PUBLISHED,
    ),
    Claim(
        "ignored velocity", _CONV,
        "an agent with the maximal score ignores the cart's velocity", "one agent",
        ("cartpole",), _ignores("velocity"),
        said="Whether one does depends on its training; many do.",
        figures={"weights left": "cartpole/fig_weights.svg",
                 "page": "cartpole/graph.html"},
    ),
    Claim(
        "ignored input", _CONV,
        "an agent with the maximal score ignores one of the four inputs", "one agent",
        ("cartpole",), _ignores(*_INPUTS),
        said="Any of them, where the source has the velocity.", aside=True,
    ),
    *(
        Claim(
            f"{layer} weights", _CONV, f"weights left in {layer} of the conv net",
            published, ("convnet",), _kept("convnet", f"{layer}/kernel", share=True),
            value, shown="{:.2%}", said="Asked for, and met exactly.", aside=True,
        )
        for layer, published, value in _CONV_COUNTS
    ),
    Claim(
        "conv accuracy", _CONV, "test accuracy of the pruned conv net", "80%",
        ("convnet",), _last("convnet", "test_accuracy"), 0.80, shown="{:.1%}",
        said="Pruned to the source's counts in six rounds.", higher=True,
    ),
    Claim(
        "conv vertices", _CONV, "vertices of its largest output's graph", "1659",
        ("convnet_graphs",), _counted("convnet_graphs", "largest"), 1659,
        shown="{:,.0f}",
        said="It depends on where in their kernels the 187 weights are.",
    ),
    Claim(
        "conv graph", _CONV, "graphs of convolutions stay large and dense: more "
        "vertices than the ticket's from a third as many weights, and more edges than "
        "vertices", "text",
        ("tickets_graphs", "convnet_graphs"),
        lambda results: [
            row["vertices"] > max(_counted("tickets_graphs", "vertices")(results))
            and row["edges"] > row["vertices"]
            for row in results.records("convnet_graphs")
        ],
    ),
]  # fmt: skip
