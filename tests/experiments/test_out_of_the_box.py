"""`sparsejax features --run=RUN` and `weights --run=RUN`: any lottery run will do."""

import re

import pytest

from sparsejax import runs
from sparsejax.experiments import lottery


@pytest.fixture(scope="module")
def convnet_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convnet") / "run"
    config = lottery.Config(
        model="convnet", widths=(3, 2), rounds=1, epochs=1, seeds=(0,), barrier=False,
        arms=("rewind",), num_train_images=64, num_test_images=32,
    )  # fmt: skip
    lottery.run(config, folder, log=lambda line: None)
    return folder


@pytest.mark.parametrize(
    "name", ["features", pytest.param("weights", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "run",
    [
        "lottery_run",
        pytest.param("convnet_run", marks=pytest.mark.slow),
        pytest.param("residual_run", marks=pytest.mark.slow),
    ],
)
def test_any_lottery_run_will_do(command_line, request, name, run):
    folder = request.getfixturevalue(run)
    lines = command_line(name, f"--run={folder}", "--steps=1")
    page = re.fullmatch("open (.+/index.html).*", lines[-2])
    assert page and folder in runs.read(page[1].rpartition("/")[0]).folder.parents
    assert runs.is_complete(page[1].rpartition("/")[0])


def test_an_analysis_of_a_run_names_its_network(lottery_run, command_line, tmp_path):
    (inside,) = (lottery_run / "flowgraph").iterdir()
    whole, one = lottery.subject(lottery_run), lottery.subject(inside)
    assert one.source == whole.source and one.run == lottery_run
    other = lottery.subject(inside, level=1, seed=1)
    assert (other.network.level, other.network.seed) == (1, 1)
    plans = [command_line("features", f"--run={folder}", "--dry_run")
             for folder in (lottery_run, inside)]  # fmt: skip
    assert plans[0] == plans[1]
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "config.json").write_text((inside / "config.json").read_text())
    with pytest.raises(ValueError, match="moved is not a lottery run"):
        lottery.subject(moved)
