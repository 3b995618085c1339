"""Ctrl-C and SIGTERM: one line, whatever a launcher is doing, and nothing is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
LINE = "interrupted; run the same command again to resume\n"
# What the main thread is doing when the signal comes.
DOING = {
    "importing": "import slow",
    "computing": "while True: pass",
    "compiled": "jax.lax.while_loop(lambda x: x < 9, lambda x: 0.5 * x + 1, 0.0)"
    ".block_until_ready()",
    "calling back": "jax.jit(lambda: jax.pure_callback(lambda: time.sleep(60), "
    "jax.ShapeDtypeStruct((), 'float32')))()",
    "catching all": "try: time.sleep(60)\n"
    "    except BaseException: time.sleep(60)",
    "deleting": "class Slow: __del__ = lambda self: time.sleep(60)\n"
    "    Slow()\n"
    "    time.sleep(60)",
    "waiting for a thread": "threading.Thread(target=time.sleep, args=(60,)).start()",
    "ending": "atexit.register(time.sleep, 60)",
}  # fmt: skip
SCRIPT = """
import atexit, os, signal, sys, threading, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
from sparsejax import _interrupts, _launch
import jax
_interrupts._GRACE = 0.6
def launch(*arguments):
    {doing}
def later():
    time.sleep(0.5)
    os.kill(os.getpid(), {number})
threading.Thread(target=later, daemon=True).start()
_launch.launch = launch
_launch.main("circle_removal")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("doing", DOING)
def test_a_signal_ends_in_a_line(launcher, tmp_path, doing, number):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    text = SCRIPT.format(doing=DOING[doing], number=int(number))
    (tmp_path / "script.py").write_text(text)
    done = launcher(tmp_path / "script", timeout=30)
    assert done.stderr == LINE
    assert done.returncode == 128 + number


def test_what_was_forced_goes_on_without_force(launcher, tmp_path):
    text = SCRIPT.format(doing="time.sleep(60)", number=2)
    (tmp_path / "script.py").write_text(text)
    done = launcher(tmp_path / "script", "--force", timeout=30)
    assert (
        done.stderr == "interrupted; run the same command without --force to resume\n"
    )


def test_signals_that_were_ignored_stay_ignored(launcher, tmp_path):
    """As of what `nohup` or a shell's & started."""
    text = SCRIPT.format(doing="time.sleep(1)", number=2)
    (tmp_path / "script.py").write_text(text.replace("SIG_DFL", "SIG_IGN"))
    done = launcher(tmp_path / "script", timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


# As from a terminal: what runs the tests may ignore signals.
START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
RUNS = {
    "lottery": ["--rounds=2", "--epochs=2", "--seeds=0", "--widths=8",
                "--arms=rewind", "--nobarrier"],
    "circle_removal": ["--num_nodes=6", "--seeds=0:3", "--epochs=2"],
}  # fmt: skip


@pytest.mark.parametrize(
    "name, number",
    [("lottery", signal.SIGINT), ("circle_removal", signal.SIGTERM)],
)
def test_a_run_that_is_interrupted_goes_on(launcher, tmp_path, name, number):
    flags = [*RUNS[name], f"--out={tmp_path / 'out'}"]
    command = [sys.executable, "-c", START, str(LAUNCH / f"{name}.py"), *flags]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("out/*/metrics.jsonl")):  # there is more to do
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, number)
        stderr = process.communicate(timeout=60)[1]
    assert (process.returncode, stderr) == (128 + number, LINE)
    (folder,) = (tmp_path / "out").iterdir()
    assert not (folder / "DONE").exists()
    assert not list(folder.rglob(".*"))  # of files that were being written
    again = launcher(name, *flags)
    assert again.returncode == 0, again.stderr
    assert (folder / "DONE").exists() and "is complete" not in again.stdout
