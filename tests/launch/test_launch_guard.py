"""What a launcher does not expect: one line, and a traceback where it can be found."""

import errno
import os
import re
from pathlib import Path

import pytest

from sparsejax import _launch, runs
from sparsejax.experiments import circle_removal
from sparsejax.experiments.circle_removal import _run, config

FLAGS = ["--num_nodes=4", "--seeds=0", "--epochs=1", "--num_points=40"]


def end(flags, folder):
    def called():
        _launch.called("circle_removal", config, ["x", *flags, f"--out={folder}"], "x")

    with pytest.raises(SystemExit) as ended:
        _launch._end_in_a_line(called)
    return str(ended.value.code)


ERRORS = {
    "error: unexpected OverflowError: too large; the traceback is in {log}":
        OverflowError("too\n large"),
    "error: unexpected ZeroDivisionError: ; the traceback is in {log}":
        ZeroDivisionError(),
    "error: unexpected RuntimeError: INTERNAL: broken; the traceback is in {log}":
        RuntimeError("INTERNAL: broken"),
    "error: out of memory: RESOURCE_EXHAUSTED: so much":
        RuntimeError("RESOURCE_EXHAUSTED: so much"),
    "error: out of memory": MemoryError(),
    "error: [Errno 28] No space left on device":
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "error: fewer of these": ValueError("fewer of these"),
}  # fmt: skip


@pytest.mark.parametrize("line", ERRORS)
def test_every_error_is_a_line_with_its_traceback_kept(tmp_path, monkeypatch, line):
    def fail(*_, **__):
        raise ERRORS[line]

    monkeypatch.setattr(_run.measure, "measure", fail)
    said = end(FLAGS, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert said == line.format(log=folder / runs.LOG)
    assert "in fail\n" in (folder / runs.LOG).read_text()
    assert {p.name for p in folder.iterdir()} == {"config.json", runs.LOG}


def test_before_there_is_a_folder_the_traceback_has_a_file(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyError("plan")

    monkeypatch.setattr(circle_removal, "plan", fail, raising=False)
    said = end(FLAGS, tmp_path)
    found = re.fullmatch(
        r"error: unexpected KeyError: 'plan'; the traceback is in (\S+)", said
    )
    assert found and "in fail\n" in Path(found[1]).read_text()
    Path(found[1]).unlink()
    assert not list(tmp_path.iterdir())


def test_a_dry_run_refuses_folders_as_a_run_does(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run.measure, "measure", lambda *_, **__: {}["stop"])
        assert "'stop'" in end(FLAGS, tmp_path)
    (folder,) = tmp_path.iterdir()
    held, dry = runs.lock(folder), [*FLAGS, "--dry_run"]
    for flags in (FLAGS, dry):
        assert f"{folder} is in use by process {os.getpid()} on " in end(
            flags, tmp_path
        )
    held.release()
    before = {p.name for p in folder.iterdir()}
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"epochs": 1', '"epochs": 2'))
    for flags in (FLAGS, dry):
        assert "a run of another config (epochs differ)" in end(flags, tmp_path)
    (folder / "config.json").write_text("{")
    for flags in (FLAGS, dry):
        assert "--force (in Python, force=True) starts the run afresh" in end(
            flags, tmp_path
        )
    (folder / "config.json").unlink()
    for flags in (FLAGS, dry):
        assert "it is not a run folder" in end(flags, tmp_path)
    assert {p.name for p in folder.iterdir()} == before - {"config.json"}
    (tmp_path / "file").touch()
    for flags in (FLAGS, dry):
        assert end(flags, tmp_path / "file").startswith("error: ")
