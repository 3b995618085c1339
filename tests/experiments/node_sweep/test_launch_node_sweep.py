"""The launcher as a stranger starts it."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs

ROOT = Path(__file__).parents[3]
SMALL = ["--widths=4", "--epochs=2", "--keep_probs=0.5", "--num_permutations=0"]


def command(tmp_path, *flags):
    script = str(ROOT / "launch" / "node_sweep.py")
    return [sys.executable, script, f"--out={tmp_path}", *flags]


def start(tmp_path, *flags):
    return subprocess.run(command(tmp_path, *flags), capture_output=True, text=True)


@pytest.fixture
def launch(launcher, tmp_path):
    return functools.partial(launcher, "node_sweep", f"--out={tmp_path / 'out'}")


def test_dry_run_prints_the_plan_and_leaves_nothing(launch, tmp_path):
    flags = ["--distribution=fixed_size", "--subset_sizes=0.5,20", "--num_masks=30"]
    done = launch(*flags, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "all 64 units switched; layers hidden_0 (32), hidden_1 (32)" in done.stdout
    assert "32 of 64: 30 masks\n20 of 64: 30 masks\n" in done.stdout
    assert "folder: " + str(tmp_path / "out") in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_dry_run_looks_for_the_data(launch, tmp_path):
    done = launch("--dataset=mnist", f"--data_dir={tmp_path}", "--dry_run")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and str(tmp_path) in done.stderr


def test_a_bad_flag_gets_one_line(launch, tmp_path):
    done = launch("--keep_probs=0.5,1.2")
    assert done.returncode != 0
    assert done.stderr.startswith("error: keep_probs must be in [0, 1]")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_ends_with_what_was_found_and_where(launcher, lottery_run):
    """Of a network of a lottery run, inside of its folder."""
    flags = [f"--run={lottery_run}", "--num_masks=5", "--num_test_images=20",
             "--num_permutations=0", "--keep_probs=0.5", "--nogradients",
             "--num_units=2", "--run_seed=1"]  # fmt: skip
    done = launcher("node_sweep", *flags)
    assert done.returncode == 0, done.stderr
    assert "2 of 14 units switched, 12 always on; layers hidden_0 (8)" in done.stdout
    assert "mlp on digits, seed 1, level 2, 2 of 14 units switched" in done.stdout
    finding, where, following = done.stdout.splitlines()[-3:]
    assert "right with all 14 units (2 of 14 units switched" in finding
    assert where.startswith(f"open {lottery_run / 'node_sweep'}")
    assert Path(where.removeprefix("open ")).exists()
    assert following.startswith("next: ")


def test_the_network_of_a_run_is_as_it_is(launcher, lottery_run):
    done = launcher("node_sweep", f"--run={lottery_run}", "--widths=3", "--dry_run")
    assert done.stderr.startswith("error: 'widths' cannot be used with --run")


def test_help_teaches(launch):
    text = " ".join(launch("--help").stdout.split())
    for part in ("--keep_probs", "--nogradients", '"fixed_size" (a fixed number',
                 "resumes when started again", "whose activation varies most",
                 "--run_seed="):  # fmt: skip
        assert part in text


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_arrays(tmp_path):
    flags = [*SMALL, "--num_masks=20000"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = start(whole, *flags)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(command(cut, *flags), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cut.glob("*/keep_0.5.chunks/masks_*1*.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (folder,) = cut.iterdir()
    assert not (folder / "keep_0.5.npz").exists()
    again = start(cut, *flags)
    assert again.returncode == 0, again.stderr
    assert "training" not in again.stdout
    (other,) = whole.iterdir()
    assert folder.name == other.name
    assert {p.name for p in folder.iterdir()} == {p.name for p in other.iterdir()}
    for path in folder.glob("*.npz"):
        a, b = runs.read_arrays(path), runs.read_arrays(other / path.name)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{path.name} {key}")
