"""The launcher of pruning for a sample: plan, errors in one line."""

import subprocess
import sys

import pytest

LAUNCH = [sys.executable, "launch/spade.py"]


def launch(*flags):
    return subprocess.run(
        [*LAUNCH, *flags], capture_output=True, text=True, timeout=300
    )


def test_dry_runs_name_their_folder(tmp_path):
    found = launch("--dry_run", f"--out={tmp_path}", "--seeds=0:2")
    assert found.returncode == 0 and f"folder: {tmp_path}/seeds=0,1" in found.stdout


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--densities=0.5,x", "are no numbers"),
        ("--count=1", "at least 2"),
        ("--data_dir=nowhere", "train.zip is missing"),
    ],
)
def test_bad_flags_get_one_line(flag, message, tmp_path):
    found = launch(flag, f"--out={tmp_path}")
    assert found.returncode == 1 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
