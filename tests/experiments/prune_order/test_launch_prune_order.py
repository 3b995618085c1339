"""The launcher as a stranger starts it."""

import functools

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "prune_order")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--learning_rates=fast"], "error: --learning_rates: expected numbers"),
        (["--fraction=1"], "error: fraction must be in [0, 1), got 1.0"),
        (
            ["--dataset=mnist", "--data_dir=/no", "--dry_run"],
            "error: MNIST is missing: /no",
        ),
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
    assert "20 networks, 5 trainings at each of 2 learning rates" in done.stdout
    assert str(tmp_path) in done.stdout
    assert not list(tmp_path.iterdir())


def test_help_teaches(launch):
    text = " ".join(launch("--help").stdout.split())
    assert "smallest standard deviation" in text
    assert "--num_frames=40" in text and "resumes when started again" in text
