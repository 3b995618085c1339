"""The report says what the records say."""

import dataclasses

import numpy as np
import pytest

from sparsejax.experiments import lottery_report
from sparsejax.experiments.lottery_config import Config


def record(level, variant, seed, kept, accuracy, barrier=None):
    units = {"constant": level, "unread": 0, "units": 4}
    return {
        "level": level, "variant": variant, "seed": seed, "kept": kept,
        "density": kept / 100, "kept_per_layer": {"dense_0/kernel": kept},
        "test_accuracy": accuracy, "test_loss": 1.0, "barrier": barrier,
        "idle": {"hidden_0": units},
    }  # fmt: skip


RECORDS = [
    record(0, "ticket", 0, 100, 0.9),
    record(0, "ticket", 1, 100, 0.8),
    record(1, "ticket", 0, 25, 0.95),
    record(1, "ticket", 1, 25, 0.85),
    record(1, "shuffled", 0, 25, 0.5),
    record(1, "shuffled", 1, 25, 0.7),
]
LEVELS = [{"params/dense_0/kernel": np.ones((2, 25, 4)) * k} for k in (1, -1)]


def write(folder, records, levels):
    config = dataclasses.asdict(Config(seeds=(0, 1)))
    lottery_report.write(folder, config, records, levels, (5, 5, 1))
    return (folder / "index.html").read_text()


def test_the_finding_is_the_last_ticket_over_seeds():
    assert lottery_report.finding(RECORDS) == (
        "25 of 100 weights classify 90.0% (dense: 85.0%)"
    )


def test_facts_table_and_figures(tmp_path):
    page = write(tmp_path, RECORDS, LEVELS)
    for text in ("85.00%", "90.00%", "60.00%", "85.00% to 95.00% over 2 seeds"):
        assert text in page
    assert "smallest winning ticket" in page and ">25<" in page
    names = {path.name for path in tmp_path.glob("fig_*.svg")}
    assert names == {f"fig_{n}.svg" for n in ("accuracy", "layers", "idle", "filters")}


@pytest.mark.parametrize("barrier", [None, 0.01])
def test_a_dense_network_alone_has_no_winning_ticket(tmp_path, barrier):
    records = [record(0, "ticket", seed, 100, 1.0, barrier) for seed in (0, 1)]
    page = write(tmp_path, records, LEVELS[:1])
    assert ">none<" in page
    assert (tmp_path / "fig_barrier.svg").exists() == (barrier is not None)
