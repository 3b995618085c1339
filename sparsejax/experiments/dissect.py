"""Does pruning change what units stand for? Levels of a lottery run, dissected.

After Frankle and Bau, "Dissecting Pruned Neural Networks" (2019): how many units of the
last stage are detectors of a concept, of how many concepts, of what kinds, and whether
a unit of the dense network keeps its concept. Beside them what they leave out: chance,
the same features rotated, an untrained network, and scores in which the size of a
concept does not count.

    <folder>/seed_0/ARM_03.npz   scores/unit, scores/normalised, of rotations too
    <folder>/metrics.jsonl       a line for each network
    <folder>/fig_*.svg, units.csv, index.html

A run that was killed goes on with the network it was at.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import data, dissect, lift, runs
from sparsejax.experiments import dissect_report, fields, lottery

CHOICES = {"union": dissect.UNIONS}
UNTRAINED = "untrained"
_LIKE = {"test_accuracy": (int, float)}
WITHIN = {
    "size": "[0, 2^16]",
    "images": f"[1, {lottery.DISSECTED}]",
    "quantile": "(0, 1)",
    "threshold": "[0, 1]",
    "normalised_threshold": "[0, 1]",
    "rotations": "[0, 1000]",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to dissect.

    Attributes:
        run: folder of a lottery run of a residual network.
        node: the activation; by default the last block's output.
        broden: folder of labelled images in the Broden format; by default scenes that
            the networks were not trained on.
        size: height and width to resample Broden's images to; 0 leaves them.
        images: how many scenes.
        quantile: share of a unit's values that count as active.
        threshold: a unit is a detector if its score is above this.
        normalised_threshold: likewise for scores over the best possible one.
        union: "unit", "image" or "none": which active pixels count against a unit.
        rotations: random ones of the features, as a control.
    """

    run: str = ""
    node: str = ""
    broden: str = ""
    size: int = 0
    images: int = 1000
    quantile: float = 0.01
    threshold: float = 0.05
    normalised_threshold: float = 0.5
    union: str = "unit"
    rotations: int = 2


def check(config: Config) -> None:
    """Raise a `ValueError` for what cannot be dissected."""
    fields.check(config, WITHIN, CHOICES)
    if not config.run:
        raise ValueError("run is missing: a folder that launch/lottery.py has made")


def run(
    config: Config,
    folder: str | Path,
    *,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Dissect, or go on; the records of `metrics.jsonl`.

    Args:
        config: what to dissect.
        folder: where; a folder of an unfinished run of the same config is continued.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Raises:
        ValueError: for bad input.
    """
    folder = Path(folder)
    check(config)
    subject = _Subject(config)
    if runs.start(
        folder, config, kind="dissect", about={"jax": jax.__version__}, force=force
    ):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    records, tables = [], {}
    for number, trained in enumerate(subject.networks):
        seed, arm, level = (trained[name] for name in ("seed", "arm", "level"))
        file = folder / f"seed_{seed}" / f"{arm}_{level:02d}.npz"

        def make(trained=trained):
            return subject.scores(trained)

        found = runs.cached(file, make, report)
        table = subject.table(found["scores/unit"])
        tables[seed, arm, level] = table
        dense = tables[seed, subject.networks[0]["arm"], 0]
        records.append(subject.record(trained, found, table, dense))
        runs.write_metrics(folder, records)
        report(
            f"{number + 1} of {len(subject.networks)}: seed {seed}, {arm}, level "
            f"{level}: {records[-1]['units']} of {len(table.label)} units are detectors"
        )
    first = subject.networks[0]
    shown = subject.exemplars(first)
    dissect_report.write(folder, config, records, shown, subject.labels)
    table = tables[first["seed"], first["arm"], 0]
    dissect.write_table(folder / "units.csv", table)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{dissect_report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --node=layer2_0, --quantile=0.005, or --broden=FOLDER"
    )


class _Subject:
    """The networks of a run, and what they are dissected on."""

    def __init__(self, config: Config):
        self.config, self.root = config, Path(config.run)
        self.of = lottery.read(self.root)
        if not str(self.of.config.model).startswith("resnet"):
            raise ValueError(f"{self.root}: no residual networks to dissect")
        fields.records(self.root, _LIKE)
        self.networks = []
        for record in self.of.records:
            self.networks.append(record)
            if not record["level"]:
                blank = {**record, "arm": UNTRAINED, "test_accuracy": None}
                self.networks.append(blank)
        if not self.networks:
            raise ValueError(f"{self.root} has no finished level yet")
        self.labels, self.batches = self._images()
        self.model = lottery.model(self.of)
        params = self.params(self.networks[0])
        last = len([k for k in params if "layer" in k])
        self.node = config.node or f"layer{last}_{len(params[f'layer{last}']) - 1}"

    def params(self, network) -> Any:
        """Parameters of a trained network, or of one before training."""
        if network["arm"] == UNTRAINED:
            return lottery.untrained(self.of, network["seed"])[0]
        where = network["arm"], network["level"], network["seed"]
        return lottery.network(self.of, *where)[0]

    def scores(self, network) -> dict[str, np.ndarray]:
        """Scores of units, and of directions of rotations of them."""
        params, units = self.params(network), None
        found = {}
        for i in range(1 + self.config.rotations):
            key = jax.random.fold_in(jax.random.key(1), i)
            turn = None if units is None else dissect.rotation(key, units)
            made = self._dissect(params, turn)
            units = len(made.thresholds)
            name = f"rotated_{i}" if i else "scores"
            found[f"{name}/unit"] = made.scores(self.config.union)
            found[f"{name}/normalised"] = made.scores(
                self.config.union, normalized=True
            )
        return found

    def exemplars(self, network, units: int = 12, images: int = 6) -> dict[str, Any]:
        """The best units of a network: where they are active in their top images."""
        params = self.params(network)
        made = self._dissect(params, None)
        table = made.table(self.config.union)
        best = np.argsort(-table.score)[:units]
        x = np.concatenate([batch[0] for batch in self.batches])
        shown = []
        for unit in best:
            top = made.exemplars[unit][:images]
            acts = _activations(self.model.apply, self.node, params, x[top])
            size = x.shape[1:3]
            masks = [dissect.upsample(a, size)[..., unit] > made.thresholds[unit]
                     for a in acts]  # fmt: skip
            shown.append(np.where(np.stack(masks)[..., None], x[top], 0.2 * x[top]))
        return {"table": table, "units": best, "images": shown}

    def _dissect(self, params, rotation) -> dissect.Dissection:
        return dissect.dissect(
            self.model.apply, params, self.node, self.batches, self.labels,
            quantile=self.config.quantile, rotation=rotation, progress=False,
        )  # fmt: skip

    def table(self, scores) -> dissect.Table:
        return dissect.assign(scores, self.labels)

    def record(self, network, found, table, dense) -> dict[str, Any]:
        """What is told of one network."""
        config = self.config
        both = dissect.consistency(dense, table, threshold=config.threshold)
        record = {k: network[k] for k in ("seed", "arm", "level", "density")}
        record["test_accuracy"] = network["test_accuracy"]

        def count(scores, at):
            return _counts(self.table(scores), at)

        turned = range(1, 1 + config.rotations)
        for kind, at in (
            ("unit", config.threshold), ("normalised", config.normalised_threshold),
        ):  # fmt: skip
            end = "" if kind == "unit" else "_normalised"
            units, concepts = count(found[f"scores/{kind}"], at)
            rotated = [count(found[f"rotated_{i}/{kind}"], at) for i in turned]
            mean = np.mean(rotated, 0).tolist() if rotated else [None, None]
            record |= {f"units{end}": units, f"concepts{end}": concepts}
            record |= {f"rotated{end}": mean[0], f"rotated_concepts{end}": mean[1]}
        categories = table.by_category(config.threshold)
        return record | {
            "of": len(table.label),
            "categories": {k: list(v) for k, v in categories.items()},
            "still": both.still_detector,
            "same": both.same_label,
            "still_by_chance": both.still_detector_by_chance,
            "same_by_chance": both.same_label_by_chance,
            "jaccard": both.jaccard,
            "survival": both.survival,
        }

    def _images(self):
        """Labels, and batches of images with them."""
        if self.config.broden:
            size = self.config.size or None
            found = data.broden(self.config.broden, size=size)
            return found.labels, found
        first = self.of.config.num_test_images or 1000
        drawn = data.scenes(
            jax.random.key(lottery.SCENES),
            self.config.images,
            size=32,
            first=first,
        )
        return drawn.labels, [drawn.labeled]


def _counts(table: dissect.Table, threshold: float) -> tuple[int, int]:
    units = int(table.detectors(threshold).sum())
    return units, len(table.concepts(threshold))


def _activations(fn, node: str, params, x) -> np.ndarray:
    return np.asarray(lift.activations(fn, [node])(params, jnp.asarray(x))[1][node])
