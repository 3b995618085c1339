"""The launcher of pruning for a sample: help, errors in one line."""

import functools

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "spade")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--dataset=mnist --model=resnet20", "--model needs dataset=cifar10"),
        ("--densities=0.5,x", "expected numbers"),
        ("--num_test_images=1", "num_test_images must be in [2, 2^31)"),
        ("--data_dir=nowhere", "CIFAR-10 is missing"),
        ("--dry_run", "CIFAR-10 is missing"),
    ],
)
def test_bad_flags_get_one_line(launch, flag, message, tmp_path):
    done = launch(f"--data_dir={tmp_path}", *flag.split(), f"--out={tmp_path}")
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_teaches(launch):
    words = " ".join(launch("--help").stdout.split())
    assert "needs the patch's position" in words and "--checkpoint=" in words
