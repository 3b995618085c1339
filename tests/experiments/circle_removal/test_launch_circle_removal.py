"""The launcher as a stranger starts it."""

import functools
from pathlib import Path

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "circle_removal")


@pytest.mark.slow
def test_a_run_ends_with_what_was_found_where_it_is_and_what_is_next(launch, tmp_path):
    small = ["--num_nodes=5", "--seeds=0:2", "--num_points=80", "--epochs=2"]
    done = launch(*small, f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    found, where, following = done.stdout.splitlines()[-3:]
    assert found.startswith("The best 2 of 5 nodes: loss ")
    assert Path(where.removeprefix("open ").partition(", and ")[0]).exists()
    assert following.startswith("next: ")
    assert "seed 1: loss" in done.stdout
    assert "is complete" in launch(*small, f"--out={tmp_path}").stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--variant=square"], "value should be one of <published|half>"),
        (["--keep_probs=a"], "--keep_probs: expected numbers such as 0.25,0.5"),
        (["--keep_probs=2"], "error: keep_probs must be in (0, 1)"),
        (["--num_nodes=30", "--dry_run"], "error: num_nodes must be in [1, 22]"),
    ],
)
def test_bad_flags_get_one_line(launch, flags, message):
    done = launch(*flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches(launch):
    done = launch("--help")
    assert "as in Hobson's code" in " ".join(done.stdout.split())


def test_dry_run_says_the_folder_and_makes_nothing(launch, tmp_path):
    done = launch("--dry_run", f"--out={tmp_path}")
    assert "1,048,576 subsets" in done.stdout and str(tmp_path) in done.stdout
    assert not list(tmp_path.iterdir())
