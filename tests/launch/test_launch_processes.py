"""Two processes as one run, on the loopback: the same results; one end for both."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from sparsejax import _processes, experiments, runs

LOTTERY = (
    "lottery", "--rounds=2", "--epochs=2", "--widths=8", "--seeds=0:3",
    "--num_train_images=300", "--num_test_images=100", "--nobarrier",
    "--arms=rewind,random_layerwise",
)  # fmt: skip
SWEEP = (
    "node_sweep", "--widths=8", "--epochs=2", "--num_masks=100",
    "--num_test_images=50", "--num_permutations=4", "--keep_probs=0.5",
)  # fmt: skip
SCENES = (
    "lottery", "--dataset=scenes", "--widths=4,4,4", "--num_train_images=64",
    "--num_test_images=32", "--batch_size=32", "--epochs=1", "--rounds=1",
    "--rewind_to=1",
)  # fmt: skip
DISSECT = "dissect", "--num_scenes=6", "--quantile=0.05", "--rotations=1"
SMALL = {"lottery": LOTTERY, "node_sweep": SWEEP, "dissect": DISSECT}
MOST = 240  # seconds


class Process:
    """A launcher, with what it says in files."""

    def __init__(self, place, number, *flags):
        self.said = [place / f"{stream}_{number}" for stream in ("out", "err")]
        command = [sys.executable, "-m", "sparsejax", *flags, f"--out={place / 'runs'}"]
        with open(self.said[0], "wb") as out, open(self.said[1], "wb") as err:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def end(self):
        """Exit status, and the lines on both streams."""
        status = self.popen.wait(MOST)
        return status, *(path.read_text().splitlines() for path in self.said)


def started(place, *flags):
    place.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = f"--coordinator_address=127.0.0.1:{port}", "--num_processes=2"
    return [Process(place, i, *flags, *where, f"--process_id={i}") for i in range(2)]


@pytest.fixture
def both():
    """`started`, and an end for what a failed test leaves."""
    processes = []

    def start(*args):
        processes.extend(pair := started(*args))
        return pair

    yield start
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def alone(place, *flags):
    place.mkdir()
    status, _, errors = Process(place, 0, *flags).end()
    assert not status, errors
    return folder(place)


def folder(place):
    (found,) = (place / "runs").iterdir()
    return found


def check_same(there, expected):
    """The same files; masks and counts exactly, floats to rounding."""
    assert runs.is_complete(there)

    def arrays(root):
        return {
            f"{path.relative_to(root)}/{name}": array
            for path in root.rglob("*.npz")
            for name, array in runs.read_arrays(path).items()
        }

    found, wanted = arrays(there), arrays(expected)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        if array.dtype.kind == "f" and "mask" not in name:
            np.testing.assert_allclose(found[name], array, rtol=2e-3, atol=1e-4)
        else:
            np.testing.assert_array_equal(found[name], array, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.SPLITTING)
def test_two_processes_find_what_one_does(name, tmp_path, both):
    flags = SMALL[name]
    if name == "dissect":
        flags = *flags, f"--run={alone(tmp_path / 'scenes', *SCENES)}"
    for process in both(tmp_path / "two", *flags):
        status, lines, errors = process.end()
        assert (status, errors) == (0, [])
        # Process 0 alone says what is done, and JAX's own lines are not shown.
        assert bool(lines) == process.said[0].name.endswith("0")
        assert not any("Gloo" in line for line in lines)
    check_same(folder(tmp_path / "two"), alone(tmp_path / "one", *flags))


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_the_death_of_one_ends_both_in_a_line_and_the_run_resumes(dies, tmp_path, both):
    two = tmp_path / "two"
    pair = both(two, *LOTTERY)
    began = time.monotonic()
    while not list(two.glob("runs/*/level_00/rewind.npz")):
        assert time.monotonic() < began + MOST and pair[0].popen.poll() is None
        time.sleep(0.05)
    os.kill(pair[dies].popen.pid, signal.SIGKILL)
    killed = time.monotonic()
    status, _, errors = pair[1 - dies].end()
    assert status and time.monotonic() < killed + 150
    assert len(errors) == 1 and f"error: process {1 - dies} " in errors[0]
    assert "start all of them again" in errors[0]
    assert pair[dies].end()[0] == -signal.SIGKILL
    assert not runs.is_complete(folder(two))
    for process in both(two, *LOTTERY):
        status, lines, errors = process.end()
        assert (status, errors) == (0, [])
        assert not lines or any("resuming after level" in line for line in lines)
    check_same(folder(two), alone(tmp_path / "one", *LOTTERY))


@pytest.mark.parametrize("flags, line", [
    (["--num_processes=2"], "--coordinator_address, --process_id must be given too"),
    (["--num_processes=2", "--process_id=2", "--coordinator_address=a:1"],
     "process_id must be in [0, 2), got 2"),
    (["--num_processes=0", "--process_id=0", "--coordinator_address=a:1"],
     "num_processes must be 1 or more, got 0"),
    (["--num_processes=2", "--process_id=1", "--coordinator_address=a"],
     "coordinator_address must be HOST:PORT of process 0, got 'a'"),
])  # fmt: skip
def test_flags_of_processes_are_checked_before_any_is_joined(
    flags, line, launcher, tmp_path
):
    done = launcher("lottery", f"--out={tmp_path}", *flags)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert line in done.stderr and done.stderr.count("\n") == 1


def test_one_process_of_a_cluster_is_alone(launcher, tmp_path):
    flags = "--num_processes=1", "--process_id=0", "--coordinator_address=a:1"
    assert not launcher("lottery", f"--out={tmp_path}", "--dry_run", *flags).returncode


def test_experiments_that_do_not_split_their_work_say_so(launcher, tmp_path):
    done = launcher("cartpole", f"--out={tmp_path}", "--distributed")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "cartpole cannot be run by several processes" in done.stderr


def test_no_cluster_is_a_line(launcher, tmp_path):
    done = launcher("lottery", f"--out={tmp_path}", "--distributed")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --distributed finds no cluster")
    assert done.stderr.count("\n") == 1


def test_a_process_that_is_alone_does_all_by_itself(tmp_path):
    assert _processes.is_first() and not _processes.are_several()
    assert _processes.told(b"what is there") == b"what is there"
    _processes.same({"what": "is done"})
    with _processes.place(tmp_path / "run") as place:
        assert place == tmp_path / "run"
    with pytest.raises(OSError, match="as it is"):
        _processes.first(_fail)
    assert _processes.line(OSError("gloo: connection closed by peer")) is None


def _fail():
    raise OSError("as it is")
