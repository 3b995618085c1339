"""The launcher of pictures of units: a run from end to end, errors in one line."""

import pytest

from sparsejax.experiments import features, subjects


def test_a_run_from_end_to_end(launcher, residual_run):
    flags = f"--run={residual_run}", "--nodes=stem", "--units=0:2", "--steps=2"
    plan = launcher("features", *flags, "--dry_run")
    assert "2 of stem" in plan.stdout and not (residual_run / "features").exists()
    done = launcher("features", *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3].startswith("2 units of 1 layer drawn: stem")
    (folder,) = (residual_run / "features").iterdir()
    assert f"folder: {folder}" in plan.stdout and (folder / "DONE").exists()


def test_flat_inputs_are_drawn_as_pictures(lottery_run, tmp_path):
    subject = subjects.of_run(lottery_run, level=1, seed=1)
    config = features.Config(steps=1, nodes=("hidden_0",), units=(3,))
    (record,) = features.run(config, tmp_path / "run", subject, log=lambda line: None)
    assert record["unit"] == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run=nowhere"], "nowhere is not a lottery run"),
        (["--data_dir=nowhere"], "is missing"),
        (["--level=3"], "--level needs --run"),
        (["--run=a", "--checkpoint=b"], "--checkpoint cannot be used with --run"),
        (["--units=a"], "--units: expected integers or ranges such as 0,1,4:8"),
    ],
)
def test_bad_flags_get_one_line(launcher, flags, message, tmp_path):
    done = launcher("features", *flags, f"--out={tmp_path}")
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
