"""The launcher as a stranger starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs

ROOT = Path(__file__).parents[3]
SMALL = ["--network=gates", "--seeds=0:2", "--ablations=zero,mean", "--num_runs=8",
         "--learning_steps=2", "--finders=exact,eliminate,ugs"]  # fmt: skip


def test_dry_run_prints_the_plan_and_leaves_nothing(launcher, tmp_path):
    done = launcher("circuits", "--network=brackets", "--dry_run", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    plan, folder = done.stdout.splitlines()
    assert plan.startswith("brackets by formula: 8 nodes, all 2^8 subsets; 17 finders")
    assert plan.endswith("zero, the mean, another input's value; 3 seeds")
    assert folder.startswith(f"folder: {tmp_path}/network=brackets")
    assert not list(tmp_path.iterdir())


def test_units_of_a_lottery_run(launcher, lottery_run):
    flags = [f"--run={lottery_run}", "--seeds=0", "--ablations=mean",
             "--num_test_images=40", "--num_units=5", "--num_certified=1",
             "--finders=exact,eliminate"]  # fmt: skip
    done = launcher("circuits", *flags)
    assert done.returncode == 0, done.stderr
    assert "mlp on digits, seed 0, level 2: 5 nodes, all 2^5 subsets" in done.stdout
    assert re.search(
        "image [0-9]+: [0-9]+ of 14 units, proved within 1 by", done.stdout
    )
    finding, where, following = done.stdout.splitlines()[-3:]
    assert "of 5 nodes" in finding and following.startswith("next: ")
    place = Path(where.removeprefix("open ").partition(";")[0])
    assert place.exists() and place.is_relative_to(lottery_run / "circuits")


def test_bad_flags_get_a_line(launcher, tmp_path):
    for flag, message in {
        "--num_runs=9": "num_runs must be a multiple of 8",
        "--width=50": "width must be a multiple of heads = 6, got 50",
        "--vocabulary=9": "vocabulary must be even",
        "--finders=best": "unknown finders 'best'",
    }.items():
        done = launcher("circuits", flag, f"--out={tmp_path}")
        assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert not list(tmp_path.iterdir())


def command(out):
    script = str(ROOT / "launch" / "circuits.py")
    return [sys.executable, script, f"--out={out}", *SMALL]


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_files(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = subprocess.run(command(whole), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(command(cut), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(cut.glob("*/seed_0_zero.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (folder,) = cut.iterdir()
    assert not runs.is_complete(folder)
    again = subprocess.run(command(cut), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    (other,) = whole.iterdir()
    assert folder.name == other.name
    assert {p.name for p in folder.iterdir()} == {p.name for p in other.iterdir()}
    for path in folder.glob("*.npz"):
        a, b = runs.read_arrays(path), runs.read_arrays(other / path.name)
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{path.name} {key}")
    for name in ("metrics.jsonl", "table.md", "report.md", "index.html"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
