"""Sweeps of node masks on a network: what is left when units are removed.

After Hobson, "Exploring toy neural nets under node removal" (in "Neural Networks, More
than you wanted to Show"), for any shipped network and data set: distributions of loss
and accuracy over random masks, how much each unit matters by several scores, and what
these are worth: the network of the k best units by each, against greedy elimination
and, where all subsets are known, the best there is.

    <folder>/network.npz     the network's parameters
    <folder>/keep_0.5.npz    one sweep: loss and accuracy (masks,), gradient (masks,
                             units), mask (a row of bits for each, by np.packbits)
    <folder>/metrics.jsonl   a line for each distribution
    <folder>/units.npz       NAME/values and NAME/errors for every score of units
    <folder>/kept.npz        NAME/losses and NAME/accuracies (n + 1,) by units kept
    <folder>/fig_*.svg, index.html

Masks are a function of `mask_seed` alone, see `generator`: the same whatever the batch
size, and nested: what mask i keeps at one probability it keeps at all higher ones. A
run that was killed goes on with the chunk of masks it was at.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsejax import hypercube, masks, runs, sweep, trees
from sparsejax.experiments import (
    networks,
    node_sweep_config,
    node_sweep_measure,
    node_sweep_report,
)
from sparsejax.experiments.networks import Network
from sparsejax.experiments.node_sweep_config import CHOICES as CHOICES
from sparsejax.experiments.node_sweep_config import Config as Config
from sparsejax.experiments.node_sweep_config import Plan, Sweep
from sparsejax.experiments.node_sweep_measure import Kept, Sample, Score, Subject
from sparsejax.pages import counted


def plan(
    config: Config, source: str | Path | None = None, data_dir: str | Path | None = None
) -> Plan:
    """What a run will sweep; arguments as of `run`.

    Raises:
        ValueError: for anything in the config that does not exist or cannot be.
    """
    node_sweep_config.check(config)
    layers = node_sweep_measure.layers
    if source is not None:
        network = _load(config, source, data_dir)
        return node_sweep_config.plan(config, layers(network.fn, network.x[:1]))
    if config.level is not None:
        raise ValueError("level is of a lottery run; pass --run")
    model, shape = networks.blank(config.dataset, config.model, config.widths)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    return node_sweep_config.plan(config, layers(model.apply, params, x))


def run(
    config: Config,
    folder: str | Path,
    *,
    source: str | Path | None = None,
    data_dir: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Run, or go on with, a sweep.

    Args:
        config: what to sweep.
        folder: where; a folder of an unfinished run of the same config is continued.
        source: folder of a lottery run whose network is swept; by default one is
            trained.
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        report: called with lines of progress.
        progress: show bars, too.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input.
    """
    folder = Path(folder)
    planned = plan(config, source, data_dir)
    sets = given = None
    if source is None:
        sets = networks.splits(config.dataset, config.seed or 0, data_dir)
    else:
        given = _load(config, source, data_dir)
    if runs.start(
        folder, config, kind="node_sweep", about={"jax": jax.__version__}, force=force
    ):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    if sets is None:
        network = _noted(folder, given)
    else:
        network = _trained(config, folder, sets, report)
    subject = node_sweep_measure.subject(
        network,
        planned.layers,
        units=planned.units,
        examples=config.examples,
        seed=config.mask_seed,
    )
    report(
        f"{network.title}, {node_sweep_config.switched(planned.units, planned.total)}: "
        f"{subject.every[1]:.2%} right with these on, {subject.none[1]:.2%} with them "
        f"off ({counted(subject.examples, 'test input')})"
    )
    samples, records = [], []
    began = time.perf_counter()
    for i, which in enumerate(planned.sweeps):
        arrays = _swept(config, folder, subject, which, report, progress)
        spent = time.perf_counter() - began
        left = spent / (i + 1) * (len(planned.sweeps) - i - 1)
        for sample in _samples(config, which, arrays, planned.units):
            samples.append(sample)
            records.append(node_sweep_measure.record(sample, subject))
            report(f"{_line(records[-1])}  {spent:5.1f} s, {left:.0f} s left")
        runs.write_metrics(folder, records)
    scores = _scores(config, folder, subject, samples, report, progress)
    kept = _kept(config, folder, subject, samples, scores, report)
    node_sweep_report.write(
        folder, network.title, subject, samples, records, scores, kept
    )
    runs.finish(folder)
    return records


def generator(config: Config, which: Sweep, n: int) -> Callable[[Any], Array]:
    """The function from an index to a mask (n,) whose first `count` masks are swept.

    Mask i is drawn with `jax.random.fold_in(jax.random.key(mask_seed), i)` by
    `masks.bernoulli` or `masks.fixed_size`. (All subsets are in the order of
    `masks.subsets`.)
    """
    key, ones = jax.random.key(config.mask_seed), jnp.ones(n)
    if config.distribution == "bernoulli":

        def draw(key):
            return masks.bernoulli(key, ones, which.value)
    else:

        def draw(key):
            return masks.fixed_size(key, ones, int(which.value))

    return lambda index: draw(jax.random.fold_in(key, index))


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    found = node_sweep_report.finding(runs.read_metrics(folder))
    return (
        f"{found}\n"
        f"open {folder / 'index.html'}\n"
        "next: --distribution=subsets with --nodes or --units, --model=convnet, or "
        "--run=FOLDER for the network of a lottery run"
    )


def _load(config: Config, source: str | Path, data_dir) -> Network:
    own, usual = ("dataset", "model", "widths", "epochs"), Config()
    if changed := [k for k in own if getattr(config, k) != getattr(usual, k)]:
        raise ValueError(
            f"{trees.listed(changed)} cannot be chosen for the network of a run "
            f"({source}); leave them out"
        )
    return networks.load(
        source, seed=config.seed, level=config.level, data_dir=data_dir
    )


def _trained(config: Config, folder: Path, sets, report) -> Network:
    file = folder / "network.npz"
    if not file.exists():
        report(f"training {config.model} on {config.dataset}")
    return networks.trained(
        config.dataset,
        config.model,
        config.widths,
        sets,
        epochs=config.epochs,
        seed=config.seed or 0,
        file=file,
    )


def _noted(folder: Path, network) -> Network:
    """The network, whose parameters are kept with the results."""
    file, arrays = folder / "network.npz", trees.to_arrays(network.params)
    if not file.exists():
        runs.write_arrays(file, arrays)
        return network
    there = runs.read_arrays(file)
    if there.keys() != arrays.keys() or not all(
        np.array_equal(there[k], arrays[k]) for k in arrays
    ):
        raise ValueError(
            f"{folder} holds a sweep of another network; choose another folder or "
            "remove it"
        )
    return network


def _swept(config, folder, subject: Subject, which: Sweep, report, progress):
    """The arrays of one sweep, read or made."""

    def measure(mask):
        found = {}
        if config.gradients:
            both = jax.value_and_grad(subject.measure, has_aux=True)(mask)
            (found["loss"], found["accuracy"]), found["gradient"] = both
        else:
            found["loss"], found["accuracy"] = subject.measure(mask)
        if config.distribution != "subsets":
            found["mask"] = mask > 0
        return found

    n, chunks = len(subject.names), folder / f"{which.name}.chunks"
    options = {
        "batch_size": config.batch_size,
        "checkpoint": chunks,
        "progress": progress,
    }

    def make():
        if config.distribution == "subsets":
            return hypercube.evaluate(measure, n, **options)
        drawn = generator(config, which, n)
        arrays = sweep.evaluate(measure, drawn, count=which.count, **options)
        return {**arrays, "mask": np.packbits(arrays["mask"], axis=1)}

    arrays = runs.cached(folder / f"{which.name}.npz", make, report)
    shutil.rmtree(chunks, ignore_errors=True)
    return arrays


def _samples(config: Config, which: Sweep, arrays, n: int) -> Iterable[Sample]:
    """The distributions that a sweep tells of: one, or for all subsets many."""
    table = arrays["loss"], arrays["accuracy"], arrays.get("gradient")
    if config.distribution != "subsets":
        bits = np.unpackbits(arrays["mask"], axis=1, count=n).astype(bool)
        yield Sample(which.label, which.value, bits, *table, None)
        return
    bits = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    for p in config.keep_probs:
        label = node_sweep_config.kept_label(p)
        yield Sample(label, p, bits, *table, hypercube.probabilities(n, p))


def _scores(config, folder, subject, samples, report, progress) -> dict[str, Score]:
    def make():
        report("scores of units")
        found = node_sweep_measure.scores(
            subject,
            samples,
            permutations=config.permutations,
            key=jax.random.fold_in(jax.random.key(config.mask_seed), 1 << 31),
            batch_size=config.batch_size,
            progress=progress,
        )
        return _flat(found)

    return _nested(runs.cached(folder / "units.npz", make, report), Score)


def _kept(config, folder, subject, samples, scores, report) -> dict[str, Kept]:
    def make():
        report("the best units by each score")
        return _flat(
            node_sweep_measure.kept(subject, samples, scores, config.batch_size)
        )

    return _nested(runs.cached(folder / "kept.npz", make, report), Kept)


def _flat(found: Mapping[str, Score | Kept]) -> dict[str, np.ndarray]:
    """Results by name, as arrays under their paths; what is None is left out."""
    return {
        f"{name}/{field}": np.asarray(array)
        for name, result in found.items()
        for field, array in result._asdict().items()
        if array is not None
    }


def _nested(arrays: dict[str, np.ndarray], kind: Any) -> dict[str, Any]:
    """The inverse of `_flat`, for results of one type."""
    names = dict.fromkeys(path.rsplit("/", 1)[0] for path in arrays)

    def fields(name):
        return {k: arrays.get(f"{name}/{k}") for k in kind._fields}

    return {name: kind(**fields(name)) for name in names}


def _line(record: dict[str, Any]) -> str:
    """One line of progress for a distribution."""
    loss, accuracy = record["loss"], record["accuracy"]
    return (
        f"{record['distribution']:10} loss {loss['mean']:.3f} ± {loss['sd']:.3f}  "
        f"accuracy {accuracy['mean']:5.1%}  "
        f"within a point {record['within_a_point']:.1%}"
    )
