"""Runs on pruning for a sample: controls, intervals, report."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import data, models, prune, runs
from sparsejax.experiments import (
    spade,
    spade_measure,
    spade_pictures,
    spade_report,
    spade_toy,
)
from sparsejax.models import convolve

TOY_ARMS = ("dense", "large", "small", "dataset")


def arrays(rng, gain):
    """What a seed leaves, with a known gain of SPADE over dense."""
    found = {"accuracy": 0.8, "success": 0.9, "density": np.array([0.2, 1, 0.5, 1])}
    auc = rng.uniform(0.5, 0.9, 12)
    for arm in spade_measure.ARMS:
        for name in ("auc", *spade_report._COLUMNS):
            found[f"measures/{arm}/{name}"] = auc + gain * (arm == "spade")
        found[f"maps/{arm}"] = rng.uniform(size=(2, 8, 8))
    found["seconds"] = np.ones(12)
    found["shown"] = rng.uniform(size=(2, 8, 8, 3))
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.fixture
def drawn(rng):
    """What pictures leave."""

    def image(*shape):
        return rng.uniform(size=(*shape, 8, 8, 3))

    found = {"patches": rng.uniform(size=(4, 6, 6, 3)), "drawn/dense": image(4, 1)}
    for name in ("samples/clean", "samples/patched", "drawn/clean", "drawn/patched"):
        found[name] = image(4, 2)
    amounts = {"dense": np.full((4, 1), 0.5), "clean": np.zeros((4, 2))}
    amounts["patched"] = np.ones((4, 2))
    return found | {f"amount/{arm}": values for arm, values in amounts.items()}


@pytest.fixture
def plane(rng):
    """What the toy leaves: all points in the middle of the small disc."""
    points = np.broadcast_to(spade_toy.DISCS["small"][:2], (4, 10, 2))
    return {f"points/{arm}": points for arm in TOY_ARMS} | {
        f"surface/{arm}": rng.uniform(size=(5, 5)) for arm in TOY_ARMS
    }


def test_gains_are_paired_and_the_page_tells_them(rng, drawn, plane, tmp_path):
    found = {seed: arrays(rng, 0.05 + 0.01 * seed) for seed in (0, 1)}
    records = [r for seed in found for r in spade_report.records(seed, found[seed])]
    mean, low, high = spade_report.gains(records, "spade")
    assert [mean, low, high] == pytest.approx([5.5, 5, 6])
    assert spade_report.gains(records, "magnitude") == (0, 0, 0)
    lead = spade_report.gains(records, "spade", over="magnitude")
    assert lead == pytest.approx((mean, low, high))
    runs.write_metrics(tmp_path, records)
    spade_report.write(
        tmp_path, spade.Config(seeds=(0, 1)), records, found, drawn, plane
    )
    page = (tmp_path / "index.html").read_text()
    assert "+5.5 (+5.0 to +6.0) points (95% interval)" in page
    assert "8 networks" in page and "dense 0.50, clean 0.00, patched 1.00" in page
    assert "dense: 0, 0, 0, 0% in the large disc and 100, 100, 100, 100% in" in page
    spade_report.write(tmp_path, spade.Config(seeds=(0, 1)), records, found, {}, plane)
    assert "8 networks" not in (tmp_path / "index.html").read_text()
    assert "+5.5 (+5.0 to +6.0)" in (tmp_path / "table.md").read_text()
    assert spade.summary(tmp_path).count("\n") == 2
    assert json.loads((tmp_path / "metrics.jsonl").read_text().split("\n")[1])["arm"]


def test_controls_keep_the_largest_of_what_they_look_at():
    kernel = jnp.array([[1.0, -4.0], [3.0, 2.0]])
    state = prune.hessian(np.array([[10.0, 0.1]]))
    by_size = spade_measure.largest(kernel, state, 0.5, 1)
    assert by_size.mask.tolist() == [[0, 1], [1, 0]]
    by_use = spade_measure.wanda(kernel, state, 0.5, 1)
    assert by_use.mask.tolist() == [[1, 1], [0, 0]]
    assert by_use.kernel.tolist() == [[1, -4], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": (0, 0)}, "different"),
        ({"count": 1}, "count must be in"),
        ({"share": 0.0}, "share"),
        ({"densities": (1.5,)}, "densities must be in"),
        ({"densities": ()}, "densities must have one entry"),
        ({"learning_rate": -1.0}, "learning_rate must be in .*"),
        ({"train_images": 50}, "train_images must be in .64, "),
        ({"count": 990}, "are parts of 1000 images"),
        ({"samples": 0}, "samples must be in .*"),
        ({"pictures": -1}, "pictures must be in .*"),
        ({"tune": "x"}, "unknown tune"),
    ],
)
def test_bad_configs(change, message):
    with pytest.raises(ValueError, match=message):
        spade.check(spade.Config(**change))


def test_without_epochs_the_network_is_as_it_came():
    start = {"layer1": {"kernel": np.arange(3.0)}}
    found = spade._tune(spade.Config(epochs=0), None, 0, None, start, print)
    assert found.keys() == {"layer1/kernel"}
    np.testing.assert_array_equal(found["layer1/kernel"], np.arange(3.0))


def test_missing_data_is_named(tmp_path):
    with pytest.raises(ValueError, match="train.zip is missing"):
        spade.run(spade.Config(), tmp_path / "run", data_dir=tmp_path)


def test_faithfulness_needs_no_place(getkey):
    """Tuned without ground truth: the region changes the AUC, and nothing else."""

    def fn(params, x):
        return params @ x.reshape(-1)

    params = jax.random.normal(getkey(), (3, 75))
    x = jax.random.uniform(getkey(), (5, 5, 3))
    here = jnp.zeros((5, 5), bool).at[0, 0].set(True)
    scores = {
        name: [float(score(fn, params, params, x, jnp.int32(1), region))
               for region in (here, ~here)]
        for name, score in spade_measure._SCORES.items()
    }  # fmt: skip
    assert scores["auc"][0] == pytest.approx(1 - scores["auc"][1])
    assert scores["faithfulness"][0] == scores["faithfulness"][1]


@pytest.mark.slow
def test_points_that_drive_a_unit_lie_in_its_discs():
    """In both of them, and pruned for a point of one in that one."""
    share = {}
    for arm, params in spade_toy._networks(0).items():
        points = spade_toy._driving(params)
        share[arm] = [spade_toy.inside(points, disc).mean() for disc in spade_toy.DISCS]
    assert sum(share["dense"]) == 1 and min(share["dense"]) > 0.2
    assert share["large"][0] > 0.95 and share["small"][1] > 0.95


@pytest.mark.slow
def test_pictures_are_of_images_of_each_cause(rng, monkeypatch):
    def fn(params, x):
        for name in ("layer2", "layer3"):
            x = jax.nn.relu(convolve(x, params[name]["k"], 1, 1))
        x = checkpoint_name(x, "layer3_2")
        return x.mean((-3, -2)) @ params["linear"]["k"]

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params = {"layer2": {"k": draw(3, 3, 3, 5)}, "layer3": {"k": draw(3, 3, 5, 6)}}
    params |= {"linear": {"k": draw(6, 10)}}
    test = data.Split(rng.uniform(size=(80, 8, 8, 3)).astype("f4"),
                      np.arange(80, dtype="i4") % 10)  # fmt: skip
    some = np.random.default_rng(0).permutation(80)
    key = jax.random.split(jax.random.key(7))[0]
    planted = data.plant(key, data.Split(test.x[some], test.y[some]), share=1.0)
    answers = iter((test.y[some], planted.y))  # all are told right

    def truth(fn, params, x):
        return np.eye(10)[next(answers)]

    monkeypatch.setattr(spade_measure, "logits", truth)
    monkeypatch.setattr(spade_pictures, "_STEPS", 2)
    config = spade.Config(pictures=2, samples=4)
    found = spade_pictures.draw(config, fn, params, test, lambda line: None)
    assert found["drawn/dense"].shape == (4, 1, 8, 8, 3)
    assert found["drawn/clean"].shape == found["samples/patched"].shape
    assert all(np.isfinite(found[f"amount/{arm}"]).all() for arm in ("clean", "dense"))
    for patch, label in enumerate(spade_pictures.CLASSES):
        rows = [test.x[test.y == label], planted.x[planted.patch == patch]]
        for name, images in zip(("clean", "patched"), rows, strict=True):
            for sample in found[f"samples/{name}"][patch]:
                assert (images == sample).all((1, 2, 3)).any()
    none = spade.Config(pictures=0)
    assert not spade_pictures.draw(none, fn, params, test, lambda line: None)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(rng, tmp_path, monkeypatch):
    """A small network learns what patches mean, and is pruned for images of them."""

    def split(n):
        return data.Split(
            rng.uniform(0.3, 0.6, (n, 12, 12, 3)).astype("f4"),
            rng.integers(0, 10, n).astype("i4"),
        )

    images = SimpleNamespace(train=split(512), test=split(64))
    model = models.resnet(8, widths=(6, 6, 8))
    start = model.init(jax.random.key(1), images.train.x[0])
    subject = spade_measure.subject(model, lambda x: x)
    monkeypatch.setattr(spade, "_prepared", lambda *_: (images, subject, start))

    def toy(report):
        return {
            **{f"points/{arm}": np.zeros((1, 3, 2)) for arm in TOY_ARMS},
            **{f"surface/{arm}": np.zeros((2, 2)) for arm in TOY_ARMS},
        }

    monkeypatch.setattr(spade_toy, "draw", toy)
    config = spade.Config(
        seeds=(0, 1), train_images=512, epochs=6, share=1.0, learning_rate=0.1,
        count=2, calibration=2, samples=4, densities=(0.5,), pictures=0,
    )  # fmt: skip
    whole = spade.run(config, tmp_path / "whole", report=lambda line: None)
    assert [r["arm"] for r in whole] == 2 * list(spade_measure.ARMS)
    assert all(r["agreement"] == 1 for r in whole if r["arm"] == "dense")

    def killed(line):
        if line.startswith("seed 1: step"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spade.run(config, tmp_path / "killed", report=killed)
    lines = []
    again = spade.run(config, tmp_path / "killed", report=lines.append)
    assert not any(line.startswith("seed 0: step") for line in lines)
    assert again == whole

    def names(run):
        return sorted(path.name for path in (tmp_path / run).iterdir())

    assert names("killed") == names("whole") and "index.html" in names("whole")
