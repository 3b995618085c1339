"""The launcher as a stranger starts it."""

import functools

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "right_reasons")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--strengths=strong"], "error: --strengths: expected numbers"),
        (["--losses=nonsense"], "error: unknown losses 'nonsense'; expected 'none'"),
        (["--contrast=2"], "error: contrast must be in [0, 1], got 2.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_flags_get_one_line(launch, flags, message):
    done = launch(*flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_dry_run_says_the_folder_and_makes_nothing(launch, tmp_path):
    done = launch("--dry_run", f"--out={tmp_path}")
    assert "3 networks under each of 10 losses, 1,500 steps" in done.stdout
    assert str(tmp_path) in done.stdout
    assert not list(tmp_path.iterdir())


def test_help_teaches(launch):
    done = launch("--help")
    assert "--jitter=1 --contrast=0.5" in done.stdout
    assert "squared relevance for all centered logits" in " ".join(done.stdout.split())
