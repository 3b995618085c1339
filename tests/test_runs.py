"""Run folders: names, atomic files, damage."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs
from sparsejax.runs import _locks


@dataclasses.dataclass(frozen=True)
class Config:
    rounds: int = 18
    dataset: str = "digits"
    seeds: tuple[int, ...] = (0, 1)


@dataclasses.dataclass(frozen=True)
class Grown(Config):
    added: str = "later"


def start(folder, config, kind="toy", **options):
    return runs.start(folder, config, kind=kind, **options)


def test_names_depend_on_what_differs_from_the_defaults():
    assert runs.name(Config()) == runs.name(Grown())
    assert runs.name(Config(rounds=3)) == runs.name(Grown(rounds=3))
    names = {runs.name(c) for c in (Config(), Config(rounds=3), Config(seeds=(0, 2)))}
    assert len(names) == 3
    odd = runs.name(Config(dataset="a b/../c" + "x" * 200))
    assert "/" not in odd and " " not in odd and len(odd) < 80


def test_start_finish_and_enter_again(tmp_path):
    folder = tmp_path / "run"
    assert not start(folder, Config(), about={"device": "cpu"})
    saved = json.loads((folder / "config.json").read_text())
    assert saved["config"] == {"rounds": 18, "dataset": "digits", "seeds": [0, 1]}
    assert saved["about"]["device"] == "cpu" and "commit" in saved["about"]
    assert saved["kind"] == "toy" and saved["subject"] == {}
    assert not start(folder, Config())
    runs.finish(folder)
    assert start(folder, Config())


def test_foreign_folders_are_refused(tmp_path):
    start(tmp_path / "run", Config())
    with pytest.raises(ValueError, match=r"another config \(rounds differ\)"):
        start(tmp_path / "run", Config(rounds=2))
    with pytest.raises(ValueError, match=r"another subject \(level differ\)"):
        start(tmp_path / "run", Config(), subject={"level": 3})
    with pytest.raises(ValueError, match="a run of toy, not of other"):
        start(tmp_path / "run", Config(), kind="other")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not a run folder"):
        start(tmp_path / "mine", Config())
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(runs.DamagedFile, match="config.json"):
        start(tmp_path / "run", Config())


def test_arrays_round_trip(tmp_path, rng):
    arrays = {"a/b": rng.normal(size=(2, 3)), "mask": np.array([True, False])}
    runs.write_arrays(tmp_path / "x.npz", arrays)
    read = runs.read_arrays(tmp_path / "x.npz")
    assert read.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(read[key], array)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("damage", ["missing", "short", "flipped", "text", "empty"])
def test_damage_is_one_clear_error(tmp_path, rng, damage):
    path = tmp_path / "x.npz"
    runs.write_arrays(path, {"a": rng.normal(size=1000)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    other = {
        "short": path.read_bytes()[:2000],
        "flipped": bytes(content),
        "text": b"hello",
        "empty": b"",
    }
    path.unlink() if damage == "missing" else path.write_bytes(other[damage])
    with pytest.raises(runs.DamagedFile, match="x.npz"):
        runs.read_arrays(path)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, allow_pickle=True, a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(runs.DamagedFile, match="x.npz"):
        runs.read_arrays(path)


def test_metrics_round_trip(tmp_path):
    assert runs.read_metrics(tmp_path) == []
    records = [{"level": 0, "loss": np.float32(0.5)}, {"level": 1, "seeds": (0, 1)}]
    runs.write_metrics(tmp_path, records)
    back = [{"level": 0, "loss": 0.5}, {"level": 1, "seeds": [0, 1]}]
    assert runs.read_metrics(tmp_path) == back
    (tmp_path / "metrics.jsonl").write_text('{"a": 1}\n{"b"')
    with pytest.raises(runs.DamagedFile, match="metrics.jsonl"):
        runs.read_metrics(tmp_path)


def test_a_write_leaves_the_file_and_nothing_else(tmp_path):
    path = tmp_path / "deeper" / "index.html"
    runs.write_text(path, "old")
    runs.write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "index.html"
    runs.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        runs.write_text(path, "\ud800")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        runs.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_force_removes_an_earlier_run_but_never_other_files(tmp_path):
    folder = tmp_path / "run"
    start(folder, Config())
    (folder / "old.npz").write_bytes(b"")
    start(folder, Config(), force=True)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a run folder"):
        start(other, Config(), force=True)
    assert (other / "thesis.tex").exists()


@pytest.mark.parametrize("kind", [str, Path])
def test_paths_of_any_kind(tmp_path, kind):
    """Every function takes a path as a string too."""
    folder, at = kind(tmp_path / "run"), lambda name: kind(tmp_path / "run" / name)
    assert not start(folder, Config())
    runs.write_metrics(folder, [{"level": 0}])
    assert runs.read_metrics(folder) == [{"level": 0}]
    runs.write_text(at("a.txt"), "text")
    runs.write_json(at("a.json"), {"a": 1})
    assert runs.read_json(at("a.json")) == {"a": 1}
    runs.write_arrays(at("a.npz"), {"a": np.arange(3)})
    for read in (runs.read_arrays, lambda path: runs.cached(path, dict)):
        assert read(at("a.npz"))["a"].tolist() == [0, 1, 2]
    with runs.atomic(at("b.txt")) as path:
        path.touch()
    runs.finish(folder)
    assert start(folder, Config())
    assert start(folder, Config(), force=True) is False


def test_a_whole_number_in_a_field_of_floats_names_the_same_run():
    @dataclasses.dataclass(frozen=True)
    class Config:
        rate: float = 0.1
        rates: tuple[float, ...] = (1.0,)
        count: int = 1

    assert runs.name(Config(rate=3)) == runs.name(Config(rate=3.0))
    assert runs.name(Config(rates=(1, 2))) == runs.name(Config(rates=(1.0, 2.0)))
    assert "count=3-" in runs.name(Config(count=3))


def test_a_run_is_read_by_one_line(tmp_path):
    folder = tmp_path / "run"
    start(folder, Config(rounds=3), subject={"level": 12}, about={"jax": "1"})
    runs.write_metrics(folder, [{"level": 0}])
    runs.write_arrays(folder / "seed_00.npz", {"a": np.arange(3)})
    run = runs.read(folder)
    assert (run.kind, run.subject, run.done) == ("toy", {"level": 12}, False)
    assert run.config["rounds"] == 3 and run.about["jax"] == "1"
    assert run.records == [{"level": 0}] and run.arrays("seed_00")["a"].sum() == 3
    with pytest.raises(ValueError, match="not a run folder"):
        runs.read(tmp_path)


def test_runs_whose_files_are_gone_or_cut_are_not_complete(tmp_path):
    folder = tmp_path / "run"
    start(folder, Config())
    runs.write_arrays(folder / "a" / "b.npz", {"a": np.arange(3)})
    runs.write_text(folder / "index.html", "text")
    start(folder / "inside", Config())  # another run, which may come and go
    runs.finish(folder)
    (folder / "inside" / "config.json").unlink()
    assert start(folder, Config())
    (folder / "a" / "b.npz").write_bytes(b"PK")
    assert not start(folder, Config())
    assert not (folder / "a" / "b.npz").exists() and not (folder / "DONE").exists()
    runs.finish(folder)
    (folder / "index.html").unlink()
    assert not start(folder, Config())
    (folder / "DONE").write_text("")
    assert not start(folder, Config())


@pytest.mark.parametrize("step", ["touch", "chmod", "unlink", "replace"])
def test_a_signal_at_any_step_leaves_no_half_file(tmp_path, monkeypatch, step):
    """A signal raises between two steps, whichever these are."""
    where = "os.replace" if step == "replace" else f"pathlib.Path.{step}"
    original = os.replace if step == "replace" else getattr(Path, step)

    def interrupted(*arguments, **options):
        original(*arguments, **options)
        raise SystemExit(130)

    monkeypatch.setattr(where, interrupted)
    with pytest.raises(SystemExit):
        with runs.atomic(tmp_path / "a.txt") as path:
            path.write_text("text")
            if step == "unlink":
                raise ValueError
    assert not list(tmp_path.glob(".*"))


FILES = ("a.npz", "metrics.jsonl", "metrics.crc32", "index.html", "config.json", "DONE")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found_in_a_complete_run(tmp_path, name):
    folder, said = tmp_path / "run", []
    start(folder, Config())
    runs.write_arrays(folder / "a.npz", {"a": np.arange(3)})
    runs.write_metrics(folder, [{"level": 10}])
    runs.write_text(folder / "index.html", "page")
    runs.finish(folder)
    assert start(folder, Config()) and runs.is_complete(folder)
    content = (folder / name).read_bytes()
    for at in range(0, len(content), 7):
        flipped = bytes([content[at] ^ 1])
        (folder / name).write_bytes(content[:at] + flipped + content[at + 1 :])
        assert not runs.is_complete(folder)
        mended = name == "config.json"
        assert start(folder, Config(), log=said.append) == mended
        (folder / name).write_bytes(content)
        runs.finish(folder)
        assert (folder / name).read_bytes() == content
    assert (name == "DONE") == (not said)


def test_arrays_end_with_a_checksum(tmp_path):
    """Of all bytes and of the file's name; equal arrays give equal files."""
    path, arrays = tmp_path / "x.npz", {"a": np.arange(40)}
    for _ in range(2):
        runs.write_arrays(path, arrays)
        content = path.read_bytes()
        assert path.write_bytes(content) and runs.read_arrays(path, sealed=True)
    runs.write_arrays(tmp_path / "again.npz", arrays)
    assert (tmp_path / "again.npz").read_bytes()[:-8] == content[:-8]
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(runs.DamagedFile, match="x.npz"):
            runs.read_arrays(path, sealed=True)
    (tmp_path / "y.npz").write_bytes(content)
    with pytest.raises(runs.DamagedFile, match="checksum differs"):
        runs.read_arrays(tmp_path / "y.npz")
    np.savez(path, **arrays)
    assert runs.read_arrays(path)["a"].sum() == 780
    with pytest.raises(runs.DamagedFile, match="checksum is missing"):
        runs.read_arrays(path, sealed=True)
    assert runs.cached(path, lambda: {"a": np.zeros(2)}, log=print)["a"].shape == (2,)


ROWS = [{"seed": i, "loss": i / 4} for i in range(5)]
SPOILT = {
    "half a line": lambda b: b[:-9],
    "a digit": lambda b: b.replace(b"0.5", b"0.6"),
    "a key": lambda b: b.replace(b'2, "loss"', b'2, "lass"'),
    "no line": lambda b: b"".join(b.splitlines(True)[1:]),
    "no text": lambda b: b"\xff\xfe" + b[2:],
    "lists": lambda b: b"[[[" * 9999 + b"\n" + b"".join(b.splitlines(True)[1:]),
}


@pytest.mark.parametrize("way", SPOILT)
def test_a_damaged_record_costs_no_other(tmp_path, way):
    runs.write_metrics(tmp_path, ROWS)
    path, said = tmp_path / "metrics.jsonl", []
    path.write_bytes(SPOILT[way](path.read_bytes()))
    whole = runs.read_whole_metrics(tmp_path, said.append)
    assert len(whole) == 4 and all(row in ROWS for row in whole)
    assert len(said) == 1 and "4 of " in said[0]


def test_records_are_in_the_order_they_were_written_in(tmp_path):
    runs.write_metrics(tmp_path, ROWS)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines(True)
    path.write_text("".join([*lines[::-1], lines[0]]))
    assert runs.read_whole_metrics(tmp_path, print) == ROWS
    (tmp_path / "metrics.crc32").unlink()
    assert runs.read_whole_metrics(tmp_path, print) == ROWS[::-1]
    (tmp_path / "metrics.crc32").write_text("")
    assert runs.read_whole_metrics(tmp_path, print) == []


def test_one_run_at_a_time_fills_a_folder(tmp_path):
    held = runs.lock(tmp_path / "run")
    with pytest.raises(runs.InUse, match=rf"by process {os.getpid()} on \S+ since 2"):
        runs.lock(tmp_path / "run")
    held.release()
    assert not list((tmp_path / "run").iterdir())
    (tmp_path / "run" / ".lock").write_text("of a process that was killed")
    (tmp_path / "run" / ".a.0123abcd.npz").touch()
    (tmp_path / "run" / "deeper").mkdir()
    (tmp_path / "run" / "config.json").touch()
    (tmp_path / "run" / "deeper" / ".b.0123abcd.npz").touch()
    (tmp_path / "run" / ".mine").touch()
    runs.lock(tmp_path / "run").release()
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "config.json",
        "deeper",
        ".mine",
    }
    assert not list((tmp_path / "run" / "deeper").iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="not a run folder"):
        runs.lock(tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


KILLED = """
import os, sys
from sparsejax import runs
held = runs.lock(sys.argv[1])
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_kill_frees_a_folder(tmp_path):
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None and other.stdout.readline() == b"mine\n"
        with pytest.raises(runs.InUse, match=f"by process {other.pid} on"):
            runs.lock(tmp_path / "run")
        other.kill()
    assert (tmp_path / "run" / ".lock").exists()
    runs.lock(tmp_path / "run").release()


GONE = {
    "removed": lambda folder: shutil.rmtree(folder),
    "moved": lambda folder: folder.rename(folder.with_name("moved")),
    "emptied": lambda folder: [p.unlink() for p in folder.glob("*.json")],
    "made again": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
}


@pytest.mark.parametrize("way", GONE)
def test_nothing_is_written_where_the_folder_is_gone(tmp_path, way):
    folder = tmp_path / "run"
    held = runs.lock(folder)
    start(folder, Config())
    runs.write_text(folder / "deeper" / "still" / "a.txt", "text")
    GONE[way](folder)
    for path in (folder / "a.txt", folder / "deeper" / "b.txt"):
        with pytest.raises(runs.FolderGone, match="was deleted or moved while a run"):
            runs.write_text(path, "text")
    with pytest.raises(runs.FolderGone):
        runs.finish(folder)
    held.release()
    assert not (folder / "DONE").exists() and not (folder / "a.txt").exists()


def test_what_is_deleted_under_a_writer_is_not_called_complete(tmp_path):
    folder = tmp_path / "run"
    held = runs.lock(folder)
    start(folder, Config())
    with pytest.raises(runs.FolderGone, match="was deleted or moved"):
        with runs.atomic(folder / "a.txt") as path:
            path.write_text("text")
            shutil.rmtree(folder)
    held.release()
    start(folder, Config())
    with pytest.raises(runs.FolderGone, match="a.npz was deleted while"):
        runs.finish(folder, files=["a.npz"])
    assert not (folder / "DONE").exists()


def test_a_run_inside_is_part_of_the_one_around_it(tmp_path):
    start(tmp_path / "run", Config())
    start(tmp_path / "run" / "inside", Config())
    runs.finish(tmp_path / "run", inside=["inside"])
    assert not runs.is_complete(tmp_path / "run")
    runs.finish(tmp_path / "run" / "inside")
    assert runs.is_complete(tmp_path / "run")


def test_a_removal_that_is_cut_short_leaves_a_run(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    start(folder, Config())
    for name in ("a.npz", "b.npz", "z.npz"):
        runs.write_arrays(folder / name, {})
    runs.finish(folder)

    def cut(path, missing_ok=False):
        os.unlink(path)
        if path.suffix == ".npz":
            raise SystemExit(130)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("pathlib.Path.unlink", cut)
        start(folder, Config(), force=True)
    assert (folder / "config.json").exists() and not (folder / "DONE").exists()
    assert not start(folder, Config())


def test_files_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    steps = []

    def spy(name, told):
        real = getattr(os, name)

        def called(*arguments):
            steps.append((name, told(*arguments)))
            real(*arguments)

        monkeypatch.setattr(os, name, called)

    spy("fsync", lambda n: os.path.basename(os.readlink(f"/proc/self/fd/{n}")))
    spy("replace", lambda old, new: new.name)
    runs.write_text(tmp_path / "a.txt", "text")
    (first, temporary), *rest = steps
    assert first == "fsync" and temporary.startswith(".a.")
    assert rest == [("replace", "a.txt"), ("fsync", tmp_path.name)]


def test_a_damaged_lock_names_nobody():
    for text in (b"", b"{}", b"\xff", b"[" * 100_000):
        assert _locks._told(text) == "another process"
    whole = b'{"pid": 3, "host": "h", "since": "now"}'
    assert _locks._told(whole) == "process 3 on h since now"
