"""The whole experiment, small: what it leaves, and what it survives."""

import dataclasses
import json
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import masks, models, prune, runs, train, trees
from sparsejax.experiments import checkpoints, lottery_config, lottery_ticket
from sparsejax.experiments.lottery_config import Config

SMALL = Config(
    widths=(12, 8),
    rounds=3,
    fraction=0.4,
    epochs=2,
    seeds=(0, 1),
    rewind_to=7,
)


def quiet(line):
    pass


def levels(folder, count=4):
    return [checkpoints.read_level(folder, level) for level in range(count)]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    records = lottery_ticket.run(SMALL, folder, report=quiet)
    return folder, records


@pytest.fixture
def no_report(monkeypatch):
    """For runs that are not asked about their page."""
    monkeypatch.setattr(lottery_ticket.lottery_report, "write", lambda *_, **__: None)


def masks_of(arrays):
    return {k: a for k, a in arrays.items() if k.startswith("mask/") and a.ndim > 1}


def test_leaves_a_complete_folder(finished):
    folder, records = finished
    files = {path.name for path in folder.iterdir()}
    assert files >= {
        "DONE", "config.json", "metrics.jsonl", "index.html", "rewind.npz",
        "fig_accuracy.svg", "fig_layers.svg", "fig_filters.svg", "fig_idle.svg",
        "fig_barrier.svg", "level_00", "level_03",
    }  # fmt: skip
    assert not any(name.startswith(".") for name in files)
    assert runs.read_metrics(folder) == json.loads(json.dumps(records))
    assert len(records) == 2 + 3 * 4 * 2
    assert json.loads((folder / "config.json").read_text())["config"]["rounds"] == 3


def test_invariants_of_every_level(finished):
    folder, records = finished
    rewind = runs.read_arrays(folder / "rewind.npz")
    sizes = {"dense_0": 64 * 12, "dense_1": 96, "dense_2": 80}
    counts = lottery_ticket.plan(SMALL).counts
    assert counts[0] == sum(sizes.values())
    before = None
    for level, arrays in enumerate(levels(folder)):
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
            moments = [k for k in arrays if k.startswith("opt_state/") and name in k]
            assert moments
            for moment in moments:
                assert (arrays[moment][~mask] == 0).all()
        assert (rewind["step"] == 7).all() and (arrays["step"] == 44).all()
        before = kept
    by_variant = {}
    for record in records:
        by_variant.setdefault(record["variant"], []).append(record["kept"])
        assert record["density"] == record["kept"] / counts[0]
    assert by_variant["ticket"] == [n for n in counts for _ in range(2)]
    for control in lottery_config.CONTROLS:
        assert by_variant[control] == [n for n in counts[1:] for _ in range(2)]


def test_the_rounds_restart_from_the_rewind_point(finished):
    """Rewind point and mask of a level, trained again, give the level."""
    folder, _ = finished
    lab = lottery_ticket._Lab(SMALL, lottery_ticket.data.load("digits"))
    state, mask = lab.start()
    rewind = runs.read_arrays(folder / "rewind.npz")
    arrays = levels(folder)[2]
    rewound = trees.from_arrays(rewind, state._asdict())
    start = train.State(**rewound)
    kept = trees.map_with_path(
        lambda path, leaf: jnp.asarray(arrays[f"mask/{path}"], leaf.dtype), mask
    )
    params = jax.vmap(masks.zero)(start.params, kept)
    again = lab.train(start._replace(params=params), kept)
    for key, value in trees.to_arrays({"params": again.params}).items():
        np.testing.assert_array_equal(value, arrays[key], err_msg=key)


@pytest.mark.usefixtures("no_report")
def test_controls_start_with_the_weights_of_the_rewind_point(monkeypatch, tmp_path):
    starts = []
    original = lottery_ticket._Lab._records

    def spy(lab, variant, ticket, mask, start):
        starts.append((variant, mask, start))
        return original(lab, variant, ticket, mask, start)

    monkeypatch.setattr(lottery_ticket._Lab, "_records", spy)
    config = dataclasses.replace(SMALL, rounds=1, barrier=False)
    lottery_ticket.run(config, tmp_path / "run", report=quiet)
    rewind = runs.read_arrays(tmp_path / "run" / "rewind.npz")
    by_variant = {variant: (mask, start) for variant, mask, start in starts}
    ticket, state = by_variant["ticket"]
    for variant, (mask, start) in by_variant.items():
        kernel = np.asarray(start.params["dense_0"]["kernel"])
        kept = np.asarray(mask["dense_0"]["kernel"]) != 0
        same = kernel[kept] == rewind["params/dense_0/kernel"][kept]
        assert same.all() if variant != "reinit" else same.mean() < 0.01
        assert (start.step == state.step).all()
        other = np.asarray(ticket["dense_0"]["kernel"]) != kept
        assert other.any() == (variant in ("random", "shuffled"))


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    "lines",
    [
        "text",
        pytest.param(5, marks=pytest.mark.slow),
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param("missing", marks=pytest.mark.slow),
        pytest.param("numbers", marks=pytest.mark.slow),
    ],
)
def test_damaged_metrics_make_levels_again(finished, tmp_path, lines):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    path = folder / "metrics.jsonl"
    content = path.read_text().splitlines(keepends=True)
    if lines == "missing":
        path.unlink()
    else:
        other = {"text": "hello\n", "numbers": "3\n4\n"}
        path.write_text(other.get(lines) or "".join(content[:lines]))
    records = lottery_ticket.run(SMALL, folder, report=quiet)
    assert json.loads(json.dumps(records)) == runs.read_metrics(folder)
    assert runs.read_metrics(folder) == runs.read_metrics(finished[0])


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "when",
    [
        "before saving",
        pytest.param("after saving", marks=pytest.mark.slow),
        pytest.param("in the report", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_is_the_same_bit_for_bit(
    finished, tmp_path, monkeypatch, request, when
):
    folder = tmp_path / "run"
    saves = []

    def save(folder, ticket):
        saves.append(ticket.level)
        if when == "before saving" and ticket.level == 2:
            raise Killed
        original(folder, ticket)
        if when == "after saving" and ticket.level == 2:
            raise Killed

    def report(*_, **__):
        raise Killed

    original = checkpoints.save
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save)
        if when == "in the report":
            patch.setattr(lottery_ticket.lottery_report, "write", report)
        with pytest.raises(Killed):
            lottery_ticket.run(SMALL, folder, report=quiet)
    assert not (folder / "DONE").exists()
    if when != "in the report":
        request.getfixturevalue("no_report")
    lines = []
    records = lottery_ticket.run(SMALL, folder, report=lines.append)
    at = {"before saving": 1, "after saving": 2, "in the report": 3}[when]
    assert lines[0] == f"going on after level {at} in {folder}"
    assert json.loads(json.dumps(records)) == runs.read_metrics(finished[0])
    for a, b in zip(levels(folder), levels(finished[0]), strict=True):
        assert_same(a, b)


@pytest.mark.usefixtures("no_report")
def test_a_damaged_level_is_made_again(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / "DONE").unlink()
    path = folder / "level_02" / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:1000])
    lines = []
    lottery_ticket.run(SMALL, folder, report=lines.append)
    assert lines[0].startswith("damaged: ") and "level_02" in lines[0]
    assert lines[1].startswith("going on after level 1")
    for a, b in zip(levels(folder), levels(finished[0]), strict=True):
        assert_same(a, b)


def test_a_complete_run_is_not_run_again(finished):
    lines = []
    records = lottery_ticket.run(SMALL, finished[0], report=lines.append)
    assert len(lines) == 1 and "is complete" in lines[0]
    assert len(records) == 26


def test_a_folder_of_another_config_is_refused(finished):
    other = dataclasses.replace(SMALL, fraction=0.3)
    with pytest.raises(ValueError, match="another config"):
        lottery_ticket.run(other, finished[0], report=quiet)


@pytest.mark.slow
def test_a_seed_alone_gives_the_same_masks(finished, tmp_path):
    alone = dataclasses.replace(SMALL, seeds=(1,), controls=(), barrier=False)
    records = lottery_ticket.run(alone, tmp_path / "run", report=quiet)
    for one, both in zip(levels(tmp_path / "run"), levels(finished[0]), strict=True):
        for key, mask in masks_of(one).items():
            np.testing.assert_array_equal(mask[0], both[key][1])
        for key in both:
            if key.startswith("params/"):
                np.testing.assert_allclose(one[key][0], both[key][1], atol=2e-5)
    tickets = [r for r in finished[1] if r["variant"] == "ticket" and r["seed"] == 1]
    for record, other in zip(records, tickets, strict=True):
        assert abs(record["test_accuracy"] - other["test_accuracy"]) < 0.01


def test_idle_units_in_the_metrics_are_those_of_the_weights(finished):
    folder, records = finished
    arrays = levels(folder)[3]
    for seed in range(2):
        params = {
            f"dense_{i}": {
                leaf: jnp.asarray(arrays[f"params/dense_{i}/{leaf}"][seed])
                for leaf in ("kernel", "bias")
            }
            for i in range(3)
        }
        small, kept = prune.compact(params)
        last = [r for r in records if r["variant"] == "ticket"][-2 + seed]
        for name, units in last["idle"].items():
            live = units["units"] - units["constant"] - units["unread"]
            assert live == len(kept[name])
        x = jnp.asarray(np.random.default_rng(0).random((20, 64)), jnp.float32)
        narrow = models.mlp([layer["kernel"].shape[-1] for layer in small.values()])
        np.testing.assert_allclose(
            narrow.apply(small, x),
            models.mlp((12, 8, 10)).apply(params, x),
            rtol=1e-4,
            atol=1e-5,
        )


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    wild = dataclasses.replace(SMALL, learning_rate=1e30, controls=())
    with pytest.raises(ValueError, match="loss of seed 0, 1 is not finite at step"):
        lottery_ticket.run(wild, tmp_path / "run", report=quiet)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"model": "convnet", "widths": (3, 2), "fraction": 0.2, "barrier": False},
        {"scope": "layer", "share_data_order": False, "optimizer": "adamw"},
        {"layer_fractions": ("dense_0=0.5x2", "dense_2=0"), "score": "snip"},
        {"exclude": ("dense_0",), "optimizer": "adam", "schedule": "constant"},
        {"weights_from": "trained", "schedule_from": "final", "score": "random"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_variants_run(tmp_path, change):
    config = dataclasses.replace(SMALL, **{"controls": ("shuffled",), **change})
    if config.model == "convnet":
        config = dataclasses.replace(config, epochs=1)
    records = lottery_ticket.run(config, tmp_path / "run", report=quiet)
    tickets = [r["kept"] for r in records if r["variant"] == "ticket"]
    assert tickets[::2] == lottery_ticket.plan(config).counts
    assert (tmp_path / "run" / "DONE").exists()


def test_the_page_draws_its_filters(finished, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium to open the page in")
    url = (finished[0] / "index.html").resolve().as_uri() + "#level=1"
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
