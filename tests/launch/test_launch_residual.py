"""The launchers of residual networks and their dissection: errors in one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs

TINY = ["--widths=2,2,2", "--train_images=32", "--test_images=20", "--epochs=2",
        "--batch_size=8", "--rounds=1", "--rewind_to=1"]  # fmt: skip


def test_dry_runs_name_their_folder(launcher, tmp_path):
    found = launcher("train", "--dry_run", f"--out={tmp_path}", "--seeds=0:2")
    assert found.returncode == 0 and f"folder: {tmp_path}/seeds=0,1" in found.stdout


@pytest.mark.parametrize(
    ("script", "flag", "message"),
    [
        ("train", "--fraction=2", "fraction must be in (0, 1)"),
        ("train", "--dataset=nowhere", "nowhere"),
        ("train", "--arms=random", "arms must hold rewind"),
        ("dissect", "--images=5", "run is missing"),
        ("dissect", "--run=nowhere", "is no run folder of launch/train.py"),
    ],
)
def test_bad_flags_get_one_line(launcher, script, flag, message, tmp_path):
    found = launcher(script, flag, f"--out={tmp_path}")
    assert found.returncode == 1 and message in found.stderr
    assert found.stderr.startswith("error: ") and found.stderr.count("\n") == 1


@pytest.mark.slow
def test_two_devices_train_the_same_network(tmp_path):
    found = []
    for count in (1, 2):
        flags = f"--xla_force_host_platform_device_count={count}"
        out = tmp_path / str(count)
        subprocess.run(
            [sys.executable, "launch/train.py", f"--out={out}", *TINY],
            env=os.environ | {"XLA_FLAGS": flags}, cwd=Path(__file__).parents[2],
            stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        (folder,) = out.iterdir()
        assert len(runs.read_json(folder / "config.json")["devices"]) == count
        level = folder / "seed_0" / "rewind" / "level_01" / "checkpoint.npz"
        found.append(runs.read_arrays(level))
    one, two = found
    for name, array in one.items():
        if name.startswith("params/"):
            np.testing.assert_allclose(two[name], array, atol=1e-5, err_msg=name)
