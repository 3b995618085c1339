"""Certified circuits of single images: units with which a network provably does alike.

Removed units are zero, inputs are within a box around the image, and the proof is of
`flowgraph`, which unfolds the difference of the network and the circuit.
"""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import flowgraph, lift, masks
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments.circuits.config import Config
from sparsejax.masks import Masks


def check(config: Config, subject: Any) -> None:
    """Raise a `ValueError` where there is nothing to certify."""
    if config.num_certified and not isinstance(subject, Subject):
        raise ValueError(
            "num_certified needs --run: certificates are of images, for a network of "
            "a lottery run"
        )


def images(config: Config, subject: Subject) -> list[int]:
    """The first test images whose class the network tells.

    Raises:
        ValueError: for labels that are no classes.
    """
    if np.ndim(subject.y) != 1:
        raise ValueError(f"{subject.title} has no classes, whose images are certified")
    few = subject.x[: max(10 * config.num_certified, 100)]
    outputs = jax.jit(jax.vmap(subject.bound()))(jnp.asarray(few))
    right = np.flatnonzero(np.asarray(outputs).argmax(1) == subject.y[: len(few)])
    return right[: config.num_certified].tolist()


def record(config: Config, subject: Subject, image: int) -> dict[str, Any]:
    """A locally minimal circuit of one image, with what proved it.

    Args:
        config: of the run.
        subject: a network that a flow graph can hold.
        image: its number in the test set.
    """
    apply = lift.masked(subject.fn)
    ones = jax.tree.map(lambda _: jnp.ones(()), subject.params)
    nodes = masks.ones(subject.fn, subject.params, subject.x[:1]).nodes

    def fn(own, x):
        shaped = x.reshape(1, *subject.shape)
        return apply(subject.params, Masks(ones, own), shaped)[0]

    x = np.asarray(subject.x[image], np.float64).reshape(-1)
    low, high = (np.clip(x + side * config.radius, *subject.domain) for side in (-1, 1))
    circuit = flowgraph.certified_circuit(
        fn, nodes, x.astype(np.float32), low, high, delta=config.delta
    )
    proofs = Counter(d.by for d in circuit.decisions if d.proved)
    refuted = Counter(d.by for d in circuit.decisions if d.proved is False)
    return {
        "part": "certificate",
        "image": image,
        "label": int(subject.y[image]),
        "units": int(sum(np.size(mask) for mask in nodes.values())),
        "size": circuit.size,
        "nodes": {
            name: np.flatnonzero(np.asarray(mask)).tolist()
            for name, mask in circuit.masks.items()
        },
        "minimal": circuit.minimal,
        "left_open": circuit.left_open,
        "proved": circuit.certificate.proved,
        "bound": circuit.certificate.bound,
        "by": circuit.certificate.by,
        "proofs": dict(sorted(proofs.items())),
        "refuted": dict(sorted(refuted.items())),
    }
