"""The launcher as a stranger starts it."""

import functools
from pathlib import Path

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "prune_order")


@pytest.mark.slow
def test_a_run_ends_with_what_was_found_where_it_is_and_what_is_next(launch, tmp_path):
    """Of images, whose page has neither surfaces nor a film."""
    small = [
        "--dataset=digits",
        "--remove=weights",
        "--seeds=0:2",
        "--steps=5",
        "--widths=6",
        "--learning_rates=0.01",
        "--selections=magnitude",
    ]
    done = launch(*small, f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    found, where, following = done.stdout.splitlines()[-3:]
    assert found.startswith("Learning rate 0.01: accuracy trained then pruned")
    page = Path(where.removeprefix("open "))
    assert "Which weights training moves" in page.read_text()
    assert following.startswith("next: ")
    assert "0.01, magnitude: trained" in done.stdout and "s left" in done.stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--learning_rates=fast"], "error: --learning_rates: expected numbers"),
        (["--dataset=mnist"], "error: "),  # data_dir is missing
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
