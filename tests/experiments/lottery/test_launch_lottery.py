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
SMALL = ["--rounds=4", "--epochs=2", "--seeds=0:2", "--widths=12,8", "--nobarrier"]
TINY = ["--dataset=scenes", "--widths=2,2,2", "--num_train_images=32",
        "--num_test_images=20", "--epochs=2", "--batch_size=8", "--rounds=1",
        "--rewind_to=1"]  # fmt: skip


def command(tmp_path, *flags):
    script = str(ROOT / "launch" / "lottery.py")
    return [sys.executable, script, f"--out={tmp_path}", *flags]


def start(tmp_path, *flags):
    return subprocess.run(command(tmp_path, *flags), capture_output=True, text=True)


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "lottery")


@pytest.mark.parametrize(
    "flags, plan",
    [(SMALL, "weights kept: [944, 755,"), (TINY, "2 levels, weights kept: [")],
)
def test_dry_run_prints_the_plan_and_leaves_nothing(launch, tmp_path, flags, plan):
    done = launch(f"--out={tmp_path / 'out'}", *flags, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert plan in done.stdout
    assert "folder: " + str(tmp_path / "out") in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--dataset=cats"], "error: no dataset 'cats': expected one of digits, mnist"),
        (["--seeds=a"], "error: --seeds: expected integers or ranges"),
        (["--widths=a"], "error: --widths"),
        (["--exclude=dense_7"], "error: no layer 'dense_7'; there are 'dense_0'"),
        (["--dataset=mnist", "--data_dir=/nowhere"], "error: "),
        (["extra"], "error: unknown arguments"),
        (["--batch_size=99999"], "error: batch_size 99999 is larger than the 1437"),
        (["--rewind_to=-1"], "error: rewind_to must be in [0, 2^31)"),
        (["--model=convnet", "--widths=2,2,2,2"], "error: 4 3x3 convolutions"),
        (
            ["--arms=rewind,random"],
            "error: unknown arm 'random': pass random_layerwise",
        ),
        (["--dataset=scenes", "--fraction=2"], "error: fraction must be in [0, 1)"),
        (["--out=/proc/nowhere"], "error: "),
    ],
)
def test_bad_flags_get_one_line(launch, tmp_path, flags, message):
    done = launch(f"--out={tmp_path}", *flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_teaches(launch):
    text = " ".join(launch("--help").stdout.split())
    assert "--final_count" in text
    assert "rewind" in text and "resumes when started again" in text


@pytest.mark.slow
def test_killed_and_started_again_ends_with_the_same_arrays(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = start(whole, *SMALL)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 2 + 5 + 3
    process = subprocess.Popen(command(cut, *SMALL), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cut.glob("*/level_01/random_global.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (folder,) = cut.iterdir()
    assert not (folder / "DONE").exists()
    again = start(cut, *SMALL)
    assert "resuming after level" in again.stdout
    (other,) = whole.iterdir()
    assert folder.name == other.name
    files = sorted(path.relative_to(other) for path in other.glob("level_*/*.npz"))
    assert len(files) == 1 + 4 * 4
    for name in files:
        a, b = runs.read_arrays(folder / name), runs.read_arrays(other / name)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)
    third = start(cut, *SMALL)
    assert "is complete" in third.stdout and third.returncode == 0


@pytest.mark.slow
def test_two_devices_train_the_same_network(tmp_path):
    networks = []
    for count in (1, 2):
        flags = f"--xla_force_host_platform_device_count={count}"
        out = tmp_path / str(count)
        environment = os.environ | {"XLA_FLAGS": flags}
        subprocess.run(
            command(out, *TINY), env=environment, stdout=subprocess.DEVNULL, check=True
        )
        (folder,) = out.iterdir()
        assert runs.read(folder).about["device"].endswith(f"x {count}")
        networks.append(runs.read_arrays(folder / "level_01" / "rewind.npz"))
    one, two = networks
    for name, array in one.items():
        if name.startswith("params/"):
            np.testing.assert_allclose(two[name], array, atol=1e-5, err_msg=name)
