"""Lottery runs of residual networks, and their dissection: arms, resume, reports."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax import data, runs
from sparsejax.experiments import (
    checkpoints,
    dissect,
    dissect_report,
    residual,
    residual_config,
)
from sparsejax.experiments.residual import Config

TINY = Config(
    widths=(2, 2, 2), train_images=8, test_images=4, epochs=2, batch_size=4, rounds=1,
    rewind_to=1, arms=("rewind", "finetune", "random"),
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "run"
    return folder, residual.run(TINY, folder, report=lambda line: None)


@pytest.mark.slow
def test_arms_share_the_first_training_and_keep_as_many(finished):
    folder, records = finished
    assert [(r["arm"], r["level"]) for r in records] == [
        (arm, level) for arm in residual.ARMS for level in (0, 1)
    ]
    kept = {r["level"]: r["kept"] for r in records}
    assert all(r["kept"] == kept[r["level"]] for r in records)
    assert kept[1] == round(kept[0] / 2)
    assert runs.read_metrics(folder) == records
    levels = {
        arm: checkpoints.read_level(folder / "seed_0" / arm, 1) for arm in residual.ARMS
    }
    masks = {
        arm: {k: v for k, v in arrays.items() if k.startswith("mask/") and v.ndim}
        for arm, arrays in levels.items()
    }
    assert len(masks["rewind"]) == 8
    for name, mask in masks["rewind"].items():
        assert mask.sum() == masks["random"][name].sum()
        pruned = levels["rewind"]["params/" + name.removeprefix("mask/")][~mask]
        assert not pruned.any()
    steps = {arm: int(arrays["step"]) for arm, arrays in levels.items()}
    assert steps == {"rewind": 4, "finetune": 7, "random": 4}


@pytest.mark.slow
def test_a_killed_run_goes_on(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "DONE").unlink()
    level = folder / "seed_0" / "random" / "level_01" / "checkpoint.npz"
    before = runs.read_arrays(level)
    level.unlink()
    lines = []
    assert residual.run(TINY, folder, report=lines.append) == finished[1]
    assert sum("going on after level 1" in line for line in lines) == 2
    for name, array in runs.read_arrays(level).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.slow
def test_dissects_every_network_and_an_untrained_one(finished, tmp_path):
    config = dissect.Config(
        run=str(finished[0]), images=6, quantile=0.05, rotations=1, node="layer2_0"
    )
    records = dissect.run(config, tmp_path / "d", report=lambda line: None)
    assert [(r["arm"], r["level"]) for r in records] == [
        ("rewind", 0), ("untrained", 0), ("rewind", 1), ("finetune", 0),
        ("finetune", 1), ("random", 0), ("random", 1),
    ]  # fmt: skip
    same = [r for r in records if r["level"] == 0 and r["arm"] != "untrained"]
    assert len({r["units"] for r in same}) == 1 and same[0]["of"] == 2
    assert {r["still"] for r in same} <= {1.0} or same[0]["units"] == 0
    page = (tmp_path / "d" / "index.html").read_text()
    assert "detectors, and" in page and (tmp_path / "d" / "units.csv").exists()
    assert dissect.summary(tmp_path / "d").count("\n") == 2


def test_training_and_dissection_see_different_scenes():
    config = dataclasses.replace(TINY, test_images=4)
    task = residual_config.task(config, None)
    key = jax.random.key(residual_config.SCENES)
    shown = data.scenes(key, 3, size=32, first=4).labelled.images
    for x in (task.training[0], task.test[0]):
        assert not any((image == x).all((1, 2, 3)).any() for image in shown)
    logits = np.where(task.test[1] > 0, 1.0, -1.0)
    assert task.accuracy(logits, task.test[1]) == 1
    assert task.accuracy(-logits, task.test[1]) == 0
    assert task.accuracy(np.ones_like(logits), task.test[1]) == 0.5


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_schedules_rise_and_fall(schedule):
    config = dataclasses.replace(TINY, schedule=schedule, optimizer="momentum")
    made = residual_config.optimizer(config, 90)
    params = {"kernel": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}
    state, rates = made.init(params), []
    gradient = {"kernel": jnp.zeros((1, 1)), "bias": jnp.ones(1)}
    for _ in range(90):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = made.update(gradient, state, params)
        rates.append(-np.asarray(optax.tree.get(updates, "bias"))[0])
    summed = 10 * (1 - 0.9 ** np.arange(1, 91))  # momentum of a constant gradient
    rates = np.array(rates) / summed / config.learning_rate
    assert rates[0] == 0 and rates[9] == pytest.approx(1, abs=0.2)
    end = {"cosine": 0.01, "steps": 0.001}[schedule]
    assert rates[-1] == pytest.approx(end, rel=0.2)


def rows(*levels, accuracy=(0.8, 0.8, 0.3)):
    """Detectors of the seeds of every level."""
    return [
        {"arm": "rewind", "seed": seed, "level": level, "units": units,
         "units_normalised": 10 - level, "density": 0.5**level,
         "test_accuracy": accuracy[level]}
        for level, seeds in enumerate(levels) for seed, units in enumerate(seeds)
    ]  # fmt: skip


def test_findings_name_hypotheses():
    flat = dissect_report.finding(rows((40, 40), (42, 39), (9, 9)))
    assert "to 50.0% of their weights" in flat
    assert "40.5 after 40.0 (hypothesis A) detectors" in flat
    assert "9.0 after 10.0 (hypothesis C) by scores" in flat
    assert "hypothesis" not in dissect_report.finding(rows((4,), (5,)))
    assert "(hypothesis B) detectors" in dissect_report.finding(rows((4, 4), (5, 6)))
    assert "(hypothesis C) detectors" in dissect_report.finding(rows((4, 4), (3, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ("finetune",)}, "arms must hold rewind"),
        ({"fraction": 1.0}, "fraction"),
        ({"seeds": (0, 0)}, "different"),
        ({"epochs": 0}, "epochs must be in .*"),
        ({"rounds": -1}, "rounds must be in .*"),
        ({"model": "resnet9"}, "unknown model"),
        ({"rewind_to": 99}, "rewind_to must be below 4"),
        ({"dataset": "nowhere"}, "nowhere"),
    ],
)
def test_bad_configs_leave_no_folder(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        residual.run(dataclasses.replace(TINY, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_dissected_is_named(tmp_path):
    def run(**change):
        return dissect.run(dissect.Config(**change), tmp_path / "d")

    with pytest.raises(ValueError, match="run is missing"):
        run()
    with pytest.raises(ValueError, match="is no run folder of launch/train.py"):
        run(run=str(tmp_path))
    with pytest.raises(ValueError, match="images must be in"):
        run(run=str(tmp_path), images=0)
    with pytest.raises(ValueError, match="unknown union"):
        run(run=str(tmp_path), union="x")
