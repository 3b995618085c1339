"""Runs on pruning for a sample: controls, intervals, report."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import prune, runs
from sparsejax.experiments import spade, spade_measure, spade_report


def arrays(rng, gain):
    """What a seed leaves, with a known gain of SPADE over dense."""
    found = {"accuracy": 0.8, "success": 0.9, "density": np.array([0.2, 1, 0.5, 1])}
    auc = rng.uniform(0.5, 0.9, 12)
    for arm in spade_measure.ARMS:
        for name in ("auc", *spade_report._COLUMNS):
            found[f"measures/{arm}/{name}"] = auc + gain * (arm == "spade")
        found[f"maps/{arm}"] = rng.uniform(size=(2, 8, 8))
    found["shown"] = rng.uniform(size=(2, 8, 8, 3))
    return {name: np.asarray(value) for name, value in found.items()}


def test_gains_are_paired_and_the_page_tells_them(rng, tmp_path):
    found = {seed: arrays(rng, 0.05 + 0.01 * seed) for seed in (0, 1)}
    records = [r for seed in found for r in spade_report.records(seed, found[seed])]
    mean, low, high = spade_report.gains(records, "spade")
    assert mean == pytest.approx(0.055) and low == pytest.approx(0.05)
    assert high == pytest.approx(0.06)
    assert spade_report.gains(records, "magnitude") == (0, 0, 0)
    runs.write_metrics(tmp_path, records)
    spade_report.write(tmp_path, spade.Config(seeds=(0, 1)), records, found)
    page = (tmp_path / "index.html").read_text()
    assert "+5.5, 95% interval +5.0 to +6.0" in page
    assert "+5.5 (+5.0 to +6.0)" in (tmp_path / "table.md").read_text()
    assert spade.summary(tmp_path).count("\n") == 2
    assert json.loads((tmp_path / "metrics.jsonl").read_text().split("\n")[1])["arm"]


def test_controls_keep_the_largest_of_what_they_look_at():
    kernel = jnp.array([[1.0, -4.0], [3.0, 2.0]])
    state = prune.hessian(np.array([[10.0, 0.1]]))
    by_size = spade_measure._largest(kernel, state, 0.5, 1)
    assert by_size.mask.tolist() == [[0, 1], [1, 0]]
    by_use = spade_measure._wanda(kernel, state, 0.5, 1)
    assert by_use.mask.tolist() == [[1, 1], [0, 0]]
    assert by_use.kernel.tolist() == [[1, -4], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": (0, 0)}, "different"),
        ({"count": 1}, "at least 2"),
        ({"share": 0.0}, "share"),
        ({"densities": (0.5,)}, "1 among them"),
        ({"samples": 0}, "samples must be at least 1"),
    ],
)
def test_bad_configs(change, message):
    with pytest.raises(ValueError, match=message):
        spade.check(spade.Config(**change))


def test_missing_data_is_named(tmp_path):
    with pytest.raises(ValueError, match="train.zip is missing"):
        spade.run(spade.Config(), tmp_path / "run", data_dir=tmp_path)
