"""From a lottery run to everything about its last ticket's flow graph."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from sparsejax import flowgraph as fg
from sparsejax import runs
from sparsejax.experiments import flowgraph, subjects
from sparsejax.experiments.flowgraph import Config, _run, measure

CONFIG = Config(num_examples=3, exact=True)


def quiet(line):
    pass


@pytest.fixture(scope="module")
def subject(lottery_run):
    return subjects.of_run(lottery_run)


@pytest.fixture(scope="module")
def finished(lottery_run, launcher):
    """Of the launcher: the folder, its records, and what was printed."""
    flags = f"--run={lottery_run}", "--num_examples=3", "--exact"
    plan = launcher("flowgraph", *flags, "--dry_run")
    done = launcher("flowgraph", *flags)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-2].removeprefix("open ")).parent
    assert f"folder: {folder}" in plan.stdout
    return folder, runs.read_metrics(folder), done.stdout


def test_lottery_runs_leave_a_page_of_their_last_ticket(lottery_run, launcher):
    (folder,) = (p for p in (lottery_run / "flowgraph").iterdir()
                 if not runs.read(p).config["exact"])  # fmt: skip
    assert runs.read(folder).done and (folder / "graph.html").exists()
    address = f"flowgraph/{folder.name}/index.html"
    assert f'href="{address}"' in (lottery_run / "index.html").read_text()
    again = launcher("flowgraph", f"--run={lottery_run}")  # makes no second copy
    assert f"{folder} is complete" in again.stdout, again.stderr


def test_leaves_a_complete_folder(finished):
    folder, records, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "DONE", "config.json", "metrics.jsonl", "metrics.crc32",
        "index.html", "graph.html",
        "graph.json", "graph.graphml", "graph.dot", "predict.py", "predict.c",
        "kernels.npz",
    }  # fmt: skip
    assert not any(name.startswith(".") for name in names)
    assert runs.read_metrics(folder) == records


def test_everything_is_the_same_network(finished, subject):
    folder, *_ = finished
    graph = fg.from_json((folder / "graph.json").read_text())
    assert graph.check(subject.bound(), subject.x) < 1e-4
    predict = runpy.run_path(str(folder / "predict.py"))["predict"]
    x = subject.x[0]
    np.testing.assert_allclose(predict(x.tolist()), subject.bound()(x), atol=1e-4)
    kernels = fg.read_kernels(folder / "kernels.npz")
    kept = sum(int(np.sum(layer["kernel"])) for layer in subject.mask.values())
    assert sum(matrix.nnz for matrix in kernels.values()) == kept


def test_ranges_are_nested(finished, subject):
    _, records, _ = finished
    graph = measure.traced(subject)
    for i, record in enumerate(records):
        wide, exact, seen = (record[k] for k in ("interval", "exact", "observed"))
        assert wide[0] - 1e-5 <= exact[0] <= seen[0] + 1e-5
        assert seen[1] - 1e-5 <= exact[1] <= wide[1] + 1e-5
        ends = np.asarray(graph(np.array(record["witness"], np.float32)))[:, i]
        np.testing.assert_allclose(ends, exact, atol=1e-4)
        part = graph.subgraph(i)
        assert (record["vertices"], record["edges"]) == part.count("published")


def test_the_page_has_exact_ranges_of_hidden_nodes_too(subject):
    graph = measure.traced(subject)
    none = {"gap": [0.0, 0.0], "exact": [0.0, 1.0]}
    ranges = measure.exact(Config(exact=True), graph, [none] * len(graph.outputs))
    assert sorted(ranges.nodes) == list(range(len(graph.inputs), len(graph)))
    assert measure.exact(Config(exact=False), graph, []) is None


def test_a_run_that_was_stopped_goes_on(finished, subject, tmp_path):
    folder, records, _ = finished
    lines = []
    runs.start(tmp_path / "run", CONFIG, kind="flowgraph", subject=subject.source)
    runs.write_metrics(tmp_path / "run", records[:7])
    again = flowgraph.run(CONFIG, tmp_path / "run", subject, log=lines.append)
    assert [line[:8] for line in lines if " edges  " in line] == [
        f"output_{i}" for i in (7, 8, 9)
    ]
    assert again == records

    def page(folder):
        return (folder / "graph.html").read_text()

    assert page(tmp_path / "run") == page(folder)
    lines.clear()
    flowgraph.run(CONFIG, tmp_path / "run", subject, log=lines.append)
    assert "is complete" in lines[0]


def test_what_is_too_large_for_a_page_is_left_out(subject, tmp_path, monkeypatch):
    monkeypatch.setattr("sparsejax.flowgraph._export.html.MOST_EDGES", 5)
    lines, folder = [], tmp_path / "run"
    flowgraph.run(Config(), folder, subject, log=lines.append)
    assert sum("no page of output_" in line for line in lines) > 5
    assert not (folder / "graph.html").exists()
    assert (folder / "DONE").exists() and (folder / "index.html").exists()


def test_two_levels_on_one_page(finished, subject, tmp_path):
    folder = tmp_path / "run"
    flowgraph.run(Config(num_examples=3, beside=1), folder, subject, log=quiet)
    alone = finished[0] / "graph.html"
    assert len((folder / "graph.html").read_text()) > len(alone.read_text()) + 1000
    with pytest.raises(ValueError, match="no level 9; there are 0, 1, 2"):
        flowgraph.run(Config(beside=9), tmp_path / "other", subject)


def test_progress_says_what_is_not_proved():
    record = {"output": "output_3", "vertices": 1234, "edges": 2, "gap": [0.0, 0.25]}
    line = _run._line(record)
    assert "1,234 vertices" in line and line.endswith("exact range to within 0.25")
    assert "within" not in _run._line({**record, "gap": [0.0, 0.0]})


def test_examples_take_labels_in_turn(subject):
    chosen = measure.examples(subject, 12)
    assert subject.y[chosen].tolist() == [*range(10), 0, 1]
    assert len(set(chosen.tolist())) == 12


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "error: --run is required"),
        (["--run=/nowhere"], "error: /nowhere is not a lottery run"),
        (["--run=.", "extra"], "error: unknown arguments"),
        (["--simplify=all"], "value should be one of <no|off|passthrough"),
        (["--num_examples=0"], "error: num_examples must be in"),
    ],
)
def test_bad_flags_get_one_line(launcher, flags, message):
    done = launcher("flowgraph", *flags)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
