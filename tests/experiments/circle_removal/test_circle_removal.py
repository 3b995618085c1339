"""The circle experiment against plain NumPy, its source's numbers, and kills."""

import json
import re
import shutil

import numpy as np
import pytest

from sparsejax import hypercube, runs
from sparsejax.experiments import circle_removal
from sparsejax.experiments.circle_removal import Config, measure

SMALL = Config(
    num_nodes=6, seeds=(0, 1, 2), num_masks=40, num_paths=50, num_points=60, epochs=3
)
# Over 100 networks trained apart: mean and standard deviation of what 1,000 masks show.
# A mean of ten lies within 1.7 deviations (test sets and Keras' numerics included).
SPREAD = {
    "published": {
        ("mean_loss", "0.25"): (0.9485, 0.0570),
        ("mean_loss", "0.5"): (0.8313, 0.0600),
        ("mean_loss", "0.75"): (0.5509, 0.0463),
        ("mean_log_loss", "0.25"): (-0.1397, 0.0589),
        ("mean_log_loss", "0.5"): (-0.3168, 0.0708),
        ("mean_log_loss", "0.75"): (-0.7556, 0.0777),
        ("sd_log_loss", "0.25"): (0.4036, 0.0278),
        ("sd_log_loss", "0.5"): (0.5054, 0.0278),
        ("sd_log_loss", "0.75"): (0.5483, 0.0329),
        ("mean_loss_gradient", "0.25"): (-0.0624, 0.0033),
        ("mean_loss_gradient", "0.5"): (-0.0424, 0.0023),
        ("mean_loss_gradient", "0.75"): (-0.0250, 0.0019),
        ("sd_loss_gradient", "0.25"): (0.3136, 0.0276),
        ("sd_loss_gradient", "0.5"): (0.2839, 0.0264),
        ("sd_loss_gradient", "0.75"): (0.2248, 0.0239),
        ("mean_log_loss_gradient", "0.25"): (-0.0715, 0.0045),
        ("mean_log_loss_gradient", "0.5"): (-0.0545, 0.0035),
        ("mean_log_loss_gradient", "0.75"): (-0.0460, 0.0034),
        ("sd_log_loss_gradient", "0.25"): (0.3243, 0.0156),
        ("sd_log_loss_gradient", "0.5"): (0.3436, 0.0180),
        ("sd_log_loss_gradient", "0.75"): (0.3978, 0.0238),
        ("mean", "on"): (0.0568, 0.0048),
        ("sd", "on"): (0.3149, 0.0203),
        ("mean", "off"): (-0.1655, 0.0052),
        ("sd", "off"): (0.3348, 0.0175),
    },
    "half": {
        ("mean_loss", "0.25"): (1.1161, 0.061),
        ("mean_loss", "0.5"): (0.9197, 0.068),
        ("mean_loss", "0.75"): (0.5530, 0.049),
        ("mean_log_loss", "0.25"): (-0.0573, 0.051),
        ("mean_log_loss", "0.5"): (-0.2917, 0.073),
        ("mean_log_loss", "0.75"): (-0.8157, 0.085),
        ("sd_log_loss", "0.25"): (0.5515, 0.053),
        ("sd_log_loss", "0.5"): (0.6331, 0.031),
        ("sd_log_loss", "0.75"): (0.6540, 0.027),
        ("mean_loss_gradient", "0.25"): (-0.0940, 0.0046),
        ("mean_loss_gradient", "0.5"): (-0.0632, 0.0039),
        ("mean_loss_gradient", "0.75"): (-0.0352, 0.0033),
        ("sd_loss_gradient", "0.25"): (0.4425, 0.032),
        ("sd_loss_gradient", "0.5"): (0.3849, 0.041),
        ("sd_loss_gradient", "0.75"): (0.2822, 0.035),
        ("mean_log_loss_gradient", "0.25"): (-0.0948, 0.0057),
        ("mean_log_loss_gradient", "0.5"): (-0.0730, 0.0040),
        ("mean_log_loss_gradient", "0.75"): (-0.0634, 0.0049),
        ("sd_log_loss_gradient", "0.25"): (0.3888, 0.016),
        ("sd_log_loss_gradient", "0.5"): (0.4171, 0.027),
        ("sd_log_loss_gradient", "0.75"): (0.4834, 0.040),
        ("mean", "on"): (0.0488, 0.0056),
        ("sd", "on"): (0.3825, 0.028),
        ("mean", "off"): (-0.1946, 0.0062),
        ("sd", "off"): (0.4145, 0.029),
    },
}
FULL = {"published": (0.1237, 0.0120), "half": (0.0945, 0.0083)}


def quiet(line):
    pass


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circle") / "run"
    return folder, circle_removal.run(SMALL, folder, log=quiet)


def slow_tables(net, subsets):
    """Loss, its gradient and that of its logarithm, mask by mask in float64."""

    def layer(name):
        return [np.asarray(net.params[name][k], np.float64) for k in ("kernel", "bias")]

    (k0, b0), (k1, b1) = layer("dense_0"), layer("dense_1")
    x, y = np.asarray(net.x, np.float64), np.asarray(net.y)
    hidden = np.maximum(x @ k0 + b0, 0)
    losses, gradients = [], []
    for m in subsets:
        mask = m >> np.arange(len(b0)) & 1
        z = (hidden * mask) @ k1 + b1
        away = z[np.arange(len(y)), 1 - y] - z[np.arange(len(y)), y]
        losses.append(np.logaddexp(0, away).mean())
        chance = 1 / (1 + np.exp(-away))
        slope = k1[:, 1 - y] - k1[:, y]  # of away, for each node and point
        gradients.append((hidden * slope.T * chance[:, None]).mean(axis=0))
    return np.array(losses), np.array(gradients)


def test_the_mask_stream_is_the_sources():
    """It names three counts of its 1,000 masks at 0.75."""
    stream = measure.mask_stream(Config())
    kept = stream[0.75]
    assert len(np.unique(kept, axis=0)) == 952
    assert (kept.sum(axis=1) == 20).sum() == 5
    assert ((kept.sum(axis=1) == 19) & (kept[:, 14] == 0)).sum() == 3
    np.random.seed(17)
    for p in (0.25, 0.5, 0.75):
        one = [(np.random.rand(20) < p).astype(int) for _ in range(1000)]
        np.testing.assert_array_equal(stream[p], one)


def test_sampled_tables_equal_a_loop_over_the_masks():
    net = measure.trained(SMALL, 1)
    (record,), _ = measure.measure(SMALL, 1)
    for p, kept in measure.mask_stream(SMALL).items():
        losses, gradients = slow_tables(net, measure.numbers(kept))
        logs = gradients / losses[:, None]
        wanted = {
            "mean_loss": losses.mean(),
            "mean_log_loss": np.log(losses).mean(),
            "sd_log_loss": np.log(losses).std(),
            "mean_loss_gradient": gradients.mean(),
            "sd_loss_gradient": gradients.std(),
            "mean_log_loss_gradient": logs.mean(),
            "sd_log_loss_gradient": logs.std(),
        }
        found = record["sampled"][str(p)]
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, abs=2e-6), name
        if p == 0.5:
            for name, side in (("on", kept == 1), ("off", kept == 0)):
                moments = record["sampled"][name]
                assert moments["mean"] == pytest.approx(logs[side].mean(), abs=2e-6)
                assert moments["sd"] == pytest.approx(logs[side].std(), abs=2e-6)


def test_exact_tables_equal_a_sum_over_all_subsets():
    net = measure.trained(SMALL, 2)
    (record,), arrays = measure.measure(SMALL, 2)
    losses, gradients = slow_tables(net, range(64))
    np.testing.assert_allclose(arrays["losses"], losses, rtol=2e-6)
    size = np.array([bin(m).count("1") for m in range(64)])
    for p in SMALL.keep_probs:
        chance = p**size * (1 - p) ** (6 - size)
        found, logs = record["exact"][str(p)], np.log(losses)
        mean = (chance * logs).sum()
        assert found["mean_loss"] == pytest.approx((chance * losses).sum(), rel=1e-5)
        assert found["mean_log_loss"] == pytest.approx(mean, rel=1e-5)
        sd = np.sqrt((chance * (logs - mean) ** 2).sum())
        assert found["sd_log_loss"] == pytest.approx(sd, rel=1e-5)
        each = gradients.mean(axis=1)
        assert found["mean_loss_gradient"] == pytest.approx(
            (chance * each).sum(), abs=1e-6
        )
    # the exact form of the source's check: finite differences, not derivatives
    step, at = 1e-5, record["derivative"]["0.5"]
    rise = hypercube.mean(losses, 0.5 + step) - hypercube.mean(losses, 0.5 - step)
    assert at == pytest.approx(rise / (2 * step), rel=1e-4)


def test_choices_by_size_equal_brute_force(rng):
    losses = rng.lognormal(size=32)
    found = measure.by_size(losses)
    size = np.array([bin(m).count("1") for m in range(32)])
    for k in range(6):
        these = losses[size == k]
        assert found["best"][k] == these.min()
        assert found["mean"][k] == pytest.approx(these.mean())
        assert these.min() <= found["low"][k] <= found["high"][k] <= these.max()
    order = np.argsort(hypercube.shapley(losses))
    for k in range(6):
        assert found["shapley"][k] == losses[sum(1 << int(i) for i in order[:k])]
    kept = 31
    for k in reversed(range(6)):
        assert found["backward"][k] == losses[kept]
        if k:
            kept = min((kept - (1 << i) for i in range(5) if kept >> i & 1),
                       key=lambda m: losses[m])  # fmt: skip


def test_a_run_leaves_a_complete_folder(finished):
    folder, records = finished
    assert (folder / "DONE").exists()
    assert [record["seed"] for record in records] == [0, 1, 2]
    assert {path.name for path in folder.iterdir()} >= {
        "config.json", "metrics.jsonl", "metrics.crc32",
        "seed_00.npz", "seed_02.npz", "table.md",
        "index.html", "nodes.html", "fig_by_size.svg", "fig_path.svg", "fig_maps.svg",
    }  # fmt: skip
    assert "sd of log-loss gradient" in (folder / "table.md").read_text()
    lines = []
    circle_removal.run(SMALL, folder, log=lines.append)
    assert "is complete" in lines[-1]


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_bit_for_bit(finished, tmp_path, monkeypatch):
    folder, measured = tmp_path / "run", []
    original = measure.measure

    def counted(config, seed, **k):
        measured.append(seed)
        if measured == [0, 1, 2]:
            raise Killed
        return original(config, seed, **k)

    monkeypatch.setattr(measure, "measure", counted)
    with pytest.raises(Killed):
        circle_removal.run(SMALL, folder, log=quiet)
    records = circle_removal.run(SMALL, folder, log=quiet)
    assert measured == [0, 1, 2, 2]
    assert len(records) == 3
    wanted = runs.read_metrics(finished[0])
    assert json.dumps(runs.read_metrics(folder)) == json.dumps(wanted)
    assert (folder / "table.md").read_text() == (finished[0] / "table.md").read_text()


@pytest.mark.slow
def test_damage_costs_only_what_comes_after_it(finished, tmp_path, monkeypatch):
    folder, lines, measured = tmp_path / "run", [], []
    shutil.copytree(finished[0], folder)
    (folder / "seed_01.npz").write_bytes(b"no")
    original = measure.measure

    def counted(config, seed, **k):
        measured.append(seed)
        return original(config, seed, **k)

    monkeypatch.setattr(measure, "measure", counted)
    circle_removal.run(SMALL, folder, log=lines.append)
    assert "making seed_01.npz again" in "".join(lines)
    assert measured == [1]
    whole = runs.read_arrays(finished[0] / "seed_01.npz")
    again = runs.read_arrays(folder / "seed_01.npz")
    assert all((whole[k] == again[k]).all() for k in whole)


def test_a_missing_page_is_drawn_again(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "index.html").unlink()
    circle_removal.run(SMALL, folder, log=quiet)
    whole = (finished[0] / "index.html").read_text()
    assert (folder / "index.html").read_text() == whole


@pytest.mark.parametrize(
    "change, message",
    [
        ({"variant": "square"}, "unknown variant 'square'; expected"),
        ({"num_nodes": 40}, r"num_nodes must be in \[1, 22\]"),
        ({"seeds": ()}, "seeds must have at least one entry"),
        ({"keep_probs": (0.5, 1.5)}, r"keep_probs must be in \(0, 1\)"),
        ({"num_masks": 1}, "num_masks must be in .*"),
        ({"bandwidth": 0.0}, "bandwidth must be in"),
        ({"num_points": 20}, r"batch_size must be in \[1, num_points = 20\]"),
    ],
)
def test_bad_configs_get_one_clear_error(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        circle_removal.run(Config(**change), tmp_path / "run", log=quiet)
    assert not (tmp_path / "run").exists()


ODD = {
    "one node": {"num_nodes": 1, "seeds": (0,)},
    "untrained, many keep probabilities": {
        "epochs": 0,
        "seeds": (0,),
        "keep_probs": tuple(k / 10 for k in range(1, 9)),
    },
    "dead": {"num_nodes": 4, "epochs": 400, "learning_rate": 3.0, "keep_probs": (0.3,)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_odd_configs_have_no_nan_and_lose_no_curve(tmp_path, name):
    small = {"num_masks": 30, "num_paths": 20, "num_points": 32, "num_nodes": 5}
    config = Config(**{"seeds": (0, 1), **small, **ODD[name]})
    circle_removal.run(config, tmp_path / "run", log=quiet)
    for path in (tmp_path / "run").iterdir():
        if path.suffix in (".svg", ".md", ".jsonl"):
            words = set(re.findall(r"[A-Za-z]+", path.read_text()))
            assert not words & {"nan", "NaN", "None"}, path.name
    loss = (tmp_path / "run" / "fig_loss.svg").read_text()
    for p in config.keep_probs:
        assert f"keep probability {p}" in loss


def test_titles_are_what_the_records_say(finished):
    folder, records = finished

    def mean(p):
        return records[0]["exact"][p]["mean_loss"]

    title = f"Mean {mean('0.25'):.3g} at 0.25 and {mean('0.75'):.3g} at 0.75"
    assert title in (folder / "fig_loss.svg").read_text()
    half = [np.mean([r["by_size"][k][3] for r in records]) for k in ("best", "shapley")]
    found = circle_removal.summary(folder).splitlines()[0]
    assert found.startswith(f"The best 3 of 6 nodes: loss {half[0]:.3g}; by Shapley ")
    assert f"values {half[1]:.3g}; all" in found


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["published", "half"])
def test_ten_networks_lie_within_the_spread_of_a_hundred(variant):
    config = Config(variant=variant)
    records = [measure.measure(config, seed)[0][0] for seed in config.seeds]

    def mean(values):
        return float(np.mean(list(values)))

    where = {("full_loss", ""): FULL[variant], **SPREAD[variant]}
    outside = {}
    for (name, p), (center, sd) in where.items():
        found = mean(
            r["sampled"][p][name] if p else r[name] for r in records
        )  # fmt: skip
        if abs(found - center) > 1.7 * sd:
            outside[name, p] = found, center, sd
    assert not outside
    if variant == "published":
        assert 0.20 <= mean(r["path"]["exact"][5] for r in records) <= 0.30
        assert 0.21 <= mean(r["path"]["exact"][20] for r in records) <= 0.70
