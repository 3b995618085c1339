"""Runs on pruning for a sample: from start to end, controls, intervals, report."""

import json
import shutil
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import data, prune, runs
from sparsejax.experiments import spade
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.spade import measure, pictures, report, scores, toy, train
from sparsejax.models import convolve

TOY_ARMS = ("dense", "large", "small", "dataset")
CONFIG = spade.Config(
    dataset="mnist", widths=(4, 4, 6), num_blocks=1, seeds=(0,), num_train_images=256,
    epochs=3, share=0.5, learning_rate=0.1, num_test_images=2, num_calibration_images=1,
    num_variations=2, densities=(0.5,), num_pictures=0, num_planes=1, plane_epochs=1,
)  # fmt: skip


def quiet(line):
    pass


def flags(config):
    """The command line of a config."""
    for field, value in vars(config).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else value
        yield f"--{field}={text}"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Four classes of "digits", told by the quarter that is bright."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "mnist").mkdir()
    for part, count in (("train", 256), ("t10k", 96)):
        quarter = rng.integers(0, 4, count)
        images = rng.integers(0, 60, (count, 28, 28), np.uint8)
        for image, (row, column) in zip(images, 14 * np.c_[quarter // 2, quarter % 2]):
            image[row : row + 14, column : column + 14] += 100
        labels = np.array(pictures.CLASSES, np.uint8)[quarter]
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            path = folder / "mnist" / f"{part}-{name}-ubyte"
            path.write_bytes(head + array.tobytes())
    return folder


@pytest.fixture(scope="module")
def run(launcher, data_dir, tmp_path_factory):
    """The folder of a small run, and what the launcher said."""
    out = tmp_path_factory.mktemp("out")
    done = launcher("spade", *flags(CONFIG), f"--data_dir={data_dir}", f"--out={out}")
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return folder, done.stdout.splitlines()


def test_a_run_says_what_was_found_where_it_is_and_what_is_next(run):
    folder, lines = run
    assert lines[0].startswith("1 network on mnist, 256 images and 3 epochs each")
    assert lines[1] == f"folder: {folder}"
    assert lines[-3].startswith("Saliency maps find the patch with an AUC of ")
    assert lines[-2:] == [
        f"open {folder / 'index.html'}",
        "next: --tune=faithfulness, --densities=0.3,0.05 or more seeds",
    ]
    assert sum("s left" in line for line in lines) == 1


def test_a_run_leaves_a_complete_folder(run):
    folder, _ = run
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.jsonl", "metrics.crc32",
        "DONE", "network_0.npz", "seed_0.npz",
        "pictures.npz", "toy.npz", "fig_auc.svg", "fig_maps.svg", "fig_toy.svg",
        "table.md", "index.html",
    }  # fmt: skip
    records = runs.read(folder).records
    assert [r["arm"] for r in records] == list(measure.ARMS)
    assert records[0]["agreement"] == 1 and records[0]["gain"] == [0, 0]
    assert all(0 <= r["auc"] <= 1 and r["images"] == 2 for r in records)


@pytest.mark.slow
def test_what_was_lost_is_measured_again_and_the_same(run, data_dir, tmp_path):
    folder, lines = tmp_path / "run", []
    shutil.copytree(run[0], folder)
    for name in ("DONE", "seed_0.npz", "metrics.jsonl"):
        (folder / name).unlink()
    spade.run(CONFIG, folder, data_dir=data_dir, log=lines.append)
    assert not any("step" in line for line in lines)  # it is not trained again
    whole = runs.read_arrays(run[0] / "seed_0.npz")
    again = runs.read_arrays(folder / "seed_0.npz")
    assert whole.keys() == again.keys()
    for name in whole:
        np.testing.assert_array_equal(again[name], whole[name])
    for name in ("metrics.jsonl", "table.md", "fig_maps.svg"):
        assert (folder / name).read_bytes() == (run[0] / name).read_bytes()


def arrays(rng, gain):
    """What a seed leaves, with a known gain of SPADE over dense."""
    found = {"accuracy": 0.8, "success": 0.9, "density": np.array([0.2, 1, 0.5, 1])}
    auc = rng.uniform(0.5, 0.9, 12)
    for arm in measure.ARMS:
        for name in ("auc", *scores.COLUMNS):
            found[f"measures/{arm}/{name}"] = auc + gain * (arm == "spade")
        found[f"maps/{arm}"] = rng.uniform(size=(2, 8, 8))
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
    points = np.broadcast_to(toy.DISCS["small"][:2], (4, 10, 2))
    return {f"points/{arm}": points for arm in TOY_ARMS} | {
        f"surface/{arm}": rng.uniform(size=(5, 5)) for arm in TOY_ARMS
    }


def test_gains_are_paired_and_the_page_tells_them(rng, drawn, plane, tmp_path):
    found = {seed: arrays(rng, 0.05 + 0.01 * seed) for seed in (0, 1)}
    records = [r for seed in found for r in scores.records(seed, found[seed])]
    mean, low, high = scores.gains(records, "spade")
    assert [mean, low, high] == pytest.approx([5.5, 5, 6])
    assert scores.gains(records, "magnitude") == (0, 0, 0)
    lead = scores.gains(records, "spade", over="magnitude")
    assert lead == pytest.approx((mean, low, high))
    with Study("spade", spade.Config(seeds=(0, 1)), tmp_path / "run") as study:
        study.add(records)
        report.write(study, found, drawn, plane)
        page = (study.folder / "index.html").read_text()
        assert "+5.5 (+5.0 to +6.0) points (95% interval)" in page
        assert "8 networks" in page and "dense 0.50, clean 0.00, patched 1.00" in page
        assert "dense: 0, 0, 0, 0% in the large disc and 100, 100, 100, 100% in" in page
        report.write(study, found, {}, plane)
    assert "8 networks" not in (study.folder / "index.html").read_text()
    assert "+5.5 (+5.0 to +6.0)" in (study.folder / "table.md").read_text()
    assert spade.summary(study.folder).count("\n") == 2
    metrics = (study.folder / "metrics.jsonl").read_text()
    assert json.loads(metrics.split("\n")[1])["arm"]


def test_controls_keep_the_largest_of_what_they_look_at():
    kernel = jnp.array([[1.0, -4.0], [3.0, 2.0]])
    state = prune.hessian(np.array([[10.0, 0.1]]))
    by_size = measure.largest(kernel, state, 0.5, 1)
    assert by_size.mask.tolist() == [[0, 1], [1, 0]]
    by_use = measure.wanda(kernel, state, 0.5, 1)
    assert by_use.mask.tolist() == [[1, 1], [0, 0]]
    assert by_use.params.tolist() == [[1, -4], [0, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": (0, 0)}, "distinct"),
        ({"num_test_images": 1}, "num_test_images must be in"),
        ({"share": 0.0}, "share"),
        ({"densities": (1.5,)}, "densities must be in"),
        ({"densities": ()}, "densities must have at least one entry"),
        ({"learning_rate": -1.0}, "learning_rate must be in .*"),
        ({"num_train_images": 50}, "num_train_images must be in .64, "),
        ({"num_test_images": 990}, "must be at most 1000"),
        ({"num_variations": 0}, "num_variations must be in .*"),
        ({"num_pictures": -1}, "num_pictures must be in .*"),
        ({"tune": "x"}, "unknown tune"),
        ({"dataset": "mnist", "widths": (8, 8)}, "widths must have three entries"),
        ({"num_blocks": 2}, "num_blocks need dataset=mnist"),
    ],
)
def test_bad_configs(change, message):
    with pytest.raises(ValueError, match=message):
        spade.Config(**change)


def test_without_epochs_the_network_is_as_it_came():
    start = {"layer1": {"kernel": np.arange(3.0)}}
    network = train.Network(len, len, "", start)
    split = data.Split(np.zeros((1, 8, 8, 1), "f4"), np.zeros(1, "i4"))
    found = train.fitted(spade.Config(epochs=0), network, 0, split, quiet)
    assert found.keys() == {"layer1/kernel"}
    np.testing.assert_array_equal(found["layer1/kernel"], np.arange(3.0))


def test_missing_data_is_named(tmp_path):
    for start in (spade.plan, lambda *a, **k: spade.run(a[0], tmp_path / "run", **k)):
        with pytest.raises(ValueError, match="CIFAR-10 is missing"):
            start(spade.Config(), data_dir=tmp_path)
    assert not (tmp_path / "run").exists()


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
        for name, score in measure._SCORES.items()
    }  # fmt: skip
    assert scores["auc"][0] == pytest.approx(1 - scores["auc"][1])
    assert scores["faithfulness"][0] == scores["faithfulness"][1]


@pytest.mark.slow
def test_points_that_drive_a_unit_lie_in_its_discs():
    """In both of them, and pruned for a point of one in that one."""
    share = {}
    for arm, params in toy._networks(0, spade.Config.plane_epochs).items():
        points = toy._driving(params)
        share[arm] = [toy.inside(points, disc).mean() for disc in toy.DISCS]
    assert sum(share["dense"]) == 1 and min(share["dense"]) > 0.2
    assert share["large"][0] > 0.95 and share["small"][1] > 0.95


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

    monkeypatch.setattr(measure, "logits", truth)
    config = spade.Config(num_pictures=2, num_variations=4, picture_steps=2)
    network = train.Network(fn, fn, "layer3_2", params)
    found = pictures.draw(config, network, params, test, quiet)
    assert found["drawn/dense"].shape == (4, 1, 8, 8, 3)
    assert found["drawn/clean"].shape == found["samples/patched"].shape
    assert all(np.isfinite(found[f"amount/{arm}"]).all() for arm in ("clean", "dense"))
    for patch, label in enumerate(pictures.CLASSES):
        rows = [test.x[test.y == label], planted.x[planted.patch == patch]]
        for name, images in zip(("clean", "patched"), rows, strict=True):
            for sample in found[f"samples/{name}"][patch]:
                assert (images == sample).all((1, 2, 3)).any()
    none = spade.Config(num_pictures=0)
    assert not pictures.draw(none, network, params, test, quiet)
