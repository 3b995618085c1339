"""The report says what the records say."""

import numpy as np
import pytest

from sparsejax.experiments._study.run import Study
from sparsejax.experiments.lottery import Config, resolve
from sparsejax.experiments.lottery.figures import finding
from sparsejax.experiments.lottery.report import page

CONFIG = resolve(Config(seeds=(0, 1)))
SCENES = resolve(Config(dataset="scenes", seeds=(0, 1)))


def record(level, arm, seed, kept, accuracy, barrier=None, idle=True):
    units = {"constant": level, "unread": 0, "units": 4}
    return {
        "level": level, "arm": arm, "seed": seed, "kept": kept,
        "density": kept / 100, "kept_per_layer": {"dense_0/kernel": kept},
        "test_accuracy": accuracy, "test_loss": 1.0, "barrier": barrier,
        "idle": {"hidden_0": units} if idle else {},
    }  # fmt: skip


RECORDS = [
    record(0, "rewind", 0, 100, 0.9),
    record(0, "rewind", 1, 100, 0.8),
    record(1, "rewind", 0, 25, 0.95),
    record(1, "rewind", 1, 25, 0.85),
    record(1, "random_layerwise", 0, 25, 0.5),
    record(1, "random_layerwise", 1, 25, 0.7),
]
KERNELS = [np.ones((25, 4)) * k for k in (1, -1)]


def written(folder, records, kernels, config=CONFIG):
    with Study("lottery", config, folder / "run") as study:
        study.add(records)
        page(study, config, kernels, (5, 5, 1))
    return (folder / "run" / "index.html").read_text()


def test_the_finding_is_the_last_ticket_over_seeds():
    assert finding(CONFIG, RECORDS) == "25 of 100 weights classify 90.0% (dense: 85.0%)"
    assert "within a point of it down to 25.0% of them" in finding(SCENES, RECORDS)


def test_facts_table_and_figures(tmp_path):
    text = written(tmp_path, RECORDS, KERNELS)
    for part in ("85.00%", "90.00%", "60.00%", "85.00% to 95.00% over 2 seeds"):
        assert part in text
    assert "smallest winning ticket" in text and ">25<" in text
    names = {path.name for path in tmp_path.glob("run/fig_*.svg")}
    assert names == {f"fig_{n}.svg" for n in ("accuracy", "layers", "idle", "filters")}


@pytest.mark.parametrize("barrier", [None, 0.01])
def test_a_dense_network_alone_has_no_winning_ticket(tmp_path, barrier):
    records = [record(0, "rewind", seed, 100, 1.0, barrier) for seed in (0, 1)]
    text = written(tmp_path, records, KERNELS[:1])
    assert ">none<" in text
    assert (tmp_path / "run" / "fig_barrier.svg").exists() == (barrier is not None)


def test_many_layers_and_colours_have_the_figures_that_apply(tmp_path):
    layers = {f"layer_{i}/kernel": 3 for i in range(20)}
    records = [
        {**record(level, "rewind", 0, 60, 0.7, idle=False), "kept_per_layer": layers}
        for level in range(2)
    ]
    text = written(tmp_path, records, [], SCENES)
    assert [path.name for path in tmp_path.glob("run/fig_*")] == ["fig_accuracy.svg"]
    assert "What the first layer" not in text and "resnet8" in text
