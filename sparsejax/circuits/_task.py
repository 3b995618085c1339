"""Losses of circuits: a function with some of its nodes ablated, and a metric."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from sparsejax import checks, lift, trees
from sparsejax.interpret import Compiled
from sparsejax.masks import Masks
from sparsejax.train import cross_entropy


@dataclass(frozen=True)
class Task:
    """The loss of a circuit: a function of node masks.

    Attributes:
        run: `run(nodes, ablate)`, the outputs with those nodes.
        of: loss of the outputs.
        ablate: what takes the place of ablated nodes.
        metric: name of the loss.
        ablation: name of what takes their place.
    """

    run: Callable[[Mapping[str, Array], Any], Any] = field(repr=False)
    of: Callable[[Any], Array] = field(repr=False)
    ablate: Any = field(repr=False)
    metric: str
    ablation: str

    def __call__(self, nodes: Mapping[str, Array], ablate: Any = None) -> Array:
        """The loss with the nodes kept; `ablate` in place of the task's own values."""
        return self.of(self.run(nodes, self.ablate if ablate is None else ablate))


def task(
    fn: Callable,
    params: Any,
    x: Any,
    y: Any = None,
    *,
    metric: str | Callable[[Any, Any, Any], Any] = "kl",
    ablate: Mapping[str, Any] | Callable[[str], Any] | None = None,
    ablation: str | None = None,
    apply: Callable[[Any, Any, Any], Any] | None = None,
) -> Task:
    """The loss of a circuit on some examples.

    Args:
        fn: `fn(params, x)`, any JAX function with named activations.
        params: its parameters.
        x: examples.
        y: labels, for "cross_entropy"; for "logit_difference" right and wrong classes,
            shape (..., 2).
        metric: "kl" of the full function's classes from the circuit's,
            "cross_entropy", "logit_difference" (wrong minus right, so that lower is
            better), each the mean over examples; or `metric(outputs, reference, y)` to
            a scalar, with the full function's outputs as the reference.
        ablate: what takes the place of ablated nodes, as of `masked`: zero by default;
            `circuits.means`, `resampled` and `optimal` make others.
        ablation: name of it, for reports.
        apply: `apply(params, nodes, x)` in place of `fn` with masked nodes, such as
            `circuits.edges(...).apply`.

    Returns:
        `loss(nodes)`, lower for a better circuit; `loss(nodes, ablate)` with other
        values. Activations that `nodes` does not name are kept. Write down ablation and
        metric with every result: another choice of them has other minimal circuits.

    Raises:
        ValueError: for an unknown metric, labels that it lacks or that do not fit, or
            values beside an `apply` that has its own; when called, for outputs of no
            classes.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda params, x: checkpoint_name(x * params, "h")
        >>> loss = task(fn, jnp.array([2.0, 0.0]), jnp.ones((1, 2)))
        >>> float(loss({"h": jnp.ones(2)})), round(float(loss({"h": jnp.zeros(2)})), 3)
        (0.0, 0.328)
    """
    if not callable(metric) and metric not in _METRICS:
        known = trees.listed(_METRICS)
        raise ValueError(f"unknown metric {metric!r}; there are {known}, or a function")
    if y is None and metric in ("cross_entropy", "logit_difference"):
        raise ValueError(f"{metric} needs labels: task(fn, params, x, y, ...)")
    if apply is not None and ablate is not None:
        raise ValueError(
            "apply= ablates by itself: give the values to what made it, "
            "edges(..., ablate=)"
        )
    score = metric if callable(metric) else _METRICS[metric]
    needs = score not in (_cross_entropy, _difference)
    reference = Compiled(fn)(params, x) if needs else None

    def run(nodes, ablate):
        if apply is not None:
            if ablate is not None:
                raise ValueError("the task's apply= ablates by itself, with no values")
            return apply(params, nodes, x)
        masks = Masks(jax.tree.map(lambda _: jnp.ones(()), params), dict(nodes))
        return lift.masked(fn, ablate=ablate)(params, masks, x)

    def of(outputs):
        return jnp.asarray(score(outputs, reference, y))

    name = getattr(metric, "__name__", "metric") if callable(metric) else metric
    if ablation is None and apply is not None:
        ablation = "that of apply"
    elif ablation is None:
        ablation = "zero" if ablate is None else "given values"
    return Task(run, of, ablate, name, ablation)


def _kl(outputs: ArrayLike, reference: ArrayLike, y: Any) -> Array:
    """The mean divergence of the full function's classes from the circuit's."""
    shape = jnp.shape(outputs)
    if len(shape) < 2 or shape[-1] < 2:
        raise ValueError(
            f"kl compares classes, and the outputs have shape {shape}; expected "
            "(examples, ..., classes), or pass metric= a function of the outputs"
        )
    full, part = jax.nn.log_softmax(reference), jax.nn.log_softmax(outputs)
    return (jnp.exp(full) * (full - part)).sum(-1).mean()


def _cross_entropy(outputs: ArrayLike, reference: Any, y: Any) -> Array:
    return cross_entropy(outputs, y)


def _difference(outputs: Array, reference: Any, y: Any) -> Array:
    """The logit of the wrong class minus that of the right one."""
    pairs = jnp.asarray(y)
    checks.labels(pairs, outputs.shape[-1], (*outputs.shape[:-1], 2), "y")
    logits = jnp.take_along_axis(outputs, pairs, -1)
    return (logits[..., 1] - logits[..., 0]).mean()


_METRICS = {
    "kl": _kl,
    "cross_entropy": _cross_entropy,
    "logit_difference": _difference,
}
