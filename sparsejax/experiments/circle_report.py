"""The figures and the pages of a circle-removal run, from its records and arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import data, pages, plots, runs
from sparsejax.experiments import circle_figures, circle_page
from sparsejax.experiments.circle_figures import finding as finding

# Hobson's tables: one network, 1,000 masks for each keep probability.
PUBLISHED = {
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
_FULL_LOSS = 0.117
_NAMES = {
    "mean_loss": "mean loss",
    "mean_log_loss": "mean log loss",
    "sd_log_loss": "sd of log loss",
    "mean_loss_gradient": "mean loss gradient",
    "sd_loss_gradient": "sd of loss gradient",
    "mean_log_loss_gradient": "mean log-loss gradient",
    "sd_log_loss_gradient": "sd of log-loss gradient",
}


def write(
    folder: Path,
    config: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write `fig_*.svg`, `table.md`, `nodes.html` and `index.html`.

    Args:
        folder: the run's.
        config: fields of the config.
        records: the lines of `metrics.jsonl`.
        arrays: of the first network, with those of figures.
    """
    figures = circle_figures.figures(config, records, arrays)
    for name, (figure, _) in figures.items():
        plots.save(figure, folder / f"fig_{name}.svg")
    drawn = {
        name: pages.figure_svg(
            (folder / f"fig_{name}.svg").read_bytes(), caption, caption
        )
        for name, (_, caption) in figures.items()
    }
    rows = table(config, records)
    header, *body = rows
    runs.write_text(folder / "table.md", _markdown(rows))
    runs.write_text(folder / "nodes.html", _nodes(config, records[0], arrays))
    link = pages.tag("a", "Take the first network apart by hand", href="nodes.html")
    pair = lambda *names: pages.columns(*(drawn[name] for name in names))
    html = pages.page(
        f"A circle classifier under all {1 << config['nodes']:,} of its node masks",
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
        pages.section("The source's tables", pages.table(body, header)),
        lead=finding(records),
        footer=_footer(config, records),
    )
    runs.write_text(folder / "index.html", html)


def table(config, records) -> list[list[str]]:
    """Rows of the source's tables: its number, ours as sampled, and exactly."""
    networks = "network" if len(records) == 1 else "networks"
    header = ["", "keep prob.", "source", f"sampled, {len(records)} {networks}",
              "lowest to highest", "exact"]  # fmt: skip
    full = [record["full_loss"] for record in records]
    rows = [header, ["loss, all nodes", "", f"{_FULL_LOSS}", *_cells(full, None)]]
    for name, label in _NAMES.items():
        for p in map(str, config["keep_probs"]):
            rows.append([label, p, *_row(records, name, p)])
    half = min(config["keep_probs"], key=lambda p: abs(p - 0.5))
    for state in ("on", "off"):
        for name in ("mean", "sd"):
            label = f"{name} of log-loss gradient, node {state}"
            rows.append([label, str(half), *_row(records, name, state)])
    return rows


def _row(records, name, p) -> list[str]:
    source = PUBLISHED.get((name, p))
    values = {k: [r[k][p][name] for r in records] for k in ("sampled", "exact")}
    return ["" if source is None else f"{source:.4f}", *_cells(**values)]


def _cells(sampled, exact) -> list[str]:
    spread = f" ± {np.std(sampled, ddof=1):.4f}" if len(sampled) > 1 else ""
    return [
        f"{_mean(sampled):.4f}{spread}",
        f"{min(sampled):.4f} to {max(sampled):.4f}",
        "" if exact is None else f"{_mean(exact):.4f}",
    ]


def _facts(config, records):
    mean = lambda name: _mean([record[name] for record in records])
    spread = lambda name: (
        f"{min(r[name] for r in records):.4g} to {max(r[name] for r in records):.4g}"
    )
    correlation = np.mean([record["path"]["exact"] for record in records], axis=0)
    below = np.flatnonzero(correlation < 0.2)
    return [
        ("loss, all nodes", f"{mean('full_loss'):.4f}", spread("full_loss")),
        (
            "accuracy, all nodes",
            f"{mean('full_accuracy'):.2%}",
            spread("full_accuracy"),
        ),
        (
            "subsets better than all nodes",
            f"{mean('better_than_full'):g}",
            f"of {1 << config['nodes']:,}; {spread('better_than_full')}",
        ),
        (
            "flips to a correlation below 0.2",
            str(below[0]) if len(below) else "never",
            "of log losses, mean over networks",
        ),
    ]


def _nodes(config, record, arrays) -> str:
    """The page of the first network."""
    params = {
        layer: {k: arrays[f"params/{layer}/{k}"] for k in ("kernel", "bias")}
        for layer in ("dense_0", "dense_1")
    }
    return circle_page.page(
        params,
        (arrays["x"], arrays["y"]),
        arrays["losses"],
        radius=data.circle_radius(config["variant"]),
        title=f"A circle classifier of {config['nodes']} nodes, seed {record['seed']}",
        lead=finding([record]),
    )


def _footer(config, records) -> str:
    stream = records[0]["mask_stream"]
    return (
        f"Made by sparsejax from {len(records)} records of metrics.jsonl; circle "
        f"variant {config['variant']!r}. Losses are means over {config['examples']:,} "
        "test points, in nats. The source's mask stream gives "
        f"{stream['distinct']} distinct masks at the last keep probability, "
        f"{stream['all_on']} of all nodes."
    )


def _markdown(rows) -> str:
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _mean(values) -> float:
    return float(np.mean(values))
