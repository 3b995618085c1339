"""A small run on pruned agents, from start to end, killed and resumed."""

import dataclasses
import shutil

import numpy as np
import pytest

from sparsejax import runs, trees
from sparsejax.experiments import cartpole
from sparsejax.experiments.cartpole import agents, report, stages
from sparsejax.rl import dqn

SMALL = cartpole.Config(
    environment="CartPole-v0", seeds=(0, 1), widths=(4,), steps=12_800, rounds=2,
    min_return=20.0, num_episodes=5, num_walkers=2,
)  # fmt: skip
FLAGS = (
    "--environment=CartPole-v0 --seeds=0:2 --widths=4 --steps=12800 --rounds=2 "
    "--min_return=20 --num_episodes=5 --num_walkers=2"
).split()


@pytest.fixture(scope="module")
def run(launcher, tmp_path_factory):
    """The folder of a small run, its records, and what the launcher said."""
    out = tmp_path_factory.mktemp("out")
    done = launcher("cartpole", *FLAGS, f"--out={out}")
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return folder, runs.read(folder).records, done.stdout.splitlines()


def test_a_run_says_what_was_found_where_it_is_and_what_is_next(run):
    folder, _, lines = run
    assert lines[0].startswith("2 agents on CartPole-v0, 12,800 steps a training")
    assert lines[1] == f"folder: {folder}"
    assert any("round 1 of at most 2" in line for line in lines)
    assert "weight" in lines[-3]
    assert lines[-2] == f"open {folder / 'index.html'} and {folder / 'graph.html'}"
    assert lines[-1].startswith("next: ")


def test_a_run_leaves_a_complete_folder(run):
    folder, _, _ = run
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.json", "metrics.jsonl", "metrics.crc32",
        "DONE", "dense.npz", "pruned.npz",
        "ticket.npz", "ticket_pruned.npz", "round_01.npz", "graph.html", "index.html",
        "table.md", "policy.txt", "episode.gif", "fig_weights.svg", "fig_inputs.svg",
        "fig_units.svg", "fig_learning.svg", "fig_decisions.svg",
    }  # fmt: skip
    assert "CartPole-v0" in (folder / "index.html").read_text()


def test_records_say_what_the_arrays_hold(run):
    folder, records, _ = run
    for record in records:
        if record["kind"] != "agent":
            continue
        stage = runs.read_arrays(folder / f"{record['arm']}.npz")
        at = SMALL.seeds.index(record["seed"])
        kept = [array for name, array in stage.items() if name.startswith("kept/")]
        assert record["weights"] == sum(mask[at].sum() for mask in kept)
        assert record["return"] == stage["played"][at].mean()
        for name in ("dense_0", "dense_1"):
            kernel = stage[f"params/{name}/kernel"][at]
            assert (kernel[~stage[f"kept/{name}"][at]] == 0).all()
    kinds = [record["kind"] for record in records]
    assert (kinds.count("agent"), kinds.count("units")) == (8, 2)
    subsets = [record for record in records if record["kind"] == "inputs"]
    assert all(np.shape(record["returns"]) == (16,) for record in subsets)


def test_pruned_agents_stay_at_the_target(run):
    folder, records, _ = run
    dense = {r["seed"]: r for r in records if r.get("arm") == "dense"
             and r["kind"] == "agent"}  # fmt: skip
    for record in records:
        if record["kind"] == "agent" and dense[record["seed"]]["return"] >= 20:
            assert record["return"] >= 20
    assert "weights" in cartpole.summary(folder)


def test_returns_are_those_of_gymnasium_again(run):
    folder, _, _ = run
    stage = trees.nested(runs.read_arrays(folder / "pruned.npz"))
    config = dqn.Config(environment="CartPole-v0", widths=(4,))
    returns = agents.evaluate(config, stage["params"], 5)
    np.testing.assert_array_equal(returns, stage["played"])


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(run, tmp_path, monkeypatch):
    """After the first round of its lottery, and with a damaged file."""
    folder, records, _ = run
    half = tmp_path / "run"
    shutil.copytree(folder, half)
    for name in ("round_02.npz", "ticket.npz", "ticket_pruned.npz", "metrics.jsonl",
                 "DONE"):  # fmt: skip
        (half / name).unlink()
    (half / "pruned.npz").write_bytes(b"half")
    monkeypatch.setattr(stages, "dense", lambda config: pytest.fail("again"))
    lines = []
    assert cartpole.run(SMALL, half, log=lines.append)
    assert any("damaged" in line for line in lines)
    for name in ("pruned", "round_02", "ticket", "ticket_pruned"):
        ours, theirs = (runs.read_arrays(f / f"{name}.npz") for f in (half, folder))
        assert ours.keys() == theirs.keys()
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array)
    assert runs.read(half).records == records


def test_damaged_rounds_are_made_again(run, tmp_path):
    """Tickets that are whole need no round, but DONE says that all files are there."""
    folder, _, _ = run
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "round_01.npz").write_bytes(b"damaged")
    cartpole.run(SMALL, copy, log=lambda line: None)
    assert (copy / "round_01.npz").read_bytes() == (
        folder / "round_01.npz"
    ).read_bytes()


def test_a_complete_run_is_left_alone(run):
    folder, records, _ = run
    lines = []
    assert len(cartpole.run(SMALL, folder, log=lines.append)) == len(records)
    assert "is complete" in lines[0]


def test_findings_of_targets_that_nobody_reaches(run):
    _, records, _ = run
    assert "No agent reaches 1e+06" in report.finding(records, 1e6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"environment": "Pong-v5"}, "unknown environment 'Pong-v5'"),
        ({"seeds": (1, 1)}, "seeds must be distinct"),
        ({"seeds": ()}, "at least one entry"),
        ({"fraction": 1.0}, r"fraction must be in \(0, 1\)"),
        ({"widths": ()}, "widths must have at least one entry"),
        ({"num_walkers": 0}, "num_walkers must be in .*"),
        ({"min_return": float("nan")}, "min_return must be in"),
        ({"steps": 1000}, "steps must be a multiple of 12,800"),
    ],
)
def test_bad_configs_are_named(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        cartpole.run(dataclasses.replace(SMALL, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
