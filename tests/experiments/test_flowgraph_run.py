"""From a lottery run to everything about its last ticket's flow graph."""

import runpy

import numpy as np
import pytest

from sparsejax import flowgraph as fg
from sparsejax import runs
from sparsejax.experiments import flowgraph, networks
from sparsejax.experiments import lottery as lottery_
from sparsejax.experiments.flowgraph import Config
from sparsejax.experiments.lottery import Config as Lottery

SMALL = Lottery(
    widths=(8, 6),
    rounds=2,
    fraction=0.7,
    epochs=2,
    seeds=(3, 4),
    arms=("rewind",),
    barrier=False,
)


def quiet(line):
    pass


@pytest.fixture(scope="module")
def lottery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lottery") / "run"
    lottery_.run(SMALL, folder, log=quiet)
    return folder


@pytest.fixture(scope="module")
def network(lottery):
    return networks.load(lottery)


@pytest.fixture(scope="module")
def finished(lottery, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph") / "run"
    return folder, flowgraph.run(Config(samples=3), folder, network, report=quiet)


def test_lottery_runs_leave_a_page_of_their_last_ticket(lottery):
    assert (lottery / "flowgraph" / "DONE").exists()
    assert (lottery / "flowgraph" / "graph.html").exists()
    assert "flowgraph/graph.html" in lottery_.summary(lottery)
    page = (lottery / "index.html").read_text()
    assert 'href="flowgraph/index.html"' in page
    assert (lottery / "flowgraph" / "index.html").exists()


def test_networks_are_what_the_run_has(lottery, network):
    arrays = runs.read_arrays(lottery / "level_02" / "rewind.npz")
    for layer, leaves in network.params.items():
        for name, leaf in leaves.items():
            np.testing.assert_array_equal(leaf, arrays[f"params/{layer}/{name}"][0])
    records = runs.read_metrics(lottery)
    accuracy = {(r["level"], r["seed"]): r["test_accuracy"] for r in records}
    for level, seed in [(2, 3), (0, 4)]:
        one = networks.load(lottery, level=level, seed=seed)
        right = np.asarray(one.fn(one.x)).argmax(1) == one.y
        assert right.mean() == pytest.approx(accuracy[level, seed])


def test_leaves_a_complete_folder(finished):
    folder, records = finished
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "DONE", "config.json", "metrics.jsonl", "index.html", "graph.html",
        "graph.json", "graph.graphml", "graph.dot", "predict.py", "predict.c",
        "kernels.npz",
    }  # fmt: skip
    assert not any(name.startswith(".") for name in names)
    assert runs.read_metrics(folder) == records


def test_everything_is_the_same_network(finished, network):
    folder, _ = finished
    graph = fg.from_json((folder / "graph.json").read_text())
    assert graph.check(network.fn, network.x) < 1e-4
    predict = runpy.run_path(str(folder / "predict.py"))["predict"]
    x = network.x[0]
    np.testing.assert_allclose(predict(x.tolist()), network.fn(x), atol=1e-4)
    kernels = fg.read_kernels(folder / "kernels.npz")
    kept = sum(int(np.sum(layer["kernel"])) for layer in network.mask.values())
    assert sum(matrix.nnz for matrix in kernels.values()) == kept


def test_ranges_are_nested(finished, network):
    _, records = finished
    graph = flowgraph.traced(network)
    for i, record in enumerate(records):
        wide, exact, seen = (record[k] for k in ("interval", "exact", "observed"))
        assert wide[0] - 1e-5 <= exact[0] <= seen[0] + 1e-5
        assert seen[1] - 1e-5 <= exact[1] <= wide[1] + 1e-5
        ends = np.asarray(graph(np.array(record["witness"], np.float32)))[:, i]
        np.testing.assert_allclose(ends, exact, atol=1e-4)
        part = graph.subgraph(i)
        assert (record["vertices"], record["edges"]) == part.count("published")


def test_the_page_has_exact_ranges_of_hidden_nodes_too(network):
    graph = flowgraph.traced(network)
    none = {"gap": [0.0, 0.0], "exact": [0.0, 1.0]}
    ranges = flowgraph._exact(Config(), graph, [none] * len(graph.outputs))
    assert sorted(ranges.nodes) == list(range(len(graph.inputs), len(graph)))
    assert flowgraph._exact(Config(exact=False), graph, []) is None


def test_a_run_that_was_stopped_goes_on(finished, network, tmp_path):
    folder, records = finished
    lines = []
    runs.start(tmp_path / "run", Config(samples=3), kind="flowgraph")
    runs.write_metrics(tmp_path / "run", records[:7])
    again = flowgraph.run(
        Config(samples=3), tmp_path / "run", network, report=lines.append
    )
    assert [line[:8] for line in lines if " edges  " in line] == [
        f"output_{i}" for i in (7, 8, 9)
    ]
    assert again == records

    def page(folder):
        return (folder / "graph.html").read_text()

    assert page(tmp_path / "run") == page(folder)
    lines.clear()
    flowgraph.run(Config(samples=3), tmp_path / "run", network, report=lines.append)
    assert "is complete" in lines[0]


def test_what_is_too_large_for_a_page_is_left_out(network, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsejax.flowgraph._export.html.MOST_EDGES", 5)
    lines, folder = [], tmp_path / "run"
    flowgraph.run(Config(exact=False), folder, network, report=lines.append)
    assert sum("no page of output_" in line for line in lines) > 5
    assert not (folder / "graph.html").exists()
    assert (folder / "DONE").exists() and (folder / "index.html").exists()


def test_two_levels_on_one_page(lottery, network, tmp_path):
    folder, other = tmp_path / "run", networks.load(lottery, level=1)
    config = Config(exact=False, beside=1)
    flowgraph.run(config, folder, network, other=other, report=quiet)
    alone = lottery / "flowgraph" / "graph.html"
    assert len((folder / "graph.html").read_text()) > len(alone.read_text()) + 1000


def test_progress_says_what_is_left_and_what_is_not_proved():
    record = {"output": "output_3", "vertices": 1234, "edges": 2, "gap": [0.0, 0.25]}
    line = flowgraph._line(record, 3.0, 6)
    assert "1,234 vertices" in line and "6 outputs left" in line
    assert line.endswith("exact range to within 0.25")
    assert "within" not in flowgraph._line({**record, "gap": [0.0, 0.0]}, 3.0, 6)


def test_a_lottery_run_leaves_graphs_made_inside_it(lottery, network):
    mine = lottery / "flowgraph" / "mine"
    flowgraph.run(Config(exact=False, samples=2), mine, network, report=quiet)
    (lottery / "DONE").unlink()
    lottery_.run(SMALL, lottery, log=quiet)
    assert (mine / "graph.html").exists()


def test_examples_take_labels_in_turn(network):
    chosen = flowgraph.examples(network, 12)
    assert network.y[chosen].tolist() == [*range(10), 0, 1]
    assert len(set(chosen.tolist())) == 12


@pytest.mark.parametrize(
    "change, message",
    [
        ({"simplify": "all"}, "unknown simplify"),
        ({"samples": 0}, "samples must be in"),
        ({"beside": 1}, "beside names a level"),
    ],
)
def test_bad_configs_leave_nothing(network, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        flowgraph.run(Config(**change), tmp_path / "run", network)
    assert not (tmp_path / "run").exists()


def test_folders_that_are_no_lottery_run(lottery, tmp_path):
    with pytest.raises(ValueError, match="no config.json"):
        networks.load(tmp_path)
    runs.start(tmp_path / "other", Config(), kind="flowgraph")
    with pytest.raises(ValueError, match="is no run of lottery"):
        networks.load(tmp_path / "other")
    with pytest.raises(ValueError, match="no seed 0; there are 3, 4"):
        networks.load(lottery, seed=0)
    with pytest.raises(ValueError, match="no level 9; there are 0 to 2"):
        networks.load(lottery, level=9)
