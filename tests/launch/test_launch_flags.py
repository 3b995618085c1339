"""Flags out of range, and folders that are no runs: one line from every launcher."""

import dataclasses
import importlib
import json
import typing
from pathlib import Path

import pytest

from sparsejax.experiments import EXPERIMENTS, lottery

OF_RUNS = (
    "circuits",
    "dissect",
    "features",
    "flowgraph",
    "node_sweep",
    "relevance",
    "weights",
)
HUGE = 10**20


@pytest.fixture(scope="module")
def ends(launcher):
    """A function from a launcher's name and lists of flags to how each ended."""

    def run(name, cases):
        done = launcher(Path(__file__).parent / "many", name, json.dumps(cases))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def module(name):
    return importlib.import_module(f"sparsejax.experiments.{name}.config")


def numbers(config):
    """Every field of numbers, whether it is a list, and whether of floats."""
    for name, hint in typing.get_type_hints(config).items():
        kinds = set(typing.get_args(hint)) or {hint}
        if kinds & {int, float}:
            yield name, typing.get_origin(hint) is tuple, float in kinds


def out_of_range(config, within):
    """Every field of numbers with what it cannot be, as text."""
    for name, several, floating in numbers(config):
        low, high = within[name][1:-1].split(", ")
        yield name, "nan"
        yield name, "x"
        yield name, "inf" if floating else str(HUGE)
        if high != "inf":
            yield name, str(HUGE)
        if low != "-inf":
            least = float(low) - (within[name][0] == "[")
            yield name, f"{least:.10g}"
        if several and name != "widths":
            yield name, "0.5,0.5" if floating else "3,3"
        if several and getattr(config(), name):
            yield name, ""
        if several and not floating:
            yield from ((name, words) for words in ("5:2", f"0:{HUGE}", "1,,2"))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_number_out_of_range_is_refused_in_a_line(ends, name, tmp_path):
    of = module(name)
    assert {field for field, *_ in numbers(of.Config)} == set(of.WITHIN)
    bad = list(out_of_range(of.Config, of.WITHIN))
    run = [f"--run={tmp_path}"] if name in OF_RUNS else []
    cases = [[f"--{k}={v}", "--dry_run", f"--out={tmp_path}", *run] for k, v in bad]
    for (field, _), case, end in zip(bad, cases, ends(name, cases), strict=True):
        assert isinstance(end, str) and end.startswith("error: "), (case, end)
        assert field in end and "\n" not in end and len(end) < 300, (case, end)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_unknown_flags_get_a_line(ends, name):
    cases = [["--sed=1"], ["more"], ["--dry_run=perhaps"], ["--force=2"]]
    for end in ends(name, cases):
        assert end.startswith("error: ") and "\n" not in end, end


# ---- Folders of runs


def bad_configs():
    """Texts of config.json that are no run's."""
    head = {"kind": "lottery", "subject": {}, "about": {}}
    whole = json.loads(json.dumps(dataclasses.asdict(lottery.Config())))
    yield from ("", "{", "\xff", "3", "null", "[]", '"config"', "{}")
    for config in ([], None, 3, "x", {}, {"seeds": [0]}, {**whole, "colour": 1}):
        yield json.dumps({**head, "config": config})
    yield json.dumps({**head, "kind": "other", "config": whole})
    for key in whole:
        for wrong in ({}, [[]], -1, ["x", "x"]):
            yield json.dumps({**head, "config": {**whole, key: wrong}})
    yield json.dumps({**head, "config": {**whole, "fraction": float("nan")}})


@pytest.mark.parametrize("name", OF_RUNS)
def test_folders_that_are_no_runs_get_a_line(ends, name, tmp_path):
    for i, text in enumerate(bad_configs()):
        (tmp_path / f"run_{i}").mkdir()
        (tmp_path / f"run_{i}" / "config.json").write_text(text, "latin-1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder" / "config.json").mkdir(parents=True)
    folders = [*tmp_path.iterdir(), tmp_path / "nowhere", "\x00"]
    cases = [[f"--run={folder}", f"--out={tmp_path / 'out'}"] for folder in folders]
    for case, end in zip(cases, ends(name, cases), strict=True):
        assert isinstance(end, str) and end.startswith("error: "), (case, end)
        assert "\n" not in end and len(end) < 400, (case, end)
    assert not (tmp_path / "out").exists()


# ---- More memory or disk than there is

WIDE = "--widths=65536,65536"
TOO_MUCH = {
    "lottery": ["--widths=65536,65536,65536", "--seeds=0:1000"],
    "cartpole": [WIDE, "--seeds=0:1000"],
    "circle_removal": ["--num_points=2000000000", "--seeds=0:100000"],
    "circuits": ["--width=65536", "--heads=1", "--layers=100"],
    "node_sweep": [WIDE, "--num_masks=2000000000"],
    "prune_order": [WIDE, "--seeds=0:1000"],
    "right_reasons": [WIDE, "--seeds=0:1000"],
    "spade": ["--num_train_images=2000000000", "--num_variations=2000000000"],
    "features": ["--image_size=65536", "--num_pictures=100000"],
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_no_machine_has_is_refused_before_it_is_taken(ends, name, tmp_path):
    run = [f"--run={tmp_path}"] if name in OF_RUNS else []
    flags = [*TOO_MUCH[name], *run, f"--out={tmp_path}"]
    if name == "circle_removal":
        config = module(name).Config(num_nodes=22, seeds=tuple(range(100_000)))
        assert module(name).disk(config) > 1e12
        flags += ["--num_nodes=22"]
    for end in ends(name, [[*flags, "--dry_run"], flags]):
        assert end.startswith("error: a run of this size "), end
        assert "needs at least" in end or "leaves at least" in end
    assert not list(tmp_path.iterdir())
