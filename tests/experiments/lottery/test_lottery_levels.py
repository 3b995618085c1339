"""Levels on disk are read as they were written; networks of a run by their names."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax import masks, models, runs, train, trees
from sparsejax.experiments import lottery
from sparsejax.experiments.lottery import checkpoints

MASK = {"a": {"kernel": jnp.array([[[1.0, 0.0]]]), "bias": jnp.array([1.0])}}


def state(number):
    params = {"a": {"kernel": jnp.array([[[number, 0.0]]]), "bias": jnp.zeros((1, 2))}}
    keys = jax.random.split(jax.random.key(int(number)), 1)
    return train.init(params, optax.sgd(0.1, momentum=0.9), keys)


def place(record):
    return record["arm"], record["level"], record["seed"]


def test_states_come_back_as_they_were(tmp_path):
    checkpoints.save_rewind(tmp_path, state(1.0))
    checkpoints.save_state(tmp_path, 3, "rewind", state(2.0), MASK)
    rewind = checkpoints.read_rewind(tmp_path, state(9.0))
    trained, mask = checkpoints.read_state(tmp_path, 3, "rewind", state(9.0), MASK)
    jax.tree.map(np.testing.assert_array_equal, mask, MASK)
    for one, other in ((rewind, state(1.0)), (trained, state(2.0))):
        arrays, same = map(trees.to_arrays, (one, other))
        assert arrays.keys() == same.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, same[name], name)
    assert checkpoints.levels(tmp_path, "rewind") == (3,)
    params, mask = checkpoints.read_network(tmp_path, 3, "rewind", 0, 1)
    assert params["a"]["kernel"].tolist() == [[2.0, 0.0]]
    assert mask["a"]["kernel"].tolist() == [[True, False]]


def test_a_damaged_level_says_so(tmp_path):
    checkpoints.save_network(tmp_path, 0, "reinit", state(1.0).params, MASK)
    with pytest.raises(runs.DamagedFile, match="holds no networks of 2 seeds"):
        checkpoints.read_network(tmp_path, 0, "reinit", 0, 2)
    path = checkpoints.path(tmp_path, 0, "reinit")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(runs.DamagedFile):
        checkpoints.read_network(tmp_path, 0, "reinit", 0, 1)


def test_runs_are_read_by_arm_level_and_seed(small, tiny):
    run = lottery.read(small[0])
    assert run.records == small[1] and run.config == lottery.resolve(run.config)
    assert run.arms == ("rewind", "finetune", "random_global", "random_layerwise",
                        "reinit")  # fmt: skip
    assert run.levels["rewind"] == (0, 1, 2, 3)
    assert run.levels["reinit"] == run.levels["finetune"] == (1, 2, 3)
    for arm, level, seed in (("rewind", 0, 1), ("reinit", 2, 0), ("finetune", 3, 1)):
        params, mask = lottery.network(run, arm, level, seed)
        row = next(r for r in run.records if place(r) == (arm, level, seed))
        assert masks.counts(mask) == row["kept_per_layer"]
        x, y = lottery.task(run.config).test
        logits = lottery.model(run).apply(params, x.reshape(len(x), -1))
        assert float((logits.argmax(-1) == y).mean()) == pytest.approx(
            row["test_accuracy"]
        )
    run = lottery.read(tiny[0])
    params, mask = lottery.network(run, "random_layerwise", seed=3)
    assert sum(masks.counts(mask).values()) == run.records[-1]["kept"]
    x = lottery.task(run.config).test[0]
    assert x.shape[1:] == (32, 32, 3)
    logits = lottery.model(run).apply(params, jnp.asarray(x))
    assert logits.shape == (4, params["linear"]["bias"].size)


def test_untrained_networks_are_those_that_training_began_with(small, tiny):
    for folder, _ in (small, tiny):
        run = lottery.read(folder)
        seed = run.seeds[1]
        params, mask = lottery.untrained(run, lottery.subject(folder).shape, seed)
        trained, _ = lottery.network(run, level=0, seed=seed)
        assert jax.tree.structure(params) == jax.tree.structure(trained)
        assert masks.count(mask) == run.records[0]["kept"]
        rewind = runs.read_arrays(folder / "rewind.npz")
        near = trees.to_arrays({"params": params})
        for name, array in near.items():
            if name.endswith("kernel"):  # a step or seven later
                there = rewind[name][1]
                assert np.corrcoef(array.ravel(), there.ravel())[0, 1] > 0.8, name


def test_what_is_not_there_is_named(small, tmp_path):
    run = lottery.read(small[0])
    for where, message in (
        ({"seed": 9}, "has no seed 9; there are 0, 1"),
        ({"level": 9}, "has no level 9; there are 0 to 3"),
        ({"arm": "reinit", "level": 0}, "no level 0 of reinit; there are 1 to 3"),
        ({"arm": "trained"}, "has no arm 'trained'; there are 'rewind'"),
    ):
        with pytest.raises(ValueError, match=message):
            lottery.network(run, **where)
    with pytest.raises(ValueError, match="is not a lottery run"):
        lottery.read(tmp_path)
    runs.start(tmp_path / "new", lottery.Config(), kind="lottery")
    with pytest.raises(ValueError, match="has no finished level yet"):
        lottery.read(tmp_path / "new")
    runs.start(tmp_path / "other", lottery.Config(), kind="spade")
    with pytest.raises(ValueError, match="is not a lottery run"):
        lottery.read(tmp_path / "other")


def test_the_network_of_a_run_is_that_of_its_config(small):
    run = lottery.read(small[0])
    params, _ = lottery.network(run)
    x = jnp.ones(64)
    same = models.mlp((12, 8), 10).apply(params, x)
    np.testing.assert_array_equal(lottery.model(run).apply(params, x), same)
    assert dataclasses.replace(run.config, rounds=3) == run.config


def test_a_subject_is_a_network_with_its_data(small, tiny):
    for folder, _ in (small, tiny):
        one = lottery.subject(folder, arm="finetune", level=1)
        row = next(r for r in lottery.read(folder).records
                   if place(r) == ("finetune", 1, 0))  # fmt: skip
        assert one.network == (*place(row), row["density"], row["test_accuracy"])
        logits = one.fn(one.params, jnp.asarray(one.x))
        accuracy = lottery.task(lottery.read(folder).config).accuracy(logits, one.y)
        assert float(accuracy) == pytest.approx(row["test_accuracy"], abs=1e-6)
        assert one.level(0).network.arm == "rewind"
        assert len(one.networks) == len(lottery.read(folder).records)
        assert "finetune, seed 0, level 1" in one.title


def test_a_network_is_the_same_wherever_its_run_lies(small, tmp_path, monkeypatch):
    """And another if its parameters are, whatever the run is called."""
    folder = small[0]
    one = lottery.subject(folder, level=1).source
    shutil.copytree(folder, tmp_path / "run")
    ways = (f"{folder}/", folder / ".." / folder.name, tmp_path / "run")
    assert all(lottery.subject(way, level=1).source == one for way in ways)
    monkeypatch.chdir(folder.parent)
    assert lottery.subject(folder.name, level=1).source == one
    path = checkpoints.path(tmp_path / "run", 1, "rewind")
    arrays = runs.read_arrays(path)
    arrays["params/dense_0/bias"] = arrays["params/dense_0/bias"] + 1
    runs.write_arrays(path, arrays)
    other = lottery.subject(tmp_path / "run", level=1).source
    assert {k for k in one if one[k] != other[k]} == {"parameters"}
