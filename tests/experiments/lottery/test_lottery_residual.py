"""Lottery runs of residual networks: every arm, resumed, on images of any kind."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from sparsejax import data, runs
from sparsejax.experiments import lottery
from sparsejax.experiments.lottery import SCENES, build, checkpoints, resolve

SEQUENCES = ("rewind", "trained", "finetune", "rewind_weights")


def quiet(line):
    pass


def test_arms_share_the_first_training_and_keep_as_many(tiny, resnet):
    folder, records = tiny
    assert [(r["level"], r["arm"], r["seed"]) for r in records] == [
        (level, arm, seed)
        for level, arms in ((0, ("rewind",)), (1, resnet.arms))
        for arm in arms
        for seed in (0, 3)
    ]
    kept = {r["level"]: r["kept"] for r in records}
    assert all(r["kept"] == kept[r["level"]] for r in records)
    assert kept[1] == round(kept[0] / 2)
    assert runs.read_metrics(folder) == records
    assert all(r["barrier"] is None for r in records)
    levels = {
        arm: runs.read_arrays(checkpoints.path(folder, 1, arm)) for arm in resnet.arms
    }
    for arm, arrays in levels.items():
        masks = {k: v for k, v in arrays.items() if k[:5] == "mask/" and v.ndim > 1}
        assert len(masks) == 8
        for name, mask in masks.items():
            assert not arrays["params/" + name.removeprefix("mask/")][~mask].any()
            first = levels["rewind"][name]
            same = arm in (*SEQUENCES, "random_layerwise", "reinit")
            assert not same or (mask.sum(0) <= first.sum(0).max() * 2).all()
            if arm in ("random_layerwise", "reinit"):
                assert mask.sum() == first.sum()
    steps = {arm: levels[arm]["step"].tolist() for arm in SEQUENCES}
    assert steps == {"rewind": [4, 4], "trained": [4, 4], "finetune": [7, 7],
                     "rewind_weights": [7, 7]}  # fmt: skip


def test_a_killed_run_goes_on(tiny, resnet, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny[0], folder)
    level = checkpoints.path(folder, 1, "random_layerwise")
    before = runs.read_arrays(level)
    level.unlink()
    lines = []
    assert lottery.run(resnet, folder, log=lines.append) == tiny[1]
    assert lines[1] == f"resuming after level 1 in {folder}"
    for name, array in runs.read_arrays(level).items():
        np.testing.assert_array_equal(array, before[name])
    page = (folder / "index.html").read_text()
    assert "Accuracy is " in page and (folder / "fig_layers.svg").exists()
    assert lottery.summary(folder).count("\n") == 2


@pytest.mark.slow
def test_a_seed_alone_is_the_same_bit_for_bit(tiny, resnet, tmp_path):
    """Seeds are trained in turn: the others cannot matter."""
    one = dataclasses.replace(resnet, seeds=(3,), arms=("rewind",), barrier=False)
    lottery.run(one, tmp_path / "run", log=quiet)
    for level in (0, 1):
        alone = runs.read_arrays(checkpoints.path(tmp_path / "run", level, "rewind"))
        both = runs.read_arrays(checkpoints.path(tiny[0], level, "rewind"))
        for name, array in alone.items():
            np.testing.assert_array_equal(array[0], both[name][1], err_msg=name)


@pytest.mark.slow
def test_barriers_between_two_orders_of_the_data(resnet, tmp_path):
    one = dataclasses.replace(resnet, arms=("rewind",), barrier=True, score="snip")
    for record in lottery.run(one, tmp_path / "run", log=quiet):
        assert 0 <= record["barrier"] < 1
    assert (tmp_path / "run" / "fig_barrier.svg").exists()


def test_folders_of_images_are_read_while_training(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (20, 24, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
    config = lottery.Config(
        dataset=str(tmp_path), image_size=12, widths=(2, 2, 2), epochs=1, batch_size=4,
        rounds=0, rewind_to=0, num_train_images=4, augment=True,
    )  # fmt: skip
    records = lottery.run(config, tmp_path / "run", log=quiet)
    assert [r["level"] for r in records] == [0]
    run = lottery.read(tmp_path / "run")
    assert lottery.subject(tmp_path / "run").shape == (12, 12, 3)
    assert lottery.network(run)[0]["linear"]["bias"].shape == (2,)


def test_training_and_dissection_see_different_scenes(resnet):
    task = lottery.task(resnet)
    key = jax.random.key(SCENES)
    shown = data.scenes(key, 3, size=32, first=4).labeled.images
    for x in (task.training[0], task.test[0]):
        assert not any((image == x).all((1, 2, 3)).any() for image in shown)
    logits = np.where(task.test[1] > 0, 1.0, -1.0)
    for put in (np.asarray, jnp.asarray):  # numbers of both kinds are told alike
        y = put(task.test[1])
        assert task.accuracy(put(logits), y) == 1
        assert task.accuracy(put(-logits), y) == 0
        assert task.accuracy(put(np.ones_like(logits)), y) == 0.5


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_schedules_rise_and_fall(resnet, schedule):
    config = resolve(
        dataclasses.replace(resnet, schedule=schedule, optimizer="momentum")
    )
    rule = build.optimizer(config, 90)
    params = {"kernel": jnp.zeros((1, 1)), "bias": jnp.zeros(1)}
    state, rates = rule.init(params), []
    gradient = {"kernel": jnp.zeros((1, 1)), "bias": jnp.ones(1)}
    for _ in range(90):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = rule.update(gradient, state, params)
        rates.append(-np.asarray(optax.tree.get(updates, "bias"))[0])
    summed = 10 * (1 - 0.9 ** np.arange(1, 91))  # momentum of a constant gradient
    rates = np.array(rates) / summed / config.learning_rate
    assert rates[0] == 0 and rates[9] == pytest.approx(1, abs=0.2)
    end = {"cosine": 0.01, "steps": 0.001}[schedule]
    assert rates[-1] == pytest.approx(end, rel=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewind_to": 99}, r"rewind_to must be in \[0, 4\)"),
        ({"batch_size": 9}, "batch_size 9 is larger than the 8 training images"),
        ({"dataset": "nowhere"}, "no dataset 'nowhere'"),
    ],
)
def test_what_cannot_be_run_leaves_no_folder(change, message, resnet, tmp_path):
    with pytest.raises(ValueError, match=message):
        lottery.run(dataclasses.replace(resnet, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
