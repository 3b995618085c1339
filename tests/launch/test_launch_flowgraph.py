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
    return functools.partial(launcher, "flowgraph")


@pytest.mark.slow
def test_a_run_ends_with_what_was_found_where_it_is_and_what_is_next(launch, lottery):
    done = launch(f"--run={lottery}", "--samples=2")
    assert done.returncode == 0, done.stderr
    found, where, following = done.stdout.splitlines()[-3:]
    assert "the largest graph of one output is output_" in found
    assert where.startswith(f"open {lottery / 'flowgraph'}")
    assert Path(where.removeprefix("open ")).exists()
    assert following.startswith("next: ")
    again = launch(f"--run={lottery}", "--samples=2")
    assert "is complete" in again.stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "error: --run is missing"),
        (["--run=/nowhere"], "error: /nowhere is no run folder"),
        (["--run=.", "extra"], "error: unknown arguments"),
        (["--simplify=all"], "value should be one of <no|off|passthrough"),
    ],
)
def test_bad_flags_get_one_line(launch, flags, message):
    done = launch(*flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_teaches(launch):
    done = launch("--help")
    for text in ("graph.html", "find exact ranges too", "--[no]exact", "--seed"):
        assert text in " ".join(done.stdout.split())
