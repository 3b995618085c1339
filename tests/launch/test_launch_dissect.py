"""The launcher of dissections: errors in one line."""

import pytest


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--num_scenes=5", "run is required"),
        ("--run=nowhere", "is not a lottery run"),
    ],
)
def test_bad_flags_get_one_line(launcher, flag, message, tmp_path):
    done = launcher("dissect", flag, f"--out={tmp_path}")
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
