"""The launcher as a stranger starts it."""

import functools
from pathlib import Path

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "cartpole_dqn")


@pytest.mark.slow
def test_a_run_ends_with_what_was_found_where_it_is_and_what_is_next(launch, tmp_path):
    small = ["--environment=CartPole-v0", "--seeds=3", "--widths=4", "--steps=12800",
             "--rounds=1", "--target=15", "--episodes=4", "--walkers=1"]  # fmt: skip
    done = launch(*small, f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    found, where, following = done.stdout.splitlines()[-3:]
    assert "weights" in found
    page = Path(where.removeprefix("open ").split(" and ")[0])
    assert "CartPole-v0" in page.read_text()
    assert following.startswith("next: ")
    assert "round 1 of at most 1" in done.stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--environment=Pong"], "error: unknown environment 'Pong'; there are"),
        (["--seeds=a"], "error: --seeds: expected integers"),
        (["--fraction=2"], "error: fraction must be in (0, 1)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_flags_get_one_line(launch, flags, message, tmp_path):
    done = launch(*flags, f"--out={tmp_path}")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_dry_run_says_the_folder_and_makes_nothing(launch, tmp_path):
    done = launch("--dry_run", f"--out={tmp_path}")
    assert "16 agents on CartPole-v1, 51,200 steps a training" in done.stdout
    assert str(tmp_path) in done.stdout
    assert not list(tmp_path.iterdir())
