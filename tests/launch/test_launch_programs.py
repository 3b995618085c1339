"""Compiled programs that launchers keep: whole, bounded, the user's own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sparsejax import _programs

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
import jax, jax.numpy as jnp
from sparsejax import _programs
_programs.keep(None if sys.argv[1] == "-" else sys.argv[1])
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
step = jax.jit(lambda w, x: w - 0.1 * jnp.tanh(x @ w), donate_argnums=0)
w = step(jnp.linspace(-1, 1, 4), jnp.eye(4))
hits = events.count("/jax/compilation_cache/cache_hits")
misses = events.count("/jax/compilation_cache/cache_misses")
print(json.dumps([hits, misses, w.tolist()]))
"""


def entries(tmp_path, limit=10**6):
    folder = tmp_path / "kind"
    folder.mkdir(exist_ok=True)
    return _programs.Entries(folder, limit)


def test_entries_are_read_back_and_replaced(tmp_path):
    kept = entries(tmp_path)
    assert kept.get("a") is None
    kept.put("a", b"one")
    kept.put("a", b"two")
    assert entries(tmp_path).get("a") == b"two"


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100, None])
def test_damaged_entries_are_removed_and_made_again(tmp_path, content):
    kept = entries(tmp_path)
    kept.put("a", b"program" * 10)
    kept.put("b", b"another" * 10)
    path, other = (tmp_path / "kind" / f"{key}-cache" for key in "ab")
    path.write_bytes(other.read_bytes() if content is None else content)
    assert kept.get("a") is None and not path.exists()
    kept.put("a", b"program")
    assert kept.get("a") == b"program" and kept.get("b") == b"another" * 10


def test_those_used_last_stay(tmp_path):
    kept = entries(tmp_path, limit=10 * 4096)
    for number in range(10):
        kept.put(f"{number}", b"x")
        path = tmp_path / "kind" / f"{number}-cache"
        os.utime(path, (number, number))
    assert kept.get("0") == b"x"  # used just now
    kept.put("new", b"x")
    left = {path.name.partition("-")[0] for path in (tmp_path / "kind").iterdir()}
    assert left == {"0", "new", *"3456789"}
    kept.put("large", b"x" * 3 * 4096)
    assert kept.get("large") is None


def test_folders_of_other_kinds_count(tmp_path):
    (tmp_path / "old").mkdir()
    for number in range(20):
        path = tmp_path / "old" / f"{number}-cache"
        path.write_bytes(b"x")
        os.utime(path, (number, number))
    stale, fresh = (tmp_path / "old" / f".{n}.part" for n in (0, 1))
    stale.touch(), fresh.touch()
    os.utime(stale, (0, 0))
    os.utime(fresh, (time.time(), time.time()))
    entries(tmp_path, limit=10 * 4096)
    left = sorted(int(p.name.partition("-")[0]) for p in tmp_path.glob("old/*-cache"))
    assert left == list(range(12, 20)) and fresh.exists() and not stale.exists()


def test_a_folder_that_is_gone_or_full_is_of_no_effect(tmp_path, monkeypatch):
    kept = entries(tmp_path)
    (tmp_path / "kind").rmdir()
    kept.put("a", b"program")
    assert kept.get("a") is None
    kept = entries(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    kept.put("a", b"program")
    assert kept.get("a") is None and not list((tmp_path / "kind").iterdir())


def test_only_folders_of_the_user_alone(tmp_path):
    folder = tmp_path / "a" / "b"
    assert _programs._owned(folder) == folder.resolve()
    assert folder.stat().st_mode & 0o777 == (tmp_path / "a").stat().st_mode & 0o777
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in (folder, folder.parent):
        path.chmod(0o777)
        with pytest.raises(ValueError, match="others can write to"):
            _programs._owned(folder)
        path.chmod(0o700)


def test_folders_of_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 12345)
    if os.stat(tmp_path).st_uid:
        with pytest.raises(ValueError, match="belongs to somebody else"):
            _programs._owned(tmp_path / "a")


def test_other_processors_and_versions_have_folders_of_their_own(monkeypatch):
    here, read = _programs._kind(), Path.read_text
    assert here == _programs._kind()

    def without_avx(path, *_, **__):
        return read(path).replace(" avx2", "")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", without_avx)
        fewer = _programs._kind()
    with monkeypatch.context() as patch:
        patch.setattr("jaxlib.version.__version__", "0.0")
        old = _programs._kind()
    assert old != here
    assert fewer != here or "avx2" not in read(Path("/proc/cpuinfo"))


def started(tmp_path, where="-", **environment):
    """Hits, misses and numbers of a process that keeps its programs."""
    ours = "JAX_", "SPARSEJAX_"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    clean |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, where],
        env=clean, capture_output=True, text=True,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    hits, misses, numbers = json.loads(done.stdout)
    return hits, misses, np.array(numbers)


def test_programs_are_found_again_and_compute_the_same(tmp_path):
    hits, misses, first = started(tmp_path)
    assert not hits and misses
    again, none, second = started(tmp_path)
    assert again == misses and not none and (first == second).all()
    for path in tmp_path.glob("sparsejax/programs/*/*-cache"):  # sealed, yet no program
        key, value = path.name.removesuffix("-cache"), b"nothing"
        path.write_bytes(value + _programs._seal(key, value))
    hits, mended, third = started(tmp_path)
    assert not hits and mended == misses and (first == third).all()
    assert started(tmp_path)[0] == misses


@pytest.mark.slow
def test_programs_are_kept_where_it_was_said(tmp_path):
    assert started(tmp_path, "off")[:2] == (0, 0) and not list(tmp_path.iterdir())
    theirs = tmp_path / "theirs"
    started(tmp_path, JAX_COMPILATION_CACHE_DIR=str(theirs))
    assert not (tmp_path / "sparsejax").exists()
    assert started(tmp_path, str(tmp_path / "mine"))[1]
    assert list(tmp_path.glob("mine/*/*-cache"))


def test_launchers_keep_theirs(launcher, tmp_path):
    few = "--widths=4 --epochs=1 --keep_probs=0.5 --num_masks=8 --num_test_images=9"
    flags = *few.split(), f"--out={tmp_path}", f"--programs={tmp_path / 'mine'}"
    assert not launcher("node_sweep", *flags).stderr
    assert list(tmp_path.glob("mine/*/*-cache"))
    (tmp_path / "mine").chmod(0o777)
    done = launcher("node_sweep", *flags)
    assert done.stderr.startswith("error: --programs: others can write to ")
    assert done.stderr.count("\n") == 1
