"""The launcher of weights: plan, errors in one line."""

import functools

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "weights")


def test_dry_runs_name_their_folder(launch, tmp_path):
    found = launch("--dry_run", f"--out={tmp_path}", "--units=0:2", "--nodes=stem")
    assert found.returncode == 0
    assert f"folder: {tmp_path}/nodes=stem_units=0,1" in found.stdout


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--run=nowhere", "nowhere"), ("--data_dir=nowhere", "is missing")],
)
def test_bad_flags_get_one_line(launch, flag, message, tmp_path):
    found = launch(flag, f"--out={tmp_path}")
    assert found.returncode == 1 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1
