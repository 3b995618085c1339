"""The launcher of pruning for a sample: plan, errors in one line."""

import functools

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "spade")


def test_dry_runs_name_their_folder(launch, tmp_path):
    found = launch("--dry_run", f"--out={tmp_path}", "--seeds=0:2")
    assert found.returncode == 0 and f"folder: {tmp_path}/seeds=0,1" in found.stdout


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--densities=0.5,x", "expected numbers"),
        ("--count=1", "count must be in [2, 2^31)"),
        ("--data_dir=nowhere", "train.zip is missing"),
    ],
)
def test_bad_flags_get_one_line(launch, flag, message, tmp_path):
    found = launch(flag, f"--out={tmp_path}")
    assert found.returncode == 1 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
