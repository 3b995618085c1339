"""The launcher as a stranger starts it."""

import functools

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "cartpole")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--environment=Pong"], "value should be one of <CartPole-v1|CartPole-v0>"),
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
