"""Run folders: names, atomic files, damage."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs


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
    with pytest.raises(ValueError, match="no run folder"):
        runs.read(tmp_path)


def test_runs_whose_files_are_gone_or_cut_are_not_complete(tmp_path):
    folder = tmp_path / "run"
    start(folder, Config())
    runs.write_arrays(folder / "a" / "b.npz", {"a": np.arange(3)})
    runs.write_text(folder / "index.html", "text")
    start(folder / "inside", Config())  # another run, which may come and go
    runs.finish(folder)
    (folder / "inside" / "config.json").unlink()
    runs.write_text(folder / "index.html", "edited by hand")
    assert start(folder, Config())
    (folder / "a" / "b.npz").write_bytes(b"PK")
    assert not start(folder, Config())
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


def test_a_flipped_byte_is_found_in_a_complete_run(tmp_path):
    """Of any file whose numbers are read again, and of no page, which may be edited."""
    folder = tmp_path / "run"
    start(folder, Config())
    runs.write_arrays(folder / "a.npz", {"a": np.arange(3)})
    runs.write_metrics(folder, [{"level": 10}])
    runs.write_text(folder / "index.html", "page")
    runs.finish(folder)
    for name, whole in (
        ("a.npz", False),
        ("metrics.jsonl", False),
        ("index.html", True),
    ):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-3] + b"9" + content[-2:])
        assert start(folder, Config()) == whole, name
        (folder / name).write_bytes(content)
        assert start(folder, Config()), name
