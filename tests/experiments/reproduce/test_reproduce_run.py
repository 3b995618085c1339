"""A run of runs, with an experiment of toys in place of all others."""

import dataclasses
import json
import types

import numpy as np
import pytest

from sparsejax import experiments, runs
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.reproduce import (
    Config,
    _run,
    parts,
    plan,
    report,
    rules,
    run,
    summary,
)
from sparsejax.experiments.reproduce.claim import Claim, Results, answer
from sparsejax.experiments.reproduce.config import CHOICES
from sparsejax.experiments.reproduce.parts import Part
from sparsejax.experiments.reproduce.sources import bias, node_removal


class Killed(BaseException):
    pass


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    seeds: tuple[int, ...] = (0, 1)


class Toy:
    """An experiment: its face, what it made, and the part that it is killed in."""

    Config = ToyConfig

    def __init__(self):
        self.made, self.dies_in = [], None

    def plan(self, config, subject=None, *, data_dir=None):
        if data_dir is None:
            raise ValueError("images.npz is missing; pass --data_dir")
        return f"{len(config.seeds)} toys"

    def run(self, config, folder, subject=None, *, data_dir=None, force=False,
            log=print):  # fmt: skip
        with Study("toy", config, folder, log=log) as study:
            if study.complete:
                return study.records
            for seed in study.each(config.seeds):
                if folder.name == self.dies_in and seed:
                    raise Killed
                self.made.append((folder.name, seed))
                study.measured(f"seed_{seed}", lambda seed=seed: (
                    [{"seed": seed, "loss": 0.5 + seed / 100}], {"x": np.ones(2)}
                ), seed=seed)  # fmt: skip
            runs.write_text(folder / "fig_loss.svg", "<svg/>")
        return study.records


def losses(part):
    return lambda results: [r["loss"] for r in results.records(part)]


@pytest.fixture
def toy(monkeypatch):
    """The toy, with two parts that need data, and one that is measured here."""
    toy = Toy()
    monkeypatch.setitem(experiments.__dict__, "toy", toy)
    monkeypatch.setitem(_run._MEASURES, "rules", lambda of, data_dir: [{"loss": 2.0}])
    here = {
        "rules": Part("rules"),
        "one": Part("toy", {"seeds": (0, 1, 2)}, {"seeds": (0, 1)}, data=True),
        "two": Part("toy", {"seeds": (4, 5)}, data=True),
    }
    claims = (
        Claim("a", "I", "loss of rules", "2", ("rules",), losses("rules"), 2.0,
              aside=True),
        Claim("b", "I", "loss of one", "0.5", ("one",), losses("one"), 0.5,
              said="A remark | with a bar.", figures={"loss": "one/fig_loss.svg"}),
        Claim("c", "II", "loss of two", "7", ("two",), losses("two"), 7.0),
        Claim("d", "II", "who knows", "?", unchecked="Nobody does."),
    )  # fmt: skip
    monkeypatch.setattr(parts, "PARTS", here)
    monkeypatch.setitem(CHOICES, "parts", tuple(here))
    monkeypatch.setattr(report, "SOURCES", {"A source": claims})
    return toy


def words(records):
    return [r["word"] for r in records if r["kind"] == "claim"]


def files(folder):
    skipped = {"config.json", "DONE", runs.LOG}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skipped and path.name[0] != "."
    }


def test_published_and_ours_stand_side_by_side(toy, tmp_path):
    folder = tmp_path / "run"
    records = run(Config(quick=True), folder, data_dir=tmp_path, log=lambda line: None)
    assert words(records) == ["agrees", "agrees", "differs", "not checked"]
    assert toy.made == [("one", 0), ("one", 1), ("two", 4), ("two", 5)]
    table = (folder / "reproductions.md").read_text()
    row = "| I | loss of one | 0.5 | 0.5050 ± 0.0071 (2) | **agrees** | A remark \\|"
    assert "## A source" in table and row in table
    assert "| I | *loss of rules* | 2 | 2.0000 (1) | **agrees** |" in table
    assert "| II | who knows | ? |  | **not checked** | Nobody does. |" in table
    told = json.loads((folder / "reproductions.json").read_text())
    assert [r["name"] for r in told] == list("abcd") and told[1]["ours"] == [0.5, 0.51]
    assert 'href="one/fig_loss.svg"' in (folder / "index.html").read_text()
    assert summary(folder).startswith(
        "1 of 2 published numbers and statements are found again"
    )
    assert runs.is_complete(folder) and runs.is_complete(folder / "one")
    again = run(Config(quick=True), folder, data_dir=tmp_path, log=lambda line: None)
    assert again == records and len(toy.made) == 4


def test_without_data_the_rows_say_so_and_with_them_the_run_goes_on(toy, tmp_path):
    folder, config = tmp_path / "run", Config(parts=("rules", "one"))
    assert "one: left out: images.npz is missing; pass --data_dir" in plan(config)
    lines = []
    records = run(config, folder, log=lines.append)
    assert words(records) == ["agrees", "missing", "not run", "not checked"]
    assert "one: left out: images.npz is missing; pass --data_dir" in lines
    assert runs.is_complete(folder)
    run(config, folder, log=lines.append)
    assert not toy.made
    records = run(config, folder, data_dir=tmp_path, log=lines.append)
    assert words(records) == ["agrees", "agrees", "not run", "not checked"]
    assert [name for name, _ in toy.made] == ["one"] * 3
    assert "missing" not in plan(config, data_dir=tmp_path)


def test_a_run_that_was_killed_goes_on_and_ends_the_same(toy, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(Config(), whole, data_dir=tmp_path, log=lambda line: None)
    toy.made, toy.dies_in = [], "two"
    with pytest.raises(Killed):
        run(Config(), killed, data_dir=tmp_path, log=lambda line: None)
    assert not runs.is_complete(killed) and runs.is_complete(killed / "one")
    toy.dies_in = None
    run(Config(), killed, data_dir=tmp_path, log=lambda line: None)
    assert toy.made == [("one", 0), ("one", 1), ("one", 2), ("two", 4), ("two", 5)]
    assert files(whole) == files(killed)


def test_a_damaged_part_is_made_again(toy, tmp_path):
    folder = tmp_path / "run"
    run(Config(), folder, data_dir=tmp_path, log=lambda line: None)
    whole, count = files(folder), len(toy.made)
    (folder / "one" / "seed_1.npz").unlink()
    run(Config(), folder, data_dir=tmp_path, log=lambda line: None)
    assert files(folder) == whole
    assert toy.made[count:] and {name for name, _ in toy.made[count:]} == {"one"}


def test_errors_of_a_part_are_not_missing_data(toy, tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise ValueError("the loss is not finite")

    monkeypatch.setattr(toy, "run", broken)
    with pytest.raises(ValueError, match="not finite"):
        run(Config(), tmp_path / "run", data_dir=tmp_path, log=lambda line: None)


# ---- Real parts, small


@pytest.fixture(scope="module")
def circles(tmp_path_factory):
    """Rules as they are, and both circles with four nodes."""
    folder = tmp_path_factory.mktemp("circles")
    for name, variant in (("circle", "published"), ("circle_half", "half")):
        config = experiments.circle_removal.Config(
            variant=variant, num_nodes=4, seeds=(0, 1), epochs=2, num_points=60,
            num_masks=20, num_paths=20,
        )  # fmt: skip
        experiments.circle_removal.run(config, folder / name, log=lambda line: None)
    return Results(folder, {"rules": rules.measure()})


@pytest.mark.slow
def test_the_circle_has_a_value_for_every_row(circles):
    found = {c.name: answer(c, circles) for c in node_removal.CLAIMS}
    assert found["distinct masks"].ours == (952,)
    assert found["masks without node 14"].word == "agrees"
    assert len(found["mean loss at 0.25, text's circle"].ours) == 2
    unknown = {name for name, one in found.items() if one.word == "unknown"}
    # Of four nodes correlations need not fall that far.
    assert unknown <= {"flips"}


@pytest.mark.slow
def test_rules_hold_as_corrected_and_fail_as_printed(circles):
    found = {c.name: answer(c, circles) for c in bias.CLAIMS}
    assert all(one.word == "fails" for name, one in found.items() if "printed" in name)
    holding = [name for name, one in found.items() if one.word == "holds"]
    assert {"scaling", "scaling, others", "conserves", "slope is gradient"} <= {
        *holding
    }
    assert found["radial is slope"].word == "partly"


class Ones(np.random.Generator):
    """Random numbers that are all one."""

    def normal(self, *, size):
        return np.ones(size)


def test_a_sum_is_over_outputs_as_printed():
    formulas = rules._printed(Ones(np.random.PCG64()))
    # Three outputs: 12 products of a third, not of the quarter of a sum over inputs.
    assert formulas["matrix_printed"] == [False]
    assert formulas["matrix_corrected"] == [True]


def test_masks_are_the_sources():
    assert rules.mask_stream() == {"distinct": 952, "all_on": 5, "only_14": 3}


def test_the_command_line(command_line, tmp_path):
    *lines, folder = command_line(
        "reproduce", "--quick", "--parts=dissect", "--dry_run", f"--out={tmp_path}"
    )
    assert lines == ["2 parts: scenes, dissect"]
    assert folder.startswith(f"folder: {tmp_path}/quick=True_parts=dissect")
    with pytest.raises(ValueError, match="unknown parts 'circles'; expected 'rules'"):
        command_line("reproduce", "--parts=circles", f"--out={tmp_path}")
    assert isinstance(experiments.reproduce, types.ModuleType)
