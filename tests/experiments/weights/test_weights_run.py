"""Runs that look at weights: what is read of every level, pages and their links."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import weights
from sparsejax.experiments import subjects
from sparsejax.experiments._study.subject import Network, Subject
from sparsejax.experiments.weights import Config, plan, report, run, summary, view

SMALL = Config(steps=2, strongest=2, places=1)


def convolve(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "VALID", dimension_numbers=layout
    )[0]


def fn(params, x):
    for i, kernel in enumerate(params["kernels"]):
        x = checkpoint_name(jax.nn.relu(convolve(x, kernel)), f"conv_{i}")
    return x.reshape(-1) @ params["out"]


@pytest.fixture(scope="module", autouse=True)
def drawn():
    """Pictures without gradient ascent, by which features are tested."""

    def noise(book, objective, units):
        return np.random.default_rng(0).uniform(size=(len(units), *book.picture))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view.View, "render", noise)
        yield


@pytest.fixture(scope="module")
def of():
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype("f4")

    kernels = [draw(3, 3, 1, 2), draw(2, 2, 2, 3), draw(2, 2, 3, 2)]
    dense = {"kernels": kernels, "out": draw(2 * 2 * 2, 3)}

    def kept(w):
        return w * (np.abs(w) > 1)

    sparse = jax.tree.map(kept, dense)
    sparse["kernels"][2][..., 1] = 0  # a dead unit
    trees = {("rewind", 0): dense, ("rewind", 1): sparse}
    trees["random_layerwise", 1] = jax.tree.map(lambda w: w[::-1].copy(), sparse)
    networks = tuple(Network(arm, level, 0, 0.3**level) for arm, level in trees)
    return subject_of(fn, (6, 6, 1), networks, lambda n: trees[n.arm, n.level])


def subject_of(fn, shape, networks, params):
    def read(network):
        tree = jax.tree.map(jnp.asarray, params(network))
        return tree, tree

    return Subject(
        title="a toy, seed 0", fn=fn, params=read(networks[0])[0], mask={},
        shape=shape, domain=(0.0, 1.0), image=shape if len(shape) == 3 else None,
        load_data=tuple, source={"run": "toy"}, network=networks[0],
        networks=networks, read=read,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "run"
    return folder, run(SMALL, folder, of, log=lambda line: None)


def test_every_level_is_read_between_neighbours_and_two_apart(of, finished):
    _, records = finished
    near = ["input", "conv_0", "conv_1", "conv_2", "logits"]
    pairs = [*zip(near, near[1:]), *zip(near, near[2:])]
    assert [(r["source"], r["target"]) for r in records] == 3 * pairs
    sparse = next(r for r in records if r["level"] == 1 and r["target"] == "conv_2")
    assert (sparse["alive"], sparse["units"], sparse["channels"]) == (1, 2, 3)
    kernel = of.read(of.networks[1])[0]["kernels"][2]
    found = jax.tree.map(lambda a: a[0].item(), weights.statistics(kernel))
    assert sparse["inputs"] == found.inputs and sparse["live"] == found.live
    assert sparse["participation"] == pytest.approx(found.participation)
    assert sparse["cancellation"] == 0


def test_curves_are_means_over_layers_by_arm(finished):
    _, records = finished
    found = report._panel(report._HELD_FAR, records)
    assert list(found) == ["lottery ticket", "random in each layer (control)"]
    density, values = found["lottery ticket"]
    assert density.tolist() == [1, 0.3] and values.shape == (2, 1)
    assert list(found["random in each layer (control)"][0]) == [
        1,
        0.3,
    ]  # the same dense one
    rows = [r for r in records if r["level"] == 0 and r["apart"] == 2]
    mean = np.mean(
        [r["inputs"] / r["channels"] for r in rows if r["source"] != "input"]
    )
    assert values[0, 0] == pytest.approx(mean)
    found = report.finding(records)
    assert (
        found.startswith("With 30.0% of weights, ") and "random in each layer)" in found
    )


def test_pages_link_to_what_is_there_and_work_offline(finished):
    folder, _ = finished
    pages = folder.rglob("*.html")
    found = sorted(path.relative_to(folder).as_posix() for path in pages)
    layers = ["conv_0", *(f"conv_0_{i}" for i in range(2)),
              "conv_1", *(f"conv_1_{i}" for i in range(3)),
              "conv_2", *(f"conv_2_{i}" for i in range(2))]  # fmt: skip
    levels = [f"level_{level:02d}/{name}.html" for level in (0, 1) for name in layers]
    assert found == ["index.html", *levels]
    for path in folder.rglob("*.html"):
        text = path.read_text()
        for link in set(re.findall(r'href="([^"]+)"', text)) - {"data:,"}:
            assert (path.parent / link).exists(), (path, link)
    first = (folder / "level_00" / "conv_0_0.html").read_text()
    assert 'href="conv_1_0.html"' in first  # pages link forward, too
    text = "".join(path.read_text() for path in folder.glob("level_00/conv_2_*.html"))
    assert "Its strongest inputs in conv_1" in text
    assert "Two layers apart: its strongest inputs in conv_0" in text
    assert "Place by place" in text and "Where paths cancel most" in text
    assert "Where it matters most in logits" in text
    dead = (folder / "level_01" / "conv_2_1.html").read_text()
    assert "All of its weights are gone" in dead


def test_a_killed_run_goes_on(of, finished, tmp_path):
    folder, records = finished
    read = []

    def once(line):
        return read.append(line)

    (folder / "DONE").unlink()
    drawn = folder / "level_00" / "conv_1.npz"
    before = drawn.stat().st_mtime_ns
    assert run(SMALL, folder, of, log=once) == records
    assert drawn.stat().st_mtime_ns == before
    assert not any("read" in line or "drawing" in line for line in read)
    assert summary(folder).count("\n") == 2


def test_other_pages_by_choice(of, tmp_path):
    config = dataclasses.replace(SMALL, levels=(1,), nodes=("conv_1",), units=(2, 0))
    run(config, tmp_path / "run", of, log=lambda line: None)
    found = {path.name for path in (tmp_path / "run").rglob("*.html")}
    assert found == {"index.html", "conv_1.html", "conv_1_2.html", "conv_1_0.html"}
    text = (tmp_path / "run" / "level_01" / "conv_1.html").read_text()
    assert "Rows: conv_1 2, 0." in text


@pytest.mark.parametrize("image", [None, (1, 4, 1), (2, 2, 3)])
def test_layers_without_places(tmp_path, image):
    def dense(params, x):
        for i, kernel in enumerate(params[:2]):
            x = checkpoint_name(jax.nn.relu(x @ kernel), f"hidden_{i}")
        return x @ params[2]

    rng = np.random.default_rng(0)
    size = int(np.prod(image or 4))
    shapes = (size, 3), (3, 2), (2, 2)
    params = [jnp.asarray(rng.normal(size=shape), "float32") for shape in shapes]
    one = Network("rewind", 0, 0, 1.0)
    of = subject_of(dense, (size,), (one,), lambda network: params)
    of = dataclasses.replace(of, image=image)
    run(SMALL, tmp_path / "run", of, log=lambda line: None)
    text = (tmp_path / "run" / "level_00" / "hidden_1_0.html").read_text()
    assert "strongest inputs in hidden_0" in text and " of 3" in text
    assert "Place by place" not in text
    assert not (tmp_path / "run" / "fig_readability.svg").exists()


def test_one_hidden_layer_has_nothing_two_apart(of):
    records = [
        {**one._asdict(), "source": source, "target": target, "apart": apart,
         "units": 2, "alive": 2, "channels": 4, "inputs": 2.0, "cancellation": 0.0}
        for one in of.networks
        for apart, source, target in ((1, "hidden_0", "logits"), (2, "input", "logits"))
    ]  # fmt: skip
    assert report.finding(records).endswith("50% random in each layer)")
    only = [r for r in records if r["source"] == "input"]
    assert report.finding(only) == "Too few layers to compare"
    dead = [{**r, "alive": 0} for r in records]
    alive = report._panel(report._ALIVE, dead)["lottery ticket"]
    assert alive[1].tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ("conv_9",)}, "no activation 'conv_9'; there are 'conv_0'"),
        ({"nodes": ("conv_2",), "units": (2,)}, "conv_2 has units 0 to 1, and no 2"),
        ({"levels": (4,)}, "no level 4; there are 0, 1"),
        ({"strongest": 0}, "strongest must be in .*"),
        ({"places": -1}, "places must be in .*"),
    ],
)
def test_bad_configs_leave_no_folder(of, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(SMALL, **change), tmp_path / "run", of)
    assert not (tmp_path / "run").exists()


def launched(launcher, folder, node):
    flags = "--steps=1", "--units=0", "--levels=1", "--strongest=2", "--places=1"
    done = launcher("weights", f"--run={folder}", f"--nodes={node}", *flags)
    assert done.returncode == 0, done.stderr
    (page,) = (folder / "weights").glob(f"*/level_01/{node}_0.html")
    assert "level 1" in page.read_text()


def test_a_run_from_end_to_end(launcher, lottery_run):
    launched(launcher, lottery_run, "hidden_1")


@pytest.mark.slow
def test_a_run_of_residual_networks(launcher, residual_run):
    launched(launcher, residual_run, "layer3_0")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run=nowhere"], "nowhere is not a lottery run"),
        (["--data_dir=nowhere"], "is missing"),
        (["--run=x", "--checkpoint=y"], "--checkpoint cannot be used with --run"),
    ],
)
def test_bad_flags_get_one_line(launcher, flags, message, tmp_path):
    done = launcher("weights", *flags, f"--out={tmp_path}")
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_plans_say_what_gets_pages(of, lottery_run):
    assert (
        plan(SMALL, of) == "3 networks; pages of conv_0, conv_1, conv_2 at level 0, 1"
    )
    subject = subjects.of_run(lottery_run)
    assert "pages of hidden_0, hidden_1 at level 0, 2" in plan(SMALL, subject)
