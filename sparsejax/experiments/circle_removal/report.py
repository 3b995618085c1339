"""The figures and the pages of a circle-removal run, from its records and arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsejax import data, pages, runs
from sparsejax.experiments._study import report
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.circle_removal import densities, figures, nodes_page
from sparsejax.experiments.circle_removal.config import Config
from sparsejax.experiments.circle_removal.figures import finding as finding
from sparsejax.pages import counted

# Hobson's tables: one network, 1,000 masks for each keep probability.
PUBLISHED = {
    ("full_loss",): 0.117,
    ("mean_loss", "0.25"): 1.0277158,
    ("mean_loss", "0.5"): 0.87821335,
    ("mean_loss", "0.75"): 0.584365,
    ("mean_log_loss", "0.25"): -0.08020699,
    ("mean_log_loss", "0.5"): -0.28468585,
    ("mean_log_loss", "0.75"): -0.7286095,
    ("sd_log_loss", "0.25"): 0.44782004,
    ("sd_log_loss", "0.5"): 0.5544732,
    ("sd_log_loss", "0.75"): 0.6133959,
    ("mean_loss_gradient", "0.25"): -0.0693278,
    ("mean_loss_gradient", "0.5"): -0.04751453,
    ("mean_loss_gradient", "0.75"): -0.027095174,
    ("sd_loss_gradient", "0.25"): 0.36804602,
    ("sd_loss_gradient", "0.5"): 0.33512998,
    ("sd_loss_gradient", "0.75"): 0.26713666,
    ("mean_log_loss_gradient", "0.25"): -0.0746937,
    ("mean_log_loss_gradient", "0.5"): -0.05837615,
    ("mean_log_loss_gradient", "0.75"): -0.046731997,
    ("sd_log_loss_gradient", "0.25"): 0.36064485,
    ("sd_log_loss_gradient", "0.5"): 0.38386792,
    ("sd_log_loss_gradient", "0.75"): 0.44563505,
    ("mean", "on"): 0.055790696,
    ("sd", "on"): 0.35940725,
    ("mean", "off"): -0.17263436,
    ("sd", "off"): 0.37343097,
}
_NAMES = {
    "mean_loss": "mean loss",
    "mean_log_loss": "mean log loss",
    "sd_log_loss": "sd of log loss",
    "skew_loss": "skewness of loss",
    "skew_log_loss": "skewness of log loss",
    "distance": "Kolmogorov-Smirnov distance of loss to log-normal",
    "mean_loss_gradient": "mean loss gradient",
    "sd_loss_gradient": "sd of loss gradient",
    "mean_log_loss_gradient": "mean log-loss gradient",
    "sd_log_loss_gradient": "sd of log-loss gradient",
}
_CHOICES = {
    "best": "the best",
    "backward": "backward elimination",
    "shapley": "best Shapley values",
    "mean": "mean of all choices",
}


def write(study: Study, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `fig_*.svg`, `table.md`, `nodes.html` and `index.html`.

    Args:
        study: the run.
        arrays: of the first network, with those of figures.
    """
    config, records = study.config, study.records
    drawn = report.figures(study, figures.figures(config, records, arrays))
    header, *body = table(config, records)
    shown = report.table(study, header, body)
    nodes = _nodes(config, records[0], arrays)
    runs.write_text(study.folder / "nodes.html", nodes)
    link = pages.tag("a", "Take the first network apart by hand", href="nodes.html")

    def pair(*names):
        return pages.columns(*(drawn[name] for name in names if name in drawn))

    report.page(
        study,
        f"A circle classifier under all {1 << config.num_nodes:,} of its node masks",
        pages.facts(_facts(config, records)),
        pages.tag("p", pages.join(link, ": switches, decision surface, walks.")),
        pages.section("What nodes are worth", pair("by_size", "pairs")),
        pages.section("Loss", pair("loss", "log_loss")),
        pages.section("Gradients", pair("loss_gradient", "log_loss_gradient")),
        pages.section(
            "Is that node on?", pair("by_state", "degrees"), drawn["by_node"]
        ),
        pages.section("Flips", pair("path", "cube")),
        pages.section("Over the square", drawn["maps"], drawn["loss_map"]),
        pages.section("The source's tables", shown),
        lead=finding(records),
        footer=_footer(config, records),
    )


def table(config: Config, records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of the source's tables: its number, ours as sampled, and exactly."""
    count = len(records)
    source = "source" + (" (other circle)" if config.variant != "published" else "")
    header = ["", "keep prob.", source, f"sampled, {count} network{'s' * (count > 1)}",
              "lowest to highest", "exact"]  # fmt: skip
    known = PUBLISHED if config.num_nodes == 20 else {}
    keep_probs = list(map(str, config.keep_probs))
    rows = [header, _row("loss, all nodes", "", known, records, "full_loss")]
    for name, label in _NAMES.items():
        for p in keep_probs:
            rows.append(_row(label, p, known, records, p, name))
    middle = str(densities.middle(config.keep_probs))
    for state in ("on", "off"):
        for name in ("mean", "sd"):
            label = f"{name} of log-loss gradient, node {state}"
            about = known if middle == "0.5" else {}
            rows.append(_row(label, middle, about, records, state, name))
    n, low, high = config.num_nodes, min(keep_probs), max(keep_probs)

    def apart(part):
        return part[high]["mean_loss"] - part[low]["mean_loss"]

    rows.append(_derived(f"mean loss at {high} less that at {low}", records, apart))
    if middle == "0.5":
        nodes = n * (float(high) - float(low))

        def near(part):
            return nodes * part[middle]["mean_loss_gradient"]

        rows.append(_derived(f"{nodes:g} x mean loss gradient at 0.5", records, near))
        slopes = [r["derivative"][middle] * nodes / n for r in records]
        label = f"{nodes / n:g} x derivative of the mean loss at 0.5"
        rows.append([label, "", "", *_cells([], slopes)])
    varying = [record for record in records if record["path"] is not None]
    for flips in sorted({min(5, n), n}) if varying else ():
        values = {
            k: [r["path"][k][flips] for r in varying] for k in ("sampled", "exact")
        }
        rows.append(
            [
                f"correlation after {counted(flips, 'flip')}",
                "",
                "",
                *_cells(**values),
            ]
        )
    half = max(n // 2, 1)
    for kind, label in _CHOICES.items():
        chosen = [record["by_size"][kind][half] for record in records]
        rows.append(
            [
                f"loss, {counted(half, 'node')}: {label}",
                "",
                "",
                *_cells([], chosen),
            ]
        )
    return rows


def _row(label, p, known, records, *path) -> list[str]:
    """A number of the tables; a path of one step is of the network, not sampled."""
    source = known.get(path[::-1])
    if len(path) == 1:
        cells = _cells([], [record[path[0]] for record in records])
    else:

        def pick(kind):
            return [r[kind][path[0]][path[1]] for r in records]

        cells = _cells(pick("sampled"), pick("exact"))
    return [label, p, "" if source is None else f"{source:.4f}", *cells]


def _derived(label, records, value) -> list[str]:
    sampled, exact = ([value(r[k]) for r in records] for k in ("sampled", "exact"))
    return [label, "", "", *_cells(sampled, exact)]


def _cells(sampled, exact) -> list[str]:
    """Mean and deviation as sampled, range of that or else of exact, exact mean."""
    sampled, exact = (
        [v for v in values if v is not None] for values in (sampled, exact)
    )
    shown = sampled or exact
    spread = f" ± {np.std(sampled, ddof=1):.4f}" if len(sampled) > 1 else ""
    return [
        f"{_mean(sampled):.4f}{spread}" if sampled else "",
        f"{min(shown):.4f} to {max(shown):.4f}" if len(shown) > 1 else "",
        f"{_mean(exact):.4f}" if exact else "",
    ]


def _facts(config, records):
    several = len(records) > 1

    def spread(values, show):
        return (
            f"{show.format(min(values))} to {show.format(max(values))}"
            if several
            else ""
        )

    def of(name):
        return [record[name] for record in records]

    def fact(label, name, show, note=""):
        return (
            label,
            show.format(_mean(of(name))),
            "; ".join(filter(None, (note, spread(of(name), show)))),
        )

    varying = [r["path"]["exact"] for r in records if r["path"] is not None]
    below = np.flatnonzero(np.mean(varying, axis=0) < 0.2) if varying else []
    return [
        fact("loss, all nodes", "full_loss", "{:.4f}"),
        fact("accuracy, all nodes", "full_accuracy", "{:.2%}"),
        fact(
            "subsets better than all nodes",
            "better_than_full",
            "{:,.10g}",
            f"of {1 << config.num_nodes:,}",
        ),
        (
            "flips to a correlation below 0.2",
            str(below[0]) if len(below) else "never",
            "of logs of losses" + (", mean over networks" if several else ""),
        ),
    ]


def _nodes(config, record, arrays) -> str:
    """The page of the first network."""
    params = {
        layer: {k: arrays[f"params/{layer}/{k}"] for k in ("kernel", "bias")}
        for layer in ("dense_0", "dense_1")
    }
    return nodes_page.page(
        params,
        (arrays["x"], arrays["y"]),
        arrays["losses"],
        radius=data.circle_radius(config.variant),
        title=f"A circle classifier of {counted(config.num_nodes, 'node')}, seed "
        f"{record['seed']}",
        lead=finding([record]),
        footer=f"Circle variant {config.variant!r}; trained for {config.epochs} "
        f"epochs on {config.num_points:,} points, tested on as many others.",
        keep_probs=config.keep_probs,
    )


def _footer(config, records) -> str:
    stream = records[0]["mask_stream"]
    return (
        f"Made by sparsejax from {counted(len(records), 'record')} of "
        f"metrics.jsonl; circle "
        f"variant {config.variant!r}. Losses are means over {config.num_points:,} "
        "test points, in nats; ± is a standard deviation over networks. The masks "
        "sampled at the last keep probability are "
        f"{stream['distinct']:,} different ones; {stream['all_on']:,} keep all nodes."
    )


def _mean(values) -> float:
    return float(np.mean(values))
