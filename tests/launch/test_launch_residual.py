"""The launchers of residual networks and their dissection: errors in one line."""

import pytest


def test_dry_runs_name_their_folder(launcher, tmp_path):
    found = launcher("train", "--dry_run", f"--out={tmp_path}", "--seeds=0:2")
    assert found.returncode == 0 and f"folder: {tmp_path}/seeds=0,1" in found.stdout


@pytest.mark.parametrize(
    ("script", "flag", "message"),
    [
        ("train", "--fraction=2", "fraction must be in (0, 1)"),
        ("train", "--dataset=nowhere", "nowhere"),
        ("train", "--arms=random", "expected rewind"),
        ("dissect", "--images=5", "run is missing"),
        ("dissect", "--run=nowhere", "is no run of launch/train.py"),
    ],
)
def test_bad_flags_get_one_line(launcher, script, flag, message, tmp_path):
    found = launcher(script, flag, f"--out={tmp_path}")
    assert found.returncode == 1 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
