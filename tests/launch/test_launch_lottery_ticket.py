"""The launcher as a stranger starts it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs

ROOT = Path(__file__).parents[2]
SMALL = ["--rounds=4", "--epochs=2", "--seeds=0:2", "--widths=12,8", "--nobarrier"]


def command(tmp_path, *flags):
    script = str(ROOT / "launch" / "lottery_ticket.py")
    return [sys.executable, script, f"--out={tmp_path}", *flags]


def start(tmp_path, *flags):
    return subprocess.run(command(tmp_path, *flags), capture_output=True, text=True)


def test_dry_run_prints_the_plan_and_leaves_nothing(launcher, tmp_path):
    out = f"--out={tmp_path / 'out'}"
    done = launcher("lottery_ticket", out, *SMALL, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "weights kept: [944, 755," in done.stdout
    assert "folder: " + str(tmp_path / "out") in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--dataset=cats"], "value should be one of <digits|mnist|fashion_mnist>"),
        (
            ["--seeds=a"],
            "error: --seeds: expected integers or ranges such as 0,1,4:8; got 'a'",
        ),
        (["--widths=a"], "error: --widths"),
        (["--exclude=dense_7"], "error: no layer 'dense_7'; there are 'dense_0'"),
        (["--dataset=mnist", "--data_dir=/nowhere"], "error: "),
        (["extra"], "error: unknown arguments"),
        (["--batch_size=99999"], "error: batch_size 99999 is larger than the 1437"),
        (["--rewind_to=-1"], "error: rewind_to must be in [0, 2^31)"),
        (["--model=convnet", "--widths=2,2,2,2"], "error: 4 3x3 convolutions"),
        (["--out=/proc/nowhere"], "error: "),
    ],
)
def test_bad_flags_get_one_line(launcher, tmp_path, flags, message):
    done = launcher("lottery_ticket", f"--out={tmp_path}", *flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_teaches(tmp_path):
    done = start(tmp_path, "--help")
    assert "--final_count" in done.stdout
    assert "rewind" in done.stdout and "goes on where it was" in done.stdout


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_arrays(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = start(whole, *SMALL)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 2 + 5 + 3
    process = subprocess.Popen(command(cut, *SMALL), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cut.glob("*/level_01/checkpoint.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (folder,) = cut.iterdir()
    assert not (folder / "DONE").exists()
    again = start(cut, *SMALL)
    assert "going on after level" in again.stdout
    (other,) = whole.iterdir()
    assert folder.name == other.name
    for level in range(5):
        name = f"level_{level:02d}/checkpoint.npz"
        a, b = runs.read_arrays(folder / name), runs.read_arrays(other / name)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    third = start(cut, *SMALL)
    assert "is complete" in third.stdout and third.returncode == 0
