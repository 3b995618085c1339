"""The launchers of pictures of units and of their weights: plan, errors in one line."""

import pytest


@pytest.mark.parametrize("script", ["features", "weights"])
def test_dry_runs_name_their_folder(launcher, tmp_path, script):
    flags = "--dry_run", f"--out={tmp_path}", "--units=0:2", "--nodes=stem"
    found = launcher(script, *flags)
    assert found.returncode == 0
    assert f"folder: {tmp_path}/nodes=stem_units=0,1" in found.stdout


@pytest.mark.parametrize(
    ("script", "flag", "message"),
    [
        ("features", "--run=nowhere", "nowhere"),
        ("features", "--data_dir=nowhere", "is missing"),
        ("weights", "--run=nowhere", "nowhere is no run folder"),
        ("weights", "--data_dir=nowhere", "is missing"),
        ("weights", "--control=nowhere", "give run, too"),
        (
            "weights",
            "--units=a",
            "--units: expected integers or ranges such as 0,1,4:8; got 'a'",
        ),
    ],
)
def test_bad_flags_get_one_line(launcher, script, flag, message, tmp_path):
    found = launcher(script, flag, f"--out={tmp_path}")
    assert found.returncode == 1 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
