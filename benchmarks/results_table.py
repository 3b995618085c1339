"""The finished lottery runs of a folder as one Markdown table.

python benchmarks/results_table.py results/runs/lottery
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np

from sparsejax import runs
from sparsejax.experiments.lottery import Config, read

HIDDEN = ("dataset", "final_count", "arms", "barrier")
CONTROLS = ("random_global", "random_layerwise", "reinit")


def rows(folder: Path) -> list[str]:
    """A row for each arm that prunes by itself; controls are those of the tickets."""
    run = read(folder)
    return [row(run, arm) for arm in run.arms if arm not in CONTROLS]


def row(run, arm: str) -> str:
    last = run.levels[arm][-1]

    def at(level, arm):
        return [r for r in run.records if r["level"] == level and r["arm"] == arm]

    def accuracy(records):
        return [r["test_accuracy"] for r in records]

    dense, end = at(0, "rewind"), at(last, arm)
    layers = "/".join(
        f"{np.mean([r['kept_per_layer'][k] for r in end]):.0f}"
        for k in end[0]["kept_per_layer"]
    )
    controls = [
        f"{np.mean(accuracy(records)):.1%}"
        if arm == "rewind" and (records := at(last, name))
        else ""
        for name in CONTROLS
    ]
    barriers = [r["barrier"] for r in end if r["barrier"] is not None]
    cells = [
        Path(run.config.dataset).name,
        options(run.folder),
        arm,
        str(len(end)),
        str(last),
        f"{np.mean(accuracy(dense)):.2%}",
        f"{end[0]['kept']:,} ({layers})",
        f"**{np.mean(accuracy(end)):.2%}** [{min(accuracy(end)):.2%}, "
        f"{max(accuracy(end)):.2%}]",
        *controls,
        f"{100 * np.mean(barriers):.2f}" if barriers else "",
    ]
    return "| " + " | ".join(cells) + " |"


def options(folder: Path) -> str:
    """The options that make the run what it is, as flags."""
    config = runs.read(folder).config
    defaults = json.loads(json.dumps(dataclasses.asdict(Config())))

    def text(v):
        return ",".join(map(str, v)) if isinstance(v, list) else str(v)

    shown = [
        f"--{key}={text(value)}"
        for key, value in config.items()
        if value != defaults[key] and key not in HIDDEN
    ]
    return f"`{' '.join(shown)}`" if shown else "default"


def main(root: Path) -> None:
    folders = [f for f in root.iterdir() if (f / "DONE").exists()]
    folders.sort(key=lambda f: runs.read(f).about["started"])
    print(
        "| data | options | arm | seeds | rounds | dense | weights left (by layer) | "
        "accuracy [min, max] | random_global | random_layerwise | reinit | "
        "barrier, points |"
    )
    print("|" + "---|" * 12)
    for folder in folders:
        for line in rows(folder):
            print(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
