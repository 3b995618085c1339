"""A small run on pruned agents, whole, killed and resumed."""

import dataclasses

import numpy as np
import pytest

from sparsejax import runs
from sparsejax.experiments import cartpole_dqn, cartpole_report
from sparsejax.experiments import cartpole_prune as prune
from sparsejax.rl import dqn

pytestmark = pytest.mark.slow

SMALL = cartpole_dqn.Config(
    seeds=(0, 1), widths=(4,), steps=12_800, rounds=2, target=20.0, episodes=5,
    walkers=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cartpole") / "run"
    lines = []
    records = cartpole_dqn.run(SMALL, folder, report=lines.append)
    return folder, records, lines


def test_a_run_leaves_a_complete_folder(run):
    folder, _, lines = run
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.json", "metrics.jsonl", "DONE", "dense.npz", "pruned.npz",
        "ticket.npz", "ticket_pruned.npz", "round_01.npz", "graph.html", "index.html",
        "table.md", "policy.txt", "episode.gif", "fig_weights.svg", "fig_inputs.svg",
        "fig_units.svg", "fig_learning.svg", "fig_decisions.svg",
    }  # fmt: skip
    assert any("round 1 of at most 2" in line for line in lines)


def test_records_say_what_the_arrays_hold(run):
    folder, records, _ = run
    for record in records:
        if record["kind"] != "agent":
            continue
        stage = runs.read_arrays(folder / f"{record['method']}.npz")
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
    dense = {r["seed"]: r for r in records if r.get("method") == "dense"
             and r["kind"] == "agent"}  # fmt: skip
    for record in records:
        if record["kind"] == "agent" and dense[record["seed"]]["return"] >= 20:
            assert record["return"] >= 20
    assert "weights" in cartpole_dqn.summary(folder)


def test_returns_are_those_of_gymnasium_again(run):
    folder, _, _ = run
    stage = cartpole_dqn._read(folder, "pruned", print)
    config = dqn.Config(widths=(4,))
    found = prune.evaluate(config, stage["params"], 5)
    np.testing.assert_array_equal(found, stage["played"])


def test_a_killed_run_goes_on_where_it_was(run, tmp_path, monkeypatch):
    folder, _, _ = run

    class Killed(Exception):
        pass

    def stop(line):
        if "round 1" in line:
            raise Killed

    with pytest.raises(Killed):
        cartpole_dqn.run(SMALL, tmp_path / "run", report=stop)
    assert not (tmp_path / "run" / "ticket.npz").exists()
    monkeypatch.setattr(cartpole_dqn, "_dense", lambda config: pytest.fail("again"))
    (tmp_path / "run" / "pruned.npz").write_bytes(b"half")
    lines = []
    cartpole_dqn.run(SMALL, tmp_path / "run", report=lines.append)
    assert any("damaged" in line for line in lines)
    for name in ("pruned", "ticket", "ticket_pruned"):
        ours = runs.read_arrays(tmp_path / "run" / f"{name}.npz")
        theirs = runs.read_arrays(folder / f"{name}.npz")
        for key, array in theirs.items():
            np.testing.assert_array_equal(ours[key], array)


def test_a_complete_run_is_left_alone(run):
    folder, records, _ = run
    lines = []
    assert len(cartpole_dqn.run(SMALL, folder, report=lines.append)) == len(records)
    assert "is complete" in lines[0]


def test_findings_of_targets_that_nobody_reaches(run):
    _, records, _ = run
    assert "No agent reaches 1e+06" in cartpole_report.finding(records, 1e6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"environment": "Pong-v5"}, "unknown environment 'Pong-v5'"),
        ({"seeds": (1, 1)}, "seeds must be different"),
        ({"seeds": ()}, "one entry at least"),
        ({"fraction": 1.0}, r"fraction must be in \(0, 1\)"),
        ({"widths": ()}, "widths must have one entry"),
        ({"walkers": 0}, "walkers must be in .*"),
        ({"target": float("nan")}, "target must be in"),
        ({"steps": 1000}, "multiple"),
    ],
)
def test_bad_configs_are_named(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        cartpole_dqn.run(dataclasses.replace(SMALL, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
