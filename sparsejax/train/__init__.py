"""Masked training: any apply, loss and optax optimizer, one compiled call an epoch.

Removed weights are exactly zero in parameters, gradients (global norms included) and
every parameter-shaped leaf of the optimizer state, before, during and after training.
Everything that happens is a function of `(state, masks, data, data_key)`: the order of
the data depends on `data_key` and the step alone, so that training from a rewound state
repeats what was.

Written for one network. Stack states, masks and keys along a leading axis (a key of
shape `(seeds,)`) and the same calls train many at once; the data, and with a single
`data_key` its order, are shared.
"""

from sparsejax.train._evaluation import evaluate
from sparsejax.train._fitting import NotFinite, fit
from sparsejax.train._losses import accuracy, cross_entropy
from sparsejax.train._states import State, init

__all__ = [
    "NotFinite",
    "State",
    "accuracy",
    "cross_entropy",
    "evaluate",
    "fit",
    "init",
]


def __dir__() -> list[str]:
    return list(__all__)
