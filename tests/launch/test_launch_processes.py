"""Two processes as one run, on the loopback: the same results; one end for both."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsejax import _processes, runs

SCRIPT = Path(__file__).parent / "launches.py"
LOTTERY = (
    "lottery", "--rounds=2", "--epochs=2", "--widths=8", "--seeds=0:3",
    "--num_train_images=300", "--num_test_images=100", "--nobarrier",
    "--arms=rewind,random_layerwise",
)  # fmt: skip
SWEEP = (
    "node_sweep", "--widths=8", "--epochs=2", "--num_masks=100",
    "--num_test_images=50", "--num_permutations=4", "--keep_probs=0.5",
)  # fmt: skip
RIGHT_REASONS = (
    "right_reasons", "--losses=none,squared", "--strengths=1", "--seeds=0,2",
    "--widths=8", "--steps=12", "--batch_size=16",
)  # fmt: skip
SCENES = (
    "lottery", "--dataset=scenes", "--widths=4,4,4", "--num_train_images=64",
    "--num_test_images=32", "--batch_size=32", "--epochs=1", "--rounds=1",
    "--rewind_to=1",
)  # fmt: skip
# Of RUN and SCENES, lotteries. The others by hand: results/reliability.md.
SMALL = (
    (*LOTTERY, "--seeds=0:4"),
    SWEEP,
    ("dissect", "--run=SCENES", "--num_scenes=6", "--quantile=0.05", "--rotations=1"),
    # One agent, computed twice: of two, what is learned amplifies the rounding.
    ("cartpole", "--environment=CartPole-v0", "--seeds=0", "--widths=4",
     "--steps=12800", "--rounds=1", "--min_return=10", "--num_episodes=5",
     "--num_walkers=2"),
    RIGHT_REASONS,
    ("relevance", "--run=RUN", "--test_images=0:2", "--num_test_images=3", "--levels=0",
     "--methods=gradient,blame_the_bias"),
    ("features", "--run=SCENES", "--nodes=stem", "--units=0:2", "--steps=2"),
    ("flowgraph", "--run=RUN"),
)  # fmt: skip
NOTHING = "every process did all of the work"
MOST = 3600  # seconds, on a machine that is busy


class Process:
    """A program, with what it says in files."""

    def __init__(self, place, number, *command):
        self.said = [place / f"{stream}_{number}" for stream in ("out", "err")]
        with open(self.said[0], "wb") as out, open(self.said[1], "wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    def end(self):
        """Exit status, and the lines on both streams."""
        status = self.popen.wait(MOST)
        return status, *(path.read_text().splitlines() for path in self.said)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def launched(place, *flags):
    return "-m", "sparsejax", *flags, f"--out={place / 'runs'}"


def started(place, *flags):
    """A launcher on two processes."""
    place.mkdir(exist_ok=True)
    where = f"--coordinator_address=127.0.0.1:{free_port()}", "--num_processes=2"
    command = launched(place, *flags, *where)
    return [Process(place, i, *command, f"--process_id={i}") for i in range(2)]


def in_turn(place, launchers):
    """Launchers in turn on two processes, the first doing each again by itself."""
    place.mkdir()
    file = place / "flags.json"
    file.write_text(json.dumps(launchers))
    command = str(SCRIPT), str(file), str(place), str(free_port())
    return [Process(place, i, *command, str(i)) for i in range(2)]


@pytest.fixture
def both():
    """`started`, and an end for what a failed test leaves."""
    processes = []

    def start(*args, how=started):
        processes.extend(new := list(how(*args)))
        return new

    yield start
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def alone(place, *flags):
    place.mkdir()
    status, _, errors = Process(place, 0, *launched(place, *flags)).end()
    assert not status, errors
    return folder(place / "runs")


def folder(place):
    (found,) = place.iterdir()
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
def test_two_processes_find_what_one_does(tmp_path, both):
    scenes = str(alone(tmp_path / "scenes", *SCENES))
    flags = [[flag.replace("SCENES", scenes) for flag in some] for some in SMALL]
    names = [name for name, *_ in SMALL]
    for process in both(tmp_path / "both", flags, how=in_turn):
        status, lines, errors = process.end()
        assert not status, errors
        assert not [line for line in errors if line and "step" not in line]  # of bars
        # Process 0 alone says what is done, and JAX's own lines are not shown.
        is_first = process.said[0].name.endswith("_0")
        assert bool([line for line in lines if line[:1] != "#"]) == is_first
        assert not any("Gloo" in line for line in lines)
        idle = [names.index("flowgraph")] * is_first
        parts = "\n".join(lines).split("\n# ")[:: 1 + is_first]
        assert [i for i, text in enumerate(parts) if NOTHING in text] == idle
    for name in names:
        two, one = (folder(tmp_path / "both" / n / name) for n in ("two", "one"))
        check_same(two, one)


@pytest.mark.slow
@pytest.mark.parametrize("dies, flags, file", [
    (0, LOTTERY, "level_00/rewind.npz"),
    (1, RIGHT_REASONS, "none.npz"),
])  # fmt: skip
def test_the_death_of_one_ends_both_in_a_line_and_the_run_resumes(
    dies, flags, file, tmp_path, both
):
    two = tmp_path / "two"
    pair = both(two, *flags)
    began = time.monotonic()
    while not list(two.glob(f"runs/*/{file}")):
        assert time.monotonic() < began + MOST and pair[0].popen.poll() is None
        time.sleep(0.05)
    os.kill(pair[dies].popen.pid, signal.SIGKILL)
    killed = time.monotonic()
    status, _, errors = pair[1 - dies].end()
    assert status and time.monotonic() < killed + 150
    assert len(errors) == 1 and f"error: process {1 - dies} " in errors[0]
    assert "start all of them again" in errors[0]
    assert pair[dies].end()[0] == -signal.SIGKILL
    there = folder(two / "runs")
    assert not runs.is_complete(there)
    before = (there / file).stat().st_mtime_ns
    for process in both(two, *flags):
        status, _, errors = process.end()
        assert (status, errors) == (0, [])
    assert (there / file).stat().st_mtime_ns == before  # read, not made again
    check_same(there, alone(tmp_path / "one", *flags))


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


@pytest.mark.parametrize("error, is_told", [
    (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), True),
    (ValueError("UNKNOWN: what was asked for"), False),
    (ValueError("connection must be a name"), False),
])  # fmt: skip
def test_errors_of_connections_are_told_whatever_their_type(
    error, is_told, monkeypatch
):
    monkeypatch.setattr(_processes, "_watcher", [None])
    assert bool(_processes.line(error)) == is_told


def _fail():
    raise OSError("as it is")
