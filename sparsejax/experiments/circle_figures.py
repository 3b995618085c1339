"""The figures of a circle-removal run, from its records and arrays.

Each comes with its caption, and has the finding for its title.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import data, plots
from sparsejax.plots import Curve

Drawn = tuple[Any, str]


def figures(
    config: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        config: fields of the config.
        records: the lines of `metrics.jsonl`; the first is drawn where one network is.
        arrays: of the first network.
    """
    density = lambda name, **how: _density(config, records[0], arrays, name, **how)
    return {
        "by_size": _by_size(records),
        "pairs": _pairs(records[0], arrays),
        "degrees": _degrees(records),
        "loss": density(
            "loss", title="More nodes, lower loss", xlabel="loss (nats)", full=True
        ),
        "log_loss": density(
            "log_loss",
            title=_log_normal(records[0], config),
            xlabel="log loss",
            full=True,
            fits=True,
        ),
        "loss_gradient": density(
            "loss_gradient",
            title="Gradients: peaked, heavy tails, a mean below zero",
            xlabel="d loss / d node",
            fits=True,
        ),
        "log_loss_gradient": density(
            "log_loss_gradient",
            title="Gradients of the log loss",
            xlabel="d log loss / d node",
            fits=True,
        ),
        "by_state": _by_state(config, records[0], arrays),
        "by_node": _by_node(config, arrays),
        "path": _path(config, records, arrays),
        "cube": (plots.cube(), f"With three nodes instead of {config['nodes']}."),
        "maps": _maps(config, arrays),
        "loss_map": _loss_map(config, arrays),
    }


def finding(records: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: what the best half of the nodes does, and what scores choose."""
    return (
        f"{_best_half(records)}; those with the best Shapley values "
        f"{_mean(r['by_size']['shapley'][_half(records)] for r in records):.2f}"
    )


def _best_half(records) -> str:
    half, full = _half(records), _mean(r["full_loss"] for r in records)
    best = _mean(r["by_size"]["best"][half] for r in records)
    return (
        f"The best {half} of {len(records[0]['shapley'])} nodes reach a loss of "
        f"{best:.3f} (all: {full:.3f})"
    )


def _half(records) -> int:
    return max(len(records[0]["shapley"]) // 2, 1)


def _by_size(records) -> Drawn:
    first = records[0]
    sizes = lambda kind: np.array([record["by_size"][kind] for record in records]).T
    figure = plots.by_size(
        {
            "exact best subset": sizes("best"),
            "backward elimination": sizes("backward"),
            "best Shapley values": sizes("shapley"),
            "mean of all subsets": sizes("mean"),
        },
        title=_best_half(records),
        ylabel="loss (nats)",
        band=(
            f"90% of all subsets, seed {first['seed']}",
            first["by_size"]["low"],
            first["by_size"]["high"],
        ),
    )
    return figure, (
        "Loss by number of nodes kept. Importance of single nodes misleads: those that "
        "lower the loss most on average (Shapley) are no good network together. Thin "
        f"lines: {len(records)} networks."
    )


def _pairs(record, arrays) -> Drawn:
    figure = plots.pairs(
        arrays["interactions"],
        record["shapley"],
        title=f"What nodes add to the loss, alone and in pairs (seed {record['seed']})",
        measure="loss",
    )
    return figure, (
        "Shapley values and pairwise Shapley interactions of the loss, exact. Blue "
        "lowers the loss."
    )


def _degrees(records) -> Drawn:
    power = np.array([record["power"][:6] for record in records]).T
    title = "One node"
    if len(power) > 1:
        single, pairs = power[:2].mean(axis=1)
        title = (
            f"Pairs carry {pairs:.0%} of the variance of the log loss, single nodes "
            f"{single:.0%}"
        )
    return (
        plots.by_degree(power, title=title, measure="the log loss"),
        "Walsh power by degree over all subsets; ticks: networks.",
    )


def _density(
    config, record, arrays, name, *, title, xlabel, fits=False, full=False
) -> Drawn:
    curves = []
    for i, p in enumerate(config["keep_probs"]):
        table = record["exact"][str(p)]
        normal = (table[f"mean_{name}"], table[f"sd_{name}"]) if fits else None
        exact, sampled = arrays[f"{name}/exact"][i], arrays[f"{name}/sampled"][i]
        curves.append(Curve(f"keep probability {p}", exact, sampled, normal))
    at = record["full_loss"]
    at = float(np.log(at)) if name == "log_loss" else at
    figure = plots.densities(
        arrays[f"{name}/at"],
        curves,
        title=title,
        xlabel=xlabel,
        line=(at, f"all nodes: {at:.3f}") if full else None,
    )
    return figure, (
        f"Filled and thick: exact, all {1 << config['nodes']:,} subsets of seed "
        f"{record['seed']}. Thin: {config['samples']:,} sampled masks. Gaussian kernel "
        f"of width {config['width']}."
        + (" Dotted: normal, of the same mean and deviation." if fits else "")
    )


def _log_normal(record, config) -> str:
    distances = [record["exact"][str(p)]["distance"] for p in config["keep_probs"]]
    return (
        "Nearly log-normal (Kolmogorov-Smirnov distance "
        f"{min(distances):.3f} to {max(distances):.3f})"
    )


def _by_state(config, record, arrays) -> Drawn:
    on, off = (record["exact"][state]["mean"] for state in ("on", "off"))
    named = zip(("node on", "node off"), arrays["by_state/density"], strict=True)
    figure = plots.densities(
        arrays["by_state/at"],
        [Curve(label, values) for label, values in named],
        title=f"Mean {on:+.3f} where a node is on, {off:+.3f} where off",
        xlabel=f"d log loss / d node, keep probability {_middle(config)}",
    )
    return figure, (
        f"Exact, seed {record['seed']}. More of a node that is off would help, on the "
        "whole; more of one that is on would hurt."
    )


def _by_node(config, arrays) -> Drawn:
    panels = [
        (f"node {i}", on, off) for i, (on, off) in enumerate(arrays["by_node/density"])
    ]
    figure = plots.densities_by_node(
        arrays["by_node/at"],
        panels,
        labels=("node on", "node off"),
        title="The same by node",
        xlabel=f"d log loss / d node, keep probability {_middle(config)}",
    )
    return figure, "Exact; each panel has axes of its own."


def _path(config, records, arrays) -> Drawn:
    last = [record["path"]["exact"][-1] for record in records]
    spread = f" ({min(last):+.2f} to {max(last):+.2f})" if len(last) > 1 else ""
    figure = plots.path_covariance(
        arrays["path/exact"],
        arrays["path/from_start"],
        arrays["path/from_end"],
        paths=config["paths"],
        title=f"Correlation with the complement: {_mean(last):+.2f}{spread}",
        measure="log losses",
    )
    return figure, (
        "Covariance of log losses along paths that flip every node once, in random "
        f"order, from a uniformly random start; seed {records[0]['seed']}. Above: "
        "exact."
    )


def _maps(config, arrays) -> Drawn:
    maps = arrays["maps/gradients"]
    figure = plots.square_maps(
        maps,
        [f"node {i}" for i in range(len(maps))],
        extent=1.0,
        radius=data.circle_radius(config["variant"]),
        title="Where nodes lower the loss (blue), all nodes on",
        measure="d loss / d node",
        signed=True,
    )
    return figure, (
        "Gradient of the loss at every point of the square with respect to every node. "
        "Colours saturate at the outermost 0.5%."
    )


def _loss_map(config, arrays) -> Drawn:
    figure = plots.square_maps(
        arrays["maps/loss"][None],
        [""],
        extent=1.0,
        radius=data.circle_radius(config["variant"]),
        title="The loss lies along the circle",
        measure="loss (nats)",
        signed=False,
    )
    return figure, "Loss at every point, all nodes on."


def _middle(config) -> float:
    return min(config["keep_probs"], key=lambda p: abs(p - 0.5))


def _mean(values) -> float:
    return float(np.mean(list(values)))
