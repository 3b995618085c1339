"""Runs of sweeps: the network, distributions in turn, then what units are worth.

<folder>/network.npz     the network's parameters
<folder>/keep_0.5.npz    one sweep: loss and accuracy (masks,), gradient (masks,
                         units), mask (a row of bits for each, by np.packbits)
<folder>/metrics.jsonl   a line for each distribution
<folder>/units.npz       NAME/values and NAME/errors for every score of units
<folder>/kept.npz        NAME/losses and NAME/accuracies (n + 1,) by units kept
<folder>/fig_*.svg, table.md, index.html
"""

import dataclasses
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from sparsejax import runs, trees
from sparsejax._words import listed
from sparsejax.experiments._study import training
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.node_sweep import measure, report
from sparsejax.experiments.node_sweep import scores as scores_
from sparsejax.experiments.node_sweep import sweeps as sweeps_
from sparsejax.experiments.node_sweep import units as units_
from sparsejax.experiments.node_sweep.config import NETWORK, Config
from sparsejax.experiments.node_sweep.scores import Score
from sparsejax.experiments.node_sweep.units import Kept
from sparsejax.pages import counted

T = TypeVar("T", Score, Kept)


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
        config: what to sweep.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: the network to sweep; by default one is trained.
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for what the network or the data do not have, and if the folder
            holds anything else.
    """
    network, nodes, sweeps = _planned(config, subject, data_dir)
    with Study("node_sweep", config, folder, subject, force=force, log=log) as study:
        if study.complete:
            return study.records
        if subject is None:
            params = study.cached("network", partial(_trained, study, network))
            network = dataclasses.replace(
                network, params=trees.from_arrays(params, network.params)
            )
        else:
            study.note("network", trees.to_arrays(network.params))
        units = units_.units(
            network,
            nodes,
            num_units=config.num_units,
            num_test_images=config.num_test_images,
            seed=config.seed,
        )
        n, samples = len(units.names), []
        log(f"{network.title}, {sweeps_.switched(n, units.total)}: "
            f"{units.every[1]:.2%} right with these on, {units.none[1]:.2%} with them "
            f"off ({counted(units.images, 'test input')})")  # fmt: skip
        for sweep in study.each(sweeps):
            chunks = study.folder / f"{sweep.name}.chunks"
            make = partial(measure.swept, config, units, sweep, chunks)
            arrays = study.cached(sweep.name, make)
            shutil.rmtree(chunks, ignore_errors=True)
            for sample in measure.samples(config, sweep, arrays, n):
                samples.append(sample)
                study.add([measure.record(sample, units)])
                study.progress(_line(study.records[-1]))
        scores, kept = _worth(study, config, units, samples)
        report.write(study, network.title, units, samples, scores, kept)
    return study.records


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do: the units, and a line for each sweep.

    Raises:
        ValueError: for what the network or the data do not have.
    """
    network, nodes, sweeps = _planned(config, subject, data_dir)
    every = units_.layers(network)
    n = config.num_units or sum(nodes.values())
    named = ", ".join(f"{name} ({k})" for name, k in nodes.items())
    lines = [f"{sweeps_.switched(n, sum(every.values()))}; layers {named}"]
    lines += [f"{sweep.label}: {sweep.count:,} masks" for sweep in sweeps]
    return "\n".join(lines)


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{report.finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        "next: --distribution=subsets with --nodes or --num_units, --model=convnet, or "
        "--run=FOLDER for the network of a lottery run"
    )


def _planned(
    config: Config, subject: Subject | None, data_dir: str | Path | None
) -> tuple[Subject, dict[str, int], list[sweeps_.Sweep]]:
    """The network, before its training if it is not there yet, and what is swept."""
    if subject is not None:
        usual = Config()
        changed = [k for k in NETWORK if getattr(config, k) != getattr(usual, k)]
        if changed:
            raise ValueError(
                f"{listed(changed)} cannot be used with --run, whose network is given "
                f"({subject.title})"
            )
    network = subject or training.untrained(
        config.dataset, config.model, config.widths,
        epochs=config.epochs, seed=config.network_seed, data_dir=data_dir,
    )  # fmt: skip
    nodes = sweeps_.chosen_layers(config, units_.layers(network))
    n = config.num_units or sum(nodes.values())
    return network, nodes, sweeps_.sweeps(config, n)


def _trained(study: Study, network: Subject) -> dict[str, np.ndarray]:
    study.log(f"training {network.title}")
    return trees.to_arrays(training.fit(network))


def _worth(
    study: Study, config: Config, units: units_.Units, samples: list[measure.Sample]
) -> tuple[dict[str, Score], dict[str, Kept]]:
    """Scores of units, and the networks of the best units by each."""
    study.log("scores of units, and the best units by each")
    make_scores = partial(
        scores_.scores,
        units,
        samples,
        num_permutations=config.num_permutations,
        key=jax.random.fold_in(jax.random.key(config.seed), 1 << 31),
        batch_size=config.batch_size,
        progress=sys.stderr.isatty(),
    )
    scores = _results(study, "units", Score, make_scores)
    make_kept = partial(
        scores_.kept_networks, units, samples, scores, config.batch_size
    )
    return scores, _results(study, "kept", Kept, make_kept)


def _results(
    study: Study, name: str, kind: type[T], make: Callable[[], Mapping[str, T]]
) -> dict[str, T]:
    """Results of one type by name, read or made: arrays under NAME/FIELD."""

    def flat() -> dict[str, np.ndarray]:
        return {
            f"{key}/{field}": np.asarray(array)
            for key, result in make().items()
            for field, array in result._asdict().items()
            if array is not None
        }

    arrays = study.cached(name, flat)
    keys = dict.fromkeys(path.rsplit("/", 1)[0] for path in arrays)

    def result(key: str) -> T:
        fields: dict[str, Any] = {k: arrays.get(f"{key}/{k}") for k in kind._fields}
        return kind(**fields)

    return {key: result(key) for key in keys}


def _line(record: Mapping[str, Any]) -> str:
    """One line of progress for a distribution."""
    loss, accuracy = record["loss"], record["accuracy"]
    return (
        f"{record['distribution']:10} loss {loss['mean']:.3f} ± {loss['sd']:.3f}  "
        f"accuracy {accuracy['mean']:5.1%}  "
        f"within a point {record['within_a_point']:.1%}"
    )
