"""The figures of a circle-removal run, from its records and arrays.

Each comes with its caption, and has the finding for its title.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import data, plots
from sparsejax.experiments.circle_removal import charts, densities, subset_charts
from sparsejax.experiments.circle_removal.config import Config
from sparsejax.plots import Curve

Drawn = tuple[Any, str]


def figures(
    config: Config,
    records: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
) -> dict[str, Drawn]:
    """All of them, `{name: (figure, caption)}`.

    Args:
        config: of the run.
        records: the lines of `metrics.jsonl`; the first is drawn where one network is.
        arrays: of the first network.
    """
    first = records[0]

    def density(name, **how):
        return _density(config, first, arrays, name, **how)

    drawn = {
        "by_size": _by_size(records),
        "pairs": _pairs(first, arrays),
        "loss": density(
            "loss", title=_means(first, "mean_loss"), xlabel="loss (nats)", full=True
        ),
        "log_loss": density(
            "log_loss",
            title=_log_normal(first),
            xlabel="log of the loss",
            full=True,
            fits=True,
        ),
        "loss_gradient": density(
            "loss_gradient",
            title=_means(first, "mean_loss_gradient"),
            xlabel="d loss / d node",
            fits=True,
        ),
        "log_loss_gradient": density(
            "log_loss_gradient",
            title=_means(first, "mean_log_loss_gradient"),
            xlabel="d log of the loss / d node",
            fits=True,
        ),
        "by_state": _by_state(config, first, arrays),
        "by_node": _by_node(config, arrays),
        "cube": (charts.cube(), f"With three nodes instead of {config.num_nodes}."),
        "maps": _maps(config, arrays),
        "loss_map": _loss_map(config, arrays),
    }
    varying = [record for record in records if record["path"] is not None]
    if varying:
        drawn["degrees"] = _degrees(varying)
    if first["path"] is not None:
        drawn["path"] = _paths(config, varying, arrays)
    return drawn


def finding(records: Sequence[Mapping[str, Any]]) -> str:
    """One sentence: what the best half of the nodes does, and what scores choose."""
    n = len(records[0]["shapley"])
    half = max(n // 2, 1)
    best, scored = (
        _mean(r["by_size"][kind][half] for r in records) for kind in ("best", "shapley")
    )
    full = _mean(r["full_loss"] for r in records)
    return (
        f"The best {half} of {n} node{'s' * (n > 1)}: loss {best:.3g}; by Shapley "
        f"values {scored:.3g}; all nodes {full:.3g}"
    )


def _by_size(records) -> Drawn:
    first = records[0]

    def sizes(kind):
        return np.array([record["by_size"][kind] for record in records]).T

    figure = subset_charts.by_size(
        {
            "exact best subset": sizes("best"),
            "backward elimination": sizes("backward"),
            "best Shapley values": sizes("shapley"),
            "mean of all subsets": sizes("mean"),
        },
        title=finding(records),
        ylabel="loss (nats)",
        band=(
            f"90% of all subsets, seed {first['seed']}",
            first["by_size"]["low"],
            first["by_size"]["high"],
        ),
    )
    several = len(records) > 1
    return figure, (
        "Loss by number of nodes kept: the best choice there is, and choices by what "
        "single nodes take off the loss on average (Shapley values)."
        + (f" Means over {len(records)} networks; thin: each." if several else "")
    )


def _pairs(record, arrays) -> Drawn:
    gains, together = -np.array(record["shapley"]), -arrays["interactions"]
    title = "One node"
    if len(gains) > 1:
        i, j = np.unravel_index(np.abs(np.triu(together, 1)).argmax(), together.shape)
        title = (
            f"Node {gains.argmax()} takes off most, {gains.max():.2f}; the strongest "
            f"pair is {i} and {j}, {together[i, j]:+.2f}"
        )
    figure = subset_charts.pairs(
        together, gains, title=title, measure="off the loss (nats)"
    )
    return figure, (
        "What nodes take off the loss on average as nodes join in random order "
        "(Shapley values), and what pairs take off beyond that (Shapley interactions). "
        f"Exact, seed {record['seed']}; blue: lower loss."
    )


def _degrees(records) -> Drawn:
    power = np.array([record["power"][:6] for record in records]).T
    title = "One node"
    if len(power) > 1:
        single, pairs = power[:2].mean(axis=1)
        title = f"Variance over subsets: single nodes {single:.0%}, pairs {pairs:.0%}"
    return (
        subset_charts.by_degree(power, title=title, measure="the log of the loss"),
        "Walsh power by degree over all subsets; ticks: networks.",
    )


def _density(
    config, record, arrays, name, *, title, xlabel, fits=False, full=False
) -> Drawn:
    curves = []
    for i, p in enumerate(config.keep_probs):
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
        f"Filled and thick: exact, all {1 << config.num_nodes:,} subsets of seed "
        f"{record['seed']}. Thin: {config.num_masks:,} sampled masks. Gaussian kernel "
        f"of width {config.bandwidth}."
        + (" Dotted: normal, of the same mean and deviation." if fits else "")
    )


def _means(record, name) -> str:
    """The exact means at the lowest and the highest keep probability."""
    at = {p: record["exact"][p][name] for p in _keep_probs(record)}
    means = [f"{at[p]:.3g} at {p}" for p in dict.fromkeys((min(at), max(at)))]
    return f"Mean {' and '.join(means)}"


def _log_normal(record) -> str:
    distances = [record["exact"][p]["distance"] for p in _keep_probs(record)]
    return (
        "Kolmogorov-Smirnov distance to the normal: "
        f"{min(distances):.3f} to {max(distances):.3f}"
    )


def _keep_probs(record) -> list[str]:
    return [key for key in record["exact"] if key not in ("on", "off")]


def _by_state(config, record, arrays) -> Drawn:
    on, off = (record["exact"][state]["mean"] for state in ("on", "off"))
    named = zip(("node on", "node off"), arrays["by_state/density"], strict=True)
    figure = plots.densities(
        arrays["by_state/at"],
        [Curve(label, values) for label, values in named],
        title=f"Mean {_signed(on)} where a node is on, {_signed(off)} where off",
        xlabel=f"d log of the loss / d node, keep probability {_middle(config)}",
    )
    return figure, (
        f"Exact, seed {record['seed']}. Below zero, more of the node lowers the loss."
    )


def _by_node(config, arrays) -> Drawn:
    panels = [
        (f"node {i}", on, off) for i, (on, off) in enumerate(arrays["by_node/density"])
    ]
    figure = charts.densities_by_node(
        arrays["by_node/at"],
        panels,
        labels=("node on", "node off"),
        title="Gradients by node, where it is on and where it is off",
        xlabel=f"d log of the loss / d node, keep probability {_middle(config)}",
    )
    return figure, "Exact; each panel has axes of its own."


def _paths(config, records, arrays) -> Drawn:
    correlations = np.array([record["path"]["exact"] for record in records])
    covariance, last = arrays["path/exact"], correlations[:, -1]
    sampled = [
        arrays[f"path/from_{end}"] / covariance[0, 0] for end in ("start", "end")
    ]
    spread = f" ({min(last):+.2f} to {max(last):+.2f})" if len(last) > 1 else ""
    figure = charts.paths(
        covariance,
        correlations,
        tuple(sampled),
        count=config.num_paths,
        title=f"Correlation with the complement: {_mean(last):+.2f}{spread}",
        measure="logs of losses",
    )
    several = len(records) > 1
    return figure, (
        "Along paths that flip every node once, in random order, from a uniformly "
        f"random start. Above and dots: seed {config.seeds[0]}."
        + (f" Lines: {len(records)} networks and their mean." if several else "")
    )


def _maps(config, arrays) -> Drawn:
    maps = arrays["maps/gradients"]
    figure = charts.square_maps(
        maps,
        [f"node {i}" for i in range(len(maps))],
        extent=1.0,
        radius=data.circle_radius(config.variant),
        title="Where more of a node lowers the loss (blue) or raises it (orange)",
        measure="d loss / d node",
        signed=True,
    )
    return figure, (
        "Gradient of the loss at every point of the square with respect to every node, "
        "all nodes on. Colours saturate at the outermost 0.5%."
    )


def _loss_map(config, arrays) -> Drawn:
    losses, radius = arrays["maps/loss"], data.circle_radius(config.variant)
    side = np.linspace(-1, 1, len(losses))
    near = np.abs(np.hypot(side, side[:, None]) - radius) < 0.1
    figure = charts.square_maps(
        losses[None],
        [""],
        extent=1.0,
        radius=radius,
        title=f"{losses[near].sum() / losses.sum():.0%} of the loss lies within 0.1 "
        "of the circle",
        measure="loss (nats)",
        signed=False,
    )
    return (
        figure,
        f"Loss at every point, all nodes on; that is {near.mean():.0%} of the square.",
    )


def _middle(config) -> float:
    return densities.middle(config.keep_probs)


def _signed(value) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def _mean(values) -> float:
    return float(np.mean(list(values)))
