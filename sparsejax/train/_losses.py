"""Losses and metrics: functions of outputs and labels, means over a batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Integer

from sparsejax import checks


def cross_entropy(
    logits: Float[Array, "*batch classes"] | Any,
    labels: Integer[ArrayLike, "*batch"] | Any,
) -> Float[Array, ""]:
    """Mean softmax cross entropy in nats.

    Raises:
        ValueError: for anything but logits of two classes or more and as many integer
            labels; their range is checked where they are known (`checks.labels`).

    Example:
        >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.25, 0.75]]))
        >>> loss = cross_entropy(logits, jnp.array([0, 1]))  # mean of 0.693 and 0.288
        >>> round(loss.item(), 2)
        0.49
    """
    _check_shapes(logits, labels, "cross entropy")
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def accuracy(
    logits: Float[Array, "*batch classes"] | Any,
    labels: Integer[ArrayLike, "*batch"] | Any,
) -> Float[Array, ""]:
    """How often the largest logit is the label's; one that is NaN never is.

    Raises:
        ValueError: as `cross_entropy`.

    Example:
        >>> float(accuracy(jnp.array([[1.0, 2.0], [1.0, 0.0]]), jnp.array([1, 1])))
        0.5
    """
    _check_shapes(logits, labels, "accuracy")
    found = jnp.argmax(logits, -1)
    right = found == jnp.asarray(labels).astype(found.dtype)
    return (right & ~jnp.isnan(logits).any(-1)).astype(jnp.float32).mean()


def _check_shapes(logits: Any, labels: Any, what: str) -> None:
    """Refuse logits of one class, and labels that are no numbers of classes."""
    shape = jnp.shape(logits)
    if len(shape) < 1 or shape[-1] < 2:
        raise ValueError(
            f"{what} is of logits (..., classes) of two classes or more, got shape "
            f"{shape}; for one output pass a loss or metric that is meant for it"
        )
    checks.labels(labels, shape[-1], shape[:-1])


OF_CLASSES = {cross_entropy: "cross entropy", accuracy: "accuracy"}


def fit_classes(out: Any, y: Any) -> bool:
    """Whether outputs are logits of classes and labels number them, as far as known."""
    try:
        check_classes(out, y)
    except ValueError:
        return False
    return True


def check_classes(out: Any, y: Any, what: str = "this") -> None:
    """Check that outputs are logits of two classes or more, and labels number them.

    Args:
        out: shape and dtype of the outputs, of any number of examples.
        y: labels of all examples.
        what: takes these, for the message.

    Raises:
        ValueError: says what was found and what was expected.
    """
    one = isinstance(out, jax.ShapeDtypeStruct) and jnp.issubdtype(
        out.dtype, jnp.floating
    )
    if not one or len(out.shape) < 2 or out.shape[-1] < 2:
        found = f"{out.dtype} of shape (n, {', '.join(map(str, out.shape[1:]))})" if (
            isinstance(out, jax.ShapeDtypeStruct) and out.shape
        ) else checks.described(out)  # fmt: skip
        raise ValueError(
            f"{what} is of logits of shape (n, classes), two classes or more, and of "
            f"integer labels; apply returns {found}: pass loss= and metrics= that "
            "are meant for it (evaluate takes metrics={} for none)"
        )
    if not isinstance(y, jax.Array) and not hasattr(y, "dtype"):
        raise ValueError(
            f"{what} is of one array of labels, got {checks.described(y)}: pass loss= "
            "and metrics= that are meant for it"
        )
    checks.labels(y, out.shape[-1], (len(y), *out.shape[1:-1]))


def check_uses(functions: dict[str, Callable], out: Any, y: Any) -> None:
    """Check outputs and labels for those of the functions that are of classes."""
    uses = [name for name, function in functions.items() if function in OF_CLASSES]
    if uses:  # all ask the same
        check_classes(out, y, f"{OF_CLASSES[functions[uses[0]]]} ({uses[0]})")
