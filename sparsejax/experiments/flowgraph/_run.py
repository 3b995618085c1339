"""Runs that unfold a network: files, records of outputs in turn, pages.

<folder>/index.html          what was found, and links to all the rest
<folder>/graph.html          the graph, to explore
<folder>/graph.json, .dot, .graphml, predict.py, predict.c, kernels.npz
<folder>/metrics.jsonl       a line for each output
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsejax import flowgraph, runs
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject, required
from sparsejax.experiments.flowgraph import measure, report
from sparsejax.experiments.flowgraph.config import Config
from sparsejax.flowgraph import Graph, TooLarge
from sparsejax.pages import counted


def run(
    config: Config,
    folder: str | Path,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    log: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """A run, from its start or from where it was.

    Args:
        config: what to make.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: the network, from `subjects.of_run`.
        data_dir: unused, since the subject has its data.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and for a network that is too large to be drawn.
    """
    subject, other = _subjects(config, subject)
    graph = measure.traced(subject, config.simplify)
    second = None if other is None else measure.traced(other, config.simplify)
    with Study("flowgraph", config, folder, subject, force=force, log=log) as study:
        if study.complete:
            return study.records
        log(f"{graph}")
        _write_files(graph, subject, study)
        flags = graph.flags(subject.x)
        known = measure.Known(graph, subject, flags)
        for i in study.each(range(len(graph.outputs))):
            name = graph.output_names[i]
            study.recorded(partial(measure.output, config, known, i), output=name)
            study.progress(_line(study.records[-1]))
        exact = measure.exact(config, graph, study.records)
        examples = measure.examples(subject, config.num_examples)
        _write_pages(graph, second, subject, study, exact, examples)
        report.write(study, graph, flags, examples)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will unfold, in a line; arguments and errors as of `run`."""
    subject, other = _subjects(config, subject)
    beside = "" if other is None else f", beside level {config.beside}"
    many = counted(len(subject.x), "test input")
    return f"{subject.title}: {measure.traced(subject)}{beside}; {many}"


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    records = runs.read_metrics(folder)
    largest = max(records, key=lambda r: r["vertices"])
    constant = [f"{r['output']} ({r['constant']})" for r in records if r["constant"]]
    return (
        f"the largest graph of one output is {largest['output']}'s, "
        f"{largest['vertices']:,} vertices; constant outputs: "
        f"{', '.join(constant) or 'none'}\n"
        f"open {folder / 'index.html'}\n"
        "next: --exact for exact ranges, --beside=LEVEL to compare with another level"
    )


def _subjects(
    config: Config, subject: Subject | None
) -> tuple[Subject, Subject | None]:
    """The network, and the one beside it."""
    subject = required(subject)
    return subject, None if config.beside is None else subject.level(config.beside)


def _write_files(graph: Graph, subject: Subject, study: Study) -> None:
    formats = {
        "graph.json": graph.to_json,
        "graph.graphml": graph.to_graphml,
        "graph.dot": graph.to_dot,
        "predict.py": graph.to_python,
        "predict.c": graph.to_c,
    }
    for name, make in formats.items():
        try:
            runs.write_text(study.folder / name, make())
        except TooLarge as error:
            study.log(f"no {name}: {error}")
    kernels = flowgraph.kernels(subject.params, subject.mask)
    flowgraph.write_kernels(study.folder / "kernels.npz", kernels)


def _write_pages(
    graph, second, subject: Subject, study: Study, exact, examples
) -> None:
    """One page of all outputs or, where that is too large, one of each."""
    fn = subject.bound()
    common = {
        "samples": subject.x[examples],
        "labels": subject.y[examples],
        "data": subject.x,
    }
    try:
        title = f"Flow graph: {subject.title}"
        options = {**common, "fn": fn, "exact": exact, "title": title}
        options["other"] = second
        graph.save_html(study.folder / "graph.html", **options)
        return
    except TooLarge as error:
        study.log(f"a page for each output: {error}")
    for i, name in enumerate(graph.output_names):
        title = f"{name}: {subject.title}"
        options = {**common, "fn": lambda x, i=i: fn(x)[i], "title": title}
        try:
            graph.subgraph(i).save_html(study.folder / f"{name}.html", **options)
        except TooLarge as error:
            study.log(f"no page of {name}: {error}")


def _line(record: dict[str, Any]) -> str:
    """One line of progress for an output."""
    gap = max(record.get("gap", [0.0]))
    note = f"  exact range to within {gap:.2g}" if gap else ""
    return (
        f"{record['output']:12} {record['vertices']:6,} vertices, "
        f"{record['edges']:6,} edges{note}"
    )
