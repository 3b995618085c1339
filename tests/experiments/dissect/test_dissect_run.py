"""Runs that dissect: every network once, findings, what cannot be dissected."""

import dataclasses

import pytest

from sparsejax import runs
from sparsejax.experiments import dissect, subjects
from sparsejax.experiments.dissect import report

CONFIG = dissect.Config(num_scenes=6, quantile=0.05, rotations=1, node="layer2_0")


@pytest.fixture(scope="module")
def finished(launcher, residual_run):
    flags = ["--num_scenes=6", "--quantile=0.05", "--rotations=1", "--node=layer2_0"]
    run = f"--run={residual_run}"
    plan = launcher("dissect", run, *flags, "--dry_run")
    assert "6 networks, node layer2_0, on 6 scenes" not in plan.stderr
    done = launcher("dissect", run, *flags)
    assert done.returncode == 0, done.stderr
    (folder,) = (residual_run / "dissect").iterdir()
    assert f"folder: {folder}" in plan.stdout
    return folder, done.stdout


def test_dissects_every_network_and_an_untrained_one(finished):
    folder, text = finished
    records = runs.read(folder).records
    assert [(r["arm"], r["level"]) for r in records] == [
        ("rewind", 0), ("untrained", 0), ("rewind", 1), ("finetune", 1),
    ]  # fmt: skip
    assert records[0]["of"] == 4 and records[0]["still_detector"] in (1.0, None)
    page = (folder / "index.html").read_text()
    assert "detectors, and" in page and (folder / "units.csv").exists()
    assert text.splitlines()[-3] == dissect.summary(folder).splitlines()[0]


def test_a_killed_run_goes_on(finished, residual_run):
    folder, _ = finished
    wanted = runs.read(folder)
    (folder / "DONE").unlink()
    (folder / "seed_0" / "finetune_01.npz").unlink()
    kept = (folder / "seed_0" / "rewind_01.npz").stat().st_mtime_ns
    subject = subjects.of_run(residual_run)
    records = dissect.run(CONFIG, folder, subject, log=lambda line: None)
    assert records == wanted.records and runs.read(folder).done
    assert (folder / "seed_0" / "rewind_01.npz").stat().st_mtime_ns == kept


def rows(*levels, accuracy=(0.8, 0.8, 0.3)):
    """Detectors of the seeds of every level."""
    return [
        {"arm": "rewind", "seed": seed, "level": level, "units": units,
         "units_normalized": 10 - level, "density": 0.5**level,
         "test_accuracy": accuracy[level]}
        for level, seeds in enumerate(levels) for seed, units in enumerate(seeds)
    ]  # fmt: skip


def test_findings_name_hypotheses():
    flat = report.finding(rows((40, 40), (42, 39), (9, 9)))
    assert "to 50.0% of their weights" in flat
    assert "40.5 after 40.0 (hypothesis A) detectors" in flat
    assert "9.0 after 10.0 (hypothesis C) by scores" in flat
    assert "hypothesis" not in report.finding(rows((4,), (5,)))
    assert "(hypothesis B) detectors" in report.finding(rows((4, 4), (5, 6)))
    assert "(hypothesis C) detectors" in report.finding(rows((4, 4), (3, 2)))


def test_what_cannot_be_dissected_is_named(lottery_run, tmp_path):
    with pytest.raises(ValueError, match="--run is required"):
        dissect.run(CONFIG, tmp_path / "run")
    with pytest.raises(ValueError, match="num_scenes must be in"):
        dissect.Config(num_scenes=0)
    with pytest.raises(ValueError, match="unknown union"):
        dissect.Config(union="x")
    with pytest.raises(ValueError, match="of its activations .* is a feature map"):
        dissect.plan(dissect.Config(), subjects.of_run(lottery_run))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "image", "message"),
    [
        ({"node": "foo"}, (32, 32, 3), "no feature map 'foo'; expected one of"),
        ({"node": "logits"}, (32, 32, 3), "no feature map 'logits'"),
        ({}, (16, 20, 3), "of 16x20 pixels, and scenes are drawn as squares"),
        ({}, (8, 8, 1), "of 8x8 pixels, and scenes are drawn as squares of 16, 20"),
        ({"broden": "x"}, (28, 28, 1), "it takes 1 channels, and Broden's images"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    residual_run, tmp_path, config, image, message
):
    subject = dataclasses.replace(subjects.of_run(residual_run), image=image)
    with pytest.raises(ValueError, match=message):
        dissect.run(dissect.Config(**config), tmp_path / "run", subject)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_scenes=5"], "--run is required"),
        (["--run=nowhere"], "nowhere is not a lottery run"),
        (["--image_size=5"], "image_size needs broden"),
    ],
)
def test_bad_flags_get_one_line(launcher, flags, message, tmp_path):
    done = launcher("dissect", *flags, f"--out={tmp_path}")
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
