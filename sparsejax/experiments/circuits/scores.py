"""Relevance as a score of nodes: how much of the right outputs passes through them."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax import relevance
from sparsejax.experiments.circuits.cases import Case


def of_relevance(case: Case) -> Float[np.ndarray, " n"]:
    """The size of each node's relevance for the labels' logits, mean over examples.

    Layer-wise relevance propagation, compared with zero: of nodes that are zero when
    left out. Outputs that are numbers are explained themselves.
    """
    x, y, _ = case.examples

    def explained(x, y):
        def fn(params, x):
            return case.fn(params, x[None])[0]

        def target(outputs):
            if jnp.issubdtype(y.dtype, jnp.floating):
                return outputs.sum()
            return jnp.take_along_axis(outputs, y[..., None], -1).sum()

        result = relevance.explain(
            fn, case.params, x, target=target, at=case.embedding, baseline="zero"
        )
        return {
            name: _onto(result.nodes[name], case.nodes[name]) for name in case.nodes
        }

    each = jax.jit(jax.vmap(explained))(jnp.asarray(x), jnp.asarray(y))
    means = [np.abs(np.asarray(each[name])).mean(0).reshape(-1) for name in case.nodes]
    every = np.concatenate(means)
    return every if case.units is None else every[case.units]


def _onto(value: Array, mask: Array) -> Array:
    """Sums over what each entry of a mask stands for."""
    shape = (1,) * (value.ndim - mask.ndim) + mask.shape
    axes = tuple(i for i, size in enumerate(shape) if size == 1)
    return value.sum(axes).reshape(mask.shape)
