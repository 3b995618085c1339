"""The finished lottery-ticket runs of a folder as one Markdown table.

python benchmarks/results_table.py results/runs/lottery
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
from sparsejax.experiments.lottery_config import Config

from sparsejax import runs

HIDDEN = ("dataset", "final_count", "controls", "barrier")


def row(folder: Path) -> str:
    records = runs.read_metrics(folder)
    last = max(r["level"] for r in records)

    def at(level, variant):
        return [r for r in records if r["level"] == level and r["variant"] == variant]

    dense, end = at(0, "ticket"), at(last, "ticket")

    def accuracy(rows):
        return [r["test_accuracy"] for r in rows]

    kept = {
        k: np.mean([r["kept_per_layer"][k] for r in end])
        for k in end[0]["kept_per_layer"]
    }
    layers = "/".join(f"{n:.0f}" for n in kept.values())
    controls = [
        f"{np.mean(accuracy(rows)):.1%}" if (rows := at(last, name)) else ""
        for name in ("random", "shuffled", "reinit")
    ]
    barriers = [r["barrier"] for r in end if r["barrier"] is not None]
    barrier = f"{100 * np.mean(barriers):.2f}" if barriers else ""
    cells = [
        runs.read_json(folder / "config.json")["config"]["dataset"],
        options(folder),
        str(len(end)),
        str(last),
        f"{np.mean(accuracy(dense)):.2%}",
        f"{end[0]['kept']:,} ({layers})",
        f"**{np.mean(accuracy(end)):.2%}** [{min(accuracy(end)):.2%}, "
        f"{max(accuracy(end)):.2%}]",
        *controls,
        barrier,
    ]
    return "| " + " | ".join(cells) + " |"


def options(folder: Path) -> str:
    """The options that make the run what it is, as flags."""
    config = runs.read_json(folder / "config.json")["config"]
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
    folders.sort(key=lambda f: runs.read_json(f / "config.json")["started"])
    print(
        "| data | options | seeds | rounds | dense | weights left (by layer) | "
        "accuracy [min, max] | random | shuffled | reinit | barrier, points |"
    )
    print("|" + "---|" * 11)
    for folder in folders:
        print(row(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
