"""The launcher as a stranger starts it."""

import functools
from pathlib import Path

import pytest


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "relevance")


def test_a_run_ends_with_what_was_found_where_it_is_and_what_is_next(
    launch, lottery_run
):
    flags = [f"--run={lottery_run}", "--test_images=0:2,5", "--num_test_images=3",
             "--methods=blame_the_bias", "--target=3", "--levels=0"]  # fmt: skip
    done = launch(*flags)
    assert done.returncode == 0, done.stderr
    assert "level 2: 1 method, 3 samples, 3 test images\nfolder: " in done.stdout
    finding, where, following = done.stdout.splitlines()[-3:]
    assert finding.startswith("What biases contribute is ")
    assert where.startswith(f"open {lottery_run / 'relevance'}")
    page = Path(where.removeprefix("open "))
    assert page.exists() and (page.parent / "DONE").exists()
    assert following.startswith("next: ")


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "error: --run is required (in Python, subject=): the folder of a lottery"),
        (["--run=/nowhere"], "error: /nowhere is not a lottery run"),
        (["--run=", "--methods=shap"], "error: unknown methods 'shap'; expected 'gr"),
        (["--test_images=one"], "error: --test_images: expected integers"),
        (["--run=RUN", "--run_seed=7"], "has no seed 7; there are 0, 1"),
        (["--run=RUN", "--methods=grad_cam"], "error: grad_cam needs a convolution"),
    ],
)
def test_bad_flags_get_one_line(launch, lottery_run, tmp_path, flags, message):
    flags = [flag.replace("RUN", str(lottery_run)) for flag in flags]
    done = launch(*flags, "--dry_run", f"--out={tmp_path / 'out'}")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_teaches(launch):
    text = " ".join(launch("--help").stdout.split())
    for part in ("resumes when started again", "--methods", '"mean" training image',
                 "--test_images", "--run_seed="):  # fmt: skip
        assert part in text
