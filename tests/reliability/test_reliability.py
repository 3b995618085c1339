"""The quick form of `harness.py`: a trial of every kind, launchers of each form."""

import os
import subprocess
import sys
from pathlib import Path

import damages
import numpy as np
import pytest

HARNESS = Path(__file__).parent / "harness.py"
# Records with arrays, records alone, sweeps with files of their own, runs inside runs.
QUICK = "circle_removal", "circuits", "flowgraph", "node_sweep", "lottery"


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_disturbed_runs_end_as_others_do(name):
    command = [sys.executable, str(HARNESS), f"--only={name}", "--trials=7", "--seed=0"]
    path = os.pathsep.join([str(HARNESS.parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 failed" in done.stdout and "7 trials" in done.stdout


def test_there_are_more_than_25_ways_to_damage_a_file(tmp_path):
    rng, changed = np.random.default_rng(0), 0
    text = b'{"seed": 0, "loss": 0.25}\n{"seed": 1, "loss": 0.5}\n'
    for way in damages.WAYS:
        path = tmp_path / way
        path.write_bytes(text)
        changed += damages.damage(path, way, rng)
        assert path.is_symlink() or path.is_dir() or way == "removed" or (
            path.read_bytes() != text
        ), way  # fmt: skip
    assert changed == len(damages.WAYS) >= 25
