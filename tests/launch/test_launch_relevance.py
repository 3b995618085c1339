"""The launcher as a stranger starts it."""

import functools
from pathlib import Path

import pytest

from sparsejax.experiments import lottery as lottery_
from sparsejax.experiments.lottery import Config


@pytest.fixture(scope="module")
def lottery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lottery") / "run"
    config = Config(widths=(6,), rounds=2, fraction=0.6, epochs=1, seeds=(0,),
                    arms=("rewind",), barrier=False)  # fmt: skip
    lottery_.run(config, folder, log=lambda line: None)
    return folder


@pytest.fixture
def launch(launcher):
    return functools.partial(launcher, "relevance")


@pytest.mark.slow
def test_a_run_ends_with_what_was_found_where_it_is_and_what_is_next(launch, lottery):
    flags = [f"--run={lottery}", "--samples=0:2,5", "--count=3", "--levels=0"]
    flags += ["--methods=blame_the_bias,gradient", "--target=3"]
    done = launch(*flags)
    assert done.returncode == 0, done.stderr
    found, where, following = done.stdout.splitlines()[-3:]
    assert found.startswith("What biases contribute is ")
    assert where.startswith(f"open {lottery / 'relevance'}")
    page = Path(where.removeprefix("open "))
    assert page.exists() and (page.parent / "DONE").exists()
    assert following.startswith("next: ")
    assert "is complete" in launch(*flags).stdout


@pytest.mark.slow  # a process each
def test_bad_flags_get_one_line(launch, lottery, tmp_path):
    run = f"--run={lottery}"
    for flags, message in [
        ([], "error: --run is missing: the folder of a lottery run; python launch/"),
        (["--run=/nowhere"], "error: /nowhere is no run folder"),
        (
            [run, "--methods=shap"],
            "error: unknown methods 'shap'; there are 'gr",
        ),
        ([run, "--samples=one"], "error: --samples: expected integers"),
        ([run, "--samples=360"], "error: samples 360 are none of the 360 test images"),
        ([run, "--methods=grad_cam"], "error: grad_cam needs a convolution"),
    ]:
        done = launch(*flags, f"--out={tmp_path / 'out'}")
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_teaches(launch):
    text = " ".join(launch("--help").stdout.split())
    for part in ("goes on with the method", "--methods", "<mean|zero>", "--samples"):
        assert part in text
