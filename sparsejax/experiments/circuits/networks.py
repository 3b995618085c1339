"""The networks whose circuits are looked for: trained here, by formula, of a run."""

import dataclasses
from functools import partial

import jax
import numpy as np
import optax
from jaxtyping import Int, PyTree

from sparsejax import lift, masks, models, train
from sparsejax._words import listed
from sparsejax.experiments._study.run import finite
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.circuits import cases
from sparsejax.experiments.circuits.cases import Case, Examples
from sparsejax.experiments.circuits.config import Config

_TRAINING = 16_384  # sequences
_SAMPLE = 512  # sequences that mean activations are taken over
_BATCH = 64


def of(config: Config, seed: int, subject: Subject | Case | None) -> Case:
    """What a config looks at, before its training if it is trained here.

    Args:
        config: of the run.
        seed: of the network, or of its examples.
        subject: of a lottery run, or of one's own.

    Raises:
        ValueError: for nodes that it does not have.
    """
    if isinstance(subject, Case):
        whole = _chosen(config, subject)
    elif subject is not None:
        whole = _chosen(config, _of_subject(config, seed, subject))
    elif config.network == "trained":
        whole = _chosen(config, _untrained(config, seed))
    else:
        whole = _chosen(config, _planted(config))
    most = sum(int(np.size(mask)) for mask in whole.nodes.values())
    if config.num_units is not None and config.num_units > most:
        raise ValueError(f"num_units must be in [1, {most}], got {config.num_units}")
    varying = isinstance(subject, Subject) or config.num_units is not None
    return cases.narrowed(whole, config.num_units) if varying else whole


def with_params(case: Case, config: Config, params: PyTree) -> Case:
    """The case after its training."""
    case = dataclasses.replace(case, params=params, units=None)
    return case if config.num_units is None else cases.narrowed(case, config.num_units)


def trained(case: Case, config: Config, seed: int) -> PyTree:
    """The parameters of a transformer after its training."""
    x = _sequences(np.random.default_rng([seed, 0]), _TRAINING, config.vocabulary)
    with finite(f"seed {seed}"):
        state, _ = train.fit(
            lift.masked(case.fn),
            case.params,
            masks.Masks(masks.ones(case.fn, case.params, x[:1]).weights, {}),
            (x, x[:, config.vocabulary // 2 :]),
            optimizer=optax.adam(
                optax.cosine_decay_schedule(config.learning_rate, config.steps)
            ),
            batch_size=_BATCH,
            key=jax.random.key(seed),
            steps=config.steps,
        )
    return state.params


def _untrained(config: Config, seed: int) -> Case:
    """A transformer, and sequences whose second half is their first.

    Its loss is that of predicting the second half. Corrupted sequences begin with
    another half, so that nothing can be inferred from it.
    """
    size, half = config.vocabulary, config.vocabulary // 2
    model = models.transformer(
        size,
        size,
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        head=config.width // config.heads,
        neurons=2 * config.width,
    )
    fn = partial(model.apply, positions=tuple(range(half - 1, size - 1)))
    rng = np.random.default_rng([seed, 1])

    def draw(count: int) -> Examples:
        x, other = (_sequences(rng, count, size) for _ in range(2))
        corrupted = np.concatenate([other[:, :half], x[:, half:]], axis=1)
        return Examples(x, x[:, half:], corrupted)

    own, others = draw(config.num_sequences), draw(config.num_sequences)
    params = model.init(jax.random.key(seed), own.x)
    heads = {f"z_{i}": -2 for i in range(config.layers)}
    every = masks.ones(fn, params, own.x, axes=heads).nodes
    sample = _sequences(rng, _SAMPLE, size)
    sizes = {"layers": config.layers, "heads": config.heads, "vocabulary": size,
             "head": config.width // config.heads, "length": size,
             "first": half - 1}  # fmt: skip
    return Case(
        title=f"induction, {config.layers} x {config.heads} heads, seed {seed}",
        fn=fn,
        params=params,
        nodes=every if config.nodes else {name: every[name] for name in heads},
        examples=own,
        held_out=others,
        sample=(sample, sample[:, half:]),
        untrained=params,
        embedding="embed",
        architecture=None if config.nodes or config.num_units else sizes,
    )


def _planted(config: Config) -> Case:
    """A network by formula, on all its inputs."""
    if config.network == "gates":
        network, what = models.planted.gates(), "gates"
    elif config.network == "induction":
        network, what = models.planted.induction(4, 7, backup=True), "induction"
    elif config.network == "brackets":
        network, what = models.planted.brackets(), "brackets"
    else:
        network, what = models.planted.addition(13), "addition modulo 13"
    x, y = np.asarray(network.x), np.asarray(network.y)
    return Case(
        title=f"{what} by formula",
        fn=network.model.apply,
        params=network.params,
        nodes=network.nodes,
        examples=cases.examples(x, y),
        metric="cross_entropy" if y.dtype.kind == "i" else "squared",
        circuits=network.circuits,
        embedding="embed" if config.network in ("induction", "brackets") else None,
    )


def _of_subject(config: Config, seed: int, subject: Subject) -> Case:
    """A network of a lottery run, on some of its test images."""
    x, y = subject.x, subject.y
    rng, count = np.random.default_rng([seed, 2]), config.num_test_images
    if count > len(x):
        raise ValueError(f"num_test_images must be in [1, {len(x)}], got {count}")
    order = rng.permutation(len(x))
    own, others = order[:count], order[count : 2 * count]
    nodes = masks.ones(subject.fn, subject.params, x[:2]).nodes
    held_out = cases.examples(x[others], y[others]) if len(others) > 1 else None
    return Case(
        title=subject.title,
        fn=subject.fn,
        params=subject.params,
        nodes=nodes,
        examples=cases.examples(x[own], y[own]),
        held_out=held_out,
        metric="cross_entropy" if y.ndim == 1 else "binary",
    )


def _chosen(config: Config, case: Case) -> Case:
    """The case with the nodes that a config names."""
    names = config.nodes or tuple(case.nodes)
    if unknown := [name for name in names if name not in case.nodes]:
        raise ValueError(
            f"no activations {listed(unknown)}; there are {listed(case.nodes)}"
        )
    kept = {name: mask for name, mask in case.nodes.items() if name in names}
    return dataclasses.replace(case, nodes=kept)


def _sequences(rng, count: int, size: int) -> Int[np.ndarray, "count length"]:
    """Sequences of different tokens, then the same again."""
    rows = np.tile(np.arange(size, dtype=np.int32), (count, 1))
    half = rng.permuted(rows, axis=1)[:, : size // 2]
    return np.concatenate([half, half], axis=1)
