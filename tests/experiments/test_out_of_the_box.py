"""`sparsejax features --run=RUN` and `weights --run=RUN`: any lottery run will do."""

import json
import re
import shutil

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


def test_the_network_of_an_analysis_is_the_default(lottery_run, tmp_path):
    folder = shutil.copytree(lottery_run, tmp_path / lottery_run.name)
    (inside,) = (folder / "flowgraph").iterdir()

    def subject(**changes):
        config = runs.read_json(inside / "config.json")
        config["subject"] |= changes
        (inside / "config.json").write_text(json.dumps(config))
        return lottery.subject(inside)

    network = subject(level=1, run_seed=1).network
    assert (network.arm, network.level, network.seed) == ("rewind", 1, 1)
    refusals = {"run_seed": (9, "has no seed 9;"), "level": (7, "has no level 7;"),
                "arm": ("x", "has no arm .x.;")}  # fmt: skip
    for field, (value, words) in refusals.items():
        with pytest.raises(ValueError, match=words):
            subject(**{"level": 1, "run_seed": 1, "arm": "rewind", field: value})


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
