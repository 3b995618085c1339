"""The whole experiment, small: what it leaves, and what it survives."""

import dataclasses
import json
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import masks, models, prune, runs, trees
from sparsejax.experiments import lottery
from sparsejax.experiments.lottery import _run, checkpoints, lab, pruning, report

CONTROLS = ("random_global", "random_layerwise", "reinit")


def quiet(line):
    pass


def levels(folder, arm="rewind"):
    there = checkpoints.levels(folder, arm)
    return [runs.read_arrays(checkpoints.path(folder, n, arm)) for n in there]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def assert_same_runs(a, b):
    assert runs.read_metrics(a) == runs.read_metrics(b)
    names = {path.relative_to(b) for path in b.glob("level_*/*.npz")}
    assert names == {path.relative_to(a) for path in a.glob("level_*/*.npz")}
    for name in names:
        assert_same(runs.read_arrays(a / name), runs.read_arrays(b / name))


@pytest.fixture
def no_report(monkeypatch):
    """For runs that are not asked about their page, nor the last network's."""
    monkeypatch.setattr(report, "write", lambda *_, **__: None)
    monkeypatch.setattr(_run, "_flow_graph", lambda *_: False)


def masks_of(arrays):
    return {k: a for k, a in arrays.items() if k.startswith("mask/") and a.ndim > 1}


def test_leaves_a_complete_folder(small, mlp):
    folder, records = small
    files = {path.name for path in folder.iterdir()}
    assert files >= {
        "DONE", "config.json", "metrics.jsonl", "metrics.crc32",
        "index.html", "rewind.npz",
        "fig_accuracy.svg", "fig_layers.svg", "fig_filters.svg", "fig_idle.svg",
        "fig_barrier.svg", "level_00", "level_03",
    }  # fmt: skip
    assert not any(name.startswith(".") for name in files)
    assert [p.name for p in (folder / "level_00").iterdir()] == ["rewind.npz"]
    names = {path.stem for path in (folder / "level_03").iterdir()}
    assert names == set(mlp.arms)
    assert runs.read_metrics(folder) == json.loads(json.dumps(records))
    assert [(r["level"], r["arm"], r["seed"]) for r in records] == [
        (level, arm, seed)
        for level in range(4)
        for arm in (mlp.arms if level else mlp.arms[:1])
        for seed in (0, 1)
    ]
    head = json.loads((folder / "config.json").read_text())
    assert head["kind"] == "lottery" and head["config"]["rounds"] == 3
    assert lottery.summary(folder).count("\n") == 2


def test_invariants_of_every_level(small, mlp):
    folder, records = small
    rewind = runs.read_arrays(folder / "rewind.npz")
    sizes = {"dense_0": 64 * 12, "dense_1": 96, "dense_2": 80}
    counts = pruning.rounds(mlp).counts
    assert counts[0] == sum(sizes.values())
    for arm, steps in (("rewind", 20), ("finetune", None)):
        before = None
        for level, arrays in enumerate(levels(folder, arm), arm != "rewind"):
            kept = masks_of(arrays)
            assert {k: m[0].size for k, m in kept.items()} == {
                f"mask/{k}/kernel": n for k, n in sizes.items()
            }
            for seed in range(2):
                assert sum(m[seed].sum() for m in kept.values()) == counts[level]
            for key, mask in kept.items():
                if before is not None:
                    assert not (mask & ~before[key]).any()
                name = key.removeprefix("mask/")
                assert (arrays[f"params/{name}"][~mask] == 0).all()
                moments = [k for k in arrays if "opt_state/" in k and name in k]
                assert moments
                for moment in moments:
                    assert (arrays[moment][~mask] == 0).all()
            assert (rewind["step"] == 7).all()
            assert (arrays["step"] == (steps or 20 + level * 13)).all()
            before = kept
    for arm in mlp.arms:
        kept = [r["kept"] for r in records if r["arm"] == arm]
        assert kept == [n for n in counts[arm != "rewind" :] for _ in range(2)]
    assert all(r["density"] == r["kept"] / counts[0] for r in records)


def test_controls_have_masks_as_large(small):
    folder, _ = small
    tickets = levels(folder)[1:]
    for arm in CONTROLS:
        for ticket, arrays in zip(tickets, levels(folder, arm), strict=True):
            own, theirs = masks_of(arrays), masks_of(ticket)
            assert {k.partition("/")[0] for k in arrays} == {"mask", "params"}
            for key, mask in own.items():
                same = (mask == theirs[key]).all()
                assert same == (arm == "reinit")
                alike = (mask.sum((1, 2)) == theirs[key].sum((1, 2))).all()
                assert alike or arm == "random_global"
                kernel = arrays[f"params/{key.removeprefix('mask/')}"]
                assert not kernel[~mask].any() and kernel[mask].all()


def test_the_rounds_restart_from_the_rewind_point(small, mlp):
    """Rewind point and mask of a level, trained again, give the level."""
    folder, _ = small
    _, of = _run._prepared(mlp, None)
    state, mask = of.start()
    rewind = checkpoints.read_rewind(folder, state)
    arrays = levels(folder)[2]
    kept = trees.map_with_path(
        lambda path, leaf: jnp.asarray(arrays[f"mask/{path}"], leaf.dtype), mask
    )
    params = jax.vmap(masks.zero)(rewind.params, kept)
    again = of.train(rewind._replace(params=params), kept)
    for key, value in trees.to_arrays({"params": again.params}).items():
        np.testing.assert_array_equal(value, arrays[key], err_msg=key)


@pytest.mark.usefixtures("no_report")
def test_controls_start_with_the_weights_of_the_rewind_point(
    monkeypatch, tmp_path, mlp
):
    starts = []
    original = lab.Lab.train

    def spy(self, state, mask, stop=None, order=0):
        starts.append((mask, state))
        return original(self, state, mask, stop, order)

    monkeypatch.setattr(lab.Lab, "train", spy)
    arms = ("rewind", *CONTROLS)
    config = dataclasses.replace(mlp, rounds=1, barrier=False, arms=arms)
    lottery.run(config, tmp_path / "run", log=quiet)
    rewind = runs.read_arrays(tmp_path / "run" / "rewind.npz")
    ticket, first = starts[2]
    assert len(starts) == 3 + len(CONTROLS)
    for arm, (mask, state) in zip(arms, starts[2:], strict=True):
        kernel = np.asarray(state.params["dense_0"]["kernel"])
        kept = np.asarray(mask["dense_0"]["kernel"]) != 0
        same = kernel[kept] == rewind["params/dense_0/kernel"][kept]
        assert same.all() if arm != "reinit" else same.mean() < 0.01
        assert (state.step == first.step).all()
        other = np.asarray(ticket["dense_0"]["kernel"]) != kept
        assert other.any() == arm.startswith("random")


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param("text", marks=pytest.mark.slow),
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param("missing", marks=pytest.mark.slow),
        pytest.param("numbers", marks=pytest.mark.slow),
    ],
)
def test_damaged_metrics_make_levels_again(small, mlp, tmp_path, lines):
    folder = tmp_path / "run"
    shutil.copytree(small[0], folder)
    path = folder / "metrics.jsonl"
    content = path.read_text().splitlines(keepends=True)
    if lines == "missing":
        path.unlink()
    else:
        other = {"text": "hello\n", "numbers": "3\n4\n"}
        path.write_text(other.get(lines) or "".join(content[:lines]))
    records = lottery.run(mlp, folder, log=quiet)
    assert json.loads(json.dumps(records)) == runs.read_metrics(folder)
    assert_same_runs(folder, small[0])


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "when",
    [
        "before a control",
        pytest.param("before a ticket", marks=pytest.mark.slow),
        pytest.param("after a ticket", marks=pytest.mark.slow),
        pytest.param("in fine-tuning", marks=pytest.mark.slow),
        pytest.param("in the report", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_is_the_same_bit_for_bit(
    small, mlp, tmp_path, monkeypatch, request, when
):
    folder = tmp_path / "run"

    def save_state(folder, level, arm, *more):
        if when == "before a ticket" and (level, arm) == (2, "rewind"):
            raise Killed
        if when == "in fine-tuning" and (level, arm) == (2, "finetune"):
            raise Killed
        state(folder, level, arm, *more)
        if when == "after a ticket" and (level, arm) == (2, "rewind"):
            raise Killed

    def save_network(folder, level, arm, *more):
        if when == "before a control" and (level, arm) == (2, "random_layerwise"):
            raise Killed
        network(folder, level, arm, *more)

    def write(*_, **__):
        raise Killed

    state, network = checkpoints.save_state, checkpoints.save_network
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_state", save_state)
        patch.setattr(checkpoints, "save_network", save_network)
        if when == "in the report":
            patch.setattr(report, "write", write)
        with pytest.raises(Killed):
            lottery.run(mlp, folder, log=quiet)
    assert not (folder / "DONE").exists()
    if when != "in the report":
        request.getfixturevalue("no_report")
    lines = []
    lottery.run(mlp, folder, log=lines.append)
    at = {"before a ticket": 1, "after a ticket": 2, "before a control": 2}.get(when, 3)
    assert lines[0] == f"resuming after level {at} in {folder}"
    assert_same_runs(folder, small[0])


@pytest.mark.usefixtures("no_report")
def test_damaged_levels_are_made_again(small, mlp, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(small[0], folder)
    for arm in ("rewind", "reinit"):
        path = checkpoints.path(folder, 2 if arm == "rewind" else 1, arm)
        path.write_bytes(path.read_bytes()[:1000])
    lines = []
    lottery.run(mlp, folder, log=lines.append)
    assert lines[0].startswith("damaged: ") and "level_02" in lines[0]
    assert lines[1].startswith("resuming after level 1")
    assert "reinit of level 1 again" in lines[2]
    assert_same_runs(folder, small[0])


def test_a_complete_run_is_not_run_again(small, mlp):
    lines = []
    assert lottery.run(mlp, small[0], log=lines.append) == runs.read_metrics(small[0])
    assert len(lines) == 1 and "is complete" in lines[0]


def test_a_folder_of_another_config_is_refused(small, mlp):
    other = dataclasses.replace(mlp, fraction=0.3)
    with pytest.raises(ValueError, match="another config"):
        lottery.run(other, small[0], log=quiet)


@pytest.mark.slow
@pytest.mark.usefixtures("no_report")
def test_a_seed_alone_gives_the_same_masks(small, mlp, tmp_path):
    alone = dataclasses.replace(mlp, seeds=(1,), arms=("rewind",), barrier=False)
    records = lottery.run(alone, tmp_path / "run", log=quiet)
    for one, both in zip(levels(tmp_path / "run"), levels(small[0]), strict=True):
        for key, mask in masks_of(one).items():
            np.testing.assert_array_equal(mask[0], both[key][1])
        for key in both:
            if key.startswith("params/"):
                np.testing.assert_allclose(one[key][0], both[key][1], atol=2e-5)
    tickets = [r for r in small[1] if r["arm"] == "rewind" and r["seed"] == 1]
    for record, other in zip(records, tickets, strict=True):
        assert abs(record["test_accuracy"] - other["test_accuracy"]) < 0.01


def test_idle_units_in_the_metrics_are_those_of_the_weights(small):
    folder, records = small
    run = lottery.read(folder)
    for seed in range(2):
        params, _ = lottery.network(run, seed=seed)
        x = jnp.asarray(np.random.default_rng(0).random((20, 64)), jnp.float32)
        model = models.mlp((12, 8), 10)
        narrow = prune.compact(model.apply, params, None, x)
        last = [r for r in records if r["arm"] == "rewind"][-2 + seed]
        for name, units in last["idle"].items():
            live = units["units"] - units["constant"] - units["unread"]
            assert live == len(narrow.report.kept[name])
        layers = narrow.params.values()
        *widths, outputs = (layer["kernel"].shape[-1] for layer in layers)
        other = models.mlp(widths, outputs)
        np.testing.assert_allclose(
            other.apply(narrow.params, x),
            model.apply(params, x),
            rtol=1e-4,
            atol=1e-5,
        )


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, mlp):
    wild = dataclasses.replace(mlp, learning_rate=1e30, arms=("rewind",))
    with pytest.raises(ValueError, match="loss of seed 0, 1 is not finite at step"):
        lottery.run(wild, tmp_path / "run", log=quiet)
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "config.json",
        "errors.log",
    }


@pytest.mark.parametrize(
    "change, message",
    [
        ({"batch_size": 9999}, "batch_size 9999 is larger than the 640 training"),
        ({"rewind_to": 20}, r"rewind_to must be in \[0, 20\)"),
        ({"exclude": ("dense_9",)}, "no layer 'dense_9'"),
    ],
)
def test_what_cannot_be_run_leaves_no_folder(tmp_path, mlp, change, message):
    with pytest.raises(ValueError, match=message):
        lottery.run(dataclasses.replace(mlp, **change), tmp_path / "run", log=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"model": "convnet", "widths": (3, 2), "fraction": 0.2, "barrier": False},
        {"scope": "layer", "share_data_order": False, "optimizer": "adamw"},
        {"layer_fractions": ("dense_0=0.5x2", "dense_2=0"), "score": "snip"},
        {"exclude": ("dense_0",), "optimizer": "adam", "schedule": "constant"},
        {"arms": ("rewind", "trained", "rewind_weights"), "score": "random"},
        {"schedule": "steps", "optimizer": "sgd", "num_train_images": 300},
    ],
    ids=lambda change: next(iter(change)),
)
def test_variants_run(tmp_path, mlp, change):
    config = dataclasses.replace(mlp, arms=("rewind", "random_layerwise"))
    config = dataclasses.replace(config, rewind_to=3, **change)
    if config.model == "convnet":
        config = dataclasses.replace(config, epochs=1)
    records = lottery.run(config, tmp_path / "run", log=quiet)
    tickets = [r["kept"] for r in records if r["arm"] == "rewind"]
    assert tickets[::2] == pruning.rounds(config).counts
    assert (tmp_path / "run" / "DONE").exists()


def test_the_page_draws_its_filters(small, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium to open the page in")
    url = (small[0] / "index.html").resolve().as_uri() + "#level=1"
    dom = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        + ["--disable-background-networking", f"--user-data-dir={tmp_path}"]
        + ["--virtual-time-budget=3000", url],
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert dom.count("<canvas") == 12
    assert "1 (60.0% left)" in dom and "reinit" in dom
    assert dom.count('class="error"') == 1  # the one for browsers without scripts
