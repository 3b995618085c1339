"""A sweep says what a plain loop over masks says."""

import dataclasses
import itertools as it
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import hypercube, lift, runs, sweep, train, trees
from sparsejax.experiments import node_sweep, subjects
from sparsejax.experiments._study import training
from sparsejax.experiments.node_sweep import measure, sweeps
from sparsejax.experiments.node_sweep import scores as scores_
from sparsejax.experiments.node_sweep import units as units_
from sparsejax.experiments.node_sweep.config import Config
from sparsejax.experiments.node_sweep.measure import Sample

SMALL = Config(
    widths=(6, 4),
    epochs=8,
    network_seed=4,
    keep_probs=(0.3, 0.8),
    num_masks=40,
    num_test_images=50,
    num_permutations=20,
    batch_size=16,
)
SUBSETS = Config(
    distribution="subsets",
    nodes=("hidden_0",),
    keep_probs=(0.3, 0.8),
    num_test_images=50,
    gradients=False,
)


def quiet(line):
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "run"
    return folder, node_sweep.run(SMALL, folder, log=quiet)


@pytest.fixture(scope="module")
def network(finished):
    return trained(finished[0])


@pytest.fixture(scope="module")
def exact(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("subsets") / "run"
    return folder, node_sweep.run(SUBSETS, folder, network, log=quiet)


@pytest.fixture(scope="module")
def plain(network):
    """Loss and accuracy of masks of both layers, in NumPy and in float64."""
    rows = np.random.default_rng(0).permutation(len(network.x))[:50]
    x, y = network.x[np.sort(rows)].astype(np.float64), network.y[np.sort(rows)]
    weights = [
        [np.asarray(leaf, np.float64) for leaf in (p["kernel"], p["bias"])]
        for p in network.params.values()
    ]

    def loss(mask):
        h = x
        for (kernel, bias), units in zip(weights[:2], (mask[:6], mask[6:])):
            h = np.maximum(h @ kernel + bias, 0) * units
        logits = h @ weights[2][0] + weights[2][1]
        top = logits.max(axis=1, keepdims=True)
        log = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        return -log[np.arange(len(y)), y].mean(), (log.argmax(axis=1) == y).mean()

    return loss


def trained(folder, model="mlp", widths=(6, 4)):
    """The network of a finished run."""
    before = training.untrained("digits", model, widths)
    arrays = runs.read_arrays(folder / "network.npz")
    return dataclasses.replace(before, params=trees.from_arrays(arrays, before.params))


def masks_of(arrays, n=10):
    return np.unpackbits(arrays["mask"], axis=1, count=n).astype(float)


def test_losses_and_accuracies_are_those_of_a_plain_loop(finished, plain):
    for name in ("keep_0.3", "keep_0.8"):
        arrays = runs.read_arrays(finished[0] / f"{name}.npz")
        loop = np.array([plain(mask) for mask in masks_of(arrays)])
        np.testing.assert_allclose(arrays["loss"], loop[:, 0], rtol=1e-4)
        np.testing.assert_allclose(arrays["accuracy"], loop[:, 1], atol=1e-6)


def test_gradients_are_slopes_of_the_loss(finished, plain):
    arrays = runs.read_arrays(finished[0] / "keep_0.8.npz")
    masks, step = masks_of(arrays), 1e-7
    for i, unit in [(0, 2), (3, 7), (11, 9)]:
        moved = step * np.eye(10)[unit]
        up, down = plain(masks[i] + moved)[0], plain(masks[i] - moved)[0]
        slope = (up - down) / (2 * step)
        assert arrays["gradient"][i, unit] == pytest.approx(slope, rel=1e-2, abs=1e-4)


def test_masks_are_those_of_the_generator_whatever_the_batch(finished, network):
    layers = {"hidden_0": 6, "hidden_1": 4}
    subject = units_.units(network, layers, num_test_images=50)
    seen = []
    for which in sweeps.sweeps(SMALL, 10):
        arrays = runs.read_arrays(finished[0] / f"{which.name}.npz")
        make = sweeps.generator(SMALL, which, 10)

        def both(mask):
            return (mask, subject.measure(mask)[0])

        masks, losses = sweep.evaluate(
            lambda index: both(make(index)),  # noqa: B023
            jnp.arange(40),
            batch_size=7,
            progress=False,
        )
        np.testing.assert_array_equal(masks, masks_of(arrays))
        np.testing.assert_allclose(losses, arrays["loss"], rtol=1e-5)
        assert abs(masks.mean() - which.value) < 0.1
        seen.append(masks)
    assert (seen[0] <= seen[1]).all()  # nested: the same draws at both probabilities


def test_records_are_the_statistics_of_the_arrays(finished, plain):
    folder, records = finished
    assert runs.read_metrics(folder) == records
    whole = plain(np.ones(10))
    for record, name in zip(records, ("keep_0.3", "keep_0.8"), strict=True):
        arrays = runs.read_arrays(folder / f"{name}.npz")
        loss = arrays["loss"].astype(np.float64)
        assert record["loss"]["mean"] == pytest.approx(loss.mean())
        assert record["loss"]["sd"] == pytest.approx(loss.std())
        assert record["log_loss"]["sd"] == pytest.approx(np.log(loss).std())
        low, high = record["loss"]["interval"]
        width = 2 * 1.96 * loss.std(ddof=1) / np.sqrt(40)
        assert high - low == pytest.approx(width)
        assert record["loss"]["quantiles"]["0.25"] == np.sort(loss)[9]
        near = np.mean(arrays["accuracy"] >= record["full"]["accuracy"] - 0.01)
        assert record["within_a_point"] == pytest.approx(near)
        assert record["full"]["loss"] == pytest.approx(whole[0], rel=1e-4)
        on = masks_of(arrays) == 1
        mean = arrays["gradient"][on].mean()
        assert record["gradient"]["on"]["mean"] == pytest.approx(mean, rel=1e-4)


def test_scores_are_what_they_say(finished, plain):
    units = runs.read_arrays(finished[0] / "units.npz")
    whole = plain(np.ones(10))[0]
    alone = [plain(1 - row)[0] - whole for row in np.eye(10)]
    np.testing.assert_allclose(units["leave one out/values"], alone, atol=1e-5)
    arrays = runs.read_arrays(finished[0] / "keep_0.3.npz")
    masks, loss = masks_of(arrays), arrays["loss"].astype(np.float64)
    name = "mean effect, keep 0.3"
    for unit in range(10):
        on, off = loss[masks[:, unit] == 1], loss[masks[:, unit] == 0]
        difference = off.mean() - on.mean()
        assert units[f"{name}/values"][unit] == pytest.approx(difference, abs=1e-6)
        error = np.sqrt(on.var(ddof=1) / len(on) + off.var(ddof=1) / len(off))
        assert units[f"{name}/errors"][unit] == pytest.approx(error, rel=1e-6)


def test_estimated_shapley_values_are_near_the_exact_ones(finished, plain):
    units = runs.read_arrays(finished[0] / "units.npz")
    subsets = np.array(list(it.product((0.0, 1.0), repeat=10)))[:, ::-1]
    exact = -hypercube.shapley(np.array([plain(mask)[0] for mask in subsets]))
    values, errors = (units[f"Shapley value/{k}"] for k in ("values", "errors"))
    assert values.sum() == pytest.approx(exact.sum(), rel=1e-3)
    assert (np.abs(values - exact) < 5 * errors + 1e-5).all()
    assert np.corrcoef(values, exact)[0, 1] > 0.9


def test_the_best_units_by_every_score_are_kept(finished, plain):
    units, kept = (
        runs.read_arrays(finished[0] / name) for name in ("units.npz", "kept.npz")
    )
    scores = [key.split("/")[0] for key in units if key.endswith("/values")]
    assert {key.split("/")[0] for key in kept} == {*scores, "greedy elimination"}
    for name in scores:
        order = np.argsort(-units[f"{name}/values"], kind="stable")
        for k in range(11):
            mask = np.isin(np.arange(10), order[:k]).astype(float)
            loss, accuracy = plain(mask)
            assert kept[f"{name}/losses"][k] == pytest.approx(loss, rel=1e-4)
            assert kept[f"{name}/accuracies"][k] == pytest.approx(accuracy, abs=1e-6)


def test_greedy_elimination_removes_what_costs_least(finished, plain):
    kept = runs.read_arrays(finished[0] / "kept.npz")["greedy elimination/losses"]
    mask, losses = np.ones(10), [plain(np.ones(10))[0]]
    for _ in range(10):
        there = np.flatnonzero(mask)
        trials = [plain(mask - np.eye(10)[unit])[0] for unit in there]
        mask[there[int(np.argmin(trials))]] = 0
        losses.append(min(trials))
    np.testing.assert_allclose(kept, losses[::-1], rtol=1e-4)


def test_all_subsets_are_exact(exact, plain):
    folder, records = exact
    network = [*np.ones(10)]
    subsets = np.array(list(it.product((0.0, 1.0), repeat=6)))[:, ::-1]

    def whole(mask):
        return plain(np.concatenate([mask, network[6:]]))

    losses = np.array([whole(mask)[0] for mask in subsets])
    arrays = runs.read_arrays(folder / "subsets.npz")
    np.testing.assert_allclose(arrays["loss"], losses, rtol=1e-4)
    for record, p in zip(records, (0.3, 0.8), strict=True):
        chance = np.prod(np.where(subsets == 1, p, 1 - p), axis=1)
        assert record["exact"] and record["kept"] == pytest.approx(6 * p)
        assert record["loss"]["mean"] == pytest.approx(chance @ losses, rel=1e-4)
        assert record["loss"]["interval"] == [record["loss"]["mean"]] * 2
    units = runs.read_arrays(folder / "units.npz")
    shapley = -hypercube.shapley(losses)
    np.testing.assert_allclose(units["Shapley value/values"], shapley, atol=1e-4)
    banzhaf = -hypercube.banzhaf(losses, 0.3)
    name = "mean effect, keep 0.3/values"
    np.testing.assert_allclose(units[name], banzhaf, atol=1e-4)
    kept = runs.read_arrays(folder / "kept.npz")
    best = [losses[subsets.sum(axis=1) == k].min() for k in range(7)]
    np.testing.assert_allclose(kept["best of all/losses"], best, rtol=1e-4)
    for name in {key.split("/")[0] for key in kept}:
        assert (kept[f"{name}/losses"] >= np.array(best) * (1 - 1e-5)).all()


def test_only_some_units_are_swept_and_the_others_stay(network, plain):
    layers = {"hidden_0": 6, "hidden_1": 4}
    every = units_.units(network, layers, num_test_images=50)
    some = units_.units(network, layers, num_units=3, num_test_images=50)
    chosen = np.sort(np.argsort(-every.spread)[:3])
    assert some.names == [every.names[i] for i in chosen]
    assert some.none[0] != every.none[0] and some.every == every.every
    assert (every.total, some.total) == (10, 10)
    mask = np.ones(10)
    mask[chosen[[0, 2]]] = 0
    loss, accuracy = some.measure(jnp.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose([loss, accuracy], plain(mask), rtol=1e-4)


def test_leaves_a_complete_folder_and_is_not_run_again(finished):
    folder, records = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "DONE", "config.json", "metrics.jsonl", "metrics.crc32",
        "network.npz", "keep_0.3.npz",
        "keep_0.8.npz", "units.npz", "kept.npz", "index.html", "fig_loss.svg",
        "fig_kept.svg", "fig_units.svg", "table.md",
    }  # fmt: skip
    lines = []
    assert node_sweep.run(SMALL, folder, log=lines.append) == records
    assert len(lines) == 1 and "is complete" in lines[0]
    page = (folder / "index.html").read_text()
    for text in ("keep 0.3", "greedy elimination", "Shapley value", "hidden_1/3"):
        assert text in page
    assert "nan" not in page.lower().replace("nanosecond", "")


@pytest.mark.slow
def test_goes_on_after_a_damaged_sweep(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "DONE").unlink()
    path = folder / "keep_0.8.npz"
    path.write_bytes(path.read_bytes()[:300])
    before = (folder / "keep_0.3.npz").stat().st_mtime_ns
    lines = []
    records = node_sweep.run(SMALL, folder, log=lines.append)
    assert [line for line in lines if line.startswith("damaged: ")]
    assert not [line for line in lines if line.startswith("training")]
    assert (folder / "keep_0.3.npz").stat().st_mtime_ns == before
    assert records == finished[1]
    a, b = (runs.read_arrays(f / "keep_0.8.npz") for f in (folder, finished[0]))
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.slow
def test_channels_of_a_convolutional_network(tmp_path):
    config = dataclasses.replace(SMALL, model="convnet", widths=(2, 3), epochs=1)
    records = node_sweep.run(config, tmp_path / "run", log=quiet)
    assert all(r["units"] == 5 for r in records)
    arrays = runs.read_arrays(tmp_path / "run" / "keep_0.8.npz")
    network = trained(tmp_path / "run", "convnet", (2, 3))
    rows = np.sort(np.random.default_rng(0).permutation(len(network.x))[:50])
    mask = masks_of(arrays, 5)[3]

    def cut(name, units):
        return lambda h: h * jnp.asarray(units, jnp.float32)

    edits = {"hidden_0": cut(0, mask[:2]), "hidden_1": cut(1, mask[2:])}
    logits = lift.edit(network.bound(), edits)(network.x[rows])
    loss = train.cross_entropy(logits, jnp.asarray(network.y[rows]))
    assert arrays["loss"][3] == pytest.approx(float(loss), rel=1e-4)


def test_a_network_that_is_given(exact, network, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(exact[0], folder)
    assert "gradient" not in exact[1][0]
    arrays = runs.read_arrays(folder / "network.npz")
    np.testing.assert_array_equal(
        arrays["dense_0/kernel"], network.params["dense_0"]["kernel"]
    )
    assert runs.read(folder).subject["network_seed"] == 0
    runs.write_arrays(folder / "network.npz", {**arrays, "dense_0/bias": np.ones(6)})
    (folder / "DONE").unlink()  # which knows what was there
    with pytest.raises(ValueError, match="holds a run on another network"):
        node_sweep.run(SUBSETS, folder, network, log=quiet)
    other = dataclasses.replace(SUBSETS, dataset="mnist")
    with pytest.raises(ValueError, match="'dataset' cannot be used with --run"):
        node_sweep.run(other, folder, network, log=quiet)


@pytest.mark.slow
def test_channels_of_a_residual_network_of_several_labels(residual_run, tmp_path):
    config = Config(
        nodes=("stem",), num_units=2, distribution="subsets", num_test_images=8
    )
    subject = subjects.of_run(residual_run)
    (record, *_) = node_sweep.run(config, tmp_path / "run", subject, log=quiet)
    logits, y = np.asarray(subject.bound()(jnp.asarray(subject.x))), subject.y
    right = ((logits > 0) == (y > 0.5)).mean(axis=1)
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:8])
    assert record["full"]["accuracy"] == pytest.approx(right[rows].mean())
    assert record["units"] == 2


def test_random_networks_of_every_size():
    masks = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [1, 0]], bool)
    values = np.array([5.0, 1.0, 3.0, 0.0, 2.0])
    sample = Sample("s", 0.5, masks, values, values, None, None)
    sizes, found = measure.by_size([sample], 2, few=2)
    assert sizes.tolist() == [1]
    np.testing.assert_allclose(found["losses"][:, 0], [1.1, 2.0, 2.9])


def test_effects_of_units_that_are_never_removed_are_left_out(network):
    subject = units_.units(network, {"hidden_1": 4}, num_test_images=20)
    masks = np.ones((6, 4), bool)
    losses = np.full(6, subject.every[0])
    sample = Sample("keep 1", 1.0, masks, losses, losses, np.ones((6, 4)), None)
    found = scores_.scores(subject, [sample], num_permutations=0, key=jax.random.key(0))
    assert list(found) == ["leave one out", "activation spread"]
    record = measure.record(sample, subject)
    assert record["gradient"]["off"]["mean"] is None
    assert record["loss"]["sd"] == pytest.approx(0, abs=1e-9)


def test_effects_of_a_unit_that_one_mask_removes_have_no_error():
    masks = np.array([[0, 1], [1, 0], [1, 0], [1, 1]], bool)
    values = np.array([5.0, 1.0, 3.0, 0.0])
    found = scores_.effect(Sample("s", 0.5, masks, values, values, None, None))
    np.testing.assert_allclose(found.values, [5 - 4 / 3, 2 - 2.5])
    assert found.errors is not None
    assert np.isnan(found.errors[0]) and found.errors[1] > 0


@pytest.mark.slow
def test_one_unit_and_masks_that_are_all_alike(tmp_path):
    config = dataclasses.replace(
        SMALL, num_units=1, distribution="subsets", num_permutations=2,
        keep_probs=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0),
    )  # fmt: skip
    folder = tmp_path / "run"
    node_sweep.run(config, folder, log=quiet)
    figures = [path.read_text() for path in folder.glob("fig_*.svg")]
    page = "".join([(folder / "index.html").read_text(), *figures])
    for text in (
        "(1 of 10 units switched, 9 always on)",
        "on average keep 1: ",
        "(5 more in between)",
        "keep 0: one value",
        "is the only unit switched",
        "units kept (of 1; 9 always on)",
        "Of 5 mean effects the one with most units kept is drawn",
        "Loss with 1 unit: ",
    ):
        assert text in page, text
    assert not re.search(r"\bnan\b|1 units", page.lower())
    raw = (folder / "metrics.jsonl").read_text()
    assert not re.search("NaN|Infinity", raw)
