"""The harness: what is read, made again and written when a run is killed, at any place.

An experiment of toys: parts with arrays, parts with records that arrays do not tell,
and parts with records alone.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from sparsejax import runs, train
from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import records, report
from sparsejax.experiments._study.run import Study, finite
from sparsejax.experiments._study.subject import Network, Subject, digest, folder


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self):
        config_.check(self, {"seeds": config_.SEEDS}, {})


class Killed(BaseException):
    pass


class Toy:
    """A run that is killed before its nth part is made, and says what it made."""

    def __init__(self, folder, dies_at=None):
        self.folder, self.dies_at, self.parts, self.lines = folder, dies_at, [], []

    def part(self, name, result):
        def make():
            if len(self.parts) == self.dies_at:
                raise Killed
            self.parts.append(name)
            return result

        return make

    def run(self):
        log = self.lines.append
        with Study("toy", Config(), self.folder, log=log) as study:
            if study.complete:
                return study.records
            for seed in study.each(Config().seeds):
                arrays = {"a": np.full(3, seed)}
                seen = study.cached(f"arrays_{seed}", self.part(f"a{seed}", arrays))
                study.add([{"part": "arrays", "sum": int(seen["a"].sum())}])
                rows = [{"part": "both", "seed": seed, "row": row} for row in (0, 1)]
                make = self.part(f"b{seed}", (rows, {"b": np.ones(2)}))
                study.measured(f"both_{seed}", make, count=2, part="both", seed=seed)
                alone = [{"part": "alone", "seed": seed}]
                make = self.part(f"c{seed}", alone)
                study.recorded(make, part="alone", seed=seed)
                study.progress(f"seed {seed}")
            runs.write_text(study.folder / "index.html", "page")
        return study.records


ALL = ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    toy = Toy(tmp_path_factory.mktemp("toy") / "run")
    return toy, toy.run()


def test_every_part_is_made_once_and_said(whole):
    toy, rows = whole
    assert toy.parts == ALL and len(rows) == 12
    assert [line[:6] for line in toy.lines] == ["seed 0", "seed 1", "seed 2"]
    assert toy.lines[-1].endswith("0 s left")
    assert runs.read(toy.folder).done and runs.read_metrics(toy.folder) == rows
    again = Toy(toy.folder)
    assert again.run() == rows and again.parts == []
    assert again.lines == [f"{toy.folder} is complete; --force runs it again"]


@pytest.mark.parametrize("first", range(9))
def test_a_run_killed_anywhere_makes_no_part_twice(whole, tmp_path, first):
    killed = Toy(tmp_path / "run", dies_at=first)
    with pytest.raises(Killed):
        killed.run()
    assert not runs.read(killed.folder).done
    twice = Toy(tmp_path / "run", dies_at=0)  # and again, before it has made a thing
    with pytest.raises(Killed):
        twice.run()
    last = Toy(tmp_path / "run")
    assert json.dumps(last.run()) == json.dumps(whole[1])
    assert killed.parts + last.parts == ALL
    assert len(last.lines) == 3 - first // 3  # what is read is not said to be made


DAMAGE = {
    "arrays": (lambda f: (f / "arrays_1.npz").write_bytes(b"PK"), ["a1"]),
    "arrays that have records": (lambda f: (f / "both_1.npz").unlink(), ["b1"]),
    "one record of two": (lambda f: keep(f, lambda r: r.get("row") != 1), "b0 b1 b2"),
    "records alone": (lambda f: keep(f, lambda r: r["part"] != "alone"), "c0 c1 c2"),
    "all records": (lambda f: (f / "metrics.jsonl").write_text("{"),
                    "b0 c0 b1 c1 b2 c2"),
    "the page": (lambda f: (f / "index.html").unlink(), []),
}  # fmt: skip


def keep(folder, which):
    runs.write_metrics(folder, filter(which, runs.read_metrics(folder)))


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_costs_what_is_damaged(tmp_path, whole, name):
    Toy(tmp_path / "run").run()
    damage, parts = DAMAGE[name]
    damage(tmp_path / "run")
    mended = Toy(tmp_path / "run")
    assert mended.run() == whole[1]
    assert mended.parts == (parts.split() if isinstance(parts, str) else parts)
    assert (tmp_path / "run" / "index.html").exists()


def test_a_folder_is_of_one_network(tmp_path):
    arrays = {"w": np.array([1.0, np.nan])}
    for _ in range(2):
        with Study("toy", Config(), tmp_path / "run", log=print) as study:
            study.note("network", arrays)
        (tmp_path / "run" / "DONE").unlink()
    for other in ({"w": np.zeros(2)}, {"w": np.zeros(3)}, {"v": arrays["w"]}):
        with pytest.raises(ValueError, match="a run on another network"):
            with Study("toy", Config(), tmp_path / "run", log=print) as study:
                study.note("network", other)
    assert not runs.read(tmp_path / "run").done


def test_what_it_ran_with_is_kept(tmp_path):
    with Study("toy", Config(), tmp_path / "run", subject(level=1)):
        pass
    run = runs.read(tmp_path / "run")
    assert {"sparsejax", "jax", "numpy", "python", "device", "commit", "started"} == {
        *run.about
    }
    assert run.subject == subject(level=1).source
    with pytest.raises(ValueError, match=r"another subject \(level differ\)"):
        Study("toy", Config(), tmp_path / "run", subject(level=2))


def test_losses_that_are_not_finite_get_a_line():
    with pytest.raises(ValueError, match=r"step 7 \(seed 3\); finished parts are kept"):
        with finite("seed 3"):
            raise train.NotFinite(np.array(7), "the loss is not finite")


def subject(level, run=Path("there")):
    networks = (Network("rewind", 0, 3, 1.0), Network("rewind", 1, 3, 0.5),
                Network("reinit", 1, 3, 0.5), Network("rewind", 1, 4, 0.5))  # fmt: skip
    return Subject(
        title=f"toy, seed 3, level {level}", fn=lambda p, x: p * x, params=level,
        mask=1, shape=(), domain=(0.0, 1.0), image=None,
        load_data=lambda: (np.ones(4), np.zeros(4)), network=networks[level % 2],
        networks=networks, read=lambda network: (network.level, 1),
        source={"run": "there", "run_seed": 3, "level": level, "parameters": "ab"},
        run=run,
    )  # fmt: skip


def test_another_level_is_another_subject():
    one = subject(level=1)
    dense = one.level(0)
    assert (dense.params, dense.network.density) == (0, 1.0)
    assert dense.title == "toy, seed 3, level 0" and dense.source["level"] == 0
    assert dense.source["parameters"] == digest(0) != one.source["parameters"]
    assert dense.bound()(5) == 0 and one.bound()(5) == 5 and len(one.x) == 4
    with pytest.raises(ValueError, match="no level 4; there are 0, 1"):
        one.level(4)
    with pytest.raises(ValueError, match="comes without its training data"):
        one.train_data  # noqa: B018


def test_a_network_alone_is_its_own_run():
    alone = dataclasses.replace(subject(level=1), networks=(), read=None, params=7)
    assert alone.networks == (alone.network,) and alone.read(alone.network) == (7, 1)
    assert alone.level(1).params == 7


def test_folders_say_what_is_looked_at_and_how():
    def place(config=Config(), subject=None, out=None):
        return folder("toy", config, subject, out)

    inside = place(Config(seeds=(7,)), subject(level=1))
    assert inside.parent.as_posix() == "there/toy"
    assert inside.name.startswith("run_seed=3_level=1_seeds=7-")
    assert place().as_posix() == "results/runs/toy/default-44136fa3"
    # however the run is written: the same; two runs below one folder: not
    elsewhere = subject(level=1, run=Path("over/../there/"))
    assert place(subject=elsewhere).name == place(subject=subject(level=1)).name
    other = dataclasses.replace(
        elsewhere, source={**elsewhere.source, "run": "another"}
    )
    assert place(subject=other, out="out") != place(subject=elsewhere, out="out")
    # what is the default is not named
    file = {"model": "resnet20", "parameters": "ab"}
    usual = dataclasses.replace(elsewhere, source=file, run=None)
    assert place(subject=usual) == place()
    # a config and a subject may have a field of one name
    sown = dataclasses.replace(usual, source={"seeds": [7]})
    assert place(Config(seeds=(7,))) != place(subject=sown)


ROWS = [
    {"level": 1, "seed": 0, "density": 0.5, "accuracy": 0.75},
    {"level": 0, "seed": 0, "density": 1.0, "accuracy": 0.875},
    {"level": 1, "seed": 1, "density": 0.25, "accuracy": None},
]


def test_records_are_grouped_averaged_and_drawn():
    assert list(records.group(ROWS, "level")) == [1, 0]
    assert records.mean(ROWS, "accuracy") == 0.8125  # of what is known
    assert np.isnan(records.mean(ROWS[2:], "accuracy"))
    places, values = records.curve(ROWS, "accuracy")
    assert places == [1.0, 0.375] and values[0] == [0.875]
    assert values[1][0] == 0.75 and np.isnan(values[1][1])
    assert records.curve(ROWS, lambda r: r["seed"])[1] == [[0.0], [0.0, 1.0]]


def test_tables_keep_their_cells():
    assert report.markdown(["a|b"], [[None]]) == "| a\\|b |\n| --- |\n|  |\n"
