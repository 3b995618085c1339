"""The three orders against plain NumPy, smaller networks, and kills."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image
from scipy import stats

from sparsejax import models, runs, train, trees
from sparsejax.experiments import prune_order
from sparsejax.experiments._study.records import column
from sparsejax.experiments.prune_order import _run, measure, report, surfaces
from sparsejax.experiments.prune_order import train as training
from sparsejax.experiments.prune_order.config import ORDERS, Config
from sparsejax.masks import Masks

FLAGS = ["--widths=6,5", "--seeds=0:3", "--learning_rates=0.1", "--num_points=40",
         "--num_test_points=60", "--steps=20", "--num_frames=3",
         "--selections=std"]  # fmt: skip
SMALL = Config(
    widths=(6, 5), seeds=(0, 1, 2), learning_rates=(0.1,), num_points=40,
    num_test_points=60, steps=20, num_frames=3, selections=("std",),
)  # fmt: skip


def quiet(line):
    pass


@pytest.fixture(scope="module")
def task():
    return training.task(SMALL)


@pytest.fixture(scope="module")
def printed(tmp_path_factory, command_line):
    """What the command line prints that runs `SMALL`."""
    return command_line("prune_order", *FLAGS, f"--out={tmp_path_factory.mktemp('a')}")


@pytest.fixture(scope="module")
def finished(printed):
    folder = Path(printed[1].removeprefix("folder: "))
    return folder, runs.read_metrics(folder)


def read(folder, rate, selection=None):
    return runs.read(folder).arrays(_run.file_name(rate, selection))


def params_of(arrays, prefix, seed):
    """Kernels and biases of one network, in float64."""

    def get(i, leaf):
        return np.float64(arrays[f"{prefix}/dense_{i}/{leaf}"][seed])

    return [(get(i, "kernel"), get(i, "bias")) for i in range(3)]


def hidden(params, x):
    """Activations of both hidden layers in float64."""
    first = np.maximum(x @ params[0][0] + params[0][1], 0)
    return first, np.maximum(first @ params[1][0] + params[1][1], 0)


def small_accuracy(params, keep, x, y):
    """Accuracy of the physically smaller network."""
    (k0, b0), (k1, b1), (k2, b2) = params
    first, second = keep
    h = np.maximum(x @ k0[:, first] + b0[first], 0)
    h = np.maximum(h @ k1[np.ix_(first, second)] + b1[second], 0)
    return np.mean(((h @ k2[second] + b2)[:, 0] > 0) == y)


def smaller(tree, seed, units):
    """One network's parameters, of the units kept alone."""
    ends = [np.arange(2), *units, np.arange(1)]
    one = jax.tree.map(lambda leaf: leaf[seed], tree)
    return {
        f"dense_{i}": {
            "kernel": one[f"dense_{i}"]["kernel"][np.ix_(ends[i], ends[i + 1])],
            "bias": one[f"dense_{i}"]["bias"][ends[i + 1]],
        }
        for i in range(3)
    }


def test_adam_carries_a_weight_6_0055_rates_after_one_gradient():
    """By the update rule, and by optax itself, for gradients of any size."""
    b1, b2 = 0.9, 0.999
    first, second, far = 1 - b1, 1 - b2, 0.0  # moments after one gradient of 1
    for t in range(1, 1001):
        far += (first / (1 - b1**t)) / np.sqrt(second / (1 - b2**t))
        first, second = b1 * first, b2 * second
    assert far == pytest.approx(6.0055, abs=1e-4)
    assert measure.coast() == pytest.approx(far, rel=1e-12)
    adam, sizes = optax.adam(0.1), jnp.array([1e-3, 5.0])
    weights, state = jnp.zeros(2), adam.init(jnp.zeros(2))
    for step in range(90):
        with jax.numpy_dtype_promotion("standard"):
            update, state = adam.update(sizes if not step else 0 * sizes, state)
        weights = weights + update
    np.testing.assert_allclose(-weights / 0.1, far, rtol=1e-3)
    low, high = measure.COASTING
    assert low < far < high


@pytest.mark.slow
def test_pruned_first_equals_training_the_smaller_network(task):
    """Zeros stay zeros: as if the removed units had never been there."""
    kept = training.select(SMALL, task, "random", task.params)
    start = training.remove(SMALL, task, task.params, kept)
    found, _ = training.fit(task, 0.02, start, kept[1], 25)
    x, y = task.training
    small, adam = models.mlp((3, 3), 1), optax.adam(0.02)

    def loss(p):
        z = small.apply(p, x)[:, 0]
        return jnp.mean(jnp.logaddexp(jnp.float32(0), z) - z * y.astype(z.dtype))

    @jax.jit
    def step(params, state):
        updates, state = adam.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for seed in range(3):
        units = [np.flatnonzero(kept[0][f"hidden_{i}"][seed]) for i in range(2)]
        assert [len(u) for u in units] == [3, 3]  # of 6 and 5: 2.5 rounds to 2

        def cut(tree, seed=seed, units=units):
            return smaller(tree, seed, units)

        params = cut(start)
        state = adam.init(params)
        for _ in range(25):
            with jax.numpy_dtype_promotion("standard"):
                params, state = step(params, state)
        for name, layer in cut(found).items():
            np.testing.assert_allclose(
                layer["kernel"], params[name]["kernel"], rtol=2e-3, atol=2e-4
            )
        for i in range(3):
            whole = np.asarray(kept[1][f"dense_{i}"]["kernel"][seed])
            now = np.asarray(found[f"dense_{i}"]["kernel"][seed])
            assert (now[whole == 0] == 0).all() and (whole == 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("means", ["at_once", "sequential"])
def test_removal_is_the_formula(task, means):
    config = dataclasses.replace(SMALL, means=means)
    trained, _ = training.fit(task, 0.1, task.params, training.everything(task), 15)
    kept = training.select(config, task, "std", trained)
    found = training.remove(config, task, trained, kept)
    x = np.float64(task.training[0])

    def flat(tree):
        return {
            f"p/{layer}/{k}": np.asarray(v)
            for layer, p in tree.items()
            for k, v in p.items()
        }

    for seed in range(3):
        (k0, b0), (k1, b1), (k2, b2) = params_of(flat(trained), "p", seed)
        first, second = hidden([(k0, b0), (k1, b1)], x)
        keep = [np.asarray(kept[0][f"hidden_{i}"][seed]) for i in range(2)]
        lowest = np.argsort(first.std(axis=0), kind="stable")[:3]
        assert set(np.flatnonzero(keep[0] == 0)) == set(lowest)
        b1 = b1 + (first.mean(axis=0) * (1 - keep[0])) @ k1
        k1 = k1 * keep[0][:, None]
        if means == "sequential":
            second = np.maximum(first @ k1 + b1, 0)
        b2 = b2 + (second.mean(axis=0) * (1 - keep[1])) @ k2
        new = params_of(flat(found), "p", seed)
        live = keep[1] == 1
        np.testing.assert_allclose(new[1][1][live], b1[live], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(new[2][1], b2, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(new[1][0], np.float32(k1 * keep[1]))


@pytest.mark.slow
def test_every_step_is_over_all_of_the_data_and_frames_change_nothing(task):
    kept = training.everything(task)
    found, _ = training.fit(task, 0.1, task.params, kept, 7)
    filmed, film = training.fit(task, 0.1, task.params, kept, 7, frames=4)
    wanted, _ = train.fit(
        task.apply, task.params, Masks(kept, {}), task.training,
        optimizer=optax.adam(0.1), batch_size=40, key=task.keys, steps=7,
        data_key=task.order,
    )  # fmt: skip
    for a, b, c in zip(
        *map(jax.tree.leaves, (found, wanted.params, filmed)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(a, c)
    assert film["step"].tolist() == [0, 1, 2, 4, 7]
    last = film["dense_1"]["kernel"]
    np.testing.assert_array_equal(last[-1], found["dense_1"]["kernel"][0])
    np.testing.assert_array_equal(last[0], task.params["dense_1"]["kernel"][0])


def test_two_logits_are_binary_cross_entropy(task, rng):
    z, y = rng.normal(size=9) * 4, rng.integers(0, 2, 9)
    logits = training._two_logits(
        lambda p, x: x, None, jnp.asarray(z, jnp.float32)[:, None]
    )
    chance = 1 / (1 + np.exp(-z))
    wanted = -np.mean(y * np.log(chance) + (1 - y) * np.log(1 - chance))
    found = float(train.cross_entropy(logits, jnp.asarray(y)))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_comparison_counts_bits_and_coasts():
    start = np.float32([0.1, 0.2, 0.3, 0.4, 0.5])
    trained = np.float32([0.1, 0.8, 0.9, 0.41, 0.5])
    first = np.float32([0.1, 0.8, 0.3, 0.2, 0.5 + 6e-8])
    found = measure.compare(start, trained, first, 0.1)
    assert found["never_updated"] == {"trained": 0.4, "prune_train": 0.4, "both": 0.2}
    assert found["coasting"] == {"trained": 0.4, "prune_train": 0.2}
    wanted = stats.pearsonr(trained.astype(np.float64), first.astype(np.float64))
    assert found["correlation"][0] == pytest.approx(wanted.statistic)
    assert found["correlation"][1:] == pytest.approx(wanted.confidence_interval())
    assert measure.correlation(start, np.ones(5)) is None


def test_a_mean_has_students_interval(rng):
    values = rng.normal(size=12)
    found = measure.estimate(values)
    wanted = stats.ttest_1samp(values, 0).confidence_interval()
    assert found[1:] == pytest.approx(wanted)


def test_records_are_what_the_files_say(finished, task):
    """Accuracies of physically smaller networks, shares from the stored bits."""
    folder, records = finished
    x, y = (np.asarray(array) for array in task.test)
    assert len(records) == 3
    for record in records:
        rate, selection = record["learning_rate"], record["selection"]
        i = SMALL.seeds.index(record["seed"])
        found, whole = (
            read(folder, rate, selection),
            read(folder, rate),
        )
        keep = [np.flatnonzero(found[f"kept_nodes/hidden_{k}"][i]) for k in range(2)]
        everything = [np.arange(6), np.arange(5)]
        for order in ORDERS:
            arrays, units = (whole, everything) if order == "trained" else (found, keep)
            score = small_accuracy(params_of(arrays, order, i), units, x, y)
            assert record["test_accuracy"][order] == pytest.approx(score, abs=1e-6)
        path, here = "dense_1/kernel", np.ix_(*keep)
        start = whole[f"init/{path}"][i][here]
        pair = whole[f"trained/{path}"][i][here], found[f"prune_train/{path}"][i][here]
        same = [(a == start).mean() for a in pair]
        assert list(record["never_updated"].values())[:2] == pytest.approx(same)
        assert record["entries"] == 9
        first, second = hidden(
            params_of(whole, "trained", i), np.float64(task.training[0])
        )
        for name, h in (("hidden_0", first), ("hidden_1", second)):
            dead = (h.max(axis=0) == h.min(axis=0)).mean()
            assert record["constant_units"][name] == pytest.approx(dead)


def test_random_nodes_do_not_depend_on_what_was_trained(task):
    trained = jax.tree.map(lambda leaf: leaf + 1, task.params)
    kept, _ = training.select(SMALL, task, "random", trained)
    nodes, _ = training.select(SMALL, task, "random", task.params)
    for name in ("hidden_0", "hidden_1"):
        np.testing.assert_array_equal(kept[name], nodes[name])
        assert len(np.unique(nodes[name], axis=0)) > 1  # but not for every seed


def test_a_run_leaves_a_complete_folder(finished):
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.jsonl", "metrics.crc32",
        "DONE", "rate_0.1.npz", "rate_0.1_std.npz",
        "table.md", "index.html", "training.gif",
        "fig_accuracy.svg", "fig_surfaces_0.1.svg", "fig_kernels_0.1.svg",
        "fig_moves.svg", "fig_shares.svg", "fig_units.svg", "fig_correlation.svg",
        "fig_correlation_of_updates.svg",
    }  # fmt: skip
    html = (folder / "index.html").read_text()
    assert "data:image/gif;base64," in html
    assert "http://" not in html.split("<script")[0]
    with Image.open(folder / "training.gif") as film:
        assert film.n_frames >= 3
    lines = []
    prune_order.run(SMALL, folder, log=lines.append)
    assert "is complete" in lines[-1]


def test_a_run_says_what_it_does_found_and_where(printed, finished):
    plan, folder, *lines = printed
    assert plan.startswith("3 networks, 3 trainings at each of 1 learning rate (steps")
    assert folder == f"folder: {finished[0]}"
    assert lines[0].startswith("learning rate 0.1: trained  ")
    assert "0.1, std: trained" in lines[1] and "s left" in lines[1]
    found, where, following = lines[-3:]
    assert found.startswith("Learning rate 0.1: accuracy trained then pruned")
    assert where == f"open {finished[0] / 'index.html'}"
    assert following.startswith("next: ")


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_bit_for_bit(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL, selections=("random", "std"))
    folder, original, calls = tmp_path / "run", training.fit, []
    monkeypatch.setattr(report, "write", lambda *a: None)
    prune_order.run(config, tmp_path / "whole", log=quiet)

    def fit(*args, **kwargs):
        calls.append(None)
        if len(calls) == 5:  # the last training
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(training, "fit", fit)
    with pytest.raises(Killed):
        prune_order.run(config, folder, log=quiet)
    assert len(runs.read_metrics(folder)) == 3
    prune_order.run(config, folder, log=quiet)
    assert len(calls) == 5 + 2  # the two trainings of one file again
    wanted, found = (runs.read_metrics(tmp_path / name) for name in ("whole", "run"))
    assert json.dumps(found) == json.dumps(wanted)
    for path in (tmp_path / "whole").glob("*.npz"):
        a, b = runs.read_arrays(path), runs.read_arrays(folder / path.name)
        assert all((a[k] == b[k]).all() for k in a)


def test_pages_speak_of_what_was_run(finished):
    """A single network has no interval; the first rate is the one that leads."""
    folder, records = finished
    one = [record for record in records if record["seed"] == 1]
    rows = report.share_table(one)
    assert "[" not in rows[1][2] and "±" not in report.table(one)[1][2]
    html = (folder / "index.html").read_text()
    assert "mean of 3, learning rate 0.1" in html
    assert report.finding(records).startswith("Learning rate 0.1: accuracy")


def test_close_rates_have_files_of_their_own():
    assert len({_run.file_name(rate) for rate in (0.1, 0.1 + 1e-9)}) == 2


def test_a_film_lasts_as_long_as_the_longest_training(monkeypatch, tmp_path, task):
    first = trees.to_arrays(jax.tree.map(lambda leaf: leaf[0], task.params))

    def label(name, *steps):
        shots = {k: np.stack([v] * len(steps)) for k, v in first.items()}
        shots["step"] = np.array(steps)
        return {f"frames_{name}/{k}": v for k, v in shots.items()}

    arrays = {
        (0.1, None): label("trained", 0, 2),
        (0.1, "random"): label("prune_train", 0, 2) | label("tuned", 0, 2, 5),
    }
    shown = []

    def record(path, panels, steps, *a, **k):
        return shown.append((panels, steps))

    monkeypatch.setattr(surfaces, "film", record)
    surfaces.animation(tmp_path / "a.gif", SMALL, task, arrays)
    ((panels, steps),) = shown
    assert steps.tolist() == [0, 2, 5]
    assert all(len(surfaces) == 3 for _, surfaces in panels)


@pytest.mark.slow
def test_a_damaged_file_alone_is_made_again(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write", lambda *a: None)
    folder, lines = tmp_path / "run", []
    shutil.copytree(finished[0], folder)
    (folder / "rate_0.1.npz").write_bytes(b"no")
    records = prune_order.run(SMALL, folder, log=lines.append)
    assert "damaged" in lines[0] and "rate_0.1.npz" in lines[0]
    assert json.dumps(records) == json.dumps(finished[1])
    again = read(folder, 0.1)
    assert all((again[k] == v).all() for k, v in read(finished[0], 0.1).items())


@pytest.mark.slow
def test_weights_of_images(tmp_path, monkeypatch):
    """Pruned first with magnitudes of the trained network: a lottery ticket."""
    monkeypatch.setattr(report, "write", lambda *a: None)
    config = Config(
        dataset="digits", remove="weights", widths=(7,), seeds=(3, 4), steps=30,
        learning_rates=(0.01,), fraction=0.75,
    )  # fmt: skip
    records = prune_order.run(config, tmp_path / "run", log=quiet)
    assert [record["selection"] for record in records] == ["random"] * 2 + [
        "magnitude"
    ] * 2
    assert not (tmp_path / "run" / "training.gif").exists()
    whole = read(tmp_path / "run", 0.01)
    found = read(tmp_path / "run", 0.01, "magnitude")
    for path, size in (("dense_0/kernel", 64 * 7), ("dense_1/kernel", 70)):
        for i in range(2):
            kept = found[f"kept_weights/{path}"][i] != 0
            trained = whole[f"trained/{path}"][i]
            assert kept.sum() == size - round(size * 0.75)
            assert np.abs(trained[kept]).min() >= np.abs(trained[~kept]).max()
            np.testing.assert_array_equal(
                found[f"train_prune/{path}"][i], trained * kept
            )
            assert (found[f"prune_train/{path}"][i][~kept] == 0).all()
    pruned = [r["test_accuracy"]["train_prune"] for r in records]
    assert np.mean(pruned[2:]) > np.mean(pruned[:2])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dataset": "moon"}, "unknown dataset 'moon'; expected"),
        ({"means": "later"}, "unknown means"),
        ({"selections": ("magnitude",)}, "nodes cannot be selected by 'magnitude'"),
        ({"seeds": ()}, "at least one entry"),
        ({"seeds": (1, 1)}, "seeds must be distinct"),
        ({"data_seed": -1}, r"data_seed must be in \[0, 2\^31\), got -1"),
        ({"learning_rates": (-1.0,)}, "learning_rates must be in .*"),
        ({"fraction": 1.0}, r"must be in \[0, 1\)"),
        ({"fraction": 0.95, "widths": (4, 40)}, "nothing of a layer of 4 nodes"),
        ({"steps": 0}, "steps must be in .*"),
        ({"widths": (0,)}, "widths must be in .*"),
        (
            {"batch_size": 90, "num_points": 40, "num_test_points": 60},
            "batch_size 90 is larger than the 40 examples",
        ),
    ],
    ids=str,
)
def test_bad_configs_get_one_clear_error(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        prune_order.run(Config(**change), tmp_path / "run", log=quiet)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_is_named(task):
    kept = training.everything(task)
    with pytest.raises(ValueError, match=r"not finite .*\(learning rate 1e\+30\)"):
        training.fit(task, 1e30, task.params, kept, 20)


@pytest.fixture
def optimized():
    """Programs as users compile them: these run for long."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.slow
def test_networks_lie_in_the_bands(tmp_path, monkeypatch, optimized):
    """Adam, full batch, 1.5 turns: what a study apart found, with room for chance."""
    monkeypatch.setattr(report, "write", lambda *a: None)
    fast = Config(seeds=(0, 1, 2, 3), learning_rates=(0.1,), num_frames=0)
    slow = Config(seeds=(0, 1), learning_rates=(0.01,), selections=("std",),
                  finetune_steps=0, num_frames=0)  # fmt: skip
    records = prune_order.run(fast, tmp_path / "fast", log=quiet)
    records += prune_order.run(slow, tmp_path / "slow", log=quiet)
    groups = measure.grouped(records)

    def get(stage, *path):
        return column(groups[stage], *path)

    def score(stage, order):
        return get(stage, "test_accuracy", order).mean()

    random, std = (0.1, "random"), (0.1, "std")
    assert score(random, "trained") >= 0.97
    assert score(random, "train_prune") <= 0.75
    assert score(random, "prune_train") >= 0.95
    assert score(random, "tuned") >= 0.93
    assert score(std, "train_prune") >= 0.85
    assert score(std, "train_prune") >= score(random, "train_prune") + 0.2
    assert score(std, "prune_train") >= 0.93
    for stage in (random, std):
        assert get(stage, "correlation")[:, 0].mean() > 0.05
    assert 0.12 <= get(random, "coasting", "prune_train").mean() <= 0.45
    assert 0 < get(random, "never_updated", "trained").mean() <= 0.2
    assert 0 < get(random, "never_updated", "prune_train").mean() <= 0.2
    for layer in ("hidden_0", "hidden_1"):
        assert get(random, "constant_units", layer).mean() >= 0.15
    assert get((0.01, "std"), "coasting", "prune_train").mean() < 0.1
    assert score((0.01, "std"), "train_prune") < 0.75
