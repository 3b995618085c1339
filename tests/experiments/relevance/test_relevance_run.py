"""From a lottery run to explanations, against plain NumPy and the methods alone."""

import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import relevance, runs
from sparsejax.experiments import relevance as relevance_
from sparsejax.experiments import subjects
from sparsejax.experiments.relevance import config as config_
from sparsejax.experiments.relevance import measure, report
from sparsejax.experiments.relevance import records as records_
from sparsejax.experiments.relevance.config import Config

SMALL = Config(
    test_images=(4, 1), num_test_images=5, levels=(0,), target="predicted",
    methods=("blame_the_bias", "gradient", "gradient_x_input", "expected_gradients"),
)  # fmt: skip


def quiet(line):
    pass


@pytest.fixture(scope="module")
def lottery(lottery_run):
    return subjects.of_run(lottery_run, seed=1)


@pytest.fixture(scope="module")
def convnet():
    return subjects.trained("digits", "convnet", (3, 2), epochs=1)


@pytest.fixture(scope="module")
def finished(lottery, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps") / "run"
    records = relevance_.run(SMALL, folder, lottery, log=quiet)
    return folder, records


def by_hand(params, x):
    """Logits (n, 10), gradients (n, 64, 10), and biases' relevance (n, 10) in all."""
    layers = [(np.float64(params[f"dense_{i}"]["kernel"]),
               np.float64(params[f"dense_{i}"]["bias"])) for i in range(3)]  # fmt: skip
    (k0, b0), (k1, b1), (k2, b2) = layers
    z0 = x @ k0 + b0
    z1 = np.maximum(z0, 0) @ k1 + b1
    back = np.einsum("nh,hk->nhk", z1 > 0, k2)
    first = np.einsum("ng,gh,nhk->ngk", z0 > 0, k1, back)
    biases = b2 + np.einsum("h,nhk->nk", b1, back) + np.einsum("g,ngk->nk", b0, first)
    logits = np.maximum(z1, 0) @ k2 + b2
    return logits, np.einsum("pg,ngk->npk", k0, first), biases


@pytest.mark.parametrize("level", [2, 0])
def test_maps_and_biases_are_those_of_the_networks(finished, lottery, level):
    folder, _ = finished
    there = runs.read_arrays(folder / "images.npz")
    params = lottery.level(level).params
    part = slice(None if level else 2)
    x, targets = np.float64(there["x"])[part], there["targets"][part]
    logits, slopes, biases = by_hand(params, x)
    rows = np.arange(len(x))
    wanted = slopes[rows, :, targets]
    key = "map" if level else "level_0"

    def read(name):
        return runs.read_arrays(folder / f"{name}.npz")

    np.testing.assert_allclose(read("gradient")[key], wanted, atol=1e-4)
    for name in ("blame_the_bias", "gradient_x_input"):
        np.testing.assert_allclose(read(name)[key], x * wanted, atol=1e-4)
    if level:
        np.testing.assert_array_equal(targets, logits.argmax(1))
        found = read("blame_the_bias")
        total = biases[rows, targets]
        np.testing.assert_allclose(found["account/bias"], total, atol=1e-4)
        one = sum(found[f"bias/dense_{i}/bias"].sum(1) for i in range(3))
        np.testing.assert_allclose(one, total, atol=1e-4)
        residual = read("gradient_x_input")["account/input"] - logits[rows, targets]
        np.testing.assert_allclose(residual, -total, atol=1e-4)


def test_records_are_means_over_the_images_drawn(finished):
    folder, records = finished
    assert [r["method"] for r in records] == ["random", *SMALL.methods]
    found = runs.read_arrays(folder / "blame_the_bias.npz")
    one, plain = records[1], records[2]
    for field in ("output", "input", "bias"):
        mean = found[f"account/{field}"][2:].mean()
        assert one["account"][field] == pytest.approx(mean, abs=1e-5)
    share = np.median(np.abs(found["account/bias"] / found["account/output"])[2:])
    assert one["bias_share"] == pytest.approx(share) and one["residual"] < 1e-6
    assert plain["account"] is plain["residual"] is plain["bias_share"] is None
    assert list(one["randomized"]) == ["dense_2", "dense_1", "dense_0"]
    raw = (folder / "metrics.jsonl").read_text()
    assert not re.search("NaN|Infinity", raw)
    assert f"is {share:.0%} of the output's size" in records_.finding(records)


def test_deletion_takes_pixels_by_their_map(finished, lottery):
    folder, records = finished
    mean = lottery.train_data[0].mean(0)
    there = runs.read_arrays(folder / "images.npz")
    found = runs.read_arrays(folder / "blame_the_bias.npz")
    curve = []
    for x, target, shown in zip(
        there["x"][2:], there["targets"][2:], found["map"][2:], strict=True
    ):
        order = np.argsort(-shown, kind="stable")
        row = []
        for gone in np.rint(np.linspace(0, 64, 21)).astype(int):
            image = x.copy()
            image[order[:gone]] = mean[order[:gone]]
            out = np.float64(lottery.bound()(jnp.asarray(image)))
            row.append(np.exp(out[target]) / np.exp(out).sum())
        curve.append(row)
    np.testing.assert_allclose(found["deletion"], curve, atol=1e-4)
    area = np.trapezoid(np.mean(curve, 0), np.linspace(0, 1, 21))
    assert records[1]["deletion"] == pytest.approx(area, abs=1e-4)


def test_draws_do_not_depend_on_which_images_are_beside(finished, lottery, tmp_path):
    """The samples of one run alone, in another order, are explained the same."""
    config = dataclasses.replace(
        SMALL, test_images=(1, 7, 4), methods=SMALL.methods[-1:]
    )
    relevance_.run(config, tmp_path / "run", lottery, log=quiet)
    a, b = (
        runs.read_arrays(folder / "expected_gradients.npz")["map"]
        for folder in (finished[0], tmp_path / "run")
    )
    np.testing.assert_allclose(a[:2], b[[2, 0]], atol=1e-5)


def test_a_run_leaves_a_complete_folder(finished, lottery):
    folder, records = finished
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.jsonl", "metrics.crc32",
        "images.npz", "random.npz", "index.html",
        "DONE", "table.md", "fig_maps.svg", *(f"{k}.npz" for k in SMALL.methods),
        "fig_biases.svg", "fig_curves.svg", "fig_randomized.svg", "fig_levels.svg",
    }  # fmt: skip
    html = (folder / "index.html").read_text()
    assert "http://" not in html.split("<script")[0]
    assert not re.search(r"\bnan\b", html.lower().split("<script")[0])
    lines = []
    again = relevance_.run(SMALL, folder, lottery, log=lines.append)
    assert again == records and "is complete" in lines[-1]


class Killed(BaseException):
    pass


def test_killed_and_resumed_makes_no_method_twice(
    finished, lottery, tmp_path, monkeypatch
):
    folder, original, calls = tmp_path / "run", measure.method, []

    def method(config, name, *rest):
        if len(calls) == 2:
            calls.append("killed")
            raise Killed
        calls.append(name)
        return original(config, name, *rest)

    monkeypatch.setattr(measure, "method", method)
    monkeypatch.setattr(report, "write", lambda *a: None)
    with pytest.raises(Killed):
        relevance_.run(SMALL, folder, lottery, log=quiet)
    assert len(runs.read_metrics(folder)) == 3 and not (folder / "DONE").exists()
    (folder / "gradient.npz").write_bytes(b"no")
    lines = []
    relevance_.run(SMALL, folder, lottery, log=lines.append)
    assert any("damaged" in line for line in lines)
    calls.remove("killed")
    assert calls == [*SMALL.methods[:2], *SMALL.methods[1:]]
    wanted, found = (runs.read_metrics(where) for where in (finished[0], folder))
    assert json.dumps(found) == json.dumps(wanted)
    for path in finished[0].glob("*.npz"):
        a, b = runs.read_arrays(path), runs.read_arrays(folder / path.name)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{path.name} {key}")


def test_a_folder_is_of_one_network(finished, lottery, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "DONE").unlink()
    arrays = runs.read_arrays(folder / "images.npz")
    runs.write_arrays(folder / "images.npz", {**arrays, "logits": arrays["logits"] + 1})
    with pytest.raises(ValueError, match="run on another network"):
        relevance_.run(SMALL, folder, lottery, log=quiet)


@pytest.mark.slow
def test_every_method_explains_a_convnet(convnet, tmp_path):
    """The map of each against the function it is named after."""
    config = Config(test_images=(0,), num_test_images=2, methods=tuple(config_.LABELS))
    folder = tmp_path / "run"
    records = relevance_.run(config, folder, convnet, log=quiet)
    assert [r["method"] for r in records[1:]] == list(config_.LABELS)
    x, target = jnp.asarray(convnet.x[0]), int(convnet.y[0])
    mean = jnp.asarray(convnet.train_data[0].mean(0))
    args = convnet.fn, convnet.params, x

    def explain(rule):
        return relevance.explain(
            *args,
            target=target,
            baseline="zero",
            rules=rule and relevance.Rules(**rule),
        ).input

    def layer(rule):
        return explain({"layer": rule})

    cam = relevance.grad_cam(*args, "hidden_1", target=target)
    wanted = {
        "gradient": relevance.gradient(*args, target=target),
        "gradient_x_input": relevance.gradient_x_input(*args, target=target),
        "lrp_0": explain(None),
        "blame_the_bias": explain(None),
        "lrp_epsilon": layer(relevance.epsilon(0.25)),
        "gamma": layer(relevance.gamma(0.25)),
        "alpha_beta": layer(relevance.alpha_beta()),
        "z_plus": layer(relevance.z_plus()),
        "composite": explain({
            "first": relevance.z_box(0.0, 1.0), "layer": relevance.gamma(0.25),
            "last": relevance.epsilon(0.25),
        }),
        "deeplift": relevance.deeplift(*args, mean, target=target).input,
        "integrated_gradients": relevance.integrated_gradients(
            *args, target=target, baseline=mean).input,
        "guided_backprop": relevance.guided_backprop(*args, target=target),
        "deconvnet": relevance.deconvnet(*args, target=target),
        "grad_cam": jax.image.resize(cam, (8, 8), "linear")[..., None],
        "occlusion": relevance.occlusion(
            *args, target=target, window=2, stride=1, baseline=mean),
    }  # fmt: skip
    assert set(config_.LABELS) - set(wanted) == {"expected_gradients", "smoothgrad"}
    for name, expected in wanted.items():
        found = runs.read_arrays(folder / f"{name}.npz")["map"][0]
        scale = float(jnp.abs(expected).max()) + 1e-6
        np.testing.assert_allclose(
            found, expected, atol=1e-3 * scale, rtol=1e-3, err_msg=name
        )
    for name in ("expected_gradients", "smoothgrad"):
        assert runs.read_arrays(folder / f"{name}.npz")["map"].any()


@pytest.mark.slow
def test_a_residual_network_of_several_labels(residual_run, tmp_path):
    subject = subjects.of_run(residual_run)
    config = Config(
        test_images=(1,), num_test_images=2, methods=("blame_the_bias", "grad_cam")
    )
    folder = tmp_path / "run"
    (_, one, _) = relevance_.run(config, folder, subject, log=quiet)
    assert one["residual"] < 1e-5
    assert list(one["randomized"]) == [
        "linear", "layer3", "layer2", "layer1", "bn1", "conv1"
    ]  # fmt: skip
    there = runs.read_arrays(folder / "images.npz")
    assert subject.y[1][there["labels"][0]] == 1


def test_the_usual_methods_are_those_that_differ():
    usual = config_.methods(Config(), places=True)
    assert set(config_.LABELS) - set(usual) == {"gradient_x_input", "lrp_0"}
    assert "grad_cam" not in config_.methods(Config(), places=False)


def test_methods_without_biases_have_a_page_too(lottery, tmp_path):
    config = Config(
        methods=("gradient",), test_images=(2,), num_test_images=1, target="0"
    )
    folder = tmp_path / "run"
    records = relevance_.run(config, folder, lottery, log=quiet)
    assert not (folder / "fig_biases.svg").exists()
    assert records_.finding(records).startswith(
        "Deleting first what gradient marks leaves"
    )
    assert "Evidence for output 0" in (folder / "fig_maps.svg").read_text()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"methods": ("shap",)}, "unknown methods 'shap'; expected 'gradient', .*occ"),
        (
            {"methods": ("gamma", "gamma")},
            "methods must be distinct, got gamma",
        ),
        ({"methods": ("grad_cam",)}, "grad_cam needs a convolution.*mlp on digits"),
        (
            {"test_images": (3, 400)},
            r"test_images must be in \[0, 359\], got 400",
        ),
        ({"test_images": (-1,)}, r"test_images must be in .*, got -1"),
        (
            {"test_images": tuple(range(31))},
            "at most 30 test_images can be shown, got 31",
        ),
        ({"levels": (7,)}, "no level 7; there are 0, 1, 2"),
        (
            {"target": "cat"},
            "target is 'cat'; it can be label, predicted or",
        ),
        (
            {"target": "10"},
            r"target must be in \[0, 9\], the outputs of this network, got 10",
        ),
        ({"baseline": "blur"}, "unknown baseline 'blur'"),
        ({"epsilon": -1.0}, "epsilon must be in .*"),
        ({"gamma": float("nan")}, "gamma must be in .*, got nan"),
        ({"num_test_images": 361}, r"num_test_images must be in \[1, 360\], got 361"),
        ({"num_test_images": 0}, "num_test_images must be in"),
        ({"seed": -1}, "seed must be in"),
    ],
)
def test_bad_configs_leave_nothing(lottery, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        relevance_.run(Config(**change), tmp_path / "run", lottery, log=quiet)
    assert not (tmp_path / "run").exists()


def test_a_network_is_needed(tmp_path):
    with pytest.raises(ValueError, match="--run is required .*`sparsejax lottery` mak"):
        relevance_.plan(Config())


def test_maps_that_are_not_finite_are_named(lottery, tmp_path):
    kernel = lottery.params["dense_0"]["kernel"].at[:, 0].set(jnp.nan)
    params = lottery.params | {
        "dense_0": lottery.params["dense_0"] | {"kernel": kernel}
    }
    broken = dataclasses.replace(lottery, params=params)
    with pytest.raises(ValueError, match="not finite"):
        relevance_.run(SMALL, tmp_path / "run", broken, log=quiet)


def test_a_folder_answers_for_one_network_and_is_mended(lottery, tmp_path):
    """Not for another one under the same config; and not with files missing."""
    config = Config(methods=("gradient",), test_images=(2,), num_test_images=1)
    folder, said = tmp_path / "run", []
    relevance_.run(config, folder, lottery, log=quiet)
    page = (folder / "index.html").read_bytes()
    (folder / "index.html").unlink()
    (folder / "gradient.npz").write_bytes(b"no archive")
    relevance_.run(config, folder, lottery, log=said.append)
    assert any("damaged" in line for line in said)
    assert (folder / "index.html").read_bytes() == page
    images = runs.read_arrays(folder / "images.npz")
    runs.write_arrays(folder / "images.npz", {**images, "logits": images["logits"] + 1})
    (folder / "DONE").unlink()  # which knows what was there
    with pytest.raises(ValueError, match="run on another network"):
        relevance_.run(config, folder, lottery, log=quiet)


def test_a_level_is_not_compared_with_itself(lottery, tmp_path):
    config = Config(levels=(0, 1), num_test_images=1)
    with pytest.raises(ValueError, match="level 1 is the one explained"):
        relevance_.run(config, tmp_path / "run", lottery.level(1), log=quiet)
